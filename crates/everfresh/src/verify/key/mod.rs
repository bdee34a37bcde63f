//! One key: how it is read, how strong it must be, and what it is allowed to do.

mod error;
mod mac;
mod publish;

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};

use super::Algorithm;
use super::crypto::{self, Refused, Signer, Verifier};
use super::jws::Header;

pub use error::KeyError;
pub(crate) use mac::{MacKey, SealKey};
pub(crate) use publish::PublicParts;

/// One signing or verifying key. It is prepared once and bound to exactly one algorithm.
///
/// ```
/// use everfresh::{Algorithm, Key};
///
/// # fn main() -> Result<(), everfresh::KeyError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// let key = Key::hmac(Algorithm::HS256, secret)?.with_kid("2026-11")?;
/// assert_eq!(key.kid(), Some("2026-11"));
/// # Ok(())
/// # }
/// ```
pub struct Key {
    alg: Algorithm,
    kid: Option<Box<str>>,
    verifier: Verifier,
    signer: Option<Signer>,
    /// The part that may be published, or `None` for a shared secret.
    public: Option<PublicParts>,
    /// The first header that this key verified. Nearly every token that the key signs has the same
    /// header, which need not be read again.
    cached_header: OnceLock<(Box<str>, Header)>,
}

/// The longest header that is cached, in bytes. A longer one is read each time, which limits how
/// many bytes of an issuer a key keeps.
const MAX_CACHED_HEADERS: usize = 256;

impl Key {
    /// Creates a key from a shared secret for HS256, HS384 or HS512. The secret is raw bytes, not
    /// base64.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret
    /// - is shorter than the hash (32, 48 or 64 bytes; RFC 7518 section 3.2),
    /// - is a published sample secret,
    /// - has fewer than 10 different bytes,
    /// - is a repeated text, so that its last 16 or more bytes are the same as its first,
    /// - is the text of a PEM file or a JWK, or the bytes of a public key (CVE-2015-9235).
    ///
    /// It also returns an error if `alg` is not an HMAC algorithm.
    pub fn hmac(alg: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let needed = match alg {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => return Err(KeyError::NotForAlgorithm { algorithm: alg, found: Some("a secret") }),
        };
        if secret.len() < needed {
            return Err(KeyError::SecretTooShort { algorithm: alg, found: secret.len(), needed });
        }
        if let Some(reason) = weakness(secret) {
            return Err(KeyError::WeakSecret(reason));
        }
        let signer = Signer::hmac(alg, secret);
        Self::signing(alg, signer)
    }

    /// Creates a key from the secret of a test vector, however weak.
    #[cfg(test)]
    pub(crate) fn hmac_of_a_vector(alg: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        Self::signing(alg, Signer::hmac(alg, secret))
    }

