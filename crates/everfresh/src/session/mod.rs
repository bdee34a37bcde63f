//! What a handler holds: who is signed in, and the way to sign in, refresh and sign out.

mod change;
mod flow;
#[cfg(test)]
mod tests;
mod underway;
mod watch;
mod watches;

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::decide::{Decision, Verdict};
use crate::engine::Core;
use crate::error::SessionErrorKind;
use crate::mint::ClaimsObject;
use crate::observe::metrics::How;
use crate::refresh::flight::Flight;
use crate::refresh::{Closing, Failure, RefreshRequest, RefreshToken, Tokens, VerifiedToken};
use crate::reject::{Rejection, RejectionKind};
use crate::respond::Outgoing;
use crate::verify::{InvalidReason, UnreadClaims, Verified, is_nameless};

pub use change::SignIn;
pub use underway::{Deferred, FinishFuture, InFlight};
pub use watch::{EndReason, SessionWatch};
pub(crate) use watches::Watches;

/// What claims have to be, everywhere: read from a token and written into one.
///
/// Every type that serde writes as a JSON object: a struct, a map, an enum whose variants have
/// members (`{"Admin": {..}}`, tagged or untagged), and `()` for none. A variant without members is
/// a string: [`Session::sign_in`] refuses it.
///
/// Implemented for every type that fits; there is nothing to do.
pub trait ClaimSet: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> ClaimSet for C {}

/// What a request is entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionStatus {
    /// Somebody is signed in.
    Present,
    /// Nothing was presented.
    Absent,
    /// What was presented does not count (any more).
    Rejected,
    /// The cookies of a request that another site caused don't count.
    CrossSite,
    /// The token is good, and the app's type does not take its claims. Answered with 401; nothing
    /// of the session is lost, and [`Session::sign_out_everywhere`] works.
    UnreadClaims,
    /// The engine was built with
    /// [`insecure_dev_only`](crate::EngineBuilder::insecure_dev_only), and the request names
    /// another host than this machine. Nothing that it brings counts.
    InsecureHost,
    /// The session may be good, but can't be refreshed at the moment, or the key of its token
    /// can't be had.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// The session of one request, shared with its response. A cheap handle.
///
/// The layer puts one into every request's extensions, also where nobody is signed in, since
/// [`sign_in`](Self::sign_in) needs it. What a handler does with it leaves with the response's
/// head; from then on it is sealed: `sign_in` and `refresh` answer
/// [`SessionErrorKind::ResponseSent`](crate::SessionErrorKind::ResponseSent).
///
/// ```
/// use everfresh::Session;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// fn greeting(request: &http::Request<()>) -> String {
///     match request.extensions().get::<Session<User>>().map(Session::claims) {
///         Some(Ok(user)) => format!("Hello, {}", user.name),
///         Some(Err(rejection)) => rejection.to_string(),
///         None => "there is no layer around this service".into(),
///     }
/// }
/// # let _ = greeting(&http::Request::new(()));
/// ```
pub struct Session<C>(Arc<Shared<C>>);

struct Shared<C> {
    core: Arc<Core>,
    /// How the request began: never changes, so that the fresh path takes no lock.
    begun: View<C>,
    request: RequestFacts,
    flags: AtomicU8,
    /// Made when something is done to the session, which for most requests is never.
    state: OnceLock<Box<Mutex<State<C>>>>,
}

/// What is kept of a request.
pub(crate) struct RequestFacts {
    /// The carrier that brought the tokens, or the first one.
    pub(crate) carrier: usize,
    /// When it began, by the wall clock.
    pub(crate) began: Timestamp,
    /// Whether it was our own site that caused the request.
    pub(crate) same_origin: bool,
    /// Whether it is a person's, and begins the session's idle time anew.
    pub(crate) user_activity: bool,
    /// What its access token was worth, and what was decided.
    pub(crate) verdict: Verdict,
    pub(crate) decision: Decision,
    /// Whether somebody is going to a page, and waits for a refresh.
    pub(crate) navigates: bool,
    /// The refresh token, as it came.
    pub(crate) refresh: Option<RefreshToken>,
    /// Whether something came in its place that does not count.
    pub(crate) refused_refresh: bool,
}

/// Something was done to the session: `state` counts, `begun` no more.
const TOUCHED: u8 = 1;
/// The response's head is on its way.
const SEALED: u8 = 2;

/// Who somebody is, as of some moment.
pub(crate) struct View<C> {
    pub(crate) standing: SessionStatus,
    pub(crate) reason: Option<InvalidReason>,
    /// The token that the standing is about; with one other than `Present`, what there was.
    pub(crate) verified: Option<Arc<Verified<C>>>,
}

struct State<C> {
    /// In place of `begun`, once something changed.
    now: Option<View<C>>,
    outgoing: Outgoing,
    beside: Option<JoinedFlight<C>>,
    /// How the request came to a flight, and what came of it; kept for `debug_headers` alone, and
    /// in a box, since all other requests would carry it about.
    flown: Option<Box<(How, &'static str)>>,
    refreshed: bool,
    /// Counts what the handler did: a flight that began before comes too late.
    changes: u32,
    /// The refresher said that the session is over.
    dead: bool,
    /// When the outgoing tokens have to be looked at again, and for what they were given.
    recheck: Option<(Duration, RefreshRequest)>,
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self {
            now: None,
            outgoing: Outgoing::Nothing,
            beside: None,
            flown: None,
            refreshed: false,
            changes: 0,
            dead: false,
            recheck: None,
        }
    }
}

