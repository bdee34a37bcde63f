//! Permission to send: a claim, made at the last moment and by no two nodes.

use std::sync::Arc;
use std::time::Duration;

use everfresh::{Claim, Context, Custody, CustodyStore, Timestamp};
use tokio::sync::watch;

use super::keeper::Keeping;
use super::table::SEND_LIMIT;

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
pub(super) async fn permission<S: CustodyStore>(
    keeping: Arc<Keeping<S>>,
    cx: Context,
    claim: Claim,
    claimed: Arc<watch::Sender<Claimed>>,
) -> bool {
    claimed.send_replace(Claimed::Asked);
    let mut outcome = claimed.subscribe();
    let task = cx.clone();
    cx.spawn(async move {
        let outcome = make(&keeping, &task, claim).await;
        claimed.send_replace(outcome);
    });
    let settled = outcome.wait_for(|claimed| *claimed != Claimed::Asked).await;
    settled.is_ok_and(|claimed| *claimed == Claimed::Granted)
}

async fn make<S: CustodyStore>(keeping: &Keeping<S>, cx: &Context, claim: Claim) -> Claimed {
    let asked = Moment::of(cx);
    let granted = match keeping.store.claim(claim).await {
        Ok(true) => Claimed::Granted,
        Ok(false) => Claimed::Refused,
        Err(error) => {
            cx.store_failed(&error);
            // It may have been made all the same, and is looked up, not made again.
            match keeping.store.load(claim.sid).await {
                Ok(row) => {
                    let custody = row.and_then(|loaded| loaded.record.custody);
                    let made =
                        |row: Box<Custody>| row.seq == claim.seq && row.claim == Some(claim.id);
                    if custody.is_some_and(made) { Claimed::Granted } else { Claimed::Refused }
                }
                Err(_) => Claimed::Unknown,
            }
        }
    };
    match granted {
        Claimed::Granted if !asked.is_recent(cx) => Claimed::Stale,
        granted => granted,
    }
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
