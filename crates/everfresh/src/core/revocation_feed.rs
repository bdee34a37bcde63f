//! Learns of sessions that end on other nodes, by the store's feed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Core;
use crate::observe::Event;
use crate::store::{FeedEvent, RevocationSink, StoreError};

/// The pause before a lost feed is followed again; doubled up to `AGAIN_MOST`.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(5);

impl Core {
    /// Follows the store's feed for as long as the engine exists. Does nothing if there is no feed.
    /// `again`: the runtime that followed the feed has ended.
    pub(crate) fn follow(self: &Arc<Self>, runtime: &Handle, again: bool) {
        if again && self.revocation_feed.is_live() {
            self.receive(&FeedEvent::Lost(&StoreError::new(
                "the runtime that followed it has ended",
            )));
        }
        let refresher = self.refresher.clone();
        let sink = sink(self);
        let weak = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = AGAIN;
            loop {
                let began = tokio::time::Instant::now();
                match refresher.clone().watch_revocations(sink.clone()).await {
                    Ok(()) => {
                        if let Some(core) = weak.upgrade() {
                            core.revocation_feed.none();
                        }
                        return;
                    }
                    Err(error) => sink.lost(&error),
                }
                if sink.is_closed() {
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

    fn receive(&self, heard: &FeedEvent<'_>) {
        match heard {
            FeedEvent::Ended(sids) => sids.iter().for_each(|sid| self.forget(&sid.to_string())),
            FeedEvent::Live => {
                self.metrics.feed(true);
                if self.revocation_feed.live() {
                    self.emit(&Event::FeedLive);
                }
            }
            FeedEvent::Lost(error) => {
                if self.revocation_feed.lost(self.settings.clock.monotonic()) {
                    tracing::warn!(target: "everfresh", %error, "the feed of ended sessions");
                    self.emit(&Event::FeedLost);
                }
            }
            FeedEvent::Ping => {}
        }
    }
}

/// Holds no strong reference to the engine, so that the engine can be dropped.
fn sink(core: &Arc<Core>) -> RevocationSink {
    let weak: Weak<Core> = Arc::downgrade(core);
    RevocationSink::new(core.longest_life(), move |heard| match weak.upgrade() {
        Some(core) => {
            core.receive(&heard);
            true
        }
        None => false,
    })
}
