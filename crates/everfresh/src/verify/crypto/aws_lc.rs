//! The aws-lc-rs backend. Every key is prepared once.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
    RsaEncoding, RsaParameters, VerificationAlgorithm,
};
use zeroize::Zeroizing;

use super::{PublicParts, Refused};
use crate::verify::Algorithm;

/// A prepared key that signs.
#[expect(clippy::large_enum_variant, reason = "one per key, behind an Arc")]
pub(crate) enum Signer {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A prepared key that checks signatures.
#[expect(clippy::large_enum_variant, reason = "one per key, behind an Arc")]
pub(crate) enum Verifier {
    Hmac(hmac::Key),
    Public(Box<ParsedPublicKey>),
}

impl Signer {
    pub(crate) fn hmac(alg: Algorithm, secret: &[u8]) -> Result<Self, Refused> {
        Ok(Self::Hmac(hmac::Key::new(hmac_algorithm(alg).ok_or(Refused)?, secret)))
    }

    /// Reads a private key from DER: PKCS#8 for every kind, and also PKCS#1 (RSA) and SEC 1 (EC).
    pub(crate) fn from_private_der(alg: Algorithm, der: &[u8]) -> Result<Self, Refused> {
        if let Some((_, encoding)) = rsa_algorithms(alg) {
            let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
            return Ok(Self::Rsa(Box::new(pair.map_err(|_| Refused)?), encoding));
        }
        if let Some((_, signing)) = ecdsa_algorithms(alg) {
            let pair = EcdsaKeyPair::from_private_key_der(signing, der).map_err(|_| Refused)?;
            return Ok(Self::Ecdsa(Box::new(pair)));
        }
        if alg == Algorithm::EdDSA {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| Refused)?;
            return Ok(Self::Ed25519(Box::new(pair)));
        }
        Err(Refused)
    }

    /// Returns the public half, or `None` for a shared secret.
    pub(crate) fn public_parts(&self, alg: Algorithm) -> Option<PublicParts> {
        match self {
            Self::Hmac(_) => None,
            Self::Rsa(pair, _) => public_parts(alg, pair.public_key().as_ref()),
            Self::Ecdsa(pair) => public_parts(alg, pair.public_key().as_ref()),
            Self::Ed25519(pair) => public_parts(alg, pair.public_key().as_ref()),
        }
    }

