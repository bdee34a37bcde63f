//! Sessions that are over, whose access tokens may not have expired yet.
//!
//! Rules
//! 1. The cost of an end does not depend on how many are known: an entry of 20 bytes, and 8 bytes
//!    in the bucket of the minute in which it expires. Buckets that are due are dropped whole.
//! 2. An end that is reported again changes nothing, unless its entry is older than half an hour.
//! 3. A full shard drops the entries that expire first.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use hashbrown::HashTable;

use super::shards::{Key, Shards};
use crate::clock::Timestamp;

/// How many entries a shard holds, which is how many its table holds before it doubles: seven
/// million in all.
const MAX_ENTRIES: usize = 7 << 14;

/// How much older an entry has to be than a repeated report to be renewed. Entries last for a
/// token's lifetime and an hour, for clocks that differ; half of that hour is enough between two
/// reports of one end.
const HEARD_AGAIN: Duration = Duration::from_secs(30 * 60);

/// Whole minutes since 1970.
type Minute = u32;

/// The sessions that are over. Every sign-out, detected reuse and refused refresh that this node
/// handles or learns of adds one.
pub(crate) struct Revoked<H = RandomState>(Shards<Ends, H>);

#[derive(Default)]
struct Ends {
    /// The minute until which each session is refused.
    until: HashTable<(Key, Minute)>,
    /// The hashes of the entries that expire in a minute. A renewed entry is in two buckets.
    due: BTreeMap<Minute, Vec<u64>>,
}

impl Revoked {
    pub(crate) fn new() -> Self {
        Self(Shards::new())
    }
}

impl<H: BuildHasher> Revoked<H> {
    pub(crate) fn contains(&self, sid: &str, now: Timestamp) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let slot = self.0.slot(sid);
        let ends = slot.read();
        let entry = ends.until.find(slot.hash, |(key, _)| *key == slot.key);
        entry.is_some_and(|(_, until)| begun(now) < *until)
    }

    /// Refuses this session's access tokens until then, in whole minutes.
    pub(crate) fn insert(&self, sid: &str, until: Timestamp, now: Timestamp) {
        let slot = self.0.slot(sid);
        let mut ends = slot.write();
        let cleared = ends.clear(begun(now), &self.0.hasher);
        self.0.shrink(cleared);
        let minute = ended(until);
        match ends.until.find_mut(slot.hash, |(key, _)| *key == slot.key) {
            Some((_, known)) if ended(until.minus(HEARD_AGAIN)) <= *known => return,
            Some((_, known)) => *known = minute,
            None => {
                if ends.until.len() >= MAX_ENTRIES {
                    let dropped = ends.drop_first(&self.0.hasher);
                    self.0.shrink(dropped);
                }
                self.0.grow();
                let rehash = |(key, _): &(Key, Minute)| self.0.hasher.hash_one(key);
                ends.until.insert_unique(slot.hash, (slot.key, minute), rehash);
            }
        }
        ends.due.entry(minute).or_default().push(slot.hash);
    }
}

impl Ends {
    /// Drops the buckets that are due. Returns how many entries it removed.
    fn clear(&mut self, now: Minute, hasher: &impl BuildHasher) -> usize {
        let mut cleared = 0;
        while let Some(first) = self.due.first_entry().filter(|first| *first.key() <= now) {
            let (minute, hashes) = first.remove_entry();
            for hash in hashes {
                cleared += usize::from(self.take(hash, minute, hasher));
            }
        }
        // Releases the memory of a wave of sign-outs once it has passed.
        if cleared > 0 && self.until.capacity() / 8 > self.until.len() {
            self.until.shrink_to_fit(|(key, _)| hasher.hash_one(key));
        }
        cleared
    }

    /// Removes one of the entries that expire first. Returns how many it removed.
    fn drop_first(&mut self, hasher: &impl BuildHasher) -> usize {
        while let Some((&minute, hashes)) = self.due.iter_mut().next() {
            match hashes.pop() {
                Some(hash) if self.take(hash, minute, hasher) => return 1,
                Some(_) => {}
                None => drop(self.due.remove(&minute)),
            }
        }
        0
    }

    /// Removes an entry of this hash that expires by then. Two entries of one hash are in their
    /// bucket twice.
    fn take(&mut self, hash: u64, by: Minute, hasher: &impl BuildHasher) -> bool {
        let over = |(key, until): &(Key, Minute)| *until <= by && hasher.hash_one(key) == hash;
        self.until.find_entry(hash, over).map(|entry| entry.remove()).is_ok()
    }
}

/// The minute that contains `time`.
fn begun(time: Timestamp) -> Minute {
    Minute::try_from(time.as_secs() / 60).unwrap_or(Minute::MAX)
}

/// The first whole minute after `time`.
fn ended(time: Timestamp) -> Minute {
    begun(time).saturating_add(1)
}

