//! The key set. It holds several keys by `kid`: one signs, and all verify. The app can change the
//! set without a restart.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Algorithm;
use super::jws::Header;
use super::key::{Key, KeyError, require_backend};
use super::source::{KeySource, Seek};

pub(super) const MAX_KEYS: usize = 64;

/// The keys of one issuer. All of them verify, and the first one signs if the set can sign.
///
/// This type is a cheap handle. A clone shares the set, so an app can keep a clone and change the
/// keys of a running engine.
///
/// Rules
/// 1. A token's algorithm must be the key's algorithm. The token does not choose it.
/// 2. A token that names a `kid` is checked with the keys of that `kid` and algorithm, and with the
///    keys of its algorithm without a `kid`. A token without a `kid` is checked with every key of
///    its algorithm.
/// 3. HMAC secrets and public keys never mix in one set.
/// 4. [`rotate_to`](Self::rotate_to) lets a new key sign and keeps the old ones for verifying.
///    [`retire`](Self::retire) removes an old one. The next request uses the changed set.
/// 5. A set [with a source](Self::with_source) asks the source for keys that the set lacks.
///
/// ```
/// use everfresh::{Algorithm, Key, Keys};
///
/// # fn main() -> Result<(), everfresh::KeyError> {
/// # let (october, november): ([u8; 32], [u8; 32]) =
/// #     (std::array::from_fn(|n| n as u8), std::array::from_fn(|n| 99 + n as u8));
/// let old = Key::hmac(Algorithm::HS256, &october)?.with_kid("october")?;
/// let new = Key::hmac(Algorithm::HS256, &november)?.with_kid("november")?;
/// let keys = Keys::new(old)?;
/// keys.rotate_to(new)?;      // november signs, october still verifies
/// keys.retire("october")?;   // one access token lifetime later
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Keys {
    shared: Arc<Shared>,
    source: Option<Arc<dyn KeySource>>,
}

/// The state that all handles share.
struct Shared {
    set: ArcSwap<KeySet>,
    /// How often the set was changed, which is cheaper to read than the set. It is incremented
    /// after the change. A reader that loads it before the set therefore gets a set at least as
    /// new.
    version: AtomicU64,
    /// The `kid`s of the secrets that a key ring was derived from. Such a ring lives as long as its
    /// engine, even if the secret is retired.
    derived_from: Mutex<Vec<Option<String>>>,
}

/// A JWK set as it is read.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// One state of the keys.
pub(crate) struct KeySet {
    keys: Vec<Arc<Key>>,
    signs: bool,
}

