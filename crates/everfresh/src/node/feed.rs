//! Whether this node hears of sessions that end on other nodes.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether this node learns at once of sessions that end on other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationFeed {
    /// There is no feed, because the refresher keeps no sessions or the store has no feed. This
    /// node refuses a session that ended on another node once its access token has expired.
    None,
    /// The feed is live: this node learns at once.
    Live,
    /// The feed is interrupted, or has not started yet. The node catches up on the ends that it
    /// missed.
    Lost {
        /// For how long.
        since: Duration,
    },
}

const NONE: u8 = 0;
const LIVE: u8 = 1;
const LOST: u8 = 2;

/// The state of the feed.
#[derive(Default)]
pub(crate) struct FeedState {
    state: AtomicU8,
    /// When the feed was lost, by the monotonic clock.
    lost_at: Mutex<Duration>,
}

impl FeedState {
    pub(crate) fn feed(&self, now: Duration) -> RevocationFeed {
        match self.state.load(Ordering::Acquire) {
            LIVE => RevocationFeed::Live,
            LOST => RevocationFeed::Lost { since: now.saturating_sub(*self.lost_at()) },
            _ => RevocationFeed::None,
        }
    }

    fn lost_at(&self) -> MutexGuard<'_, Duration> {
        self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state.load(Ordering::Acquire) == LIVE
    }

    /// There is no feed.
    pub(crate) fn none(&self) {
        self.state.store(NONE, Ordering::Release);
    }

    /// Returns true if the feed was lost before.
    pub(crate) fn live(&self) -> bool {
        self.state.swap(LIVE, Ordering::AcqRel) == LOST
    }

    /// Returns true if the feed was live or its state unknown before.
    pub(crate) fn lost(&self, now: Duration) -> bool {
        if self.state.swap(LOST, Ordering::AcqRel) == LOST {
            return false;
        }
        *self.lost_at() = now;
        true
    }
}

impl fmt::Debug for FeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedState").field("state", &self.state).finish_non_exhaustive()
    }
}