impl<H: BuildHasher> fmt::Debug for Revoked<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::counting::Counting;
    use crate::store::SessionId;

    const NOW: Timestamp = Timestamp::from_secs(1000);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn ours(n: u64) -> String {
        SessionId::from_bytes(u128::from(n).to_be_bytes()).to_string()
    }

    /// Another issuer's id, which is not 16 bytes of base64url.
    fn foreign(n: u64) -> String {
        format!("7f1e2c3a-0000-4000-8000-{n:012}")
    }

    #[test]
    fn a_revoked_session_is_refused_until_its_tokens_are_over() {
        for sid in [ours, foreign] {
            let revoked = Revoked::new();
            let until = NOW.plus(MINUTE);
            assert!(!revoked.contains(&sid(1), NOW));
            revoked.insert(&sid(1), until, NOW);
            revoked.insert(&sid(1), until, NOW);
            assert!(revoked.contains(&sid(1), NOW) && !revoked.contains(&sid(2), NOW));
            assert!(revoked.contains(&sid(1), until.minus(Duration::from_millis(1))));
            assert!(!revoked.contains(&sid(1), until.plus(MINUTE)));
            for n in 0..10_000 {
                revoked.insert(&sid(n), until, NOW);
            }
            assert!((0..10_000).all(|n| revoked.contains(&sid(n), NOW)));
            assert_eq!(revoked.0.len(), 10_000);
            let later = until.plus(MINUTE);
            for n in 20_000..30_000 {
                revoked.insert(&sid(n), later.plus(MINUTE), later);
            }
            assert_eq!(revoked.0.len(), 10_000, "what is over is cleared away");
            assert_eq!(revoked.0.each().map(|ends| ends.until.len()).sum::<usize>(), 10_000);
        }
    }

    // Rows: M9.
    #[test]
    fn an_end_costs_the_same_for_any_number_of_sessions() {
        let counting = Counting::default();
        let revoked = Revoked(Shards::with_hasher(counting.clone()));
        let hashed = |work: &dyn Fn()| {
            let before = counting.hashes();
            work();
            counting.hashes() - before
        };
        let (mut now, mut sid) = (NOW, 0);
        // Each round inserts more ends, and a part of them expires.
        for n in [1_000, 10_000, 100_000] {
            let cost = hashed(&|| {
                for n in sid..sid + n {
                    let spread = Duration::from_secs(n % 600);
                    revoked.insert(&ours(n), now.plus(HOUR + spread), now);
                }
            });
            assert!(cost <= 5 * n as usize, "{cost} for {n}");
            assert_eq!(hashed(&|| assert!(revoked.contains(&ours(sid), now))), 1);
            sid += n;
            now = now.plus(HOUR);
        }
    }

    // Rows: M9.
    #[test]
    fn a_repeated_event_is_recognized() {
        let revoked = Revoked::new();
        let buckets = |revoked: &Revoked| -> usize {
            revoked.0.each().map(|ends| ends.due.values().map(Vec::len).sum::<usize>()).sum()
        };
        for minute in 0..20 {
            let now = NOW.plus(minute * MINUTE);
            for n in 0..1_000 {
                revoked.insert(&ours(n), now.plus(2 * HOUR), now);
            }
        }
        assert_eq!((revoked.0.len(), buckets(&revoked)), (1_000, 1_000));
        // An end that is reported again after an hour renews its entry.
        let now = NOW.plus(HOUR);
        revoked.insert(&ours(7), now.plus(2 * HOUR), now);
        assert_eq!((revoked.0.len(), buckets(&revoked)), (1_000, 1_001));
        let end = NOW.plus(2 * HOUR + MINUTE);
        assert!(revoked.contains(&ours(7), end) && !revoked.contains(&ours(8), end));
        for n in 10_000..11_000 {
            revoked.insert(&ours(n), end.plus(2 * HOUR), end);
        }
        assert!(revoked.contains(&ours(7), end), "its first bucket was not its last");
        assert_eq!(revoked.0.len(), 1_001);
    }

    // Rows: M9.
    #[test]
    fn a_full_shard_drops_the_entry_that_expires_first() {
        let (hasher, mut ends) = (RandomState::new(), Ends::default());
        for (n, minute) in [(1_u64, 9), (2, 5), (3, 7)] {
            let key: Key = u128::from(n).to_be_bytes();
            let hash = hasher.hash_one(key);
            ends.until.insert_unique(hash, (key, minute), |(key, _)| hasher.hash_one(key));
            ends.due.entry(minute).or_default().push(hash);
        }
        let left = |ends: &Ends| {
            let mut left: Vec<_> = ends.until.iter().map(|(_, minute)| *minute).collect();
            left.sort_unstable();
            left
        };
        assert_eq!((ends.drop_first(&hasher), left(&ends)), (1, vec![7, 9]));
        assert_eq!((ends.drop_first(&hasher), left(&ends)), (1, vec![9]));
        assert_eq!((ends.drop_first(&hasher), ends.drop_first(&hasher)), (1, 0));
    }
}