/// What a flight brought, once it has been checked.
type Accepted<C> = Result<(Tokens, Verified<C>), Failure>;

/// A flight, and what it refreshes.
struct JoinedFlight<C> {
    flight: Flight,
    how: How,
    sid: Box<str>,
    /// The access token that was presented, if its signature was good.
    of: Option<Arc<Verified<C>>>,
    /// The refresh token that goes with it.
    refresh: Option<RefreshToken>,
    /// What the handler had done by then.
    changes: u32,
}

impl<C: ClaimSet> Session<C> {
    pub(crate) fn begin(core: Arc<Core>, request: RequestFacts, begun: View<C>) -> Self {
        let (flags, state) = (AtomicU8::new(0), OnceLock::new());
        Self(Arc::new(Shared { core, begun, request, flags, state }))
    }

    /// What this request is entitled to.
    pub fn standing(&self) -> SessionStatus {
        self.view(|view| view.standing)
    }

    /// The claims of whoever is signed in, or the answer to give.
    pub fn claims(&self) -> Result<Arc<C>, Rejection> {
        let claims = self.verified(|verified| verified.claims.clone().ok()).flatten();
        claims.ok_or_else(|| self.rejection())
    }

    /// The claims, for what is shown to everybody: `None` where nobody is signed in (any more).
    ///
    /// An error only where the session may be good but can't be refreshed at the moment, so that
    /// nobody is shown a signed-out page by mistake, and where no session could count
    /// ([`SessionStatus::InsecureHost`]).
    pub fn optional_claims(&self) -> Result<Option<Arc<C>>, Rejection> {
        match self.claims() {
            Ok(claims) => Ok(Some(claims)),
            Err(rejection) => match rejection.kind() {
                RejectionKind::Unavailable | RejectionKind::InsecureHost => Err(rejection),
                _ => Ok(None),
            },
        }
    }

    /// Who is signed in: the claim `sub`.
    pub fn subject(&self) -> Option<String> {
        self.verified(|verified| verified.subject.as_deref().map(Into::into))?
    }

    /// The session's id: the claim `sid`. Another issuer's tokens need not have one.
    pub fn sid(&self) -> Option<String> {
        let sid = self.verified(|verified| verified.sid.to_string())?;
        Some(sid).filter(|sid| !is_nameless(sid))
    }

    /// How often the session's refresh token was rotated, by the access token's claim `gen`.
    pub fn generation(&self) -> Option<u64> {
        self.verified(|verified| verified.generation)?
    }

