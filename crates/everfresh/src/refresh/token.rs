//! Refresh tokens: opaque to the client, derived from the row, and verified twice.
//!
//! `version . key id . sid . generation . outer tag . inner tag`, 93 bytes, as base64url. The outer
//! tag is an HMAC-SHA256 under the server's key ring over everything before it and the engine's
//! issuer and audience. It is verified without I/O, so forged bytes cause no store call. The inner
//! tag is an HMAC under the ring and the row's salt: the ring alone is not enough to forge it, and
//! nothing in the store can be replayed.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{LazyLock, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use zeroize::Zeroizing;

use crate::store::SessionId;
use crate::verify::{KeyError, MacKey, SealKey};

const VERSION: u8 = 1;
const TAG: usize = 32;
const BODY: usize = 1 + 4 + 16 + 8;
const LENGTH: usize = BODY + 2 * TAG;
/// The length of `LENGTH` bytes as base64url.
const TEXT: usize = 124;

/// A refresh token as text, ready to be sent.
///
/// `Debug` shows only its length.
#[derive(Clone)]
pub struct RefreshToken {
    text: Zeroizing<String>,
    /// Empty if the text does not come from a request, or was not needed yet.
    opened: Opened,
}

impl RefreshToken {
    /// Wraps the text of a token.
    pub fn new(token: String) -> Self {
        Self::opened(token, Opened::default())
    }

    /// `opened`: what this very text was found to be.
    pub(crate) fn opened(token: String, opened: Opened) -> Self {
        Self { text: Zeroizing::new(token), opened }
    }

    /// Returns the token's text. A party that holds it can keep the session alive.
    pub fn expose(&self) -> &str {
        &self.text
    }

    pub(super) fn memo(&self) -> &Opened {
        &self.opened
    }
}

impl PartialEq for RefreshToken {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RefreshToken {}

/// What [`Rotate`](super::Rotate) found the text of a refresh token to be. It goes with the text
/// through a request, so that its tag is verified once.
#[derive(Clone, Default)]
pub(crate) struct Opened(OnceLock<Box<Finding>>);

#[derive(Clone)]
struct Finding {
    /// Whose finding it is. Another refresher has other keys.
    owner: u64,
    /// Of which text. A refresher around another one may hand it a part of what was presented.
    text: Zeroizing<Vec<u8>>,
    credential: Option<Credential>,
}

impl Opened {
    /// Returns what the text is to `owner`, which opens it by `open` unless it did so before.
    pub(super) fn by(
        &self,
        owner: u64,
        text: &[u8],
        open: impl Fn() -> Option<Credential>,
    ) -> Option<Credential> {
        let copy = || Zeroizing::new(text.to_vec());
        let find = || Box::new(Finding { owner, text: copy(), credential: open() });
        match &**self.0.get_or_init(find) {
            finding if finding.owner == owner && **finding.text == *text => {
                finding.credential.clone()
            }
            _ => open(),
        }
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({} bytes)", self.text.len())
    }
}

/// The keys that refresh tokens are derived with. The first key derives tokens, and all keys verify
/// them.
///
/// The ring is separate from the signing keys. To rotate it, first give every node the new key as a
/// former one, then make it the first key. Keep a former key for as long as a session may be idle.
///
/// ```
/// use everfresh::KeyRing;
///
/// # fn main() -> Result<(), everfresh::KeyError> {
/// # let (october, november): ([u8; 32], [u8; 32]) =
/// #     (std::array::from_fn(|n| n as u8), std::array::from_fn(|n| 99 + n as u8));
/// let ring = KeyRing::new(&november)?.and_former(&october)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyRing(Vec<RingKey>);

#[derive(Clone)]
struct RingKey {
    id: u32,
    outer: MacKey,
    inner: MacKey,
    seal: SealKey,
}

impl KeyRing {
    /// Returns a ring of one key, made from 32 random bytes or more.
    ///
    /// # Errors
    /// [`KeyError`] if the secret can't be used.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(vec![RingKey::new(secret)?]))
    }

    /// Adds a former key, which only verifies.
    ///
    /// # Errors
    /// [`KeyError`] if the secret can't be used, or is in the ring already.
    pub fn and_former(mut self, secret: &[u8]) -> Result<Self, KeyError> {
        let key = RingKey::new(secret)?;
        if self.0.iter().any(|other| other.id == key.id) {
            return Err(KeyError::DuplicateKid(format!("{:08x}", key.id)));
        }
        self.0.push(key);
        Ok(self)
    }