impl Keys {
    /// Creates a set of one shared secret for HS256, of at least 32 random bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is too short or weak, as [`Key::hmac`] does.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(Key::hmac(Algorithm::HS256, secret.as_ref())?)
    }

    /// Creates a set of one shared secret for HS384, of at least 48 random bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is too short or weak, as [`Key::hmac`] does.
    pub fn hs384(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(Key::hmac(Algorithm::HS384, secret.as_ref())?)
    }

    /// Creates a set of one shared secret for HS512, of at least 64 random bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret is too short or weak, as [`Key::hmac`] does.
    pub fn hs512(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(Key::hmac(Algorithm::HS512, secret.as_ref())?)
    }

    /// Creates a set of one key that signs and verifies.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError::CannotSign`] if the key only verifies.
    pub fn new(signing: Key) -> Result<Self, KeyError> {
        Self::with_former(signing, [])
    }

    /// Creates a set of one key that signs, and of former (or coming) keys that only verify.
    ///
    /// # Errors
    ///
    /// Returns an error if `signing` can't sign, two keys have the same `kid`, HMAC secrets and
    /// public keys are mixed, or there are more than 64 keys.
    pub fn with_former(
        signing: Key,
        former: impl IntoIterator<Item = Key>,
    ) -> Result<Self, KeyError> {
        let keys = [signing].into_iter().chain(former).map(Arc::new).collect();
        Ok(Self::from_set(KeySet::of_own(keys, true)?))
    }

    /// Creates a set of keys that only verify, such as the keys of another issuer.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no keys or more than 64, two keys have the same `kid`, or HMAC
    /// secrets and public keys are mixed.
    pub fn verifying(keys: impl IntoIterator<Item = Key>) -> Result<Self, KeyError> {
        let keys = keys.into_iter().map(Arc::new).collect();
        Ok(Self::from_set(KeySet::of_own(keys, false)?))
    }

    /// Creates a set of every usable signature key of a JWK set, the JSON text of RFC 7517 section
    /// 5. The keys only verify.
    ///
    /// Keys that can't be used (encryption keys, unknown kinds or curves) are ignored. Public keys
    /// may share a `kid` (RFC 7517 section 4.5). The same key counts once. If different keys share
    /// a `kid`, a token is checked with the keys of its algorithm.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError::Jwk`] if the text is no JWK set, [`KeyError::Empty`] if no usable key is
    /// left, and an error if there are more than 64 keys, two secrets (`oct`) have the same `kid`,
    /// or secrets and public keys are mixed.
    pub fn from_jwk_set(json: &str) -> Result<Self, KeyError> {
        let unread = |_| KeyError::Jwk("the text is no JWK set, an object with `keys`".into());
        let JwkSet { keys: jwks } = serde_json::from_str(json).map_err(unread)?;
        if jwks.len() > MAX_KEYS {
            return Err(KeyError::TooMany(jwks.len()));
        }
        require_backend()?;
        let mut keys: Vec<Arc<Key>> = Vec::new();
        // Each key is read by itself, so a key of an unknown kind does not affect the others.
        let jwks = jwks.into_iter().filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok());
        for key in jwks.filter_map(|jwk| Key::from_parsed(&jwk).ok()) {
            if !keys.iter().any(|other| other.is_same_public(&key)) {
                keys.push(Arc::new(key));
            }
        }
        let secret = keys.first().is_some_and(|key| is_hmac(key));
        let set = if secret { KeySet::of_own(keys, false) } else { KeySet::new(keys, false) };
        Ok(Self::from_set(set?))
    }

    /// Lets `key` sign from now on. The former keys continue to verify.
    ///
    /// # Errors
    ///
    /// Returns an error if `key` can't sign, has the `kid` of a key in the set, is a secret among
    /// public keys or the reverse, or would be the 65th key.
    pub fn rotate_to(&self, key: Key) -> Result<(), KeyError> {
        let key = Arc::new(key);
        self.change(|old| {
            lacks_name(&old.keys, &key)?;
            let keys = [key.clone()].into_iter().chain(old.keys.iter().cloned()).collect();
            KeySet::new(keys, true)
        })
    }

    /// Lets `key` verify from now on, before it signs on any node.
    ///
    /// # Errors
    ///
    /// Returns an error if `key` has the `kid` of a key in the set, is a secret among public keys
    /// or the reverse, or would be the 65th key.
    pub fn announce(&self, key: Key) -> Result<(), KeyError> {
        let key = Arc::new(key);
        self.change(|old| {
            lacks_name(&old.keys, &key)?;
            let keys = old.keys.iter().cloned().chain([key.clone()]).collect();
            KeySet::new(keys, old.signs)
        })
    }

    /// Removes a former key. Access tokens that the key signed are refused from now on.
    ///
    /// If a key ring was derived from this secret when an engine was built, the ring still issues
    /// and opens refresh tokens until that engine is built again without the secret. In this case
    /// everfresh logs a warning.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError::CannotRetire`] if no key has this `kid`, or if the key signs, and
    /// [`KeyError::Empty`] if no key would be left.
    pub fn retire(&self, kid: &str) -> Result<(), KeyError> {
        self.change(|old| {
            let is_named = |key: &Key| key.kid() == Some(kid);
            let (retired, keys): (Vec<_>, Vec<_>) =
                old.keys.iter().cloned().partition(|key| is_named(key));
            if retired.is_empty() || old.signing().is_some_and(is_named) {
                return Err(KeyError::CannotRetire(kid.into()));
            }
            KeySet::new(keys, old.signs)
        })
    }

    /// Replaces all keys at once with the keys of another handle. The note about key rings at
    /// [`retire`](Self::retire) applies to each key that this removes.
    pub fn replace_with(&self, other: &Self) {
        self.shared.set.store(other.shared.set.load_full());
        self.changed();
    }

    /// Returns a handle to the same set that asks `source` for keys that the set lacks. A request
    /// that needs such a key waits for it. A request whose key is in the set never waits.
    ///
    /// The source updates the set with [`replace_with`](Self::replace_with), on a handle that has
    /// no source.
    pub fn with_source(self, source: impl KeySource) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Returns whether the set has a key that signs.
    pub fn can_sign(&self) -> bool {
        self.current().signs
    }

    /// Returns the public keys of the set as the JSON text of a JWK set, with which other servers
    /// verify everfresh's tokens. Shared secrets are left out.
    ///
    /// ```
    /// use everfresh::Keys;
    ///
    /// # fn main() -> Result<(), everfresh::KeyError> {
    /// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
    /// let keys = Keys::hs256(secret)?;
    /// assert_eq!(keys.public_jwk_set(), r#"{"keys":[]}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn public_jwk_set(&self) -> String {
        let set = self.current();
        let keys: Vec<_> = set.keys.iter().filter_map(|key| key.to_public_jwk()).collect();
        json!({ "keys": keys }).to_string()
    }

    /// Derives a secret for another purpose from each key, or returns `None` if a key is not a
    /// shared secret.
    pub(crate) fn derive(&self, label: &str) -> Option<Vec<Vec<u8>>> {
        let set = self.current();
        let derived = set.keys.iter().map(|key| key.derive(label)).collect::<Option<_>>()?;
        let names = set.keys.iter().map(|key| key.kid().map(str::to_owned));
        let derived_from = self.shared.derived_from.lock();
        derived_from.unwrap_or_else(PoisonError::into_inner).extend(names);
        Some(derived)
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.shared.set.load()
    }

    /// Returns a number that distinguishes each state of the set from the earlier ones. Read it
    /// before [`Self::current`].
    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    pub(crate) fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Asks the source for a key that the set lacks.
    pub(crate) fn seek(&self) -> Seek {
        self.source.as_ref().map_or(Seek::NotFound, |source| source.seek())
    }

    fn from_set(set: KeySet) -> Self {
        let (set, version) = (ArcSwap::from_pointee(set), AtomicU64::new(0));
        let shared = Shared { set, version, derived_from: Mutex::default() };
        Self { shared: Arc::new(shared), source: None }
    }

    /// Changes the set by compare and swap, so that two concurrent changes both take effect.
    fn change(&self, next: impl Fn(&KeySet) -> Result<KeySet, KeyError>) -> Result<(), KeyError> {
        loop {
            let old = self.shared.set.load_full();
            let new = Arc::new(next(&old)?);
            if Arc::ptr_eq(&self.shared.set.compare_and_swap(&old, new), &old) {
                self.changed();
                return Ok(());
            }
        }
    }

    /// Increments the version after a change of the set, and logs a warning for each removed secret
    /// whose key ring is still in use.
    fn changed(&self) {
        self.shared.version.fetch_add(1, Ordering::Release);
        let set = self.current();
        let derived_from = self.shared.derived_from.lock();
        derived_from.unwrap_or_else(PoisonError::into_inner).retain(|kid| {
            let stays = set.keys.iter().any(|key| key.kid() == kid.as_deref());
            if !stays {
                tracing::warn!(
                    target: "everfresh",
                    kid = kid.as_deref(),
                    "a key ring that was derived from this secret is still in use; build the engine \
                     again without the secret, or give the refresher a `key_ring` of its own"
                );
            }
            stays
        });
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.current().keys).finish()
    }
}

