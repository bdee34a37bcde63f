//! The middleware's operations on a session: refresh, conclude, deliver.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::Instrument as _;

use super::debug::Account;
use super::{Accepted, JoinedFlight, SEALED, Session, SessionStatus, Shared, State, TOUCHED, View};
use crate::core::Core;
use crate::error::Failure;
use crate::forward;
use crate::head::{RequestHead, ResponseHead};
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::observe::metrics::FlightEntry;
use crate::policy::InnerToken;
use crate::refresh::flight::{
    FLIGHT_LIMIT, Flight, FlightResult, Mode, join_or_start, outcome_of, within,
};
use crate::refresh::{Confirms, Context, Presented, RefreshRequest, RefreshToken, Tokens};
use crate::respond::{self, Outgoing, Sent};
use crate::secret::AccessToken;
use crate::transport::Location;
use crate::verify::{Verified, is_nameless};

/// The status by which pages and clients know that the user has to sign in.
const UNAUTHORIZED: u16 = 401;

/// The changes that are sent with a response.
#[derive(Clone)]
pub(super) struct Leaving {
    outgoing: Outgoing,
    /// The request is a top-level navigation, and the refresher reported that the session is over.
    dead: bool,
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.outgoing, Outgoing::Nothing) && !self.dead
    }
}

impl<C: ClaimSet> Session<C> {
    /// Changes what the inner service sees of the tokens.
    pub(super) fn attach(&self, head: &mut impl RequestHead) {
        let core = &self.0.core;
        let successor = match core.settings.inner_token {
            InnerToken::Fresh => self.delivered(),
            _ => None,
        };
        // A token with a generation is for the client alone, because presenting it confirms the
        // rotation.
        let successor = match self.generation() {
            Some(_) => successor.and_then(|_| self.access_token().ok()),
            None => successor,
        };
        forward::rewrite(
            head.fields_mut(),
            &core.transports,
            core.settings.inner_token,
            successor.as_ref(),
        );
    }

    /// Records that the client presented a token. Watches of the session are extended, and a
    /// generation that is presented for the first time is reported to the refresher. Only tokens
    /// that clients present confirm a rotation. The report runs beside the request, and is repeated
    /// on a later request if it failed.
    pub(crate) fn note_shown(&self) {
        let Some(verified) = &self.0.begun.verified else { return };
        let sid = &*verified.sid;
        let core = &self.0.core;
        core.watches.extend(sid, verified.expires);
        let Some(generation) = verified.generation else { return };
        // If every request is user activity, rotations extend the idle time, and no report has to.
        let user_activity = core.settings.background.is_some() && self.0.request.user_activity;
        if verified.reported.is(user_activity) || !core.seen.first(sid, generation, user_activity) {
            return;
        }
        let Some(runtime) = core.runtime() else {
            return core.seen.forget(sid, generation, user_activity);
        };
        let (core, sid, verified) = (core.clone(), sid.to_owned(), verified.clone());
        let report = async move {
            let cx = Context::new(core.clone());
            let confirmed =
                core.refresher.clone().confirm(cx, sid.clone(), generation, user_activity);
            match confirmed.await {
                Ok(_) => verified.reported.note(user_activity),
                Err(_) => core.seen.forget(&sid, generation, user_activity),
            }
        };
        runtime.spawn(report);
    }

    /// Returns the refresh token that belongs to the session's present state.
    pub(super) fn refresh_token(&self) -> Option<RefreshToken> {
        if self.touched()
            && let Outgoing::Tokens { tokens, .. } = &self.lock().outgoing
            && let Some(refresh) = &tokens.refresh
        {
            return Some(refresh.clone());
        }
        self.0.request.refresh.clone()
    }

