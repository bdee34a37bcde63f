//! What the middleware does with a session: refresh it, conclude, deliver.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::Instrument as _;

use super::change::grant_of;
use super::{
    Accepted, ClaimSet, JoinedFlight, SEALED, Session, SessionStatus, Shared, State, TOUCHED, View,
};
use crate::carrier::Location;
use crate::engine::Core;
use crate::forward::{self, InnerToken};
use crate::head::{RequestHead, ResponseHead};
use crate::observe::Event;
use crate::observe::metrics::How;
use crate::refresh::flight::{
    FLIGHT_LIMIT, Flight, FlightResult, Mode, join_or_start, outcome_of, within,
};
use crate::refresh::{Context, Failure, Presented, RefreshRequest, RefreshToken, Tokens};
use crate::respond::{self, Account, Outgoing, Sent};
use crate::secret::AccessToken;
use crate::verify::{Verified, is_nameless};

/// A status that pages and clients know: sign in.
const UNAUTHORIZED: u16 = 401;

/// What leaves with a response.
#[derive(Clone)]
pub(super) struct Leaving {
    outgoing: Outgoing,
    /// Somebody goes to a page, and the refresher said that the session is over.
    dead: bool,
}

impl Leaving {
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.outgoing, Outgoing::Nothing) && !self.dead
    }
}

impl<C: ClaimSet> Session<C> {
    /// What the inner service sees of the tokens.
    pub(super) fn attach(&self, head: &mut impl RequestHead) {
        let core = &self.0.core;
        let successor = match core.inner_token {
            InnerToken::Fresh => self.delivered(),
            _ => None,
        };
        // One that carries a generation is the client's alone: whoever showed it would confirm.
        let successor = match self.generation() {
            Some(_) => successor.and_then(|_| self.access_token().ok()),
            None => successor,
        };
        forward::rewrite(head.fields_mut(), &core.carriers, core.inner_token, successor.as_ref());
    }

    /// A client shows a token: whoever watches the session is told, and a generation that is shown
    /// for the first time is reported. Only what clients present confirms; the report is made
    /// beside the request, and again if it failed.
    pub(crate) fn note_shown(&self) {
        let Some(verified) = &self.0.begun.verified else { return };
        let sid = &*verified.sid;
        let core = &self.0.core;
        core.watches.extend(sid, verified.expires);
        let Some(generation) = verified.generation else { return };
        // Where every request is a person's, rotations slide, and nothing else has to.
        let user_activity = core.background.is_some() && self.0.request.user_activity;
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

    /// The refresh token that goes with what the session is now.
    pub(super) fn refresh_token(&self) -> Option<RefreshToken> {
        if self.touched()
            && let Outgoing::Tokens { tokens, .. } = &self.lock().outgoing
            && let Some(refresh) = &tokens.refresh
        {
            return Some(refresh.clone());
        }
        self.0.request.refresh.clone()
    }

    /// The refresh token that the request brought, if it came by such a location. `Err`: one that
    /// does not count.
    pub(crate) fn refresh_token_from(
        &self,
        wanted: impl Fn(&Location) -> bool,
    ) -> Result<Option<&RefreshToken>, ()> {
        let Shared { core, request, .. } = &*self.0;
        match &request.refresh {
            Some(refresh) => {
                Ok(wanted(&core.carriers.get(request.carrier).refresh).then_some(refresh))
            }
            None if request.refused_refresh && core.carriers.any_refresh(wanted) => Err(()),
            None => Ok(None),
        }
    }

    /// Starts or joins the flight for what the request presented, if it may.
    pub(super) fn join_flight(&self, haste: Mode) -> Option<JoinedFlight<C>> {
        let core = &self.0.core;
        let of = self.presented(Arc::clone);
        let refresh = self.refresh_token();
        let held = of.as_deref().map(Verified::held);
        let presented =
            Presented::new(held, refresh.as_ref().map(|token| token.expose().as_bytes()));
        let key = core.refresher.identify(presented, core.clock.now())?;
        // Checked here for a token that was kept as it came.
        if held.is_some_and(|held| *held.sid != *key.sid) {
            core.emit(&Event::RefreshTokenIgnored);
            return None;
        }
        let changes = self.lock().changes;
        let user_activity = self.0.request.user_activity;
        let waited = core.clock.now().since(self.0.request.began);
        let admitted = || {
            let now = core.clock.now();
            let token_still_valid = of.as_ref().is_some_and(|of| now < of.expires);
            let grant = of.as_deref().and_then(grant_of);
            RefreshRequest::new(grant, refresh.clone(), user_activity)
                .after(waited)
                .token_still_valid(token_still_valid)
        };
        let (flight, how) = join_or_start(core, &key, admitted, haste);
        Some(JoinedFlight { flight, how, sid: key.sid, of, refresh, changes })
    }

    /// Runs a flight beside the request; what it brings leaves with the response if it is done.
    pub(crate) fn advise(&self) {
        if let Some(joined) = self.join_flight(Mode::Background) {
            self.note_flight(joined.how, "underway");
            self.lock().beside = Some(joined);
            self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel);
        }
    }