    fn key(&self, id: u32) -> Option<&RingKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Returns the key that seals, and its id.
    pub(super) fn sealing(&self) -> (u32, &SealKey) {
        (self.0[0].id, &self.0[0].seal)
    }

    /// Returns the key of this id, to open sealed data.
    pub(super) fn opening(&self, id: u32) -> Option<&SealKey> {
        self.key(id).map(|key| &key.seal)
    }

    /// Returns the id of the key that derives tokens.
    pub(crate) fn current(&self) -> u32 {
        self.0[0].id
    }

    /// Derives the refresh token of one generation of a session. `None` if the key is not in the
    /// ring.
    pub(crate) fn derive(
        &self,
        scope: &Scope,
        key_id: u32,
        sid: SessionId,
        generation: u64,
        salt: &[u8; 16],
    ) -> Option<RefreshToken> {
        let key = self.key(key_id)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
        bytes.push(VERSION);
        bytes.extend_from_slice(&key_id.to_be_bytes());
        bytes.extend_from_slice(sid.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        let body = bytes.clone();
        bytes.extend_from_slice(&key.outer.tag(&[&body, &scope.0]));
        bytes.extend_from_slice(&key.inner.tag(&[&body, salt]));
        Some(RefreshToken::new(B64.encode(&*bytes)))
    }

    /// Decodes a presented token and verifies its outer tag, without I/O.
    pub(crate) fn open(&self, scope: &Scope, text: &[u8]) -> Result<Credential, NotOurs> {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        if text.len() != TEXT {
            return Err(NotOurs::Foreign);
        }
        let mut bytes = Zeroizing::new([0; LENGTH]);
        if B64.decode_slice(text, bytes.as_mut_slice()) != Ok(LENGTH) || bytes[0] != VERSION {
            return Err(NotOurs::Foreign);
        }
        let (body, tags) = bytes.split_at(BODY);
        let (outer, inner) = tags.split_at(TAG);
        let mut credential = Credential {
            key_id: u32::from_be_bytes(fixed(&body[1..5])),
            sid: SessionId::from_bytes(fixed(&body[5..21])),
            generation: u64::from_be_bytes(fixed(&body[21..])),
            body: Zeroizing::new(fixed(body)),
            inner: Zeroizing::new(fixed(inner)),
        };
        let key = self.key(credential.key_id).ok_or(NotOurs::UnknownKey)?;
        if !key.outer.verify(&[body, &scope.0], outer) {
            return Err(NotOurs::Foreign);
        }
        // A counter that goes up by one a rotation never gets near its end.
        credential.generation = credential.generation.min(u64::MAX - 2);
        Ok(credential)
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread opened a refresh token.
    pub(crate) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Returns the session that a text names, if the text has the length of a refresh token. Nothing is
/// verified.
pub(crate) fn named_session(text: &[u8]) -> Option<SessionId> {
    /// The part before the generation: a multiple of three bytes, so a whole number of characters.
    const NAMED: usize = 1 + 4 + 16;
    let mut bytes = [0; NAMED];
    let named = text.get(..NAMED / 3 * 4).filter(|_| text.len() == TEXT)?;
    B64.decode_slice(named, &mut bytes).ok()?;
    Some(SessionId::from_bytes(fixed(&bytes[5..])))
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|key| format!("{:08x}", key.id));
        f.debug_list().entries(ids).finish()
    }
}

impl RingKey {
    fn new(secret: &[u8]) -> Result<Self, KeyError> {
        let base = MacKey::from_secret(secret)?;
        let derived = |label: &[u8]| MacKey::from_secret(&base.tag(&[b"everfresh v1", label]));
        let id = base.tag(&[b"everfresh v1", b"refresh token key id"]);
        Ok(Self {
            id: u32::from_be_bytes(fixed(&id[..4])),
            outer: derived(b"refresh token outer tag")?,
            inner: derived(b"refresh token inner tag")?,
            seal: SealKey::new(&base.tag(&[b"everfresh v1", b"sealing key"]))?,
        })
    }
}

/// What a refresh token is bound to besides its session: the engine's issuer and audience.
#[derive(Clone, Debug)]
pub(crate) struct Scope(Vec<u8>);

impl Scope {
    pub(crate) fn new(issuer: &str, audience: &str) -> Self {
        // The length before the issuer keeps issuer and audience apart.
        let mut bytes = (issuer.len() as u64).to_be_bytes().to_vec();
        bytes.extend_from_slice(issuer.as_bytes());
        bytes.extend_from_slice(audience.as_bytes());
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a presented text is not accepted as a refresh token of this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOurs {
    /// Another issuer's token, or an incomplete one.
    Foreign,
    /// The token names a key that is not in the ring, perhaps a former one. The engine leaves it
    /// alone.
    UnknownKey,
}

/// A refresh token whose outer tag is good.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) sid: SessionId,
    pub(crate) generation: u64,
    pub(crate) key_id: u32,
    body: Zeroizing<[u8; BODY]>,
    inner: Zeroizing<[u8; TAG]>,
}

impl Credential {
    /// Returns a number that tells this text from any other, even from one whose inner tag is
    /// forged. Only the row can tell which of two texts is genuine, and until then they share no
    /// refresh. The number covers the whole tag, because an attacker with a copy could change any
    /// part that it left out. A later generation has a greater number.
    pub(crate) fn fingerprint(&self) -> u64 {
        /// Keyed at random, so that an attacker can't search for two tags with the same number.
        static MARKS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        /// The remaining bits for generations last for years at a rotation a minute.
        const TAG_BITS: u32 = 40;
        let generation = self.generation.min(u64::MAX >> TAG_BITS);
        (generation << TAG_BITS) + (MARKS.hash_one(*self.inner) >> (u64::BITS - TAG_BITS))
    }

