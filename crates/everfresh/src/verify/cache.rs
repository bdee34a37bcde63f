//! The cache of verified tokens: a bounded table that is read without a lock.
//!
//! Rules
//! 1. The cache holds only tokens whose signature and claims are valid, so a client that can't sign
//!    in can't fill it. An invalid token is verified, and refused, each time.
//! 2. A hit compares the whole token, byte by byte. A keyed hash of the end of the token's
//!    signature selects the slots, and clients can't predict it.
//! 3. An entry is dead once the token expires, before it is valid (after the clock stepped back),
//!    and once the key set has changed in any way. A lookup that finds a dead entry removes it.
//! 4. Each request checks after the lookup whether the session is revoked, and removes the entry if
//!    it is.
//! 5. A token has eight slots. If all are taken, the token that expires first is replaced.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use zeroize::Zeroizing;

use super::Verified;
use crate::clock::Timestamp;

const WAYS: usize = 8;

/// How many bytes at a token's end are hashed. They encode 12 bytes of its signature.
const HASHED: usize = 16;

/// Maps the bytes of a token to the verified token.
pub(crate) struct Cache<C> {
    /// The key of the hash, which makes the slots unpredictable.
    secret: [u64; 2],
    sets: Box<[Set<C>]>,
}

/// The slots of the tokens that share one part of their hash.
#[repr(align(64))]
struct Set<C> {
    /// The hash of the token in the slot of the same index, or zero for an empty slot. A tag only
    /// avoids loading a slot without a match, because a tag and its slot do not change atomically.
    tags: [AtomicU64; WAYS],
    slots: [ArcSwapOption<Entry<C>>; WAYS],
}

struct Entry<C> {
    token: Zeroizing<Box<[u8]>>,
    /// The version of the key set that verified the token, or an earlier version.
    version: u64,
    verified: Arc<Verified<C>>,
}

impl<C> Cache<C> {
    /// Creates a cache for at most this many tokens. Fewer than eight turn it off.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = (0..entries / WAYS).map(|_| Set::new()).collect();
        let random = RandomState::new();
        Self { secret: [random.hash_one(0), random.hash_one(1)], sets }
    }

    /// Returns the verified token, if this version of the key set verified exactly this token and
    /// the result still holds.
    pub(crate) fn find(
        &self,
        token: &[u8],
        version: u64,
        now: Timestamp,
    ) -> Option<Arc<Verified<C>>> {
        self.look_up(token, |entry, set, way| {
            let verified = &entry.verified;
            let alive = (verified.valid_from..verified.expires).contains(&now);
            if alive && entry.version == version {
                return Some(verified.clone());
            }
            set.clear(way);
            None
        })
    }

    /// Stores a token that this version of the key set has just verified.
    pub(crate) fn insert(&self, token: &[u8], version: u64, verified: &Arc<Verified<C>>) {
        let Some((set, tag)) = self.place(token) else { return };
        let way = set.victim(tag, version);
        let token = Zeroizing::new(token.into());
        let entry = Entry { token, version, verified: verified.clone() };
        set.slots[way].store(Some(Arc::new(entry)));
        set.tags[way].store(tag, Ordering::Relaxed);
    }

    /// Removes a token that does not count any more.
    pub(crate) fn forget(&self, token: &[u8]) {
        self.look_up(token, |_, set, way| {
            set.clear(way);
            Some(())
        });
    }

    fn place(&self, token: &[u8]) -> Option<(&Set<C>, u64)> {
        if self.sets.is_empty() {
            return None;
        }
        // A shorter text is not a token, and may share its slots with others.
        let end = token.last_chunk::<HASHED>().copied().unwrap_or_default();
        let hash = self.hash(u128::from_ne_bytes(end));
        // The upper bits select one of any number of sets, without a division.
        let at = (u128::from(hash) * self.sets.len() as u128) >> 64;
        Some((&self.sets[at as usize], hash.max(1)))
    }

    /// Hashes by one multiplication, folded. Signatures are practically random and clients can't
    /// choose them, so this hash spreads them well, at a tenth of the cost of std's hasher.
    fn hash(&self, end: u128) -> u64 {
        let [low, high] = self.secret;
        let wide = u128::from(end as u64 ^ low) * u128::from((end >> 64) as u64 ^ high);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// Calls `read` with the entry of exactly this token, its set and its slot.
    fn look_up<T>(
        &self,
        token: &[u8],
        read: impl FnOnce(&Entry<C>, &Set<C>, usize) -> Option<T>,
    ) -> Option<T> {
        let (set, tag) = self.place(token)?;
        for (way, slot) in set.slots.iter().enumerate() {
            if set.tags[way].load(Ordering::Relaxed) != tag {
                continue;
            }
            if let Some(entry) = &*slot.load()
                && **entry.token == *token
            {
                return read(entry, set, way);
            }
        }
        None
    }
}

impl<C> Set<C> {
    fn new() -> Self {
        let tags = std::array::from_fn(|_| AtomicU64::new(0));
        Self { tags, slots: std::array::from_fn(|_| ArcSwapOption::empty()) }
    }

    fn clear(&self, way: usize) {
        self.tags[way].store(0, Ordering::Relaxed);
        self.slots[way].store(None);
    }

    /// Returns the slot for a new token: the slot with the same tag, an empty or dead slot, or the
    /// slot of the token that expires first.
    fn victim(&self, tag: u64, version: u64) -> usize {
        let worth = |way: &usize| match self.tags[*way].load(Ordering::Relaxed) {
            own if own == tag => (0, Timestamp::default()),
            _ => match &*self.slots[*way].load() {
                Some(entry) if entry.version == version => (2, entry.verified.expires),
                _ => (1, Timestamp::default()),
            },
        };
        (0..WAYS).min_by_key(worth).unwrap_or_default()
    }
}

impl<C> fmt::Debug for Cache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries", &(self.sets.len() * WAYS)).finish()
    }
}

#[cfg(test)]
mod tests;