    /// Refreshes and waits for it, for the waiter limit or what is left of it. Afterwards the
    /// session's standing is what the request is entitled to.
    pub(crate) async fn wait(&self, left: Option<Duration>) {
        if let Some(mut joined) = self.join_flight(Mode::Blocking) {
            let core = &self.0.core;
            let began = core.clock.monotonic();
            let landing = joined.wait(core, left.unwrap_or(core.refresh_timeout)).await;
            core.metrics.waited(core.clock.monotonic().saturating_sub(began));
            self.note_flight(joined.how, outcome_of(&landing));
            let end = self.accept(landing, &joined);
            self.conclude(end, &joined, false);
        }
    }

    /// For [`Account`]: how the request came to a flight, and what came of it.
    pub(super) fn note_flight(&self, how: How, outcome: &'static str) {
        if self.0.core.debug_headers {
            self.lock().flown = Some(Box::new((how, outcome)));
        }
    }

    /// What a flight brought, if it may count for this request: tokens that are good like any other,
    /// of the same person and session, and that can be delivered.
    pub(super) fn accept(&self, landing: FlightResult, from: &JoinedFlight<C>) -> Accepted<C> {
        let tokens = landing?;
        let core = &self.0.core;
        core.check_fit(&from.sid, Some(&tokens.access), tokens.refresh.as_ref())?;
        let verified = core.verify_own::<C>(&tokens.access)?;
        let sid = &verified.sid;
        let same_session = *sid == from.sid || (is_nameless(&from.sid) && is_nameless(sid));
        let same = same_session && from.of.as_ref().is_none_or(|of| of.subject == verified.subject);
        if !same {
            return Err(Failure::Misconfigured);
        }
        // Who got it is entitled to what it says, whether or not it is shown again.
        core.watches.extend(&from.sid, verified.expires);
        Ok((tokens, verified))
    }

    /// Design section 7: what a flight's end means for this request, unless the handler has signed
    /// in or out meanwhile. False if the response's head has left. `asked`: by the handler.
    pub(super) fn conclude(&self, end: Accepted<C>, from: &JoinedFlight<C>, asked: bool) -> bool {
        let failure = match end {
            Ok((mut tokens, verified)) => {
                let view = View::of(verified);
                return self.apply(from, view, |state, carrier| {
                    match &mut state.outgoing {
                        // The refresh token of a sign-in in this very request still holds.
                        Outgoing::Tokens { tokens: former, .. } if tokens.refresh.is_none() => {
                            tokens.refresh = former.refresh.take();
                        }
                        _ => state.recheck = recheck_of(&tokens, from),
                    }
                    state.outgoing = Outgoing::Tokens { carrier, tokens, asked };
                    state.refreshed = true;
                });
            }
            Err(failure) => failure,
        };
        let standing = match failure {
            Failure::Rejected => SessionStatus::Rejected,
            _ if from.of.as_ref().is_some_and(|of| of.claims.is_ok() && self.still_good(of)) => {
                SessionStatus::Present
            }
            Failure::UnreadClaims => SessionStatus::UnreadClaims,
            Failure::Unavailable { retry_after } => SessionStatus::Unavailable { retry_after },
            // What a late answer may revive, or is no one's: refused, and left as it is.
            Failure::InDoubt | Failure::Foreign => SessionStatus::Rejected,
            Failure::Misconfigured | Failure::NoRuntime | Failure::TooManySessions => {
                SessionStatus::Unavailable { retry_after: self.0.core.refresh_timeout }
            }
        };
        // What there was stays known: it can be signed out, and tried again.
        let view = View { standing, reason: None, verified: from.of.clone() };
        self.apply(from, view, |state, _| state.dead = failure == Failure::Rejected)
    }

