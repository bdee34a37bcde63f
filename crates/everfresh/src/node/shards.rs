//! A table by session id, divided into shards with a lock each. A change of one entry moves no
//! other entry, and a reader waits only for a writer of the same shard.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::store::SessionId;

const SHARDS: usize = 64;

/// The lowest bit of a hash that selects the shard. hashbrown uses the bits below and above.
const SHARD_BITS: u32 = 48;

/// A session's id in 16 bytes: its own bytes, or, for another issuer's longer `sid`, two keyed
/// hashes of its text.
pub(crate) type Key = [u8; 16];

/// The shards, and how many entries they have.
pub(crate) struct Shards<S, H = RandomState> {
    pub(crate) hasher: H,
    /// The number of entries. At 0, readers skip the shards.
    entries: AtomicUsize,
    shards: Box<[RwLock<S>]>,
}

/// Where a session's entry is, if there is one.
pub(crate) struct Slot<'t, S> {
    pub(crate) key: Key,
    pub(crate) hash: u64,
    shard: &'t RwLock<S>,
}

impl<S: Default> Shards<S> {
    pub(crate) fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }
}

impl<S: Default, H: BuildHasher> Shards<S, H> {
    pub(crate) fn with_hasher(hasher: H) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { hasher, entries: AtomicUsize::new(0), shards }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Acquire)
    }

    /// Counts one entry more. Called before the entry is there, so that no reader misses it.
    pub(crate) fn grow(&self) {
        self.entries.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts `by` entries less. Called after they are removed.
    pub(crate) fn shrink(&self, by: usize) {
        self.entries.fetch_sub(by, Ordering::AcqRel);
    }

    pub(crate) fn slot(&self, sid: &str) -> Slot<'_, S> {
        let key = self.key(sid);
        let hash = self.hasher.hash_one(key);
        let shard = (hash >> SHARD_BITS) as usize % SHARDS;
        Slot { key, hash, shard: &self.shards[shard] }
    }

    fn key(&self, sid: &str) -> Key {
        if let Some(sid) = SessionId::parse(sid) {
            return *sid.as_bytes();
        }
        let half = |n: u8| self.hasher.hash_one((n, sid)).to_ne_bytes();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half(0));
        key[8..].copy_from_slice(&half(1));
        key
    }

    #[cfg(test)]
    pub(crate) fn each(&self) -> impl Iterator<Item = RwLockReadGuard<'_, S>> {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'t, S> Slot<'t, S> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'t, S> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'t, S> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }
}
