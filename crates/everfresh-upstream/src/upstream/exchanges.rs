//! The exchanges that run on this node: a single flight per token and reservation.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everfresh::refresher::Context;
use everfresh::store::{ReservationId, StoredUpstreamTokens, UpstreamTokenStore};
use everfresh::{SessionId, Timestamp};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::exchange::{Exchange, ExchangeResult};
use super::shared::Shared;
use super::token_endpoint::span;
use super::tokens::UpstreamTokens;

/// How many reservations without an answer a node remembers. The others are in doubt only when
/// their limit is over.
const MAX_UNANSWERED: usize = 16 * 1024;

/// How many tokens that were rejected early a node remembers. The others are sent early again.
const MAX_REJECTED_EARLY: usize = 16 * 1024;

/// Identifies the tokens of a session by their sequence number.
pub(super) type TokenKey = (SessionId, u64);

/// The running exchanges, and the ones that ended without an answer.
#[derive(Clone, Default)]
pub(super) struct Exchanges(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    /// The running exchanges. The same tokens have more than one exchange only if they are sent
    /// again; the first exchange then still waits for its answer.
    running: HashMap<TokenKey, Vec<InFlight>>,
    unanswered: HashMap<TokenKey, ReservationId>,
    /// The tokens that the other server rejected while their access tokens were good.
    rejected_early: HashSet<TokenKey>,
}

/// An exchange that runs on this node.
#[derive(Clone)]
pub(super) struct InFlight {
    /// The reservation that it replaces.
    replaces: Option<(ReservationId, Timestamp)>,
    pub(super) end: watch::Receiver<Option<ExchangeResult>>,
}

impl Exchanges {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns every exchange that runs on this node.
    pub(super) fn all(&self) -> Vec<InFlight> {
        self.entries().running.values().flatten().cloned().collect()
    }

    /// Returns the exchanges of these tokens that run on this node.
    pub(super) fn running(&self, key: TokenKey) -> Vec<InFlight> {
        self.entries().running.get(&key).cloned().unwrap_or_default()
    }

    /// Joins the exchange of these tokens that replaces this reservation, or starts it. This is a
    /// single flight per token and reservation.
    pub(super) fn join_or_start<S: UpstreamTokenStore>(
        &self,
        shared: &Arc<Shared<S>>,
        cx: &Context,
        key: TokenKey,
        tokens: UpstreamTokens,
        replaces: Option<(ReservationId, Timestamp)>,
    ) -> watch::Receiver<Option<ExchangeResult>> {
        let mut entries = self.entries();
        let running = entries.running.entry(key).or_default();
        if let Some(in_flight) = running.iter().find(|in_flight| in_flight.replaces == replaces) {
            return in_flight.end.clone();
        }
        let (sender, end) = watch::channel(None);
        running.push(InFlight { replaces, end: end.clone() });
        drop(entries);
        let exchange = Exchange { shared: shared.clone(), cx: cx.clone(), key, tokens, replaces };
        // The guard removes the entry however the exchange ends, also if the runtime drops it.
        let guard = Running { exchanges: self.clone(), key, replaces };
        let span = span(&key.0.to_string());
        let exchanging = async move {
            let (ended, reservation) = exchange.run().await;
            if let (ExchangeResult::NoAnswer | ExchangeResult::Misconfigured, Some(reservation)) =
                (&ended, reservation)
            {
                guard.exchanges.note_unanswered(key, reservation);
            }
            if ended == ExchangeResult::RejectedEarly {
                guard.exchanges.note_rejected_early(key);
            }
            drop(guard);
            sender.send_replace(Some(ended));
        };
        cx.spawn(exchanging.instrument(span));
        end
    }

    fn note_unanswered(&self, key: TokenKey, reservation: ReservationId) {
        let mut entries = self.entries();
        if entries.unanswered.len() >= MAX_UNANSWERED {
            entries.unanswered.clear();
        }
        entries.unanswered.insert(key, reservation);
    }

    fn note_rejected_early(&self, key: TokenKey) {
        let mut entries = self.entries();
        if entries.rejected_early.len() >= MAX_REJECTED_EARLY {
            entries.rejected_early.clear();
        }
        entries.rejected_early.insert(key);
    }

    /// Returns whether the other server rejected these tokens while their access token was good.
    pub(super) fn is_rejected_early(&self, key: TokenKey) -> bool {
        self.entries().rejected_early.contains(&key)
    }

    pub(super) fn is_unanswered(&self, key: TokenKey, upstream: &StoredUpstreamTokens) -> bool {
        let entries = self.entries();
        upstream.reservation.is_some()
            && entries.unanswered.get(&key) == upstream.reservation.as_ref()
    }
}

/// A guard that removes an exchange from the running exchanges when it is dropped.
struct Running {
    exchanges: Exchanges,
    key: TokenKey,
    replaces: Option<(ReservationId, Timestamp)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut entries = self.exchanges.entries();
        if let Some(running) = entries.running.get_mut(&self.key) {
            running.retain(|in_flight| in_flight.replaces != self.replaces);
            if running.is_empty() {
                entries.running.remove(&self.key);
            }
        }
    }
}
