//! The path of a request, in order. The file to open first.

mod unjudged;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::attach::InnerToken;
use crate::carrier::Carriers;
use crate::clock::{Clock, Timestamp};
use crate::config::{Background, EngineBuilder, EventHook, Revalidate};
use crate::decide::{Decision, Occasion, Verdict, Windows, decide, spread};
use crate::edits::CachePolicy;
use crate::endpoint::{Clients, Served};
use crate::extract::{Candidate, Found, Side, brings_cookie, extract};
use crate::head::{RequestHead, ResponseHead};
use crate::mint::MintRules;
use crate::node::{Revoked, Seen};
use crate::observe::Event;
use crate::origin;
use crate::refresh::flight::{Flights, within};
use crate::refresh::{Admission, Context, ErasedRefresher, Failure, Presented, RefreshToken};

use crate::reject::RejectionBody;
use crate::secret::AccessToken;
use crate::session::{ClaimSet, RequestFacts, Session, Standing, Underway, View, Watches};
use crate::verify::{self, InvalidReason, Keys, Rules, Seek, Verified, verify};

use unjudged::{Fetch, Unjudged};

/// Keeps people signed in. Built once, cloned cheaply, shared by every request.
///
/// `C` is the type of the app's own claims.
///
/// ```
/// use everfresh::{Engine, Keys, Resign};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// let auth = Engine::<User>::builder(Keys::hs256("0123456789abcdef-0123456789abcdef")?)
///     .issuer("https://app.example")
///     .audience("app")
///     .refresh_with(Resign::new())
///     .build()?;
/// # let _ = auth;
/// # Ok(())
/// # }
/// ```
pub struct Engine<C> {
    pub(crate) core: Arc<Core>,
    claims: PhantomData<fn() -> C>,
}

/// What the engine knows, whatever the claims.
pub(crate) struct Core {
    pub(crate) rules: Rules,
    pub(crate) mint_rules: MintRules,
    pub(crate) keys: Keys,
    pub(crate) carriers: Carriers,
    pub(crate) refresher: Arc<dyn ErasedRefresher>,
    pub(crate) revalidate: Option<Revalidate>,
    pub(crate) session_lifetime: Duration,
    pub(crate) waiter_limit: Duration,
    pub(crate) overlap: Duration,
    pub(crate) inner_token: InnerToken,
    pub(crate) cache_policy: CachePolicy,
    pub(crate) trusted_origins: Vec<String>,
    pub(crate) csrf_handled_elsewhere: bool,
    pub(crate) background: Option<Background>,
    pub(crate) rejection_body: Option<RejectionBody>,
    pub(crate) events: Option<EventHook>,
    pub(crate) clock: Clock,
    pub(crate) runtime: Option<tokio::runtime::Handle>,
    pub(crate) flights: Flights,
    pub(crate) revoked: Revoked,
    pub(crate) seen: Seen,
    pub(crate) watches: Watches,
    pub(crate) dialects: Vec<Arc<Served>>,
    pub(crate) clients: Clients,
}

/// A request that has begun: what to do before the inner service is called.
#[must_use = "a request goes on by what this says"]
#[derive(Debug)]
pub enum Step<C> {
    /// Call the inner service at once. A refresh may have been started beside it.
    Pass(Session<C>),
    /// Await [`Waiting::settle`] first.
    Wait(Waiting<C>),
}

impl<C: ClaimSet> Step<C> {
    /// Waits where the request has to, and gives the session as it is then.
    pub async fn settle(self) -> Session<C> {
        match self {
            Self::Pass(session) => session,
            Self::Wait(waiting) => waiting.settle().await,
        }
    }
}

/// A request that has to wait: for a refresh, or for the key of its token.
#[derive(Debug)]
pub struct Waiting<C>(What<C>);

#[derive(Debug)]
enum What<C> {
    Refresh(Session<C>),
    Keys(Box<Unjudged<C>>),
}

impl<C: ClaimSet> Waiting<C> {
    /// Waits, up to the waiter limit (3 s), and gives the session as it is then.
    pub async fn settle(self) -> Session<C> {
        match self.0 {
            What::Refresh(session) => {
                session.wait(None).await;
                session
            }
            What::Keys(unjudged) => unjudged.settle().await,
        }
    }
}