    /// Returns the half of this key that verifies. For a shared secret it is the secret.
    pub(crate) fn verifier(&self, alg: Algorithm) -> Result<Verifier, Refused> {
        match self {
            Self::Hmac(key) => Ok(Verifier::Hmac(key.clone())),
            Self::Rsa(pair, _) => Verifier::from_public(alg, pair.public_key().as_ref()),
            Self::Ecdsa(pair) => Verifier::from_public(alg, pair.public_key().as_ref()),
            Self::Ed25519(pair) => Verifier::from_public(alg, pair.public_key().as_ref()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut out).map_err(|_| Refused)?;
                Ok(out)
            }
            Self::Ecdsa(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| Refused),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl Verifier {
    /// Reads a public key from DER (SPKI, and for RSA also PKCS#1), or from the bare point or key
    /// of a curve.
    pub(crate) fn from_public(alg: Algorithm, key: &[u8]) -> Result<Self, Refused> {
        let parsed = ParsedPublicKey::new(public_algorithm(alg).ok_or(Refused)?, key);
        Ok(Self::Public(Box::new(parsed.map_err(|_| Refused)?)))
    }

    /// Creates a verifier from an RSA modulus and exponent, both big-endian.
    pub(crate) fn from_rsa_components(alg: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, Refused> {
        let (parameters, _) = rsa_algorithms(alg).ok_or(Refused)?;
        let parts = PublicKeyComponents { n, e };
        parts
            .to_parsed_public_key(parameters)
            .map(|key| Self::Public(Box::new(key)))
            .map_err(|_| Refused)
    }

    /// Returns whether the signature is valid. The comparison is constant-time for HMAC.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

fn hmac_algorithm(alg: Algorithm) -> Option<hmac::Algorithm> {
    match alg {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa_algorithms(alg: Algorithm) -> Option<(&'static RsaParameters, &'static dyn RsaEncoding)> {
    match alg {
        Algorithm::RS256 => {
            Some((&signature::RSA_PKCS1_2048_8192_SHA256, &signature::RSA_PKCS1_SHA256))
        }
        Algorithm::RS384 => {
            Some((&signature::RSA_PKCS1_2048_8192_SHA384, &signature::RSA_PKCS1_SHA384))
        }
        Algorithm::RS512 => {
            Some((&signature::RSA_PKCS1_2048_8192_SHA512, &signature::RSA_PKCS1_SHA512))
        }
        Algorithm::PS256 => {
            Some((&signature::RSA_PSS_2048_8192_SHA256, &signature::RSA_PSS_SHA256))
        }
        Algorithm::PS384 => {
            Some((&signature::RSA_PSS_2048_8192_SHA384, &signature::RSA_PSS_SHA384))
        }
        Algorithm::PS512 => {
            Some((&signature::RSA_PSS_2048_8192_SHA512, &signature::RSA_PSS_SHA512))
        }
        _ => None,
    }
}

fn ecdsa_algorithms(
    alg: Algorithm,
) -> Option<(&'static dyn VerificationAlgorithm, &'static EcdsaSigningAlgorithm)> {
    match alg {
        Algorithm::ES256 => {
            Some((&signature::ECDSA_P256_SHA256_FIXED, &signature::ECDSA_P256_SHA256_FIXED_SIGNING))
        }
        Algorithm::ES384 => {
            Some((&signature::ECDSA_P384_SHA384_FIXED, &signature::ECDSA_P384_SHA384_FIXED_SIGNING))
        }
        _ => None,
    }
}

fn public_algorithm(alg: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    if let Some((parameters, _)) = rsa_algorithms(alg) {
        return Some(parameters);
    }
    if let Some((verification, _)) = ecdsa_algorithms(alg) {
        return Some(verification);
    }
    (alg == Algorithm::EdDSA).then_some(&signature::ED25519)
}

/// Returns the numbers of a public key in a format that [`Verifier::from_public`] takes.
pub(crate) fn public_parts(alg: Algorithm, key: &[u8]) -> Option<PublicParts> {
    if rsa_algorithms(alg).is_some() {
        let key = aws_lc_rs::rsa::PublicKey::from_der(key).ok()?;
        let n = key.modulus().big_endian_without_leading_zero().to_vec();
        let e = key.exponent().big_endian_without_leading_zero().to_vec();
        return Some(PublicParts::Rsa { n, e });
    }
    let size = match alg {
        Algorithm::ES256 => 32,
        Algorithm::ES384 => 48,
        // The key is at the end of its DER wrapping (RFC 8410 section 4).
        _ => return Some(PublicParts::Ed25519(key.get(key.len().checked_sub(32)?..)?.to_vec())),
    };
    // An uncompressed point is at the end of its DER wrapping (RFC 5480 section 2.2).
    let point = key.get(key.len().checked_sub(2 * size + 1)?..)?;
    let (x, y) = point.strip_prefix(&[4])?.split_at(size);
    Some(PublicParts::Ec { x: x.to_vec(), y: y.to_vec() })
}

/// Returns the size of an RSA public key's modulus in bits, for the strength rule.
pub(crate) fn rsa_bits(der: &[u8]) -> Option<usize> {
    let key = aws_lc_rs::rsa::PublicKey::from_der(der).ok()?;
    Some(key.modulus().big_endian_without_leading_zero().len() * 8)
}

/// Compares two byte strings, in constant time if they have the same length.
pub(crate) fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// A prepared key for AES-256-GCM-SIV (RFC 8452). A repeated nonce reveals only whether two
/// messages are the same.
pub(crate) struct Aead(Box<LessSafeKey>);

/// The number of bytes that sealing adds to a message: the nonce before it, and the tag after it.
const AEAD_OVERHEAD: usize = NONCE_LEN + 16;

impl Aead {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, Refused> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).map_err(|_| Refused)?;
        Ok(Self(Box::new(LessSafeKey::new(key))))
    }

    /// Appends nonce, ciphertext and tag to `out`.
    pub(crate) fn seal(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Refused)?;
        out.reserve_exact(plain.len() + AEAD_OVERHEAD);
        out.extend_from_slice(&nonce);
        let from = out.len();
        out.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[from..]);
        out.extend_from_slice(tag.map_err(|_| Refused)?.as_ref());
        Ok(())
    }

    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(Refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refused)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let opened = self.0.open_in_place(nonce, Aad::from(aad), &mut plain);
        let length = opened.map_err(|_| Refused)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// A prepared key for HMAC-SHA256 over bytes that are not a token.
#[derive(Clone)]
pub(crate) struct Mac(Box<hmac::Key>);

impl Mac {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// Returns whether the tag is valid. The comparison is constant-time.
    pub(crate) fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        same_bytes(&self.tag(parts), tag)
    }
}
