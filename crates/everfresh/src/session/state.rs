//! What is known of a request's session: at its start, and since it was changed.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::refreshing::JoinedFlight;
use super::{Session, SessionStatus};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::{Decision, Verdict};
use crate::observe::metrics::FlightEntry;
use crate::refresh::{RefreshRequest, RefreshToken};
use crate::respond::Outgoing;
use crate::secret::AccessToken;
use crate::verify::{InvalidReason, UnreadClaims, Verified};

pub(crate) struct Shared<C> {
    pub(crate) core: Arc<Core>,
    /// The state at the request's start. It never changes, so that the fresh path takes no lock.
    pub(crate) begun: View<C>,
    pub(crate) request: RequestFacts,
    flags: AtomicU8,
    /// Created at the first change to the session, which most requests never make.
    state: OnceLock<Box<Mutex<State<C>>>>,
}

/// The facts that are kept of a request.
pub(crate) struct RequestFacts {
    /// The transport that brought the tokens, or else the first one.
    pub(crate) transport: usize,
    /// When the request began, by the wall clock.
    pub(crate) began: Timestamp,
    /// Whether the app's own site caused the request.
    pub(crate) same_origin: bool,
    /// Whether the request is user activity, which restarts the session's idle time.
    pub(crate) user_activity: bool,
    /// The verdict on its access token, and the decision.
    pub(crate) verdict: Verdict,
    pub(crate) decision: Decision,
    /// Whether the request is a top-level navigation that waits for a refresh.
    pub(crate) navigates: bool,
    /// The refresh token, as it came.
    pub(crate) refresh: Option<RefreshToken>,
    /// Whether the request carried a refresh token that does not count.
    pub(crate) refused_refresh: bool,
}

/// The session was changed: `state` counts in place of `begun`.
const TOUCHED: u8 = 1;
/// The response's head is complete.
const SEALED: u8 = 2;

/// What is known of the session at some moment.
pub(crate) struct View<C> {
    pub(crate) status: SessionStatus,
    pub(crate) reason: Option<InvalidReason>,
    /// The token that the status is about. With a status other than `Present`, the token that was
    /// known before, if any.
    pub(crate) verified: Option<Arc<Verified<C>>>,
}

pub(crate) struct State<C> {
    /// In place of `begun`, once something changed.
    pub(crate) now: Option<View<C>>,
    pub(crate) outgoing: Outgoing,
    pub(crate) beside: Option<JoinedFlight<C>>,
    /// How the request came to a flight, and the outcome. Kept only for `debug_headers`, and boxed
    /// to keep the state small for all other requests.
    pub(crate) flight_outcome: Option<Box<(FlightEntry, &'static str)>>,
    pub(crate) refreshed: bool,
    /// Counts the handler's changes. The result of a flight that began before a change is
    /// discarded.
    pub(crate) changes: u32,
    /// The refresher reported that the session is over.
    pub(crate) dead: bool,
    /// When the outgoing tokens have to be checked again, and the request that they were issued
    /// for.
    pub(crate) recheck: Option<(Duration, RefreshRequest)>,
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self {
            now: None,
            outgoing: Outgoing::Nothing,
            beside: None,
            flight_outcome: None,
            refreshed: false,
            changes: 0,
            dead: false,
            recheck: None,
        }
    }
}

impl<C> View<C> {
    /// A view without a user, for this reason.
    pub(crate) fn without_token(status: SessionStatus, reason: Option<InvalidReason>) -> Self {
        Self { status, reason, verified: None }
    }

    /// The view of the user that this token was issued for.
    pub(crate) fn of(verified: Verified<C>) -> Self {
        let status = match verified.claims {
            Ok(_) => SessionStatus::Present,
            // Another issuer's token: the engine checks that claims are readable before it issues a
            // token.
            Err(_) => SessionStatus::UnreadClaims,
        };
        Self { status, reason: None, verified: Some(Arc::new(verified)) }
    }

    /// Returns the claims that the app's type does not take, if the token is good.
    pub(crate) fn unread(&self) -> Option<&UnreadClaims> {
        match self.status {
            SessionStatus::UnreadClaims => self.verified.as_ref()?.claims.as_ref().err(),
            _ => None,
        }
    }
}

impl<C> Session<C> {
    pub(crate) fn new(core: Arc<Core>, request: RequestFacts, begun: View<C>) -> Self {
        let (flags, state) = (AtomicU8::new(0), OnceLock::new());
        Self(Arc::new(Shared { core, begun, request, flags, state }))
    }

    /// Returns the core of the engine that began the session.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn sealed(&self) -> bool {
        self.0.flags.load(Ordering::Acquire) & SEALED != 0
    }

    /// Seals the session: later changes are too late for its response.
    pub(crate) fn seal(&self) {
        // The session is nearly always sealed by now, and a load costs less than a write.
        if !self.sealed() {
            self.0.flags.fetch_or(SEALED, Ordering::AcqRel);
        }
    }

    /// Seals the session. Returns whether it was changed.
    pub(crate) fn close(&self) -> bool {
        self.0.flags.fetch_or(SEALED, Ordering::AcqRel) & TOUCHED != 0
    }

    pub(crate) fn touched(&self) -> bool {
        self.0.flags.load(Ordering::Acquire) & TOUCHED != 0
    }

    pub(crate) fn view<T>(&self, read: impl FnOnce(&View<C>) -> T) -> T {
        match self.touched() {
            false => read(&self.0.begun),
            true => read(self.lock().now.as_ref().unwrap_or(&self.0.begun)),
        }
    }

    /// Keeps a refresh that runs beside the request.
    pub(crate) fn keep_beside(&self, joined: JoinedFlight<C>) {
        self.lock().beside = Some(joined);
        self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.0.state.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the token that is sent with the response, as far as it is known before the handler
    /// runs.
    pub(crate) fn delivered(&self) -> Option<AccessToken> {
        if !self.touched() {
            return None;
        }
        match &self.lock().outgoing {
            Outgoing::Tokens { tokens, .. } => Some(tokens.access.clone()),
            _ => None,
        }
    }

    /// Signs in or out: changes the session's view and what is sent with the response. Returns
    /// false, and changes nothing, if the response's head has been sent.
    pub(super) fn replace(&self, view: View<C>, outgoing: Outgoing) -> bool {
        self.change(view, None, |state| {
            state.outgoing = outgoing;
            state.refreshed = false;
            state.dead = false;
            state.recheck = None;
            state.changes += 1;
        })
    }

    /// Applies a flight's end. Changes nothing if the handler has signed in or out since its start.
    pub(super) fn apply(
        &self,
        from: &JoinedFlight<C>,
        view: View<C>,
        write: impl FnOnce(&mut State<C>, usize),
    ) -> bool {
        self.change(view, Some(from.changes), |state| {
            let transport = match state.outgoing {
                Outgoing::Tokens { transport, .. } => transport,
                _ => self.0.request.transport,
            };
            write(state, transport);
        })
    }

    /// `since`: writes only if the handler's count of changes is still this.
    fn change(&self, view: View<C>, since: Option<u32>, write: impl FnOnce(&mut State<C>)) -> bool {
        let mut state = self.lock();
        if since.is_some_and(|changes| changes != state.changes) {
            return true;
        }
        // Under the lock: a response that seals the session now waits for the lock, and sees this
        // change.
        if self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel) & SEALED != 0 {
            return false;
        }
        state.now = Some(view);
        state.beside = None;
        write(&mut state);
        true
    }
}