    /// Reads a key from a PEM file: PKCS#8, PKCS#1 or SEC 1 for a private key, SPKI or PKCS#1 for a
    /// public one.
    ///
    /// Blocks that are not keys (`EC PARAMETERS`) are ignored. The first key counts.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is not valid PEM or holds no key, if its first key is encrypted
    /// or not for `alg`, or if a certificate comes before the first key.
    pub fn from_pem(alg: Algorithm, text: &[u8]) -> Result<Self, KeyError> {
        let blocks =
            pem::parse_many(text).map_err(|_| KeyError::Pem("it can't be parsed".into()))?;
        let mut last = None;
        for block in &blocks {
            match block.tag() {
                "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                    return Self::from_private_der(alg, block.contents());
                }
                "PUBLIC KEY" | "RSA PUBLIC KEY" => {
                    return Self::from_public_der(alg, block.contents());
                }
                "ENCRYPTED PRIVATE KEY" => {
                    return Err(KeyError::Pem(
                        "the key is encrypted; decrypt it with `openssl pkey`".into(),
                    ));
                }
                "CERTIFICATE" => {
                    return Err(KeyError::Pem(
                        "it is a certificate; take its key with `openssl x509 -pubkey -noout`"
                            .into(),
                    ));
                }
                other => last = Some(other),
            }
        }
        Err(KeyError::Pem(match last {
            Some(tag) => format!("it holds only {tag:?}"),
            None => "there is no BEGIN line".into(),
        }))
    }

    /// Reads a key from DER: a private key (PKCS#8, PKCS#1, SEC 1) or else a public one (SPKI,
    /// PKCS#1).
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not a key for `alg`.
    pub fn from_der(alg: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        match Self::from_private_der(alg, der) {
            Ok(key) => Ok(key),
            Err(private) => match Self::from_public_der(alg, der) {
                Ok(key) => Ok(key),
                Err(size @ KeyError::RsaSize { .. }) => Err(size),
                Err(_) => Err(private),
            },
        }
    }

    fn from_private_der(alg: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        Self::signing(alg, Signer::from_private_der(alg, der)).map_err(|error| match error {
            KeyError::NotForAlgorithm { algorithm, .. } => {
                KeyError::NotForAlgorithm { algorithm, found: private_kind(der) }
            }
            other => other,
        })
    }

    fn from_public_der(alg: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        require_backend()?;
        if alg.is_rsa()
            && let Some(bits) = crypto::rsa_bits(der)
        {
            check_rsa_size(bits)?;
        }
        let verifier = Verifier::from_public(alg, der).map_err(|Refused| {
            KeyError::NotForAlgorithm { algorithm: alg, found: public_kind(der) }
        })?;
        let public = crypto::public_parts(alg, der);
        if matches!(&public, Some(PublicParts::Rsa { e, .. }) if !is_rsa_exponent(e)) {
            return Err(KeyError::NotForAlgorithm {
                algorithm: alg,
                found: Some("an RSA key whose exponent is not an odd number from 3 to 2^33 - 1"),
            });
        }
        Ok(Self { alg, kid: None, verifier, signer: None, public, cached_header: OnceLock::new() })
    }

    /// Creates a key from the JSON text of a public JWK, or of an `oct` JWK, which also signs. The
    /// key has the JWK's `kid`.
    ///
    /// `use` must be `sig`, `key_ops` must allow verifying, and `alg` must fit `kty` and `crv` (RFC
    /// 7517 sections 4.2 to 4.4). An RSA JWK without `alg` is for RS256.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is no JWK, breaks one of these rules, is of an unsupported
    /// kind, or holds no valid key. An `oct` JWK must also pass the rules of [`hmac`](Self::hmac).
    ///
    /// ```
    /// use everfresh::{Algorithm, Key};
    ///
    /// # fn main() -> Result<(), everfresh::KeyError> {
    /// let key = Key::from_jwk(
    ///     r#"{"kty": "OKP", "crv": "Ed25519", "kid": "2026-11",
    ///         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    /// )?;
    /// assert_eq!(key.algorithm(), Algorithm::EdDSA);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        let unread = |_| KeyError::Jwk("the text is no JWK".into());
        Self::from_parsed(&serde_json::from_str(json).map_err(unread)?)
    }

    pub(crate) fn from_parsed(jwk: &Jwk) -> Result<Self, KeyError> {
        let common = &jwk.common;
        let refuse = |reason: &str| Err(KeyError::Jwk(reason.into()));
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return refuse("its `use` is not `sig`");
        }
        let symmetric = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        if let Some(operations) = &common.key_operations {
            let wanted = |op: &KeyOperations| {
                *op == KeyOperations::Verify || (symmetric && *op == KeyOperations::Sign)
            };
            if !operations.iter().any(wanted) {
                return refuse("its `key_ops` do not allow `verify`");
            }
        }
        let named = match common.key_algorithm {
            None => None,
            Some(KeyAlgorithm::UNKNOWN_ALGORITHM) => return refuse("its `alg` is not supported"),
            Some(name) => match name.to_string().parse() {
                Ok(alg) => Some(alg),
                Err(_) => return refuse("its `alg` is not a signature algorithm"),
            },
        };
        let alg = |default: Algorithm, allowed: &[Algorithm]| match named {
            None => Ok(default),
            Some(alg) if allowed.contains(&alg) => Ok(alg),
            Some(alg) => Err(KeyError::Jwk(format!("its `alg` {alg:?} does not fit its `kty`"))),
        };
        let key = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let alg = alg(Algorithm::RS256, Algorithm::RSA)?;
                let (n, e) = (member(&rsa.n, "n")?, member(&rsa.e, "e")?);
                // Some issuers include the sign octet of ASN.1 in `n`.
                let n = n.strip_prefix(&[0]).unwrap_or(&n);
                check_rsa_size(n.len() * 8)?;
                if !is_rsa_exponent(&e) {
                    return refuse("its `e` is not an odd number from 3 to 2^33 - 1");
                }
                let verifier = Verifier::from_rsa_components(alg, n, &e);
                Self::verifying(alg, verifier, PublicParts::Rsa { n: n.to_vec(), e })?
            }
            AlgorithmParameters::EllipticCurve(ec) => {
                let (alg, size) = match ec.curve {
                    EllipticCurve::P256 => (alg(Algorithm::ES256, &[Algorithm::ES256])?, 32),
                    EllipticCurve::P384 => (alg(Algorithm::ES384, &[Algorithm::ES384])?, 48),
                    _ => return refuse("its `crv` is not P-256 or P-384"),
                };
                let (x, y) = (member(&ec.x, "x")?, member(&ec.y, "y")?);
                if x.len() != size || y.len() != size {
                    return refuse("`x` or `y` has the wrong length for its `crv`");
                }
                let point = [&[4][..], &x, &y].concat();
                let verifier = Verifier::from_public(alg, &point);
                Self::verifying(alg, verifier, PublicParts::Ec { x, y })?
            }
            AlgorithmParameters::OctetKeyPair(okp) => {
                if okp.curve != EllipticCurve::Ed25519 {
                    return refuse("its `crv` is not Ed25519");
                }
                let alg = alg(Algorithm::EdDSA, &[Algorithm::EdDSA])?;
                let x = member(&okp.x, "x")?;
                if x.len() != 32 {
                    return refuse("`x` is not 32 bytes long");
                }
                Self::verifying(alg, Verifier::from_public(alg, &x), PublicParts::Ed25519(x))?
            }
            AlgorithmParameters::OctetKey(oct) => {
                let alg = alg(Algorithm::HS256, Algorithm::HMAC)?;
                Self::hmac(alg, &member(&oct.value, "k")?)?
            }
            _ => return refuse("its `kty` is not supported"),
        };
        match &common.key_id {
            Some(kid) => key.with_kid(kid),
            None => Ok(key),
        }
    }

    /// Sets the key's `kid`, of 1 to 256 printable ASCII characters. Tokens that the key signs have
    /// this `kid`, and the key does not verify tokens with another one.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError::Kid`] for any other `kid`.
    pub fn with_kid(mut self, kid: &str) -> Result<Self, KeyError> {
        if !is_kid(kid) {
            return Err(KeyError::Kid(kid.into()));
        }
        self.kid = Some(kid.into());
        Ok(self)
    }

    /// Returns the one algorithm that this key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.alg
    }

    /// Returns the key's `kid`, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns whether this key can sign. Every key can verify.
    pub fn can_sign(&self) -> bool {
        self.signer.is_some()
    }

    /// Returns the parsed header, if `encoded` is the cached header.
    pub(crate) fn cached_header(&self, encoded: &str) -> Option<&Header> {
        self.cached_header.get().filter(|(known, _)| **known == *encoded).map(|(_, header)| header)
    }

    /// Caches a header that this key has signed.
    pub(crate) fn cache_header(&self, encoded: &str, header: Header) {
        if encoded.len() <= MAX_CACHED_HEADERS {
            // Another thread may have set the header first.
            let _ = self.cached_header.set((encoded.into(), header));
        }
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify(message, signature)
    }

    /// Returns whether both are the same public key, with the same algorithm and `kid`.
    pub(super) fn is_same_public(&self, other: &Self) -> bool {
        (self.alg, &self.kid) == (other.alg, &other.kid)
            && self.public.is_some()
            && self.public == other.public
    }

    /// Derives a separate secret for another purpose, or returns `None` if the key is not a shared
    /// secret.
    ///
    /// `label` must not be a message that a token signs. It contains a space, which no token does.
    pub(crate) fn derive(&self, label: &str) -> Option<Vec<u8>> {
        debug_assert!(label.contains(' '));
        self.alg.is_hmac().then(|| self.sign(label.as_bytes())).flatten()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.signer.as_ref()?.sign(message).ok()
    }

    fn signing(alg: Algorithm, signer: Result<Signer, Refused>) -> Result<Self, KeyError> {
        require_backend()?;
        let unusable = |Refused| KeyError::NotForAlgorithm { algorithm: alg, found: None };
        let signer = signer.map_err(unusable)?;
        let verifier = signer.verifier(alg).map_err(unusable)?;
        let public = signer.public_parts(alg);
        Ok(Self {
            alg,
            kid: None,
            verifier,
            signer: Some(signer),
            public,
            cached_header: OnceLock::new(),
        })
    }

    fn verifying(
        alg: Algorithm,
        verifier: Result<Verifier, Refused>,
        public: PublicParts,
    ) -> Result<Self, KeyError> {
        require_backend()?;
        let verifier = verifier
            .map_err(|Refused| KeyError::Jwk("its members do not make a valid key".into()))?;
        Ok(Self {
            alg,
            kid: None,
            verifier,
            signer: None,
            public: Some(public),
            cached_header: OnceLock::new(),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("alg", &self.alg)
            .field("kid", &self.kid)
            .field("can_sign", &self.can_sign())
            .finish_non_exhaustive()
    }
}

/// Returns whether this is an allowed `kid` of a token or a key: opaque, but short and safe to log.
pub(crate) fn is_kid(kid: &str) -> bool {
    (1..=256).contains(&kid.len()) && kid.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// Returns an error in a build without a cryptographic backend, which can't make any key.
pub(super) fn require_backend() -> Result<(), KeyError> {
    if crypto::HAS_BACKEND { Ok(()) } else { Err(KeyError::NoBackend) }
}

fn member(text: &str, name: &str) -> Result<Vec<u8>, KeyError> {
    B64.decode(text).map_err(|_| KeyError::Jwk(format!("`{name}` is not base64url")))
}

fn check_rsa_size(bits: usize) -> Result<(), KeyError> {
    if (2048..=8192).contains(&bits) { Ok(()) } else { Err(KeyError::RsaSize { bits }) }
}

/// Returns whether this is an RSA public exponent: odd, and at least 3 (RFC 8017 section 3.1).
/// AWS-LC verifies with exponents of up to 33 bits.
fn is_rsa_exponent(e: &[u8]) -> bool {
    let significant = e.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &e[first..]);
    let number = significant.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    significant.len() <= 5 && number % 2 == 1 && (3..1 << 33).contains(&number)
}

/// Returns why a secret is weak, if it is. It may be a sample that documents print and users copy,
/// typed text, or a key that is public.
fn weakness(secret: &[u8]) -> Option<&'static str> {
    const PUBLISHED: [&[u8]; 5] = [
        b"a-string-secret-at-least-256-bits-long",
        b"a-valid-string-secret-that-is-at-least-384-bits-long",
        b"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        b"your-256-bit-secret-your-256-bit-secret",
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    ];
    let text = secret.trim_ascii();
    if text.starts_with(b"-----BEGIN") {
        return Some("the text of a PEM file, which may be public (CVE-2015-9235)");
    }
    if text.starts_with(b"{") && memchr::memmem::find(text, b"\"kty\"").is_some() {
        return Some("the text of a JWK; use Key::from_jwk");
    }
    if public_kind(secret).is_some() {
        return Some("the bytes of a public key (CVE-2015-9235)");
    }
    if PUBLISHED.contains(&text) {
        return Some("a sample that is printed in public documents");
    }
    if secret.iter().collect::<HashSet<_>>().len() < 10 {
        return Some("of fewer than 10 different bytes");
    }
    // In random bytes no 16 bytes repeat. In a word repeated until it is long enough they do.
    let repeats = (1..=secret.len().saturating_sub(16))
        .any(|period| secret.ends_with(&secret[..secret.len() - period]));
    repeats.then_some("a text repeated, such as the samples that documents show")
}