impl<C: ClaimSet> Engine<C> {
    /// Starts a configuration from the keys that sign and verify.
    pub fn builder(keys: Keys) -> EngineBuilder<C> {
        EngineBuilder::new(keys)
    }

    pub(crate) fn new(core: Core) -> Self {
        Self { core: Arc::new(core), claims: PhantomData }
    }

    /// Ends the engine: no refresh starts any more, and those under way are waited for, 30 s at
    /// the most. Call it after the server has stopped and before the store is closed. Says how
    /// many refreshes had not ended by then.
    ///
    /// Requests that come all the same are served as if refresh were unavailable.
    pub async fn shutdown(&self) -> usize {
        self.core.flights.drain(&self.core).await
    }

    /// Steps 1 to 3 of the path of a request: extract, verify, decide; and the start of step 4.
    pub fn begin(&self, head: &impl RequestHead) -> Step<C> {
        let core = &self.core;
        let now = core.clock.now();

        let own_site =
            core.csrf_handled_elsewhere || !origin::is_cross_site(head, &core.trusted_origins);
        let found = extract(head.fields(), &core.carriers, Side::Access, own_site);
        let mut assessed = core.assess::<C>(&found, now);
        if assessed.view.standing == Standing::Absent
            && !own_site
            && brings_cookie(head.fields(), &core.carriers)
        {
            core.emit(&Event::CrossSite);
            assessed.view = View::nobody(Standing::CrossSite, None);
        }
        let extract_refresh = || extract(head.fields(), &core.carriers, Side::Refresh, own_site);
        let refresh = core.refresher.uses_refresh_tokens().then(extract_refresh);
        let slides = match &core.background {
            Some(background) => !background(head.method(), head.path()),
            None => true,
        };
        let facts = Facts { own_site, slides };
        let manner = || Manner::of(head);

        if assessed.lacks_key
            && manner().occasion != Occasion::Preflight
            && let Some(fetch) = core.seek_key(&mut assessed, &found, now)
        {
            let kept = (found.keep(), refresh.as_ref().map(Found::keep));
            let unjudged = Unjudged::new(self.clone(), fetch, kept, facts, manner());
            return Step::Wait(Waiting(What::Keys(Box::new(unjudged))));
        }
        let (session, waits) = self.decide(assessed, refresh.as_ref(), facts, manner, now);
        match waits {
            false => Step::Pass(session),
            true => Step::Wait(Waiting(What::Refresh(session))),
        }
    }

    /// What to do, now that it is known what the access tokens come to: whether the request waits
    /// for a refresh.
    fn decide(
        &self,
        assessed: Assessed<C>,
        refresh: Option<&Found<'_>>,
        facts: Facts,
        manner: impl FnOnce() -> Manner,
        now: Timestamp,
    ) -> (Session<C>, bool) {
        let core = &self.core;
        let Assessed { verdict, carrier, view, .. } = assessed;
        if let Some(reason) = view.reason {
            core.emit(&Event::TokenRefused { reason });
        }
        let picked = refresh.and_then(|found| {
            core.pick_refresh(found, verdict, carrier, view.verified.as_deref(), now)
        });
        let brought = |found: &Found<'_>| !found.candidates().is_empty() || found.flaw.is_some();
        let refused_refresh = picked.is_none() && refresh.is_some_and(brought);
        let refresh = picked;
        // Without a verified access token the refresh token's carrier counts: nothing crosses from
        // a cookie into a place that scripts can read.
        let carrier = match (&refresh, &view.verified) {
            (Some((own, _)), None) => Some(*own),
            _ => carrier,
        };
        let refresh = refresh.map(|(_, token)| token);

        let (decision, navigates) = match verdict {
            Verdict::Fresh => (Decision::Pass, false),
            _ => {
                let held = view.verified.as_deref().and_then(Verified::held);
                let presented =
                    Presented::new(held, refresh.as_ref().map(|t| t.expose().as_bytes()));
                let refreshable = core.refresher.admits(presented, now).is_some();
                let Manner { occasion, navigates } = manner();
                let decision = decide(verdict, occasion, refreshable);
                (decision, navigates && decision == Decision::Wait)
            }
        };

        let Facts { own_site, slides } = facts;
        let carrier = carrier.unwrap_or(0);
        let request =
            RequestFacts { carrier, own_site, slides, navigates, refresh, refused_refresh };
        let session = Session::begin(core.clone(), request, view);
        session.note_shown();
        if decision == Decision::Advise {
            session.advise();
        }
        (session, decision == Decision::Wait)
    }

