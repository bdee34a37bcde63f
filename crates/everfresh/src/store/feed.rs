//! The feed by which a store's nodes learn of sessions that ended on other nodes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{SessionId, StoreError};

/// How many ended sessions are reported without a pause: less than a millisecond's work.
const PIECE: usize = 1000;

/// Receives every session that ends, on this node or another. The engine passes it to
/// [`SessionStore::watch_revocations`](super::SessionStore::watch_revocations).
#[derive(Clone)]
pub struct RevocationSink {
    receive: Arc<dyn Fn(FeedEvent<'_>) -> bool + Send + Sync>,
    back: Duration,
}

/// What a store reports to a [`RevocationSink`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FeedEvent<'h> {
    /// These sessions were ended: by sign-out, by revocation, or because two clients held one
    /// refresh token. 1,000 at the most.
    Ended(&'h [SessionId]),
    /// The store has reported every session that ended so far, and reports each further one as it
    /// ends.
    Live,
    /// The node may miss ended sessions from now on.
    Lost(&'h StoreError),
    /// There is no end to report: the store asks whether the node still listens.
    Ping,
}

impl RevocationSink {
    /// Makes a sink that calls `receive` for every event, in the task that watches. `receive` returns
    /// whether the node still listens. `back` is the greatest age of an end that still matters: as
    /// long as an access token may live.
    pub fn new(
        back: Duration,
        receive: impl Fn(FeedEvent<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { receive: Arc::new(receive), back }
    }

    /// Returns the greatest age of an end that still matters to a node that begins to watch.
    pub fn lookback(&self) -> Duration {
        self.back
    }

    /// Reports sessions that were ended. It yields to the runtime's other tasks after every 1,000
    /// sessions, and at the end.
    pub async fn ended(&self, sids: &[SessionId]) {
        for piece in sids.chunks(PIECE) {
            (self.receive)(FeedEvent::Ended(piece));
            tokio::task::yield_now().await;
        }
    }

    /// Reports that the watch has caught up, and that each further end is reported as it happens.
    pub fn live(&self) {
        (self.receive)(FeedEvent::Live);
    }

    /// Reports that ends may be missed from now on.
    pub fn lost(&self, error: &StoreError) {
        (self.receive)(FeedEvent::Lost(error));
    }

    /// Returns whether the node has stopped listening. Ask every minute or so, and stop watching
    /// once it has.
    pub fn is_closed(&self) -> bool {
        !(self.receive)(FeedEvent::Ping)
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

    // Rows: M9.
    #[tokio::test]
    async fn other_tasks_take_turns_with_any_number_of_ends() {
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let told = pieces.clone();
        let sink = RevocationSink::new(Duration::ZERO, move |event| {
            let FeedEvent::Ended(sids) = event else { return true };
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
        sink.ended(&sids).await;
        other.abort();
        let pieces = pieces.lock().unwrap();
        assert_eq!(pieces.iter().sum::<usize>(), sids.len());
        assert!(pieces.iter().all(|piece| *piece <= PIECE));
        assert!(turns.load(Ordering::Relaxed) >= pieces.len(), "{turns:?}");
    }
}
