//! The path of a request, in order. The file to open first.

mod assess;
mod await_key;
mod exposed;
mod facts;
mod ours;

use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::{Decision, Occasion, Verdict, decide};
use crate::dialects::ServedEndpoints;
use crate::extract::{Found, brings_cookie, extract, join_pieces};
use crate::head::{RequestHead, ResponseHead};
use crate::mint::ClaimSet;
use crate::node::RevocationFeed;
use crate::observe::Event;
use crate::origin;
use crate::refresh::{Context, Presented};
use crate::session::{InFlight, RequestFacts, Session, SessionStatus, View};
use crate::transport::Side;
use crate::verify::{Cache, InvalidReason, Verified};

use assess::{Assessed, Refreshing};
use await_key::AwaitKey;
use facts::{OriginFacts, RequestKind};

/// Keeps users signed in. Built once, cheap to clone, shared by every request.
///
/// `C` is the type of the app's own claims.
///
/// ```
/// use everfresh::{Engine, Keys, Reissue};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// let auth = Engine::<User>::builder(Keys::hs256(secret)?)
///     .issuer("https://app.example")
///     .audience("app")
///     .refresh_with(Reissue::new())
///     .build()?;
/// # let _ = auth;
/// # Ok(())
/// # }
/// ```
pub struct Engine<C> {
    pub(crate) core: Arc<Core>,
    rest: Arc<Rest<C>>,
}

/// What the core does without, because it depends on the type of the claims or is for endpoints
/// alone.
struct Rest<C> {
    cache: Cache<C>,
    endpoints: ServedEndpoints,
}

/// A request that has begun. States what to do before the inner service is called.
#[must_use = "a request goes on by what this says"]
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
pub struct PendingSession<C>(Pending<C>);

#[derive(Debug)]
enum Pending<C> {
    Refresh(Session<C>),
    AwaitKey(Box<AwaitKey<C>>),
}

impl<C: ClaimSet> PendingSession<C> {
    /// Waits, up to the waiter limit (3 s), and returns the session as it is then.
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

impl<C: ClaimSet> Engine<C> {
    pub(crate) fn new(core: Core, cache: Cache<C>, endpoints: ServedEndpoints) -> Self {
        let core = Arc::new(core);
        if let Some(runtime) = core.runtime.handle() {
            core.follow(&runtime, false);
        }
        Self { core, rest: Arc::new(Rest { cache, endpoints }) }
    }

    /// Returns whether this node learns at once of sessions that end on other nodes. For health
    /// checks.
    pub fn feed(&self) -> RevocationFeed {
        // If the runtime that followed the feed has ended, another one takes its place.
        self.core.runtime();
        self.core.revocation_feed.feed(self.core.settings.clock.monotonic())
    }

    /// Ends the engine. No refresh starts any more, and the engine waits for the refreshes under
    /// way, 30 s at the most. Then it tries once more the sign-outs that the store did not take,
    /// for 10 s at the most. Call it after the server has stopped and before the store is closed.
    ///
    /// Returns the number of refreshes, and of other tasks of the refresher, that had not ended,
    /// plus the number of sign-outs that were given up.
    ///
    /// Later requests are served as if refresh were unavailable.
    pub async fn shutdown(&self) -> usize {
        let refreshes = self.core.flights.drain(&self.core).await;
        let sign_outs = self.core.drain_sign_outs().await;
        refreshes + sign_outs + self.core.refresher.drain(Context::new(self.core.clone())).await
    }

    /// Steps 1 to 3 of the path of a request: extract, verify, decide; and the start of step 4.
    pub fn begin(&self, head: &impl RequestHead) -> Progress<C> {
        let core = &self.core;
        let now = core.settings.clock.now();
        if core.is_exposed(head) {
            return Progress::Pass(self.exposed(now));
        }

        let same_origin = core.settings.csrf_handled_elsewhere
            || !origin::is_cross_site(head, &core.settings.trusted_origins);
        let found = extract(head.fields(), &core.transports, Side::Access, same_origin, &[]);
        let mut assessed = self.assess(&found, now);
        if assessed.view.status == SessionStatus::Absent
            && !same_origin
            && brings_cookie(head.fields(), &core.transports)
        {
            core.emit(&Event::CrossSite);
            assessed.view = View::without_token(SessionStatus::CrossSite, None);
        }
        let joined = join_pieces(head.fields(), &core.transports, same_origin);
        let extract_refresh =
            || extract(head.fields(), &core.transports, Side::Refresh, same_origin, &joined);
        let refresh = core.refresher.uses_refresh_tokens().then(extract_refresh);
        let user_activity = match &core.settings.background {
            Some(background) => !background(head.method(), head.path()),
            None => true,
        };
        let facts = OriginFacts { same_origin, user_activity };
        let manner = || RequestKind::of(head);

        if assessed.lacks_key
            && manner().occasion != Occasion::Preflight
            && let Some(fetch) = self.seek_key(&mut assessed, &found, now)
        {
            let kept = (found.keep(), refresh.as_ref().map(Found::keep));
            let await_key = AwaitKey::new(self.clone(), Some(fetch), kept, facts, manner());
            return Progress::Wait(PendingSession(Pending::AwaitKey(Box::new(await_key))));
        }
        let chosen = self.choose(&assessed, refresh.as_ref(), false, now);
        if matches!(chosen, Refreshing::Doubt(_)) && manner().occasion != Occasion::Preflight {
            let kept = (found.keep(), refresh.as_ref().map(Found::keep));
            let await_key = AwaitKey::new(self.clone(), None, kept, facts, manner());
            return Progress::Wait(PendingSession(Pending::AwaitKey(Box::new(await_key))));
        }
        let (session, waits) = self.decide(assessed, chosen, refresh.as_ref(), facts, manner, now);
        match waits {
            false => Progress::Pass(session),
            true => Progress::Wait(PendingSession(Pending::Refresh(session))),
        }
    }

