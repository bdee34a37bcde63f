//! A refresh that a session takes part in: joined, awaited, checked and applied.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::state::{Shared, View};
use super::{Session, SessionStatus};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Failure;
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::observe::metrics::FlightEntry;
use crate::refresh::flight::{Flight, FlightResult, Mode, join_or_start, outcome_of};
use crate::refresh::{Confirms, Presented, RefreshRequest, RefreshToken, Tokens};
use crate::respond::Outgoing;
use crate::transport::Location;
use crate::verify::{Verified, is_nameless};

/// The result of a flight after it was checked.
pub(crate) type Accepted<C> = Result<(Tokens, Verified<C>), Failure>;

/// A flight, and what it refreshes.
pub(crate) struct JoinedFlight<C> {
    pub(crate) flight: Flight,
    pub(crate) entry: FlightEntry,
    pub(crate) sid: Box<str>,
    /// The access token that was presented, if its signature was good.
    pub(crate) of: Option<Arc<Verified<C>>>,
    /// The refresh token that belongs to it.
    pub(crate) refresh: Option<RefreshToken>,
    /// How many changes the handler had made when the request joined the flight.
    pub(crate) changes: u32,
}

impl<C: ClaimSet> Session<C> {
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
    pub(crate) fn join_flight(&self, mode: Mode, now: Timestamp) -> Option<JoinedFlight<C>> {
        let core = &self.0.core;
        let of = self.presented(Arc::clone);
        let refresh = self.refresh_token();
        let held = of.as_deref().map(Verified::as_verified_token);
        let key = core.refresher.identify(Presented::with(held, refresh.as_ref()), now)?;
        // Checked here for a refresh token that was kept as it came.
        if held.is_some_and(|held| *held.sid != *key.sid) {
            core.emit(&Event::RefreshTokenIgnored);
            return None;
        }
        let changes = self.lock().changes;
        let user_activity = self.0.request.user_activity;
        let admitted = || {
            let token_still_valid = of.as_ref().is_some_and(|of| now < of.expires);
            let session_claims = of.as_deref().and_then(|of| of.session_claims(Confirms::Nothing));
            RefreshRequest::new(session_claims, refresh.clone(), user_activity)
                .after(now.since(self.0.request.began))
                .token_still_valid(token_still_valid)
        };
        let (flight, entry) = join_or_start(core, &key, admitted, mode, now);
        Some(JoinedFlight { flight, entry, sid: key.sid, of, refresh, changes })
    }

    /// Records for `debug_headers` how the request came to a flight, and the outcome.
    pub(crate) fn note_flight(&self, entry: FlightEntry, outcome: &'static str) {
        if self.0.core.settings.debug_headers {
            self.lock().flight_outcome = Some(Box::new((entry, outcome)));
        }
    }

    /// Checks the result of a flight. It counts for this request if the tokens pass the same checks
    /// as any other, belong to the same user and session, and can be delivered.
    pub(crate) fn accept(
        &self,
        result: FlightResult,
        from: &JoinedFlight<C>,
        now: Timestamp,
    ) -> Accepted<C> {
        let tokens = result?;
        let core = &self.0.core;
        core.check_fit(&from.sid, Some(&tokens.access), tokens.refresh.as_ref())?;
        let verified = core.verify_own::<C>(&tokens.access, now)?;
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
    pub(crate) fn conclude(
        &self,
        end: Accepted<C>,
        from: &JoinedFlight<C>,
        asked: bool,
        now: Timestamp,
    ) -> bool {
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
            _ if from
                .of
                .as_ref()
                .is_some_and(|of| of.claims.is_ok() && self.still_good(of, now)) =>
            {
                SessionStatus::Present
            }
            Failure::UnreadClaims => SessionStatus::UnreadClaims,
            Failure::Unavailable { .. }
            | Failure::Misconfigured
            | Failure::NoRuntime
            | Failure::TooManySessions => {
                SessionStatus::Unavailable { retry_after: failure.retry_after() }
            }
            // A late answer may revive the session, or the token is another session's: refused, and
            // cookies are kept.
            Failure::InDoubt | Failure::Refused | Failure::Foreign => SessionStatus::Rejected,
        };
        // The presented token stays known, so that a sign-out or another refresh can use it.
        let view = View { status, reason: None, verified: from.of.clone() };
        self.apply(from, view, |state, _| state.dead = failure == Failure::Rejected)
    }

    fn still_good(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        let core = &self.0.core;
        if now < verified.expires {
            return true;
        }
        let stale = now < core.usable_until(verified);
        if stale {
            core.emit(&Event::StaleServed { sid: &verified.sid });
        }
        stale
    }
}

/// Returns when the tokens have to be checked again, and the request that they were issued for.
pub(crate) fn recheck_of<C>(
    tokens: &Tokens,
    from: &JoinedFlight<C>,
) -> Option<(Duration, RefreshRequest)> {
    Some((tokens.recheck_at?, RefreshRequest::new(None, from.refresh.clone(), false)))
}

impl<C> JoinedFlight<C> {
    /// Waits for the flight, for `limit` at most. The wait is a span of its own.
    pub(crate) async fn wait(&mut self, core: &Core, limit: Duration) -> FlightResult {
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