    /// Returns the refresh token that the request brought, if it came by a location that `wanted`
    /// accepts. Returns `Err` if the request brought one there that does not count.
    pub(crate) fn refresh_token_from(
        &self,
        wanted: impl Fn(&Location) -> bool,
    ) -> Result<Option<&RefreshToken>, ()> {
        let Shared { core, request, .. } = &*self.0;
        match &request.refresh {
            Some(refresh) => {
                Ok(wanted(&core.transports.get(request.transport).refresh).then_some(refresh))
            }
            None if request.refused_refresh && core.transports.any_refresh(wanted) => Err(()),
            None => Ok(None),
        }
    }

    /// Starts or joins the flight for the presented tokens, if the refresher identifies them.
    pub(super) fn join_flight(&self, mode: Mode) -> Option<JoinedFlight<C>> {
        let core = &self.0.core;
        let of = self.presented(Arc::clone);
        let refresh = self.refresh_token();
        let held = of.as_deref().map(Verified::as_verified_token);
        let presented =
            Presented::new(held, refresh.as_ref().map(|token| token.expose().as_bytes()));
        let key = core.refresher.identify(presented, core.settings.clock.now())?;
        // Checked here for a refresh token that was kept as it came.
        if held.is_some_and(|held| *held.sid != *key.sid) {
            core.emit(&Event::RefreshTokenIgnored);
            return None;
        }
        let changes = self.lock().changes;
        let user_activity = self.0.request.user_activity;
        let waited = core.settings.clock.now().since(self.0.request.began);
        let admitted = || {
            let now = core.settings.clock.now();
            let token_still_valid = of.as_ref().is_some_and(|of| now < of.expires);
            let session_claims = of.as_deref().and_then(|of| of.session_claims(Confirms::Nothing));
            RefreshRequest::new(session_claims, refresh.clone(), user_activity)
                .after(waited)
                .token_still_valid(token_still_valid)
        };
        let (flight, entry) = join_or_start(core, &key, admitted, mode);
        Some(JoinedFlight { flight, entry, sid: key.sid, of, refresh, changes })
    }

