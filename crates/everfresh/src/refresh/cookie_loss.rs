//! How often in a row a session's successor was asked for again by a client that had never shown it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::SessionId;

/// So many in a row are worth an event.
const MANY: u8 = 3;

/// Sessions that are counted at once, on this node. Beyond it the count begins anew.
const MAX_SESSIONS: usize = 4096;

/// Counts recoveries in a row. The usual rotation takes no lock: nothing is counted.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    counted: AtomicUsize,
    counts: Mutex<HashMap<SessionId, u8>>,
}

impl Recoveries {
    /// One more. True once, when there were many in a row.
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

    /// The session rotated: its client showed what it was given.
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
    fn three_in_a_row_are_told_once_and_a_rotation_ends_the_row() {
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
