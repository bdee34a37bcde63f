//! Permission to send: a reservation of the row, made at the last moment, by one node at a time.

use std::sync::Arc;
use std::time::Duration;

use everfresh::Timestamp;
use everfresh::refresher::Context;
use everfresh::store::{Reservation, StoredUpstreamTokens, UpstreamTokenStore};
use tokio::sync::watch;

use super::send_rules::{SEND_LIMIT, SendDecision, decide};
use super::shared::Shared;

/// The state of a reservation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReservationState {
    NotRequested,
    Requested,
    Granted,
    Stale,
    Refused,
    Unknown,
}

/// Reserves the row at the last moment before the token is written, and returns whether the token
/// may be sent. The reservation is made in a separate task, so a connection that is dropped in the
/// meantime does not cancel it.
pub(super) async fn reserve_before_send<S: UpstreamTokenStore>(
    shared: Arc<Shared<S>>,
    cx: Context,
    reservation: Reservation,
    state: Arc<watch::Sender<ReservationState>>,
) -> bool {
    state.send_replace(ReservationState::Requested);
    let requested = TwoClocks::of(&cx);
    let mut outcome = state.subscribe();
    let (task, sender) = (cx.clone(), state.clone());
    cx.spawn(async move {
        let outcome = make(&shared, &task, reservation).await;
        sender.send_replace(outcome);
    });
    let settled = outcome.wait_for(|state| *state != ReservationState::Requested).await;
    let granted = settled.is_ok_and(|state| *state == ReservationState::Granted);
    // The age is checked here, not in the task that made the reservation. The process may have been
    // stopped between the last poll of that task and this poll, which hands the body over.
    if granted && !requested.is_recent(&cx) {
        state.send_replace(ReservationState::Stale);
        return false;
    }
    granted
}

async fn make<S: UpstreamTokenStore>(
    shared: &Shared<S>,
    cx: &Context,
    reservation: Reservation,
) -> ReservationState {
    if reservation.replaces.is_some() && !still_fits(shared, cx, reservation).await {
        return ReservationState::Refused;
    }
    match shared.store.reserve(reservation).await {
        Ok(true) => ReservationState::Granted,
        Ok(false) => ReservationState::Refused,
        Err(error) => {
            cx.store_failed(&error);
            // The store may have made the reservation despite the error, so it is looked up rather
            // than made again.
            match shared.store.load(reservation.sid).await {
                Ok(row) => {
                    let upstream = row.and_then(|loaded| loaded.record.upstream);
                    let made = |row: Box<StoredUpstreamTokens>| {
                        row.seq == reservation.seq && row.reservation == Some(reservation.id)
                    };
                    if upstream.is_some_and(made) {
                        ReservationState::Granted
                    } else {
                        ReservationState::Refused
                    }
                }
                Err(_) => ReservationState::Unknown,
            }
        }
    }
}

/// Returns whether a token may still be sent again. The process may have been stopped since the
/// decision, so the rest of the grace is computed again from the store's current time.
async fn still_fits<S: UpstreamTokenStore>(
    shared: &Shared<S>,
    cx: &Context,
    reservation: Reservation,
) -> bool {
    let loaded = match shared.store.load(reservation.sid).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return false,
        Err(error) => {
            cx.store_failed(&error);
            return false;
        }
    };
    loaded.record.upstream.is_some_and(|upstream| {
        let next = decide(&upstream, true, true, loaded.now, shared.rules());
        upstream.seq == reservation.seq
            && next == SendDecision::Send { replaces: reservation.replaces }
    })
}

/// A point in time on two clocks. The monotonic clock runs on while the process is stopped; the
/// wall clock also runs on while the machine sleeps.
#[derive(Clone, Copy)]
struct TwoClocks {
    monotonic: Duration,
    wall: Timestamp,
}

impl TwoClocks {
    fn of(cx: &Context) -> Self {
        Self { monotonic: cx.monotonic(), wall: cx.now() }
    }

    fn is_recent(self, cx: &Context) -> bool {
        let now = Self::of(cx);
        now.monotonic.saturating_sub(self.monotonic) < SEND_LIMIT
            && now.wall >= self.wall
            && now.wall.since(self.wall) < SEND_LIMIT
    }
}