const PROBES: [(Algorithm, &str); 4] = [
    (Algorithm::RS256, "an RSA key"),
    (Algorithm::ES256, "an EC key on P-256"),
    (Algorithm::ES384, "an EC key on P-384"),
    (Algorithm::EdDSA, "an Ed25519 key"),
];

fn private_kind(der: &[u8]) -> Option<&'static str> {
    let probe = PROBES.iter().find(|(alg, _)| Signer::from_private_der(*alg, der).is_ok());
    probe.map(|(_, name)| *name).or_else(|| public_kind(der).map(|_| "a public key"))
}

/// Returns whether this is one DER sequence from its first byte to its last, and longer than a bare
/// key.
fn is_wrapped(der: &[u8]) -> bool {
    let length = match der {
        [0x30, short @ ..=0x7f, ..] => 2 + usize::from(*short),
        [0x30, 0x81, length, ..] => 3 + usize::from(*length),
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => return false,
    };
    der.len() == length && length > 32
}

fn public_kind(der: &[u8]) -> Option<&'static str> {
    // 32 arbitrary bytes make an Ed25519 public key, so only wrapped ones count.
    let wrapped = is_wrapped(der);
    let probe = PROBES.iter().find(|(alg, _)| wrapped && Verifier::from_public(*alg, der).is_ok());
    probe.map(|(_, name)| *name)
}
