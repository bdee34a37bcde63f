//! Hearing of sessions that end on other nodes, by the store's feed.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Core;
use crate::observe::Event;
use crate::store::{FeedEvent, RevocationSink, StoreError};

/// How soon a feed that was lost is taken up again; doubled up to `AGAIN_MOST`.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(5);

/// Whether this node hears at once of sessions that end elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationFeed {
    /// Nothing tells of it: nothing is kept, or the store has no feed. A session that ended
    /// elsewhere is refused here once its access token has expired.
    None,
    /// It does.
    Live,
    /// It did not, or not yet, for so long. What is missed is caught up with.
    Lost {
        /// For how long.
        since: Duration,
    },
}

const NONE: u8 = 0;
const LIVE: u8 = 1;
const LOST: u8 = 2;

/// What is known of the feed.
#[derive(Default)]
pub(crate) struct FeedState {
    state: AtomicU8,
    /// When it was lost, by the monotonic clock.
    lost_at: Mutex<Duration>,
}

impl FeedState {
    pub(super) fn feed(&self, now: Duration) -> RevocationFeed {
        match self.state.load(Ordering::Acquire) {
            LIVE => RevocationFeed::Live,
            LOST => RevocationFeed::Lost { since: now.saturating_sub(*self.lost_at()) },
            _ => RevocationFeed::None,
        }
    }

    fn lost_at(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if it was live or unknown before.
    fn lost(&self, now: Duration) -> bool {
        if self.state.swap(LOST, Ordering::AcqRel) == LOST {
            return false;
        }
        *self.lost_at() = now;
        true
    }
}

impl Core {
    /// Follows the store's feed for as long as there is an engine. Without a feed nothing happens.
    /// `again`: the runtime has ended on which it was followed.
    pub(crate) fn follow(self: &Arc<Self>, runtime: &Handle, again: bool) {
        if again && self.revocation_feed.state.load(Ordering::Acquire) == LIVE {
            self.hear(&FeedEvent::Lost(&StoreError::new("the runtime that followed it has ended")));
        }
        let refresher = self.refresher.clone();
        let ear = ear(self);
        let weak = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = AGAIN;
            loop {
                let began = tokio::time::Instant::now();
                match refresher.clone().watch_revocations(ear.clone()).await {
                    Ok(()) => {
                        if let Some(core) = weak.upgrade() {
                            core.revocation_feed.state.store(NONE, Ordering::Release);
                        }
                        return;
                    }
                    Err(error) => ear.lost(&error),
                }
                if ear.is_closed() {
                    return;
                }
                if began.elapsed() > AGAIN_MOST {
                    pause = AGAIN;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_MOST);
            }
        });
    }

    fn hear(&self, heard: &FeedEvent<'_>) {
        match heard {
            FeedEvent::Ended(sids) => sids.iter().for_each(|sid| self.forget(&sid.to_string())),
            FeedEvent::Live => {
                self.metrics.feed(true);
                if self.revocation_feed.state.swap(LIVE, Ordering::AcqRel) == LOST {
                    self.emit(&Event::FeedLive);
                }
            }
            FeedEvent::Lost(error) => {
                if self.revocation_feed.lost(self.clock.monotonic()) {
                    tracing::warn!(target: "everfresh", %error, "the feed of ended sessions");
                    self.emit(&Event::FeedLost);
                }
            }
            FeedEvent::Ping => {}
        }
    }
}

/// Holds nothing of the engine, so that it may go.
fn ear(core: &Arc<Core>) -> RevocationSink {
    let weak: Weak<Core> = Arc::downgrade(core);
    RevocationSink::new(core.longest_life(), move |heard| match weak.upgrade() {
        Some(core) => {
            core.hear(&heard);
            true
        }
        None => false,
    })
}

impl fmt::Debug for FeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedState").field("state", &self.state).finish_non_exhaustive()
    }
}
