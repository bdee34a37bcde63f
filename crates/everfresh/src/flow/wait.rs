//! Step 4, where the request waits for it.

use std::time::Duration;

use super::await_key::AwaitKey;
use crate::mint::ClaimSet;
use crate::refresh::flight::{Mode, outcome_of};
use crate::session::Session;

/// A request that has begun. States what to do before the inner service is called.
#[must_use = "the request continues according to this value"]
#[derive(Debug)]
pub enum Progress<C> {
    /// Call the inner service at once. A refresh may have been started beside it.
    Pass(Session<C>),
    /// Await [`PendingSession::settle`] first.
    Wait(PendingSession<C>),
}

impl<C: ClaimSet> Progress<C> {
    /// Waits if the request has to, and returns the session as it is then.
    pub async fn settle(self) -> Session<C> {
        match self {
            Self::Pass(session) => session,
            Self::Wait(waiting) => waiting.settle().await,
        }
    }
}

/// A request that has to wait: for a refresh, for the key of its token, or for the refresher to
/// report which of its sessions are over.
#[derive(Debug)]
pub struct PendingSession<C>(pub(super) Pending<C>);

#[derive(Debug)]
pub(super) enum Pending<C> {
    Refresh(Session<C>),
    AwaitKey(Box<AwaitKey<C>>),
}

impl<C: ClaimSet> PendingSession<C> {
    /// Waits, up to the refresh timeout (3 s), and returns the session as it is then.
    pub async fn settle(self) -> Session<C> {
        match self.0 {
            Pending::Refresh(session) => {
                session.wait(None).await;
                session
            }
            Pending::AwaitKey(await_key) => await_key.settle().await,
        }
    }
}

impl<C: ClaimSet> Session<C> {
    /// Refreshes and waits for the result, for `left` or else the refresh timeout. Afterwards the
    /// session's status states what the request is entitled to.
    pub(super) async fn wait(&self, left: Option<Duration>) {
        let core = &self.0.core;
        if let Some(mut joined) = self.join_flight(Mode::Blocking, core.now()) {
            let began = core.settings.clock.monotonic();
            let result = joined.wait(core, left.unwrap_or(core.settings.refresh_timeout)).await;
            core.metrics.waited(core.settings.clock.monotonic().saturating_sub(began));
            self.note_flight(joined.entry, outcome_of(&result));
            let now = core.now();
            let end = self.accept(result, &joined, now);
            self.conclude(end, &joined, false, now);
        }
    }
}
