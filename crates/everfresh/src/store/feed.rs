//! What a store's nodes hear of one another: which sessions ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{SessionId, StoreError};

/// How many ends are told without a pause: less than a millisecond's work.
const PIECE: usize = 1000;

/// Told by a store of every session that ends, wherever that is. Given to
/// [`SessionStore::watch_revocations`](super::SessionStore::watch_revocations).
#[derive(Clone)]
pub struct RevocationSink {
    hear: Arc<dyn Fn(FeedEvent<'_>) -> bool + Send + Sync>,
    back: Duration,
}

/// What a store tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum FeedEvent<'h> {
    /// These sessions were ended: signed out, revoked, or found to be held by two. A thousand at
    /// the most.
    Ended(&'h [SessionId]),
    /// Everything was told up to now, and whatever comes will be.
    Live,
    /// Something may be missed from now on.
    Lost(&'h StoreError),
    /// Nothing: whether anybody listens is the question.
    Ping,
}

impl RevocationSink {
    /// `hear` is called for everything that is heard, in the task that follows, and says whether
    /// anybody still listens. `back`: how old an end may be and still matter: as long as an access
    /// token may live.
    pub fn new(
        back: Duration,
        hear: impl Fn(FeedEvent<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { hear: Arc::new(hear), back }
    }

    /// How old an end may be and still matter to whoever begins to follow.
    pub fn back(&self) -> Duration {
        self.back
    }

    /// Sessions were ended. However many there are, the runtime's other tasks take turns with
    /// this one: it yields after every thousand, and at the end.
    pub async fn ended(&self, sids: &[SessionId]) {
        for piece in sids.chunks(PIECE) {
            (self.hear)(FeedEvent::Ended(piece));
            tokio::task::yield_now().await;
        }
    }

    /// Whoever follows has caught up, and hears from now on of every end as it comes.
    pub fn live(&self) {
        (self.hear)(FeedEvent::Live);
    }

    /// Ends may be missed from now on.
    pub fn lost(&self, error: &StoreError) {
        (self.hear)(FeedEvent::Lost(error));
    }

    /// Whether nobody listens any more: ask now and then, and stop.
    pub fn is_closed(&self) -> bool {
        !(self.hear)(FeedEvent::Ping)
    }
}

impl fmt::Debug for RevocationSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationSink").field("back", &self.back).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn m9_other_tasks_take_turns_however_many_ends_are_told() {
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let told = pieces.clone();
        let ear = RevocationSink::new(Duration::ZERO, move |heard| {
            let FeedEvent::Ended(sids) = heard else { return true };
            told.lock().unwrap().push(sids.len());
            true
        });
        let turns = Arc::new(AtomicUsize::new(0));
        let turn = turns.clone();
        let other = tokio::spawn(async move {
            loop {
                turn.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let sids: Vec<_> =
            (0..100_000_u128).map(|n| SessionId::from_bytes(n.to_be_bytes())).collect();
        ear.ended(&sids).await;
        other.abort();
        let pieces = pieces.lock().unwrap();
        assert_eq!(pieces.iter().sum::<usize>(), sids.len());
        assert!(pieces.iter().all(|piece| *piece <= PIECE));
        assert!(turns.load(Ordering::Relaxed) >= pieces.len(), "{turns:?}");
    }
}
