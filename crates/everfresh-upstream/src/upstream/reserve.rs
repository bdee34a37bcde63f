//! Permission to send: a claim, made at the last moment and by no two nodes.

use std::sync::Arc;
use std::time::Duration;

use everfresh::{Context, Reservation, StoredUpstreamTokens, Timestamp, UpstreamTokenStore};
use tokio::sync::watch;

use super::keeper::Shared;
use super::table::{SEND_LIMIT, SendDecision, consult};

/// What became of a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    NotAsked,
    Asked,
    Granted,
    Stale,
    Refused,
    Unknown,
}

/// Claims the row at the last moment before the token is written. The claim is made in a task of its
/// own: a connection that is dropped while it is made takes nothing of it along.
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
    // Looked at here and not by whoever made the claim: the process may have been stopped between
    // that one's last poll and this one, which is the one that hands the body over.
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
            // It may have been made all the same, and is looked up, not made again.
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

/// Whether a token may still be sent again. Whoever found so may have been stopped since, and what
/// is left of a grace has to be known as of now.
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

/// When something was asked for, by two clocks: one of them runs while a process is stopped, and
/// one while the machine sleeps.
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
