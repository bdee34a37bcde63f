//! What may still leave with a response: the result of a refresh beside the request, and tokens that
//! are not too old.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::mint::ClaimSet;
use crate::refresh::Context;
use crate::refresh::flight::{FLIGHT_LIMIT, outcome_of, within};
use crate::respond::Outgoing;
use crate::session::{Session, State, recheck_of};
use crate::verify::Verified;

/// The changes that are sent with a response.
#[derive(Clone)]
pub(super) struct Leaving {
    pub(super) outgoing: Outgoing,
    /// The request is a top-level navigation, and the refresher reported that the session is over.
    pub(super) dead: bool,
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.outgoing, Outgoing::Nothing) && !self.dead
    }
}

impl<C: ClaimSet> Session<C> {
    /// Returns whether the response's head has to wait: for a refresh beside the request whose
    /// result is kept nowhere else, or because its tokens have to be checked again.
    pub(super) fn needs_time(&self) -> bool {
        self.touched() && (self.delivers_only_copy() || self.is_late())
    }

    fn delivers_only_copy(&self) -> bool {
        self.0.core.refresher.delivers_only_copy()
            && self.lock().beside.as_ref().is_some_and(|from| from.flight.outcome().is_none())
    }

    /// Waits for that refresh, at most for a flight's limit, and checks the tokens again.
    pub(super) async fn wait_for_only_copy(&self) {
        let beside = match self.delivers_only_copy() {
            true => self.lock().beside.as_ref().map(|from| from.flight.clone()),
            false => None,
        };
        if let Some(flight) = beside {
            let _ = flight.wait(&self.0.core, FLIGHT_LIMIT).await;
        }
        self.recheck().await;
    }

    /// Takes the result of a flight beside the request, if it is ready.
    fn collect(&self, now: Timestamp) {
        let outcome = {
            let mut state = self.lock();
            let outcome = state.beside.as_ref().and_then(|from| from.flight.outcome());
            outcome.zip(state.beside.take_if(|from| from.flight.outcome().is_some()))
        };
        let Some((result, from)) = outcome else { return };
        self.note_flight(from.entry, outcome_of(&result));
        let Ok((tokens, _)) = self.accept(result, &from, now) else { return };
        let recheck = recheck_of(&tokens, &from);
        let mut state = self.lock();
        // The handler's changes take precedence over the middleware's.
        if state.changes == from.changes && matches!(state.outgoing, Outgoing::Nothing) {
            let transport = self.0.request.transport;
            state.outgoing = Outgoing::Tokens { transport, tokens, asked: false };
            state.recheck = recheck;
            state.refreshed = true;
        }
    }

    /// Returns whether a response took so long that its tokens have to be checked again before they
    /// are sent.
    fn is_late(&self) -> bool {
        self.collect(self.0.core.now());
        self.late(&self.lock())
    }

    fn late(&self, state: &State<C>) -> bool {
        state.recheck.as_ref().is_some_and(|(at, _)| self.0.core.settings.clock.monotonic() >= *at)
    }

    /// Checks the tokens of a late response again, and removes them if they may not be sent any
    /// more.
    async fn recheck(&self) {
        let recheck = self.lock().recheck.take();
        let Some((_, admitted)) = recheck else { return };
        let core = &self.0.core;
        let recheck = core.refresher.may_still_deliver(Context::new(core.clone()), admitted);
        if within(core, core.settings.refresh_timeout, recheck).await != Some(true) {
            let mut state = self.lock();
            // The tokens of a sign-in that came meanwhile stay.
            if state.refreshed {
                state.outgoing = Outgoing::Nothing;
            }
        }
    }

    /// Returns whether this node knows by now that the session of the outgoing tokens is over.
    fn is_over(&self, state: &State<C>, now: Timestamp) -> bool {
        let core = &self.0.core;
        let view = state.now.as_ref().unwrap_or(&self.0.begun);
        let over = |of: &Arc<Verified<C>>| core.revoked.contains(&of.sid, now);
        view.verified.as_ref().is_some_and(over)
    }

    /// Returns the changes to the session, as far as they may be sent.
    pub(super) fn leaving(&self, now: Timestamp) -> Leaving {
        self.collect(now);
        let mut state = self.lock();
        if self.late(&state) && state.refreshed {
            // The tokens were not checked again, so they are not sent. The next request gets them.
            state.outgoing = Outgoing::Nothing;
        }
        if state.refreshed && self.is_over(&state, now) {
            // The session was signed out meanwhile: its tokens would only overwrite good ones.
            state.outgoing = Outgoing::Nothing;
        }
        let dead = state.dead && self.0.request.navigates;
        Leaving { outgoing: std::mem::take(&mut state.outgoing), dead }
    }
}
