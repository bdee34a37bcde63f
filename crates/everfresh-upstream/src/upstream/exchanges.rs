//! The exchanges that run on this node: a single flight per token and reservation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everfresh::refresher::Context;
use everfresh::store::{ReservationId, StoredUpstreamTokens, UpstreamTokenStore};
use everfresh::{SessionId, Timestamp};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::calls::span;
use super::exchange::{Exchange, ExchangeResult};
use super::held::UpstreamTokens;
use super::shared::Shared;

/// How many reservations without an answer a node remembers. The others are in doubt only when
/// their limit is over.
const MAX_UNANSWERED: usize = 16 * 1024;

/// Identifies the tokens of a session by their sequence number.
pub(super) type TokenKey = (SessionId, u64);

/// The running exchanges, and the ones that ended without an answer.
#[derive(Clone, Default)]
pub(super) struct Exchanges(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    /// The running exchanges. The same tokens have more than one exchange only if they are sent
    /// again; the first exchange then still waits for its answer.
    running: HashMap<TokenKey, Vec<InFlight>>,
    unanswered: HashMap<TokenKey, ReservationId>,
}

/// An exchange that runs on this node.
#[derive(Clone)]
pub(super) struct InFlight {
    /// The reservation that it replaces.
    replaces: Option<(ReservationId, Timestamp)>,
    pub(super) end: watch::Receiver<Option<ExchangeResult>>,
}

impl Exchanges {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns every exchange that runs on this node.
    pub(super) fn all(&self) -> Vec<InFlight> {
        self.board().running.values().flatten().cloned().collect()
    }

    /// Returns the exchanges of these tokens that run on this node.
    pub(super) fn running(&self, which: TokenKey) -> Vec<InFlight> {
        self.board().running.get(&which).cloned().unwrap_or_default()
    }

    /// Joins the exchange of these tokens that replaces this reservation, or starts it. This is a
    /// single flight per token and reservation.
    pub(super) fn join_or_start<S: UpstreamTokenStore>(
        &self,
        shared: &Arc<Shared<S>>,
        cx: &Context,
        which: TokenKey,
        held: UpstreamTokens,
        replaces: Option<(ReservationId, Timestamp)>,
    ) -> watch::Receiver<Option<ExchangeResult>> {
        let mut board = self.board();
        let running = board.running.entry(which).or_default();
        if let Some(underway) = running.iter().find(|underway| underway.replaces == replaces) {
            return underway.end.clone();
        }
        let (announce, end) = watch::channel(None);
        running.push(InFlight { replaces, end: end.clone() });
        drop(board);
        let exchange = Exchange { keeping: shared.clone(), cx: cx.clone(), which, held, replaces };
        // The guard removes the entry however the exchange ends, also if the runtime drops it.
        let guard = Running { exchanges: self.clone(), which, replaces };
        let span = span(&which.0.to_string());
        let exchanging = async move {
            let (ended, reservation) = exchange.run().await;
            if let (ExchangeResult::NoAnswer | ExchangeResult::Misconfigured, Some(reservation)) =
                (&ended, reservation)
            {
                guard.exchanges.note_unanswered(which, reservation);
            }
            drop(guard);
            announce.send_replace(Some(ended));
        };
        cx.spawn(exchanging.instrument(span));
        end
    }

    fn note_unanswered(&self, which: TokenKey, reservation: ReservationId) {
        let mut board = self.board();
        if board.unanswered.len() >= MAX_UNANSWERED {
            board.unanswered.clear();
        }
        board.unanswered.insert(which, reservation);
    }

    pub(super) fn is_unanswered(&self, which: TokenKey, upstream: &StoredUpstreamTokens) -> bool {
        let board = self.board();
        upstream.reservation.is_some()
            && board.unanswered.get(&which) == upstream.reservation.as_ref()
    }
}

/// A guard that removes an exchange from the running exchanges when it is dropped.
struct Running {
    exchanges: Exchanges,
    which: TokenKey,
    replaces: Option<(ReservationId, Timestamp)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut board = self.exchanges.board();
        if let Some(running) = board.running.get_mut(&self.which) {
            running.retain(|underway| underway.replaces != self.replaces);
            if running.is_empty() {
                board.running.remove(&self.which);
            }
        }
    }
}
