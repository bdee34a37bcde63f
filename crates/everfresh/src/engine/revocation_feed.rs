//! Learns of sessions that end on other nodes, by the store's feed.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Core;
use crate::observe::Event;
use crate::store::{FeedEvent, RevocationSink, StoreError};

/// The pause before a lost feed is followed again; doubled up to `AGAIN_MOST`.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(5);

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

    /// Returns true if the feed was live or its state unknown before.
    fn lost(&self, now: Duration) -> bool {
        if self.state.swap(LOST, Ordering::AcqRel) == LOST {
            return false;
        }
        *self.lost_at() = now;
        true
    }
}

impl Core {
    /// Follows the store's feed for as long as the engine exists. Does nothing if there is no feed.
    /// `again`: the runtime that followed the feed has ended.
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

/// Holds no strong reference to the engine, so that the engine can be dropped.
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