    /// Returns whether the inner tag fits the row's salt.
    pub(crate) fn fits(&self, ring: &KeyRing, salt: &[u8; 16]) -> bool {
        ring.key(self.key_id)
            .is_some_and(|key| key.inner.verify(&[&*self.body, salt], &*self.inner))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} generation {})", self.sid, self.generation)
    }
}

/// PANIC: called with slices of constant length alone.
fn fixed<const N: usize>(slice: &[u8]) -> [u8; N] {
    slice.try_into().expect("a slice of this length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: SessionId = SessionId::from_bytes([7; 16]);
    const SALT: [u8; 16] = [9; 16];
    const OCTOBER: &[u8] = b"G6Hj5Vt5KX2ZcVFTVKCfpFG9VFUqWWbZ";
    const NOVEMBER: &[u8] = b"M8GkDNsi9tA3codC8Q6Cz6YJs2kuBVAE";

    fn scope() -> Scope {
        Scope::new("https://app.example", "app")
    }

    fn derive(ring: &KeyRing, generation: u64) -> RefreshToken {
        ring.derive(&scope(), ring.current(), SID, generation, &SALT).unwrap()
    }

    #[test]
    fn a_token_is_derived_and_read_back() {
        let ring = KeyRing::new(OCTOBER).unwrap();
        let token = derive(&ring, 41);
        assert_eq!(token, derive(&ring, 41), "every racer derives the same bytes");
        assert_ne!(token, derive(&ring, 42));
        assert_eq!(token.expose().len(), TEXT);
        let credential = ring.open(&scope(), token.expose().as_bytes()).unwrap();
        assert_eq!((credential.sid, credential.generation), (SID, 41));
        assert!(credential.fits(&ring, &SALT));
        assert!(!credential.fits(&ring, &[8; 16]), "the ring alone forges nothing");
        assert_eq!(format!("{token:?}"), "RefreshToken(124 bytes)");
    }

    // Rows: M4.
    #[test]
    fn a_token_names_its_session_before_anything_is_checked() {
        let token = derive(&KeyRing::new(OCTOBER).unwrap(), 41);
        let text = token.expose().as_bytes();
        assert_eq!(named_session(text), Some(SID));
        assert_eq!(named_session(&text[1..]), None);
        assert_eq!(named_session(&[b'!'; TEXT]), None);
        assert_eq!(named_session(b""), None);
    }

    // Rows: F110.
    #[test]
    fn a_changed_or_foreign_text_is_no_token() {
        let ring = KeyRing::new(OCTOBER).unwrap();
        let token = derive(&ring, 1);
        let text = token.expose();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            match ring.open(&scope(), &bytes) {
                Err(_) => {}
                // The inner tag is for the row to check.
                Ok(credential) => assert!(!credential.fits(&ring, &SALT), "byte {at}"),
            }
        }
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = b'!';
            assert!(ring.open(&scope(), &bytes).is_err(), "no base64url at {at}");
        }
        for foreign in ["x", "", &text[1..], &format!("{text}A"), &"A".repeat(TEXT)] {
            assert!(ring.open(&scope(), foreign.as_bytes()).is_err());
        }
        let other = Scope::new("https://app.exampleapp", "");
        assert!(ring.open(&other, text.as_bytes()).is_err(), "another engine's");
        let november = KeyRing::new(NOVEMBER).unwrap();
        assert_eq!(november.open(&scope(), text.as_bytes()).unwrap_err(), NotOurs::UnknownKey);
    }

    #[test]
    fn a_token_of_another_version_is_none() {
        let ring = KeyRing::new(OCTOBER).unwrap();
        let of = |version: u8| {
            let mut bytes = B64.decode(derive(&ring, 1).expose()).unwrap();
            bytes[0] = version;
            let (outer, inner) = (&ring.0[0].outer, &ring.0[0].inner);
            let body = bytes[..BODY].to_vec();
            bytes[BODY..BODY + TAG].copy_from_slice(&outer.tag(&[&body, &scope().0]));
            bytes[BODY + TAG..].copy_from_slice(&inner.tag(&[&body, &SALT]));
            ring.open(&scope(), B64.encode(bytes).as_bytes())
        };
        assert!(of(VERSION).is_ok());
        assert_eq!(of(VERSION + 1).unwrap_err(), NotOurs::Foreign);
    }

    // Rows: S45.
    #[test]
    fn generations_count_to_their_end() {
        let ring = KeyRing::new(OCTOBER).unwrap();
        let opened = |generation| {
            let token = derive(&ring, generation);
            ring.open(&scope(), token.expose().as_bytes()).unwrap()
        };
        assert_eq!(opened(u64::MAX).generation, u64::MAX - 2, "one more is no overflow");
        assert_eq!(opened(u64::MAX - 3).generation, u64::MAX - 3);
        let rank = |generation| opened(generation).fingerprint() >> 40;
        assert_eq!((rank(0), rank(1), rank(1 << 20)), (0, 1, 1 << 20), "a later one is greater");
        assert_eq!((rank((1 << 24) - 1), rank(1 << 24)), ((1 << 24) - 1, (1 << 24) - 1));
    }

    // Rows: S55.
    #[test]
    fn a_copy_that_is_changed_anywhere_shares_nothing_with_the_token() {
        let ring = KeyRing::new(OCTOBER).unwrap();
        let token = derive(&ring, 1);
        let fingerprint = |text: &[u8]| Some(ring.open(&scope(), text).ok()?.fingerprint());
        let genuine = fingerprint(token.expose().as_bytes());
        assert!(genuine.is_some());
        let mut opened = 0;
        for at in 0..TEXT {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = fingerprint(&bytes);
            opened += usize::from(changed.is_some());
            assert_ne!(changed, genuine, "character {at}");
        }
        assert!(opened >= 42, "the inner tag is 42 characters and a part of one: {opened}");
    }

    // Rows: F49.
    #[test]
    fn tokens_derived_before_a_ring_rotates_are_accepted_after_it() {
        let old = KeyRing::new(OCTOBER).unwrap();
        let new = KeyRing::new(NOVEMBER).unwrap().and_former(OCTOBER).unwrap();
        let token = derive(&old, 1);
        let credential = new.open(&scope(), token.expose().as_bytes()).unwrap();
        assert!(credential.fits(&new, &SALT));
        assert_ne!(new.current(), old.current());
        assert_eq!(new.derive(&scope(), old.current(), SID, 1, &SALT), Some(token));
        assert!(old.derive(&scope(), new.current(), SID, 1, &SALT).is_none());
        assert!(KeyRing::new(OCTOBER).unwrap().and_former(OCTOBER).is_err());
        assert!(KeyRing::new(b"short").is_err());
        assert!(!format!("{new:?}").contains("october"));
    }
}