    /// Step 5, for adapters: changes what the inner service sees of the tokens, as the policy
    /// says. What it gives is held until there is a response, and does step 6 then.
    pub fn attach(&self, session: Session<C>, head: &mut impl RequestHead) -> Underway<C> {
        session.enter(head)
    }

    /// Step 6 for tests that run a session by hand: seals it and puts into the response's head
    /// what has to leave with it. Where [`Session::is_late`] says so, [`Session::recheck`] comes
    /// before it. Adapters have [`Underway::finish`], which does all three.
    pub fn finish(&self, session: &Session<C>, head: &mut impl ResponseHead) {
        session.finish(head);
    }
}

/// What the tokens of a request come to.
struct Assessed<C> {
    verdict: Verdict,
    /// Which carrier brought what counts, or what was refused.
    carrier: Option<usize>,
    view: View<C>,
    /// None is good, and one of them may be signed by a key that the set lacks.
    lacks_key: bool,
}

impl<C> Assessed<C> {
    /// The key can't be had at the moment: the token may be good. What has expired has not become
    /// better by that.
    fn doubt(&mut self, retry_after: Duration) {
        if self.view.verified.is_none() {
            self.view = View::nobody(Standing::Unavailable { retry_after }, None);
        }
    }
}

/// What is known of a request beside its tokens.
#[derive(Clone, Copy)]
struct Facts {
    own_site: bool,
    slides: bool,
}

/// How a request came, which is looked at only where its token is not fresh.
#[derive(Clone, Copy)]
struct Manner {
    occasion: Occasion,
    navigates: bool,
}

impl Manner {
    fn of(head: &impl RequestHead) -> Self {
        Self { occasion: Occasion::of(head), navigates: Occasion::navigates(head) }
    }
}

impl Core {
    /// Verifies what was presented and picks what counts.
    ///
    /// 1. A token that is good counts before one that has expired; of two that are as good, the
    ///    one of the first carrier, so that nobody becomes somebody else as time goes by.
    /// 2. Of two tokens of one session in one place, the one that expires last.
    /// 3. Two tokens of different sessions in one place: somebody planted one, and no rule could
    ///    tell which (RFC 6265bis section 8.6). Neither counts, whatever their order. One that is
    ///    past use and past refresh is only litter, and takes no part in this.
    fn assess<C: ClaimSet>(&self, found: &Found<'_>, now: Timestamp) -> Assessed<C> {
        let mut best: Option<(Verdict, usize, Verified<C>)> = None;
        let (mut flaw, mut lacks_key) = (found.flaw, false);
        for group in found.candidates().chunk_by(|one, next| one.carrier == next.carrier) {
            let verified = match self.pick::<C>(group, now, &mut lacks_key) {
                Ok(verified) => verified,
                Err(reason) => {
                    flaw = Some(reason);
                    continue;
                }
            };
            let verdict = self.windows(&verified).judge(verified.expires, now);
            if best.as_ref().is_none_or(|(kept, ..)| rank(verdict) > rank(*kept)) {
                best = Some((verdict, group[0].carrier, verified));
            }
            if verdict != Verdict::Expired {
                lacks_key = false;
                break;
            }
        }
        match best {
            Some((verdict, carrier, verified)) => {
                let standing = match verdict {
                    Verdict::Expired if now >= self.usable_until(&verified) => Standing::Rejected,
                    _ => Standing::Present,
                };
                let view = View { standing, reason: None, verified: Some(Arc::new(verified)) };
                Assessed { verdict, carrier: Some(carrier), view, lacks_key }
            }
            None => {
                let (verdict, standing) = match flaw {
                    None => (Verdict::Absent, Standing::Absent),
                    Some(_) => (Verdict::Invalid, Standing::Rejected),
                };
                let carrier = found.candidates().first().map(|first| first.carrier);
                Assessed { verdict, carrier, view: View::nobody(standing, flaw), lacks_key }
            }
        }
    }