    /// Returns the refresh token that counts, given the assessment of the access tokens.
    #[inline]
    fn choose(
        &self,
        assessed: &Assessed<C>,
        refresh: Option<&Found<'_>>,
        asked: bool,
        now: Timestamp,
    ) -> Refreshing {
        let Some(found) = refresh else { return Refreshing::Nothing };
        let Assessed { verdict, transport, view, .. } = assessed;
        self.core.pick_refresh(found, *verdict, *transport, view.verified.as_deref(), asked, now)
    }

    /// Decides what to do, now that the tokens are assessed. Returns the session, and whether the
    /// request waits for a refresh.
    fn decide(
        &self,
        assessed: Assessed<C>,
        chosen: Refreshing,
        refresh: Option<&Found<'_>>,
        facts: OriginFacts,
        manner: impl FnOnce() -> RequestKind,
        now: Timestamp,
    ) -> (Session<C>, bool) {
        let core = &self.core;
        let Assessed { mut verdict, transport, mut view, .. } = assessed;
        if let Some(reason) = view.reason {
            core.emit(&Event::TokenRefused { reason });
        }
        let picked = match chosen {
            Refreshing::Token(picked) => Some(picked),
            Refreshing::Nothing => None,
            Refreshing::Doubt(_) | Refreshing::Conflict => {
                let reason = InvalidReason::Conflict;
                core.emit(&Event::TokenRefused { reason });
                (verdict, view) =
                    (Verdict::Invalid, View::without_token(SessionStatus::Rejected, Some(reason)));
                None
            }
        };
        let brought = |found: &Found<'_>| !found.candidates().is_empty() || found.flaw.is_some();
        let refused_refresh = picked.is_none() && refresh.is_some_and(brought);
        if picked.as_ref().is_some_and(|picked| !picked.beside) {
            // The refresh token is another session's, so the expired access token is ignored.
            (verdict, view) = (Verdict::Absent, View::without_token(SessionStatus::Absent, None));
        }
        // Without a verified access token the refresh token's transport counts, so that no token
        // moves from a cookie to a place that scripts can read.
        let transport = match (&picked, &view.verified) {
            (Some(picked), None) => Some(picked.transport),
            _ => transport,
        };
        let refresh = picked.map(|picked| picked.token);

        let refreshable = || {
            if view.verified.is_none() && refresh.is_none() {
                return false;
            }
            let held = view.verified.as_deref().map(Verified::as_verified_token);
            let presented = Presented::new(held, refresh.as_ref().map(|t| t.expose().as_bytes()));
            core.refresher.identify(presented, now).is_some()
        };
        // Revalidation may return other claims, whatever the token's age.
        let unread = view.unread().cloned();
        let due = match unread.is_some() && core.settings.revalidate.is_some() {
            true => Verdict::Expired,
            false => verdict,
        };
        // The request's kind is read only if something could be refreshed.
        let (decision, navigates) = match due != Verdict::Fresh && refreshable() {
            false => (Decision::Pass, false),
            true => {
                let RequestKind { occasion, navigates } = manner();
                let decision = decide(due, occasion);
                (decision, navigates && decision == Decision::Wait)
            }
        };
        if let (Some(unread), Decision::Pass) = (unread, decision) {
            core.tell_unread(&unread);
            core.emit(&Event::TokenRefused { reason: InvalidReason::Claims });
            view.reason = Some(InvalidReason::Claims);
        }

        core.metrics.decided(decision, verdict);
        let OriginFacts { same_origin, user_activity } = facts;
        let transport = transport.unwrap_or(0);
        let request = RequestFacts {
            transport,
            same_origin,
            began: now,
            user_activity,
            verdict,
            decision,
            navigates,
            refresh,
            refused_refresh,
        };
        let session = Session::begin(core.clone(), request, view);
        session.note_shown();
        if decision == Decision::Advise {
            session.advise();
        }
        (session, decision == Decision::Wait)
    }

    /// Step 5, for adapters: changes what the inner service sees of the tokens, by the configured
    /// [`InnerToken`]. Hold the returned value until there is a response; it does step 6 then.
    pub fn attach(&self, session: Session<C>, head: &mut impl RequestHead) -> InFlight<C> {
        session.enter(head)
    }

    /// Step 6 for tests that run a session by hand: seals it and writes what has to be sent into
    /// the response's head. If [`Session::is_late`] returns true, call [`Session::recheck`] first.
    /// Adapters use [`InFlight::finish`], which does all three.
    pub fn finish(&self, session: &Session<C>, head: &mut impl ResponseHead) {
        session.finish(head);
    }
}

impl<C> Engine<C> {
    /// Returns what the engine serves besides the app's own routes.
    pub(crate) fn served(&self) -> &ServedEndpoints {
        &self.rest.endpoints
    }
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), rest: self.rest.clone() }
    }
}

impl<C> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("issuer", &self.core.settings.rules.issuer)
            .field("audience", &self.core.settings.rules.audience)
            .field("keys", &self.core.settings.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