    /// Starts or joins a flight beside the request. Its result is sent with the response if it is
    /// ready.
    pub(crate) fn advise(&self) {
        if let Some(joined) = self.join_flight(Mode::Background) {
            self.note_flight(joined.entry, "underway");
            self.lock().beside = Some(joined);
            self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel);
        }
    }

    /// Refreshes and waits for the result, for `left` or else the waiter limit. Afterwards the
    /// session's status states what the request is entitled to.
    pub(crate) async fn wait(&self, left: Option<Duration>) {
        if let Some(mut joined) = self.join_flight(Mode::Blocking) {
            let core = &self.0.core;
            let began = core.settings.clock.monotonic();
            let result = joined.wait(core, left.unwrap_or(core.settings.refresh_timeout)).await;
            core.metrics.waited(core.settings.clock.monotonic().saturating_sub(began));
            self.note_flight(joined.entry, outcome_of(&result));
            let end = self.accept(result, &joined);
            self.conclude(end, &joined, false);
        }
    }

    /// Records for [`Account`] how the request came to a flight, and the outcome.
    pub(super) fn note_flight(&self, entry: FlightEntry, outcome: &'static str) {
        if self.0.core.settings.debug_headers {
            self.lock().flight_outcome = Some(Box::new((entry, outcome)));
        }
    }

    /// Checks the result of a flight. It counts for this request if the tokens pass the same checks
    /// as any other, belong to the same user and session, and can be delivered.
    pub(super) fn accept(&self, result: FlightResult, from: &JoinedFlight<C>) -> Accepted<C> {
        let tokens = result?;
        let core = &self.0.core;
        core.check_fit(&from.sid, Some(&tokens.access), tokens.refresh.as_ref())?;
        let verified = core.verify_own::<C>(&tokens.access)?;
        let sid = &verified.sid;
        let same_session = *sid == from.sid || (is_nameless(&from.sid) && is_nameless(sid));
        let same = same_session && from.of.as_ref().is_none_or(|of| of.subject == verified.subject);
        if !same {
            return Err(Failure::Misconfigured);
        }
        // The client is entitled to the new token's lifetime, whether or not it presents the token.
        core.watches.extend(&from.sid, verified.expires);
        Ok((tokens, verified))
    }

    /// Applies the end of a flight to this request, unless the handler has signed in or out
    /// meanwhile. Returns false if the response's head has been sent. `asked`: the handler asked
    /// for the refresh.
    pub(super) fn conclude(&self, end: Accepted<C>, from: &JoinedFlight<C>, asked: bool) -> bool {
        let failure = match end {
            Ok((mut tokens, verified)) => {
                let view = View::of(verified);
                return self.apply(from, view, |state, transport| {
                    match &mut state.outgoing {
                        // The refresh token of a sign-in in this request still counts.
                        Outgoing::Tokens { tokens: former, .. } if tokens.refresh.is_none() => {
                            tokens.refresh = former.refresh.take();
                        }
                        _ => state.recheck = recheck_of(&tokens, from),
                    }
                    state.outgoing = Outgoing::Tokens { transport, tokens, asked };
                    state.refreshed = true;
                });
            }
            Err(failure) => failure,
        };
        let status = match failure {
            Failure::Rejected => SessionStatus::Rejected,
            _ if from.of.as_ref().is_some_and(|of| of.claims.is_ok() && self.still_good(of)) => {
                SessionStatus::Present
            }
            Failure::UnreadClaims => SessionStatus::UnreadClaims,
            Failure::Unavailable { retry_after } => SessionStatus::Unavailable { retry_after },
            // A late answer may revive the session, or the token is another session's: refused, and
            // cookies are kept.
            Failure::InDoubt | Failure::Foreign => SessionStatus::Rejected,
            Failure::Misconfigured | Failure::NoRuntime | Failure::TooManySessions => {
                SessionStatus::Unavailable { retry_after: self.0.core.settings.refresh_timeout }
            }
        };
        // The presented token stays known, so that a sign-out or another refresh can use it.
        let view = View { status, reason: None, verified: from.of.clone() };
        self.apply(from, view, |state, _| state.dead = failure == Failure::Rejected)
    }

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
    fn collect(&self) {
        let outcome = {
            let mut state = self.lock();
            let outcome = state.beside.as_ref().and_then(|from| from.flight.outcome());
            outcome.zip(state.beside.take_if(|from| from.flight.outcome().is_some()))
        };
        let Some((result, from)) = outcome else { return };
        self.note_flight(from.entry, outcome_of(&result));
        let Ok((tokens, _)) = self.accept(result, &from) else { return };
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
    /// are sent. For tests that run a session by hand;
    /// [`InFlight::finish`](crate::adapter::InFlight::finish) calls it.
    pub fn is_late(&self) -> bool {
        if !self.touched() {
            return false;
        }
        self.collect();
        self.late(&self.lock())
    }

    fn late(&self, state: &State<C>) -> bool {
        state.recheck.as_ref().is_some_and(|(at, _)| self.0.core.settings.clock.monotonic() >= *at)
    }

    /// Checks the tokens of a late response again, and removes them if they may not be sent any
    /// more. For tests that run a session by hand, before
    /// [`Engine::finish`](crate::Engine::finish).
    pub async fn recheck(&self) {
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

    fn still_good(&self, verified: &Verified<C>) -> bool {
        let core = &self.0.core;
        let now = core.settings.clock.now();
        if now < verified.expires {
            return true;
        }
        let stale = now < core.usable_until(verified);
        if stale {
            core.emit(&Event::StaleServed { sid: &verified.sid });
        }
        stale
    }

    /// Returns whether this node knows by now that the session of the outgoing tokens is over.
    fn is_over(&self, state: &State<C>) -> bool {
        let core = &self.0.core;
        let view = state.now.as_ref().unwrap_or(&self.0.begun);
        let over =
            |of: &Arc<Verified<C>>| core.revoked.contains(&of.sid, core.settings.clock.now());
        view.verified.as_ref().is_some_and(over)
    }

    /// Seals the session and writes its changes into the response's head.
    pub(crate) fn finish(&self, response: &mut impl ResponseHead) {
        let sent = match self.close() {
            None => Sent::Nothing,
            Some(leaving) => self.deliver(response, leaving, true),
        };
        self.explain(response, sent);
    }

    /// Seals the session. Returns what is sent with its response, if the session was changed.
    pub(super) fn close(&self) -> Option<Leaving> {
        match self.0.flags.fetch_or(SEALED, Ordering::AcqRel) & TOUCHED {
            0 => None,
            _ => Some(self.leaving()),
        }
    }

    pub(super) fn explain(&self, response: &mut impl ResponseHead, sent: Sent) {
        if self.explains() {
            self.account(sent).write(response.fields_mut());
        }
    }

    /// Returns whether every response has the headers of `debug_headers`.
    pub(super) fn explains(&self) -> bool {
        self.0.core.settings.debug_headers
    }

    /// Returns what `debug_headers` shows of this request.
    fn account(&self, sent: Sent) -> Account<'_> {
        let Shared { core, request, .. } = &*self.0;
        let (status, reason) = self.view(|view| (view.status, view.reason));
        let flight_outcome = self.lock().flight_outcome.as_deref().copied();
        let generation = self.generation();
        Account {
            transport: request.transport,
            by: &core.transports.get(request.transport).access,
            verdict: request.verdict,
            decision: request.decision,
            flight_outcome,
            status,
            reason,
            generation,
            sent,
        }
    }

    /// Returns the changes to the session, as far as they may be sent.
    fn leaving(&self) -> Leaving {
        self.collect();
        let mut state = self.lock();
        if self.late(&state) && state.refreshed {
            // The tokens were not checked again, so they are not sent. The next request gets them.
            state.outgoing = Outgoing::Nothing;
        }
        if state.refreshed && self.is_over(&state) {
            // The session was signed out meanwhile: its tokens would only overwrite good ones.
            state.outgoing = Outgoing::Nothing;
        }
        let dead = state.dead && self.0.request.navigates;
        Leaving { outgoing: std::mem::take(&mut state.outgoing), dead }
    }

    /// Writes the changes into the response's head. `tell`: emits the event of the outcome.
    pub(super) fn deliver(
        &self,
        response: &mut impl ResponseHead,
        leaving: Leaving,
        tell: bool,
    ) -> Sent {
        let outgoing = match leaving.outgoing {
            // A page with status 401 for a session that is over: its cookies are of no use any
            // more.
            Outgoing::Nothing if leaving.dead && response.status() == UNAUTHORIZED => {
                Outgoing::Clear { dead: true }
            }
            outgoing => outgoing,
        };
        respond::apply(&self.0.core, response, outgoing, tell)
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
    fn apply(
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

/// Returns when the tokens have to be checked again, and the request that they were issued for.
fn recheck_of<C>(tokens: &Tokens, from: &JoinedFlight<C>) -> Option<(Duration, RefreshRequest)> {
    Some((tokens.recheck_at?, RefreshRequest::new(None, from.refresh.clone(), false)))
}

impl<C> JoinedFlight<C> {
    /// Waits for the flight, for `limit` at most. The wait is a span of its own.
    pub(super) async fn wait(&mut self, core: &Core, limit: Duration) -> FlightResult {
        let span = tracing::info_span!(
            target: "everfresh",
            "everfresh.wait",
            sid = &*self.sid,
            entry = self.entry.name(),
            outcome = tracing::field::Empty,
        );
        let flight = std::mem::replace(&mut self.flight, Flight::Done(Err(Failure::SOON)));
        let result = flight.wait(core, limit).instrument(span.clone()).await;
        span.record("outcome", outcome_of(&result));
        result
    }
}
