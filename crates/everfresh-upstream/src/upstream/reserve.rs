//! Permission to send: a reservation of the row, made at the last moment, by one node at a time.

use std::sync::Arc;
use std::time::Duration;

use everfresh::Timestamp;
use everfresh::refresher::Context;
use everfresh::store::{Reservation, StoredUpstreamTokens, UpstreamTokenStore};
use tokio::sync::watch;

use super::shared::Shared;
use super::table::{SEND_LIMIT, SendDecision, consult};

/// The state of a reservation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    NotAsked,
    Asked,
    Granted,
    Stale,
    Refused,
    Unknown,
}

/// Reserves the row at the last moment before the token is written, and returns whether the token
/// may be sent. The reservation is made in a separate task, so a connection that is dropped in the
/// meantime does not cancel it.
pub(super) async fn permission<S: UpstreamTokenStore>(
    keeping: Arc<Shared<S>>,
    cx: Context,
    reservation: Reservation,
    claimed: Arc<watch::Sender<Claimed>>,
) -> bool {
    claimed.send_replace(Claimed::Asked);
    let asked = Moment::of(&cx);
    let mut outcome = claimed.subscribe();
    let (task, announce) = (cx.clone(), claimed.clone());
    cx.spawn(async move {
        let outcome = make(&keeping, &task, reservation).await;
        announce.send_replace(outcome);
    });
    let settled = outcome.wait_for(|claimed| *claimed != Claimed::Asked).await;
    let granted = settled.is_ok_and(|claimed| *claimed == Claimed::Granted);
    // The age is checked here, not in the task that made the reservation. The process may have been
    // stopped between the last poll of that task and this poll, which hands the body over.
    if granted && !asked.is_recent(&cx) {
        claimed.send_replace(Claimed::Stale);
        return false;
    }
    granted
}

async fn make<S: UpstreamTokenStore>(
    keeping: &Shared<S>,
    cx: &Context,
    reservation: Reservation,
) -> Claimed {
    if reservation.replaces.is_some() && !still_fits(keeping, cx, reservation).await {
        return Claimed::Refused;
    }
    match keeping.store.reserve(reservation).await {
        Ok(true) => Claimed::Granted,
        Ok(false) => Claimed::Refused,
        Err(error) => {
            cx.store_failed(&error);
            // The store may have made the reservation despite the error, so it is looked up rather
            // than made again.
            match keeping.store.load(reservation.sid).await {
                Ok(row) => {
                    let upstream = row.and_then(|loaded| loaded.record.upstream);
                    let made = |row: Box<StoredUpstreamTokens>| {
                        row.seq == reservation.seq && row.reservation == Some(reservation.id)
                    };
                    if upstream.is_some_and(made) { Claimed::Granted } else { Claimed::Refused }
                }
                Err(_) => Claimed::Unknown,
            }
        }
    }
}

/// Returns whether a token may still be sent again. The process may have been stopped since the
/// decision, so the rest of the grace is computed again from the store's current time.
async fn still_fits<S: UpstreamTokenStore>(
    keeping: &Shared<S>,
    cx: &Context,
    reservation: Reservation,
) -> bool {
    let loaded = match keeping.store.load(reservation.sid).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return false,
        Err(error) => {
            cx.store_failed(&error);
            return false;
        }
    };
    loaded.record.upstream.is_some_and(|upstream| {
        let next = consult(&upstream, true, true, loaded.now, keeping.rules());
        upstream.seq == reservation.seq
            && next == SendDecision::Send { replaces: reservation.replaces }
    })
}

/// A point in time on two clocks. The monotonic clock runs on while the process is stopped; the
/// wall clock also runs on while the machine sleeps.
#[derive(Clone, Copy)]
struct Moment {
    monotonic: Duration,
    wall: Timestamp,
}

impl Moment {
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