    /// When the access token expires. A refresh comes before that.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.verified(|verified| verified.expires.into())
    }

    /// When the session ends, however often it is refreshed.
    pub fn session_expires_at(&self) -> Option<SystemTime> {
        self.verified(|verified| verified.session_expires.map(Into::into))?
    }

    /// When the person signed in.
    pub fn signed_in_at(&self) -> Option<SystemTime> {
        self.verified(|verified| verified.auth_time.map(Into::into))?
    }

    /// Whether this request got new tokens, which leave with its response.
    pub fn is_refreshed(&self) -> bool {
        self.touched() && self.lock().refreshed
    }

    /// `Ok` if somebody is signed in, else the answer to give.
    pub fn require(&self) -> Result<(), Rejection> {
        match self.standing() {
            SessionStatus::Present => Ok(()),
            _ => Err(self.rejection()),
        }
    }

    /// `Ok` if somebody is signed in, and signed in no longer ago than this; refreshes don't count.
    /// Else the answer to give, which for too old a sign-in is a 401 that says so (RFC 9470): the
    /// session goes on, and a new sign-in takes its place.
    pub fn require_recent(&self, max_age: Duration) -> Result<(), Rejection> {
        self.require()?;
        self.recent(max_age)
    }

    /// The second half of it.
    pub(crate) fn recent(&self, max_age: Duration) -> Result<(), Rejection> {
        let began = self.person(|verified| verified.auth_time).flatten();
        match began.is_some_and(|at| self.0.core.clock.now().since(at) <= max_age) {
            true => Ok(()),
            false => Err(Rejection::new(RejectionKind::NotRecent)
                .with_body(self.0.core.rejection_body.clone())),
        }
    }

    /// The same for what needs no claims: ending sessions.
    pub(crate) fn require_person(&self) -> Result<(), Rejection> {
        match self.standing() {
            SessionStatus::Present | SessionStatus::UnreadClaims => Ok(()),
            _ => Err(self.rejection()),
        }
    }

    /// The session's id, for what needs no claims.
    pub(crate) fn person_sid(&self) -> Option<String> {
        self.person(|verified| verified.sid.to_string())
    }

    /// The answer for what this request is not entitled to.
    pub(crate) fn rejection(&self) -> Rejection {
        let rejection = self.view(|view| match (view.standing, view.reason) {
            (SessionStatus::Absent, _) => Rejection::new(RejectionKind::NoCredentials),
            (SessionStatus::CrossSite, _) => Rejection::new(RejectionKind::CrossSite),
            (SessionStatus::InsecureHost, _) => Rejection::new(RejectionKind::InsecureHost),
            (SessionStatus::Unavailable { retry_after }, _) => {
                Rejection::new(RejectionKind::Unavailable).retry_after(retry_after)
            }
            (_, Some(InvalidReason::Duplicated)) => Rejection::new(RejectionKind::InvalidRequest),
            _ => Rejection::new(RejectionKind::InvalidToken),
        });
        rejection.with_body(self.0.core.rejection_body.clone())
    }

    fn touched(&self) -> bool {
        self.0.flags.load(Ordering::Acquire) & TOUCHED != 0
    }

    fn view<T>(&self, read: impl FnOnce(&View<C>) -> T) -> T {
        match self.touched() {
            false => read(&self.0.begun),
            true => read(self.lock().now.as_ref().unwrap_or(&self.0.begun)),
        }
    }

    /// Of whoever is signed in.
    fn verified<T>(&self, read: impl FnOnce(&Verified<C>) -> T) -> Option<T> {
        self.view(|view| match view.standing {
            SessionStatus::Present => view.verified.as_deref().map(read),
            _ => None,
        })
    }

    /// The same, also where the app's type does not take the claims.
    fn person<T>(&self, read: impl FnOnce(&Verified<C>) -> T) -> Option<T> {
        self.view(|view| match view.standing {
            SessionStatus::Present | SessionStatus::UnreadClaims => {
                view.verified.as_deref().map(read)
            }
            _ => None,
        })
    }

    /// Of whatever was presented with a good signature, expired or not.
    fn presented<T>(&self, read: impl FnOnce(&Arc<Verified<C>>) -> T) -> Option<T> {
        self.view(|view| view.verified.as_ref().map(read))
    }

    /// By what right the session of this request may be ended: its access token names it while that
    /// is good; otherwise the refresh token has to. An access token that is past its leeway ends nothing.
    fn closing(&self) -> Closing {
        let sid = self.person(|verified| verified.sid.to_string());
        Closing { sid, refresh: self.refresh_token() }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.0.state.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<C> Verified<C> {
    /// What a refresher needs to know.
    pub(crate) fn held(&self) -> VerifiedToken<'_> {
        // Another issuer's say nothing of it, and it is for that issuer to know.
        let session_expires = self.session_expires.unwrap_or_else(|| self.expires.plus(YEAR));
        VerifiedToken {
            sid: &self.sid,
            fingerprint: self.fingerprint,
            expires: self.expires,
            session_expires,
        }
    }

    /// The app's claims, as its next token will carry them.
    pub(crate) fn claims_object(&self) -> Option<ClaimsObject>
    where
        C: Serialize,
    {
        match &self.claims {
            Ok(claims) => ClaimsObject::new(&**claims).ok(),
            Err(unread) => ClaimsObject::new(unread.json()).ok(),
        }
    }

    /// How long the token was made for.
    pub(crate) fn lifetime(&self, default: Duration) -> Duration {
        self.issued.map_or(default, |issued| self.expires.since(issued))
    }
}

impl<C> View<C> {
    /// Nobody, for this reason.
    pub(crate) fn nobody(standing: SessionStatus, reason: Option<InvalidReason>) -> Self {
        Self { standing, reason, verified: None }
    }

    /// Whoever got this token.
    pub(crate) fn of(verified: Verified<C>) -> Self {
        let standing = match verified.claims {
            Ok(_) => SessionStatus::Present,
            // Another issuer's: ours are found to be readable before they are made.
            Err(_) => SessionStatus::UnreadClaims,
        };
        Self { standing, reason: None, verified: Some(Arc::new(verified)) }
    }

    /// The claims that the app's type does not take, of a token that is good.
    pub(crate) fn unread(&self) -> Option<&UnreadClaims> {
        match self.standing {
            SessionStatus::UnreadClaims => self.verified.as_ref()?.claims.as_ref().err(),
            _ => None,
        }
    }
}

impl<C> Session<C> {
    /// Whether tokens may still leave with the response.
    fn check_open(&self) -> Result<(), SessionErrorKind> {
        if self.0.begun.standing == SessionStatus::InsecureHost {
            return Err(SessionErrorKind::InsecureHost);
        }
        if self.sealed() { Err(SessionErrorKind::ResponseSent) } else { Ok(()) }
    }

    /// The engine that began it.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn sealed(&self) -> bool {
        self.0.flags.load(Ordering::Acquire) & SEALED != 0
    }

    /// Seals the session: whatever comes now is too late for its response.
    fn seal(&self) {
        // Nearly always it is by now, and a look costs less.
        if !self.sealed() {
            self.0.flags.fetch_or(SEALED, Ordering::AcqRel);
        }
    }
}

impl<C> Clone for Session<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("begun", &self.0.begun.standing).finish_non_exhaustive()
    }
}
