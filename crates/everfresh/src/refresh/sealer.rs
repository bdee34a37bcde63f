//! Sealing of data that only everfresh may read, such as tokens of another server, wherever they
//! are kept.
//!
//! `version . key id . nonce . ciphertext . tag`, by AES-256-GCM-SIV under a key of the ring, with
//! a separate label. The place that the data is bound to is not part of it: the caller that opens
//! it names the place where it was found.

use std::fmt;

use zeroize::Zeroizing;

use super::token::{KeyRing, Scope};

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4;

/// Seals with the ring's first key and opens with all of its keys. Sealed data is bound to the
/// engine's issuer and audience.
///
/// A [`UpstreamTokenKeeper`](super::UpstreamTokenKeeper) gets one. It uses the key ring of the
/// refresh tokens and rotates with it: keep a former key for as long as a session may be idle.
#[derive(Clone)]
pub struct Sealer {
    ring: KeyRing,
    scope: Scope,
}

/// Why sealed data could not be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsealError {
    /// The data names a key that is not in the ring; a former key of the ring may have sealed it.
    UnknownKey,
    /// The data was not sealed here, is not complete, or was sealed for another place.
    Foreign,
}

impl Sealer {
    pub(crate) fn new(ring: KeyRing, scope: Scope) -> Self {
        Self { ring, scope }
    }

    /// Seals `plain` for this place; [`open`](Self::open) has to name the same place. Sealing adds
    /// 33 bytes. Returns `None` if the system provides no random bytes.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let (id, key) = self.ring.sealing();
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&id.to_be_bytes());
        key.seal(&self.bound(place, id), plain, &mut sealed)?;
        Some(sealed)
    }

    /// Opens data that was sealed for this place.
    ///
    /// # Errors
    /// [`UnsealError`] if no key of the ring opens it in this place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (head, sealed) = sealed.split_at_checked(HEAD).ok_or(UnsealError::Foreign)?;
        let [VERSION, a, b, c, d] = *head else { return Err(UnsealError::Foreign) };
        let id = u32::from_be_bytes([a, b, c, d]);
        let key = self.ring.opening(id).ok_or(UnsealError::UnknownKey)?;
        key.open(&self.bound(place, id), sealed).ok_or(UnsealError::Foreign)
    }

    fn bound(&self, place: &[u8], id: u32) -> Vec<u8> {
        let mut bound = vec![VERSION];
        bound.extend_from_slice(&id.to_be_bytes());
        bound.extend_from_slice(&(place.len() as u64).to_be_bytes());
        bound.extend_from_slice(place);
        bound.extend_from_slice(self.scope.as_bytes());
        bound
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl fmt::Display for UnsealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => {
                "it is sealed with a key that is not in the ring; give the ring its former key"
            }
            Self::Foreign => {
                "the bytes were not sealed with these keys, or were sealed for another location"
            }
        })
    }
}

crate::debug_is_display!(UnsealError);

impl std::error::Error for UnsealError {}

#[cfg(test)]
mod tests {
    use super::*;

    const OCTOBER: &[u8] = b"G6Hj5Vt5KX2ZcVFTVKCfpFG9VFUqWWbZ";
    const NOVEMBER: &[u8] = b"M8GkDNsi9tA3codC8Q6Cz6YJs2kuBVAE";

    fn sealer(ring: KeyRing) -> Sealer {
        Sealer::new(ring, Scope::new("https://app.example", "app"))
    }

    // Rows: S83.
    #[test]
    fn sealed_bytes_open_in_their_own_location_alone() {
        let sealer = sealer(KeyRing::new(OCTOBER).unwrap());
        let sealed = sealer.seal(b"row 1", b"a token").unwrap();
        assert_eq!(sealer.open(b"row 1", &sealed).unwrap().as_slice(), b"a token");
        assert_eq!(sealed.len(), b"a token".len() + 33);
        assert_eq!(sealer.open(b"row 2", &sealed), Err(UnsealError::Foreign));
        let elsewhere =
            Sealer { scope: Scope::new("https://other.example", "app"), ..sealer.clone() };
        assert_eq!(elsewhere.open(b"row 1", &sealed), Err(UnsealError::Foreign));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(b"row 1", &changed).is_err(), "byte {at}");
            assert!(sealer.open(b"row 1", &sealed[..at]).is_err(), "{at} bytes");
        }
        assert!(!format!("{sealer:?}").contains("october"));
    }

    #[test]
    fn sealed_bytes_take_no_more_room_than_needed() {
        let sealer = sealer(KeyRing::new(OCTOBER).unwrap());
        for length in [0, 7, 1000, 4000] {
            let sealed = sealer.seal(b"row 1", &vec![b'x'; length]).unwrap();
            assert_eq!((sealed.len(), sealed.capacity()), (length + 33, length + 33));
        }
    }

    // Rows: S83.
    #[test]
    fn two_sealings_of_one_text_have_two_nonces() {
        let sealer = sealer(KeyRing::new(OCTOBER).unwrap());
        let sealed: std::collections::HashSet<_> =
            (0..10_000).map(|_| sealer.seal(b"", b"the same").unwrap()[5..17].to_vec()).collect();
        assert_eq!(sealed.len(), 10_000);
    }

    // Rows: F49, S83.
    #[test]
    fn tokens_sealed_before_a_ring_rotates_are_opened_after_it() {
        let old = sealer(KeyRing::new(OCTOBER).unwrap());
        let new = sealer(KeyRing::new(NOVEMBER).unwrap().and_former(OCTOBER).unwrap());
        let sealed = old.seal(b"row", b"a token").unwrap();
        assert_eq!(new.open(b"row", &sealed).unwrap().as_slice(), b"a token");
        let sealed = new.seal(b"row", b"a token").unwrap();
        assert_eq!(old.open(b"row", &sealed), Err(UnsealError::UnknownKey));
    }
}
