//! Counts how often in a row a client that has never shown a session's successor asks for it again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::SessionId;

/// How many requests in a row for the same successor cause an event.
const MANY: u8 = 3;

/// The most sessions that this node counts at once. Beyond that the count starts again.
const MAX_SESSIONS: usize = 4096;

/// Counts recoveries in a row. The usual rotation takes no lock, because no session is counted.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    counted: AtomicUsize,
    counts: Mutex<HashMap<SessionId, u8>>,
}

impl Recoveries {
    /// Counts one more recovery. Returns true once, when the count reaches `MANY`.
    pub(super) fn note(&self, sid: SessionId) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_SESSIONS && !counts.contains_key(&sid) {
            counts.clear();
        }
        let count = counts.entry(sid).or_default();
        *count = count.saturating_add(1);
        let many = *count == MANY;
        self.counted.store(counts.len(), Ordering::Relaxed);
        many
    }

    /// Stops counting a session that rotated, because its client showed the successor.
    pub(super) fn forget(&self, sid: SessionId) {
        if self.counted.load(Ordering::Relaxed) != 0 {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.remove(&sid);
            self.counted.store(counts.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_repeats_are_reported_once_and_a_rotation_ends_the_count() {
        let cookie_loss = Recoveries::default();
        let sid = SessionId::from_bytes([1; 16]);
        let many: Vec<_> = (0..5).map(|_| cookie_loss.note(sid)).collect();
        assert_eq!(many, [false, false, true, false, false]);
        cookie_loss.forget(sid);
        assert_eq!(cookie_loss.counted.load(Ordering::Relaxed), 0);
        assert!(!cookie_loss.note(sid) && !cookie_loss.note(sid));
        assert!(!cookie_loss.note(SessionId::from_bytes([2; 16])));
        assert!(cookie_loss.note(sid), "whatever others do");
        for n in 0..2 * MAX_SESSIONS {
            let mut other = [0; 16];
            other[..8].copy_from_slice(&n.to_be_bytes());
            cookie_loss.note(SessionId::from_bytes(other));
        }
        assert!(cookie_loss.counts.lock().unwrap().len() <= MAX_SESSIONS, "bounded");
    }
}
