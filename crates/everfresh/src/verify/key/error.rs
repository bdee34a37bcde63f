//! The errors of keys and key sets.

use std::fmt;

use crate::verify::Algorithm;

/// An error in a key or a set of keys. Its text says how to correct it.
///
/// No variant holds key material.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// This build has no cryptographic backend.
    NoBackend,
    /// The secret is shorter than the algorithm's hash (RFC 7518 section 3.2).
    SecretTooShort {
        /// The algorithm the secret was given for.
        algorithm: Algorithm,
        /// How many bytes it has.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// The secret is published, weak, or not a secret at all. The text says why.
    WeakSecret(&'static str),
    /// The input is not a PEM block that holds a key. The text says what was found.
    Pem(String),
    /// The bytes are not a key for this algorithm. The text says what they are, if known.
    NotForAlgorithm {
        /// The algorithm the key was given for.
        algorithm: Algorithm,
        /// What the bytes hold instead, if they could be read.
        found: Option<&'static str>,
    },
    /// No signature algorithm that everfresh accepts has this name.
    UnknownAlgorithm(String),
    /// The RSA modulus does not have 2,048 to 8,192 bits.
    RsaSize {
        /// How many bits it has.
        bits: usize,
    },
    /// The JWK can't be used for signatures. The text says why.
    Jwk(String),
    /// The `kid` is empty, longer than 256 bytes, or not printable ASCII.
    Kid(String),
    /// Two keys have the same `kid`.
    DuplicateKid(String),
    /// One set has HMAC secrets and public keys (RFC 8725 section 2.1).
    MixedFamilies,
    /// The set has no key, or no usable key.
    Empty,
    /// The set has more than 64 keys.
    TooMany(usize),
    /// The key that should sign can only verify.
    CannotSign,
    /// No key has this `kid`, or the key signs and therefore can't be retired.
    CannotRetire(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackend => f.write_str(
                "everfresh was built without a cryptographic backend; switch on its feature \
                 `aws-lc` (a default feature)",
            ),
            Self::SecretTooShort { algorithm, found: 0, needed } => write!(
                f,
                "the {algorithm:?} secret is empty; give at least {needed} random bytes, for \
                 example from `openssl rand -hex 32`"
            ),
            Self::SecretTooShort { algorithm, found, needed } => write!(
                f,
                "the {algorithm:?} secret has {found} bytes, {algorithm:?} needs at least {needed} \
                 (RFC 7518 section 3.2); make one with `openssl rand -hex 32`"
            ),
            Self::WeakSecret(reason) => {
                write!(f, "the secret is {reason}; make one with `openssl rand -hex 32`")
            }
            Self::Pem(found) => write!(
                f,
                "this is not a PEM key: {found}; allowed are PRIVATE KEY, RSA PRIVATE KEY, \
                 EC PRIVATE KEY, PUBLIC KEY and RSA PUBLIC KEY"
            ),
            Self::NotForAlgorithm { algorithm, found: Some(found) } => {
                write!(f, "{algorithm:?} needs {}, but this is {found}", needed_for(*algorithm))
            }
            Self::NotForAlgorithm { algorithm, found: None } => write!(
                f,
                "{algorithm:?} needs {}, but these bytes can't be read as a key",
                needed_for(*algorithm)
            ),
            Self::UnknownAlgorithm(name) => {
                let names = Algorithm::ALL.map(Algorithm::name).join(", ");
                write!(f, "no signature algorithm {name:?} is known; allowed are {names}")
            }
            Self::RsaSize { bits } => write!(
                f,
                "the RSA key has {bits} bits; allowed are 2048 to 8192 (RFC 7518 section 3.3); \
                 make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`"
            ),
            Self::Jwk(reason) => write!(
                f,
                "this JWK can't be used: {reason}; use a key for signatures: RSA, P-256, P-384, \
                 Ed25519 or `oct`"
            ),
            Self::Kid(found) => {
                let start: String = found.chars().take(40).collect();
                let more = if start.len() < found.len() { ".." } else { "" };
                write!(
                    f,
                    "the kid \"{}{more}\" has {} bytes; allowed are 1 to 256 printable ASCII \
                     characters",
                    start.escape_debug(),
                    found.len()
                )
            }
            Self::DuplicateKid(kid) => {
                write!(f, "two keys have the kid {kid:?}; every key needs its own")
            }
            Self::MixedFamilies => f.write_str(
                "the set holds HMAC keys and public keys; use only one kind (RFC 8725 section 2.1)",
            ),
            Self::Empty => f.write_str("the set has no usable key; add at least one"),
            Self::TooMany(found) => {
                write!(f, "there are {found} keys in a set; allowed are 1 to 64")
            }
            Self::CannotSign => f.write_str(
                "the first key should sign but is public; give the private key, or use \
                 Keys::verifying",
            ),
            Self::CannotRetire(kid) => write!(
                f,
                "no key with the kid {kid:?} can be retired: it is unknown, or it signs; rotate \
                 to another key first"
            ),
        }
    }
}

crate::debug_is_display!(KeyError);

impl std::error::Error for KeyError {}

fn needed_for(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "an EC key on P-256",
        Algorithm::ES384 => "an EC key on P-384",
        Algorithm::EdDSA => "an Ed25519 key",
        other if other.is_hmac() => "a secret (Key::hmac)",
        _ => "an RSA key of 2048 to 8192 bits",
    }
}