    /// Whether the response's head has to wait: for a refresh beside the request whose result is
    /// kept nowhere else, or since its tokens have to be looked at again.
    pub(super) fn needs_time(&self) -> bool {
        self.delivers_only_copy() || self.is_late()
    }

    fn delivers_only_copy(&self) -> bool {
        self.touched()
            && self.0.core.refresher.delivers_only_copy()
            && self.lock().beside.as_ref().is_some_and(|from| from.flight.outcome().is_none())
    }

    /// Waits for that refresh, for as long as one may take, and looks at the tokens again.
    pub(super) async fn ripen(&self) {
        let beside = match self.delivers_only_copy() {
            true => self.lock().beside.as_ref().map(|from| from.flight.clone()),
            false => None,
        };
        if let Some(flight) = beside {
            let _ = flight.wait(&self.0.core, FLIGHT_LIMIT).await;
        }
        self.recheck().await;
    }

    /// Takes over what a flight beside the request brought, if it is done.
    fn collect(&self) {
        let landed = {
            let mut state = self.lock();
            let landed = state.beside.as_ref().and_then(|from| from.flight.outcome());
            landed.zip(state.beside.take_if(|from| from.flight.outcome().is_some()))
        };
        let Some((landing, from)) = landed else { return };
        self.note_flight(from.how, outcome_of(&landing));
        let Ok((tokens, _)) = self.accept(landing, &from) else { return };
        let recheck = recheck_of(&tokens, &from);
        let mut state = self.lock();
        // What the handler did comes before what the middleware would do.
        if state.changes == from.changes && matches!(state.outgoing, Outgoing::Nothing) {
            let carrier = self.0.request.carrier;
            state.outgoing = Outgoing::Tokens { carrier, tokens, asked: false };
            state.recheck = recheck;
            state.refreshed = true;
        }
    }

    /// Whether a response took so long that its tokens have to be looked at again before they
    /// leave. For tests that run a session by hand; [`InFlight::finish`](crate::InFlight::finish)
    /// asks it.
    pub fn is_late(&self) -> bool {
        if !self.touched() {
            return false;
        }
        self.collect();
        self.late(&self.lock())
    }

    fn late(&self, state: &State<C>) -> bool {
        state.recheck.as_ref().is_some_and(|(at, _)| self.0.core.clock.monotonic() >= *at)
    }

    /// Looks at the tokens of a late response again; takes them out if they may no longer leave.
    /// For tests that run a session by hand, before [`Engine::finish`](crate::Engine::finish).
    pub async fn recheck(&self) {
        let recheck = self.lock().recheck.take();
        let Some((_, admitted)) = recheck else { return };
        let core = &self.0.core;
        let recheck = core.refresher.may_still_deliver(Context::new(core.clone()), admitted);
        if within(core, core.refresh_timeout, recheck).await != Some(true) {
            let mut state = self.lock();
            // Not those of a sign-in that came meanwhile.
            if state.refreshed {
                state.outgoing = Outgoing::Nothing;
            }
        }
    }

    fn still_good(&self, verified: &Verified<C>) -> bool {
        let core = &self.0.core;
        let now = core.clock.now();
        if now < verified.expires {
            return true;
        }
        let stale = now < core.usable_until(verified);
        if stale {
            core.emit(&Event::StaleServed { sid: &verified.sid });
        }
        stale
    }

    /// Whether this node knows by now that the session of the outgoing tokens is over.
    fn is_over(&self, state: &State<C>) -> bool {
        let core = &self.0.core;
        let view = state.now.as_ref().unwrap_or(&self.0.begun);
        let over = |of: &Arc<Verified<C>>| core.revoked.contains(&of.sid, core.clock.now());
        view.verified.as_ref().is_some_and(over)
    }

    /// Seals the session and puts what was done to it into the response's head.
    pub(crate) fn finish(&self, response: &mut impl ResponseHead) {
        let sent = match self.close() {
            None => Sent::Nothing,
            Some(leaving) => self.deliver(response, leaving, true),
        };
        self.explain(response, sent);
    }

    /// Seals the session: what leaves with its response, if anything was done to it.
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

    /// Whether every response says what became of its request.
    pub(super) fn explains(&self) -> bool {
        self.0.core.debug_headers
    }

