//! Keys of everfresh's own tags and seals.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Key, KeyError};
use crate::verify::{Algorithm, crypto};

/// HMAC-SHA256 with a secret of at least 32 bytes, for messages that are not JWTs.
#[derive(Clone)]
pub(crate) struct MacKey(crypto::Mac);

impl MacKey {
    pub(crate) fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        // The rules and errors are the same as for a signing secret.
        Key::hmac(Algorithm::HS256, secret)?;
        #[cfg(feature = "aws-lc")]
        return Ok(Self(crypto::Mac::new(secret)));
        #[cfg(not(feature = "aws-lc"))]
        Err(KeyError::NoBackend)
    }

    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.0.tag(parts)
    }

    pub(crate) fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.0.verify(parts, tag)
    }
}

/// A key that seals messages which only everfresh can read, and which no other party can change.
#[derive(Clone)]
pub(crate) struct SealKey(Arc<crypto::Aead>);

impl SealKey {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, KeyError> {
        crypto::Aead::new(key).map(|key| Self(Arc::new(key))).map_err(|_| KeyError::NoBackend)
    }

    /// Appends the sealed message to `out`. Returns `None` if the system returned no random bytes.
    pub(crate) fn seal(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        self.0.seal(aad, plain, out).ok()
    }

    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.0.open(aad, sealed).ok()
    }
}
