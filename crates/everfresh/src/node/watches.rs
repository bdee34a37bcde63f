//! The sessions that are watched on this node. If there are none, a request pays for one read of a
//! counter. The cost of opening or closing a watch does not depend on their number.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tokio::sync::watch;

use super::{Key, Shards};
use crate::clock::Timestamp;

/// Until when a session is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Until {
    pub(crate) expires: Timestamp,
    pub(crate) over: bool,
}

/// One watched session, and the number of its watchers.
struct Watched {
    key: Key,
    until: watch::Sender<Until>,
    watchers: usize,
}

pub(crate) struct Watches<H = RandomState>(Shards<HashTable<Watched>, H>);

impl Watches {
    pub(crate) fn new() -> Self {
        Self(Shards::new())
    }
}

impl<H: BuildHasher> Watches<H> {
    pub(crate) fn watch(&self, sid: &str, expires: Timestamp) -> watch::Receiver<Until> {
        let slot = self.0.slot(sid);
        let mut shard = slot.write();
        let same = |watched: &Watched| watched.key == slot.key;
        let rehash = |watched: &Watched| self.0.hasher.hash_one(watched.key);
        match shard.entry(slot.hash, same, rehash) {
            Entry::Occupied(mut entry) => {
                let watched = entry.get_mut();
                watched.watchers += 1;
                watched.until.subscribe()
            }
            Entry::Vacant(entry) => {
                self.0.grow();
                let (sender, until) = watch::channel(Until { expires, over: false });
                entry.insert(Watched { key: slot.key, until: sender, watchers: 1 });
                until
            }
        }
    }

    pub(crate) fn unwatch(&self, sid: &str) {
        let slot = self.0.slot(sid);
        let mut shard = slot.write();
        let same = |watched: &Watched| watched.key == slot.key;
        let Ok(mut entry) = shard.find_entry(slot.hash, same) else { return };
        entry.get_mut().watchers -= 1;
        if entry.get().watchers == 0 {
            entry.remove();
            self.0.shrink(1);
        }
    }

    /// Extends the watch: an access token of the session expires at `to`.
    pub(crate) fn extend(&self, sid: &str, to: Timestamp) {
        self.change(sid, |until| {
            let later = to > until.expires;
            until.expires = until.expires.max(to);
            later
        });
    }

    /// Ends the watch: the session is over.
    pub(crate) fn end(&self, sid: &str) {
        self.change(sid, |until| !std::mem::replace(&mut until.over, true));
    }

    fn change(&self, sid: &str, change: impl FnOnce(&mut Until) -> bool) {
        if self.0.is_empty() {
            return;
        }
        let slot = self.0.slot(sid);
        let sender = {
            let shard = slot.read();
            let found = shard.find(slot.hash, |watched| watched.key == slot.key);
            found.map(|watched| watched.until.clone())
        };
        // Not under the lock, because this wakes waiting tasks, which may close a watch.
        if let Some(sender) = sender {
            sender.send_if_modified(change);
        }
    }

    /// Returns how many sessions are watched, by the count and by what the shards hold.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.0.len(), self.0.each().map(|shard| shard.len()).sum())
    }
}

impl<H: BuildHasher> fmt::Debug for Watches<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::counting::Counting;

    const EXPIRES: Timestamp = Timestamp::from_secs(1000);

    // Rows: M9.
    #[test]
    fn a_watch_is_opened_and_closed_at_the_same_cost_however_many_there_are() {
        let counting = Counting::default();
        let watches = Watches(Shards::with_hasher(counting.clone()));
        let sid = |n: u32| crate::SessionId::from_bytes(u128::from(n).to_be_bytes()).to_string();
        let mut before = 0;
        let mut hashed = || {
            let now = counting.hashes();
            now - std::mem::replace(&mut before, now)
        };
        let all = 40_000;
        let open: Vec<_> = (0..all).map(|n| watches.watch(&sid(n), EXPIRES)).collect();
        assert_eq!(watches.sizes(), (all as usize, all as usize));
        assert!(hashed() <= 4 * all as usize);
        // A second watch of a session, and its end.
        let second = watches.watch(&sid(7), EXPIRES);
        watches.end(&sid(7));
        assert!(second.borrow().over && open[7].borrow().over && !open[8].borrow().over);
        assert_eq!(hashed(), 2);
        (0..all).for_each(|n| watches.unwatch(&sid(n)));
        assert_eq!(hashed(), all as usize);
        assert_eq!(watches.sizes(), (1, 1), "one is watched still");
        watches.unwatch(&sid(7));
        assert_eq!(watches.sizes(), (0, 0));
    }
}
