//! The rows of one shard, by id and by the time when they end.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::row::Row;
use crate::clock::Timestamp;
use crate::store::SessionId;

/// A table whose entries hold their own key, at a tenth of the memory of a separate key.
#[derive(Default)]
pub(super) struct Shard {
    hasher: RandomState,
    rows: HashTable<Box<Row>>,
    /// The rows by the time when they are over unless user activity moves it.
    ends: BTreeSet<(Timestamp, SessionId)>,
}

impl Shard {
    pub(super) fn contains(&self, sid: SessionId) -> bool {
        self.rows.find(self.hasher.hash_one(sid), |row| row.sid == sid).is_some()
    }

    /// Inserts a row whose id is not there yet.
    pub(super) fn insert(&mut self, row: Row) {
        let Self { hasher, rows, ends } = self;
        ends.insert((row.idle_expires, row.sid));
        let hash = hasher.hash_one(row.sid);
        rows.insert_unique(hash, Box::new(row), |row| hasher.hash_one(row.sid));
    }

    pub(super) fn remove(&mut self, sid: SessionId) -> Option<Row> {
        let row = self.take(sid)?;
        self.ends.remove(&(row.idle_expires, sid));
        Some(row)
    }

    fn take(&mut self, sid: SessionId) -> Option<Row> {
        let hash = self.hasher.hash_one(sid);
        Some(*self.rows.find_entry(hash, |row| row.sid == sid).ok()?.remove().0)
    }

    pub(super) fn live(&mut self, sid: SessionId, now: Timestamp) -> Option<&mut Row> {
        let found = self.rows.find_mut(self.hasher.hash_one(sid), |row| row.sid == sid);
        found.map(|row| &mut **row).filter(|row| !row.is_over(now))
    }

    /// Moves the row's end.
    pub(super) fn move_end(&mut self, sid: SessionId, from: Timestamp, to: Timestamp) {
        if from != to {
            self.ends.remove(&(from, sid));
            self.ends.insert((to, sid));
        }
    }

    /// Removes up to `limit` sessions that are over.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> Vec<Row> {
        let mut removed = Vec::new();
        while removed.len() < limit
            && let Some(&(end, sid)) = self.ends.first()
            && end <= now
        {
            self.ends.pop_first();
            removed.extend(self.take(sid));
        }
        removed
    }
}
