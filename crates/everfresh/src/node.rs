//! What this node knows of sessions without asking anyone: which are over, and which generations
//! it has reported as seen. Read on the fresh path, so nothing here takes a lock to be read.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::clock::Timestamp;

const SHARDS: usize = 64;

/// Entries of one shard. They last for one access token's life, so this is a bound on how many
/// sessions end in that time on one node: four million in all.
const MAX_ENTRIES: usize = 65_536;

/// Sessions that are over while access tokens of theirs may still be good.
///
/// Filled by every sign-out, theft and refused refresh that this node sees.
pub(crate) struct Revoked {
    hasher: RandomState,
    /// How many entries were ever put in and not yet cleared away: zero spares the look.
    count: AtomicUsize,
    shards: Vec<ArcSwap<HashMap<Box<str>, Timestamp>>>,
}

impl Revoked {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::default()).collect();
        Self { hasher: RandomState::new(), count: AtomicUsize::new(0), shards }
    }

    fn shard(&self, sid: &str) -> &ArcSwap<HashMap<Box<str>, Timestamp>> {
        &self.shards[self.hasher.hash_one(sid) as usize % SHARDS]
    }

    pub(crate) fn contains(&self, sid: &str, now: Timestamp) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self.shard(sid).load().get(sid).is_some_and(|until| now < *until)
    }

    /// Refuses this session's access tokens until then.
    pub(crate) fn insert(&self, sid: &str, until: Timestamp, now: Timestamp) {
        // Before the entry is there, so that nobody is spared the look at it.
        self.count.fetch_add(1, Ordering::AcqRel);
        let mut cleared = 0;
        self.shard(sid).rcu(|old| {
            let mut new: HashMap<_, _> = old
                .iter()
                .filter(|(_, until)| now < **until)
                .map(|(s, u)| (s.clone(), *u))
                .collect();
            if new.len() >= MAX_ENTRIES
                && let Some(first) =
                    new.iter().min_by_key(|(_, until)| **until).map(|(s, _)| s.clone())
            {
                new.remove(&first);
            }
            new.insert(sid.into(), until);
            cleared = (old.len() + 1).saturating_sub(new.len());
            new
        });
        self.count.fetch_sub(cleared, Ordering::AcqRel);
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked").field("count", &self.count).finish_non_exhaustive()
    }
}

const SLOTS: usize = 16_384;

/// Generations that were reported as seen. A slot that two sessions share costs a second report.
pub(crate) struct Seen {
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::new(), slots }
    }

    fn print(&self, sid: &str, generation: u64, slide: bool) -> u64 {
        self.hasher.hash_one((sid, generation, slide)).max(1)
    }

    fn slot(&self, print: u64) -> &AtomicU64 {
        &self.slots[print as usize % SLOTS]
    }

    /// Whether this is its first sight; marks it as seen. A sight that slides is one of its own.
    pub(crate) fn first(&self, sid: &str, generation: u64, slide: bool) -> bool {
        let print = self.print(sid, generation, slide);
        let slot = self.slot(print);
        slot.load(Ordering::Relaxed) != print && slot.swap(print, Ordering::Relaxed) != print
    }

    /// The report failed: the next sight is the first again.
    pub(crate) fn forget(&self, sid: &str, generation: u64, slide: bool) {
        let print = self.print(sid, generation, slide);
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
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[test]
    fn a_revoked_session_is_refused_until_its_tokens_are_over() {
        let revoked = Revoked::new();
        let until = NOW.plus(Duration::from_secs(60));
        assert!(!revoked.contains("a", NOW));
        revoked.insert("a", until, NOW);
        revoked.insert("a", until, NOW);
        assert!(revoked.contains("a", NOW) && !revoked.contains("b", NOW));
        assert!(!revoked.contains("a", until));
        for n in 0..10_000 {
            revoked.insert(&format!("s{n}"), until, NOW);
        }
        assert!((0..10_000).all(|n| revoked.contains(&format!("s{n}"), NOW)));
        assert_eq!(revoked.count.load(Ordering::SeqCst), 10_001);
        for n in 0..10_000 {
            revoked.insert(&format!("t{n}"), until.plus(Duration::from_secs(60)), until);
        }
        assert_eq!(revoked.count.load(Ordering::SeqCst), 10_000, "what is over is cleared away");
    }

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
