//! A hasher for tests that counts: an entry that moves to another place is hashed for it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how often it is asked for a hash.
#[derive(Clone, Default)]
pub(super) struct Counting(RandomState, Arc<AtomicUsize>);

impl Counting {
    /// Returns how many hashes there were.
    pub(super) fn hashes(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl BuildHasher for Counting {
    type Hasher = <RandomState as BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.build_hasher()
    }
}