    /// The token that counts among those of one place: rules 2 and 3 of [`Self::assess`].
    fn pick<C: ClaimSet>(
        &self,
        group: &[Candidate<'_>],
        now: Timestamp,
        lacks_key: &mut bool,
    ) -> Result<Verified<C>, InvalidReason> {
        let mut best: Result<Verified<C>, _> = Err(InvalidReason::Malformed);
        let mut litter = None;
        for candidate in group {
            let verified = match verify::<C>(candidate.token, &self.keys, &self.rules, now) {
                Ok(verified) => verified,
                Err(reason) => {
                    *lacks_key =
                        *lacks_key || verify::lacks_key(candidate.token, reason, &self.keys);
                    best = best.map_err(|_| reason);
                    continue;
                }
            };
            if verified.sid.as_deref().is_some_and(|sid| self.revoked.contains(sid, now)) {
                best = best.map_err(|_| InvalidReason::Revoked);
                continue;
            }
            if now >= self.usable_until(&verified) && !self.admits(&verified, now) {
                litter = Some(verified);
                continue;
            }
            match &best {
                Ok(kept) if kept.sid != verified.sid || kept.subject != verified.subject => {
                    return Err(InvalidReason::Conflict);
                }
                Ok(kept) if kept.expires >= verified.expires => {}
                _ => best = Ok(verified),
            }
        }
        best.or_else(|reason| litter.ok_or(reason))
    }

    fn admits<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        let presented = Presented::new(verified.held(), None);
        self.refresher.admits(presented, now).is_some()
    }