    /// What `debug_headers` tells of this request.
    fn account(&self, sent: Sent) -> Account<'_> {
        let Shared { core, request, .. } = &*self.0;
        let (standing, reason) = self.view(|view| (view.standing, view.reason));
        let flown = self.lock().flown.as_deref().copied();
        let generation = self.generation();
        Account {
            carrier: request.carrier,
            by: &core.carriers.get(request.carrier).access,
            verdict: request.verdict,
            decision: request.decision,
            flown,
            standing,
            reason,
            generation,
            sent,
        }
    }

    /// What was done to the session, as far as it may leave.
    fn leaving(&self) -> Leaving {
        self.collect();
        let mut state = self.lock();
        if self.late(&state) && state.refreshed {
            // Nobody looked at them again, so they stay: the next request gets them.
            state.outgoing = Outgoing::Nothing;
        }
        if state.refreshed && self.is_over(&state) {
            // Signed out elsewhere meanwhile: they would only overwrite what is good.
            state.outgoing = Outgoing::Nothing;
        }
        let dead = state.dead && self.0.request.navigates;
        Leaving { outgoing: std::mem::take(&mut state.outgoing), dead }
    }

    /// Writes it into the response's head. `tell`: reports what came of it.
    pub(super) fn deliver(
        &self,
        response: &mut impl ResponseHead,
        leaving: Leaving,
        tell: bool,
    ) -> Sent {
        let outgoing = match leaving.outgoing {
            // A page that says 401 to whoever holds a dead session's cookies: they help nobody.
            Outgoing::Nothing if leaving.dead && response.status() == UNAUTHORIZED => {
                Outgoing::Clear { dead: true }
            }
            outgoing => outgoing,
        };
        respond::apply(&self.0.core, response, outgoing, tell)
    }

    /// The token that leaves with the response, as far as it is known before the handler runs.
    pub(crate) fn delivered(&self) -> Option<AccessToken> {
        if !self.touched() {
            return None;
        }
        match &self.lock().outgoing {
            Outgoing::Tokens { tokens, .. } => Some(tokens.access.clone()),
            _ => None,
        }
    }

    /// Signing in or out: changes who somebody is and what leaves with the response. False, and
    /// nothing changed, if the response's head has left.
    pub(super) fn replace(&self, view: View<C>, outgoing: Outgoing) -> bool {
        self.change(view, None, |state| {
            state.outgoing = outgoing;
            state.refreshed = false;
            state.dead = false;
            state.recheck = None;
            state.changes += 1;
        })
    }

    /// A flight's end. Nothing changes if the handler has signed in or out since its start.
    fn apply(
        &self,
        from: &JoinedFlight<C>,
        view: View<C>,
        write: impl FnOnce(&mut State<C>, usize),
    ) -> bool {
        self.change(view, Some(from.changes), |state| {
            let carrier = match state.outgoing {
                Outgoing::Tokens { carrier, .. } => carrier,
                _ => self.0.request.carrier,
            };
            write(state, carrier);
        })
    }

    /// `since`: only if the handler has done nothing since it had done so much.
    fn change(&self, view: View<C>, since: Option<u32>, write: impl FnOnce(&mut State<C>)) -> bool {
        let mut state = self.lock();
        if since.is_some_and(|changes| changes != state.changes) {
            return true;
        }
        // Under the lock: a head that seals itself now waits for it and sees what we write.
        if self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel) & SEALED != 0 {
            return false;
        }
        state.now = Some(view);
        state.beside = None;
        write(&mut state);
        true
    }
}

/// When the tokens have to be looked at again, and for what they were given.
fn recheck_of<C>(tokens: &Tokens, from: &JoinedFlight<C>) -> Option<(Duration, RefreshRequest)> {
    Some((tokens.recheck_at?, RefreshRequest::new(None, from.refresh.clone(), false)))
}

impl<C> JoinedFlight<C> {
    /// Waits for the flight, for `limit` at most. What a request waits for is a span of its own.
    pub(super) async fn wait(&mut self, core: &Core, limit: Duration) -> FlightResult {
        let span = tracing::info_span!(
            target: "everfresh",
            "everfresh.wait",
            sid = &*self.sid,
            how = self.how.name(),
            outcome = tracing::field::Empty,
        );
        let flight = std::mem::replace(&mut self.flight, Flight::Done(Err(Failure::SOON)));
        let landing = flight.wait(core, limit).instrument(span.clone()).await;
        span.record("outcome", outcome_of(&landing));
        landing
    }
}
