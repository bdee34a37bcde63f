//! What this node knows of sessions without asking the store: which are over, and which generations
//! it has reported as seen. Read on the fresh path.

#[cfg(test)]
mod counting;
mod feed;
mod revoked;
mod shards;
mod watches;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use feed::FeedState;
pub use feed::RevocationFeed;
pub(crate) use revoked::Revoked;
use shards::{Key, Shards};
pub(crate) use watches::{Until, Watches};

const SLOTS: usize = 16_384;

/// Generations that were reported as seen. If two sessions share a slot, a generation may be
/// reported twice.
pub(crate) struct Seen {
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::new(), slots }
    }

    fn print(&self, sid: &str, generation: u64, user_activity: bool) -> u64 {
        self.hasher.hash_one((sid, generation, user_activity)).max(1)
    }

    fn slot(&self, print: u64) -> &AtomicU64 {
        &self.slots[print as usize % SLOTS]
    }

    /// Returns whether this generation is seen for the first time, and marks it as seen. A sighting
    /// with user activity and one without are separate.
    pub(crate) fn first(&self, sid: &str, generation: u64, user_activity: bool) -> bool {
        let print = self.print(sid, generation, user_activity);
        let slot = self.slot(print);
        slot.load(Ordering::Relaxed) != print && slot.swap(print, Ordering::Relaxed) != print
    }

    /// Takes the mark back after the report failed, so that the next sighting is the first again.
    pub(crate) fn forget(&self, sid: &str, generation: u64, user_activity: bool) {
        let print = self.print(sid, generation, user_activity);
        let _ = self.slot(print).compare_exchange(print, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_seen_once_and_again_if_the_report_failed() {
        let seen = Seen::new();
        assert!(seen.first("a", 1, false) && !seen.first("a", 1, false));
        assert!(seen.first("a", 1, true) && !seen.first("a", 1, true));
        assert!(seen.first("a", 2, false));
        seen.forget("a", 2, false);
        assert!(seen.first("a", 2, false));
    }
}