fn is_hmac(key: &Key) -> bool {
    key.algorithm().is_hmac()
}

/// Returns an error if one of the keys has the `kid` of `key`.
fn lacks_name(keys: &[Arc<Key>], key: &Key) -> Result<(), KeyError> {
    match key.kid() {
        Some(kid) if keys.iter().any(|other| other.kid() == Some(kid)) => {
            Err(KeyError::DuplicateKid(kid.into()))
        }
        _ => Ok(()),
    }
}

impl KeySet {
    fn new(keys: Vec<Arc<Key>>, signs: bool) -> Result<Self, KeyError> {
        let Some(first) = keys.first() else { return Err(KeyError::Empty) };
        if keys.len() > MAX_KEYS {
            return Err(KeyError::TooMany(keys.len()));
        }
        if signs && !first.can_sign() {
            return Err(KeyError::CannotSign);
        }
        if keys.iter().any(|key| is_hmac(key) != is_hmac(first)) {
            return Err(KeyError::MixedFamilies);
        }
        Ok(Self { keys, signs })
    }

    /// Creates a set of keys that were configured one by one. No two of them may have the same
    /// `kid`.
    fn of_own(keys: Vec<Arc<Key>>, signs: bool) -> Result<Self, KeyError> {
        let set = Self::new(keys, signs)?;
        for (at, key) in set.keys.iter().enumerate() {
            lacks_name(&set.keys[..at], key)?;
        }
        Ok(set)
    }

    /// Returns the key that signs, if there is one.
    pub(crate) fn signing(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.signs).map(AsRef::as_ref)
    }

    /// Returns whether a key for this algorithm has this `kid`.
    pub(crate) fn names(&self, alg: Algorithm, kid: &str) -> bool {
        self.keys.iter().any(|key| key.algorithm() == alg && key.kid() == Some(kid))
    }

    /// Returns the parsed header, if one of the keys has signed exactly these bytes before.
    pub(crate) fn cached_header(&self, encoded: &str) -> Option<&Header> {
        self.keys.iter().find_map(|key| key.cached_header(encoded))
    }

    /// Returns the keys that may have signed a token with this header (rule 2 of [`Keys`]).
    pub(crate) fn candidates<'k>(
        &'k self,
        alg: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &'k Key> {
        let of_alg = self.keys.iter().map(AsRef::as_ref).filter(move |key| key.algorithm() == alg);
        of_alg.filter(move |key| match (kid, key.kid()) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        })
    }
}