    /// The refresh token that counts, and the carrier that brought it.
    ///
    /// 1. The two tokens of one carrier belong together: beside a verified access token only its
    ///    carrier's refresh token counts, and only one of the same session.
    /// 2. Without one, the first carrier's. Of two sessions none counts: somebody planted one.
    /// 3. Of one session the latest generation counts.
    ///
    /// Beside a fresh access token nothing will be refreshed but by the handler: a single refresh
    /// token is kept as it came, and checked when it is needed.
    fn pick_refresh<C>(
        &self,
        found: &Found<'_>,
        verdict: Verdict,
        carrier: Option<usize>,
        verified: Option<&Verified<C>>,
        now: Timestamp,
    ) -> Option<(usize, RefreshToken)> {
        let beside = verified.map(|verified| (carrier, verified.sid.as_deref()));
        let mut best: Option<(&Candidate<'_>, Admission)> = None;
        let candidates = found.candidates();
        if let ([only], Verdict::Fresh) = (candidates, verdict) {
            let ours = beside.is_some_and(|(carrier, _)| carrier == Some(only.carrier));
            return ours.then(|| only.as_refresh_token()).flatten();
        }
        for candidate in candidates {
            if beside.is_some_and(|(carrier, _)| carrier != Some(candidate.carrier))
                || best.as_ref().is_some_and(|(kept, _)| kept.carrier != candidate.carrier)
            {
                continue;
            }
            let presented = Presented::new(None, Some(candidate.token));
            let Some(admission) = self.refresher.admits(presented, now) else { continue };
            if beside.is_some_and(|(_, sid)| sid != Some(&*admission.sid)) {
                self.emit(&Event::RefreshTokenIgnored);
                continue;
            }
            match &best {
                Some((_, kept)) if kept.sid != admission.sid => {
                    self.emit(&Event::RefreshTokenIgnored);
                    return None;
                }
                Some((_, kept)) if kept.mark >= admission.mark => {}
                _ => best = Some((candidate, admission)),
            }
        }
        best.and_then(|(candidate, _)| candidate.as_refresh_token())
    }

    /// This node knows that the session is over: its access tokens are refused from now on, for as
    /// long as one may live.
    pub(crate) fn revoke_here(&self, sid: &str) {
        let now = self.clock.now();
        let until = now.plus(self.mint_rules.lifetime).plus(self.rules.leeway);
        self.revoked.insert(sid, until, now);
        self.watches.end(sid);
    }

    fn windows<C>(&self, verified: &Verified<C>) -> Windows {
        let lifetime = verified.lifetime(self.mint_rules.lifetime);
        Windows::new(lifetime, verified.sid.as_deref().map_or(0, spread))
    }

    /// Until when this token may be used where no refresh is to be had: its expiry and the leeway,
    /// of at most a quarter of its life, and never past the end of its session.
    pub(crate) fn usable_until<C>(&self, verified: &Verified<C>) -> Timestamp {
        let quarter = verified.lifetime(self.mint_rules.lifetime) / 4;
        let until = verified.expires.plus(self.rules.leeway.min(quarter));
        verified.session_expires.map_or(until, |end| until.min(end))
    }

    /// Reads a token that was just made: what we send must be what we would accept.
    pub(crate) fn verify_own<C: ClaimSet>(
        &self,
        token: &AccessToken,
    ) -> Result<Verified<C>, Failure> {
        let (now, token) = (self.clock.now(), token.expose().as_bytes());
        verify(token, &self.keys, &self.rules, now).map_err(|reason| {
            self.emit(&Event::TokenRefused { reason });
            match verify::lacks_key(token, reason, &self.keys) {
                true => Failure::SOON,
                false => Failure::Misconfigured,
            }
        })
    }

    /// Asks for the key that a token needs and the set lacks. Gives the fetch, if one is under way.
    fn seek_key<C: ClaimSet>(
        &self,
        assessed: &mut Assessed<C>,
        found: &Found<'_>,
        now: Timestamp,
    ) -> Option<Fetch> {
        match self.keys.seek() {
            // Unless it came between our look and the question.
            Seek::InVain => *assessed = self.assess(found, now),
            Seek::Underway(fetch) => return Some(fetch),
            Seek::Unavailable { retry_after } => assessed.doubt(retry_after),
        }
        None
    }

    /// Where keys come from elsewhere, a refresh may bring a token by one that has just come up.
    /// Its key is fetched before anybody is given the token; at worst it is not.
    pub(crate) async fn learn_key(&self, token: &AccessToken) {
        if !self.keys.has_source() {
            return;
        }
        let (now, token) = (self.clock.now(), token.expose().as_bytes());
        if let Err(reason) = verify::<()>(token, &self.keys, &self.rules, now)
            && verify::lacks_key(token, reason, &self.keys)
            && let Seek::Underway(fetch) = self.keys.seek()
        {
            within(self, self.waiter_limit, fetch).await;
        }
    }

    /// Ends a session wherever it is kept.
    pub(crate) async fn sign_out(self: &Arc<Self>, sid: &str) -> Result<(), Failure> {
        self.forget(sid);
        let (core, sid) = (self.clone(), sid.to_owned());
        self.detached(async move {
            core.refresher.sign_out(Context::new(core.clone()), sid.clone()).await?;
            // Again, for what took off before the store knew.
            core.forget(&sid);
            core.emit(&Event::SignedOut { sid: &sid });
            Ok(())
        })
        .await
    }

    /// Runs to its end, whether or not whoever asked for it is still there.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(task).await.unwrap_or(Err(Failure::SOON)),
            None => task.await,
        }
    }

    /// Drops what this node holds of a session that is over. Where nothing keeps sessions, its
    /// access tokens are good on every other node, and so they are here.
    pub(crate) fn forget(&self, sid: &str) {
        self.flights.forget(sid);
        if self.refresher.uses_refresh_tokens() {
            self.revoke_here(sid);
        }
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        event.trace();
        if let Some(hook) = &self.events {
            hook(event);
        }
    }
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fresh | Verdict::Expiring(_) => 2,
        Verdict::Expired => 1,
        Verdict::Invalid | Verdict::Absent => 0,
    }
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), claims: PhantomData }
    }
}

impl<C> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("issuer", &self.core.rules.issuer)
            .field("audience", &self.core.rules.audience)
            .field("keys", &self.core.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
