//! Tokens that were verified before: a bounded table that is read without a lock.
//!
//! Rules
//! 1. Only a token whose signature and claims were found good comes in, so nobody fills the table
//!    who can't sign in. Bad tokens are verified, and refused, each time.
//! 2. A hit is the whole token, byte by byte. What places it is a keyed hash of its signature's
//!    end, which nobody can foresee.
//! 3. An entry is dead once the token expires, before it is valid (a clock that stepped back), and
//!    once the key set has changed in any way. A dead entry is taken out by whoever finds it.
//! 4. Whether the session is revoked is asked at every request, after this table; who finds that
//!    it is takes the entry out.
//! 5. A token has eight places. Where they are taken, the one that expires first makes room.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use zeroize::Zeroizing;

use super::Verified;
use crate::clock::Timestamp;

const WAYS: usize = 8;

/// How much of a token's end is hashed: 12 bytes of its signature.
const HASHED: usize = 16;

/// From the bytes of a token to what they were found to say.
pub(crate) struct Cache<C> {
    /// What makes places unforeseeable.
    secret: [u64; 2],
    sets: Box<[Set<C>]>,
}

/// The places of the tokens that share one part of their hash.
#[repr(align(64))]
struct Set<C> {
    /// The hash of what is in the slot beside it; zero for none. What spares looking at a slot in
    /// vain, and no more: a tag and its slot are not changed at once.
    tags: [AtomicU64; WAYS],
    slots: [ArcSwapOption<Entry<C>>; WAYS],
}

struct Entry<C> {
    token: Zeroizing<Box<[u8]>>,
    /// The edition of the key set that verified it, or one before.
    version: u64,
    verified: Arc<Verified<C>>,
}

impl<C> Cache<C> {
    /// For so many tokens at the most; none turns it off.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = (0..entries / WAYS).map(|_| Set::new()).collect();
        let random = RandomState::new();
        Self { secret: [random.hash_one(0), random.hash_one(1)], sets }
    }

    /// What this very token was found to say by this edition of the key set, if that still
    /// holds.
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

    /// Keeps what was just verified by this edition of the key set.
    pub(crate) fn insert(&self, token: &[u8], version: u64, verified: &Arc<Verified<C>>) {
        let Some((set, tag)) = self.place(token) else { return };
        let way = set.victim(tag, version);
        let token = Zeroizing::new(token.into());
        let entry = Entry { token, version, verified: verified.clone() };
        set.slots[way].store(Some(Arc::new(entry)));
        set.tags[way].store(tag, Ordering::Relaxed);
    }

    /// Takes out a token that counts no more.
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
        // A shorter one is no token, and may share its place with others.
        let end = token.last_chunk::<HASHED>().copied().unwrap_or_default();
        let hash = self.hash(u128::from_ne_bytes(end));
        // The upper bits choose among any number of sets, without a division.
        let at = (u128::from(hash) * self.sets.len() as u128) >> 64;
        Some((&self.sets[at as usize], hash.max(1)))
    }

    /// One multiplication, folded. Signatures are as good as random and nobody chooses them, so
    /// this spreads them well, at a tenth of the price of std's hasher.
    fn hash(&self, end: u128) -> u64 {
        let [low, high] = self.secret;
        let wide = u128::from(end as u64 ^ low) * u128::from((end >> 64) as u64 ^ high);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// Gives `read` the entry of this very token, and the place where it is.
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

    /// The place for a new token: its own, an empty one, a dead one, or that of the token that
    /// expires first.
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
