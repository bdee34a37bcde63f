//! The session that a handler holds: the signed-in user, and the methods to sign in, refresh and
//! sign out.

mod change;
mod refreshing;
mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::SessionErrorKind;
use crate::mint::ClaimSet;
use crate::refresh::Closing;
use crate::reject::{Rejection, RejectionKind};
use crate::verify::{InvalidReason, Verified, is_nameless};

pub use change::SignIn;
pub(crate) use refreshing::recheck_of;
use state::Shared;
pub(crate) use state::{RequestFacts, State, View};
pub use watch::{EndReason, SessionWatch};

/// What a request is entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionStatus {
    /// A user is signed in.
    Present,
    /// The request presented no token.
    Absent,
    /// The presented tokens do not count (any more).
    Rejected,
    /// Another site caused the request, so its cookies do not count.
    CrossSite,
    /// The token is good, but the app's type does not take its claims. Answered with 401. The
    /// session stays as it is, and [`Session::sign_out_everywhere`] works.
    UnreadClaims,
    /// The engine was built with [`insecure_dev_only`](crate::EngineBuilder::insecure_dev_only),
    /// and the request names a host other than this machine. None of its tokens counts.
    InsecureHost,
    /// The session may be good, but it can't be refreshed at the moment, or the key of its token is
    /// not available.
    Unavailable {
        /// How long the client should wait before it tries again.
        retry_after: Duration,
    },
}

/// The session of one request, shared with its response. Cheap to clone.
///
/// The layer puts a session into every request's extensions, also if no user is signed in, since
/// [`sign_in`](Self::sign_in) needs it. Changes that a handler makes to the session are sent with
/// the response's head. From then on the session is sealed: `sign_in` and `refresh` return
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
pub struct Session<C>(pub(crate) Arc<Shared<C>>);

impl<C: ClaimSet> Session<C> {
    /// Returns what this request is entitled to.
    pub fn status(&self) -> SessionStatus {
        self.view(|view| view.status)
    }

    /// Returns the claims of the signed-in user.
    ///
    /// # Errors
    /// The rejection to answer with, unless the status is [`SessionStatus::Present`].
    pub fn claims(&self) -> Result<Arc<C>, Rejection> {
        let claims = self.verified(|verified| verified.claims.clone().ok()).flatten();
        claims.ok_or_else(|| self.rejection())
    }

    /// Returns the claims for a page that is open to all visitors: `None` if no user is signed in
    /// (any more).
    ///
    /// # Errors
    /// `Unavailable` if the session may be good but can't be refreshed at the moment, so that the
    /// app shows no signed-out page by mistake. `InsecureHost` if no session could count
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

    /// Returns the subject of the signed-in user: the claim `sub`.
    pub fn subject(&self) -> Option<String> {
        self.verified(|verified| verified.subject.as_deref().map(Into::into))?
    }

    /// Returns the session's id: the claim `sid`. Another issuer's tokens need not have one.
    pub fn sid(&self) -> Option<String> {
        let sid = self.verified(|verified| verified.sid.to_string())?;
        Some(sid).filter(|sid| !is_nameless(sid))
    }

    /// Returns how often the session's refresh token was rotated, by the access token's claim
    /// `gen`.
    pub fn generation(&self) -> Option<u64> {
        self.verified(|verified| verified.generation)?
    }

    /// Returns when the access token expires. The engine refreshes the token before that.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.verified(|verified| verified.expires)
    }

    /// Returns when the session ends, however often it is refreshed.
    pub fn session_expires_at(&self) -> Option<Timestamp> {
        self.verified(|verified| verified.session_expires)?
    }

    /// Returns when the user signed in.
    pub fn signed_in_at(&self) -> Option<Timestamp> {
        self.verified(|verified| verified.auth_time)?
    }

    /// Returns whether this request got new tokens, which are sent with its response.
    pub fn is_refreshed(&self) -> bool {
        self.touched() && self.lock().refreshed
    }

    /// Returns `Ok` if a user is signed in.
    ///
    /// # Errors
    /// The rejection to answer with, unless the status is [`SessionStatus::Present`].
    pub fn require(&self) -> Result<(), Rejection> {
        match self.status() {
            SessionStatus::Present => Ok(()),
            _ => Err(self.rejection()),
        }
    }

    /// Returns `Ok` if a user is signed in and the sign-in is at most `max_age` old. Refreshes
    /// don't count as sign-ins.
    ///
    /// # Errors
    /// As [`require`](Self::require). For a sign-in that is too old, a 401 that asks for a new one
    /// (RFC 9470). The session goes on, and a new sign-in takes its place.
    pub fn require_recent(&self, max_age: Duration) -> Result<(), Rejection> {
        self.require()?;
        self.recent(max_age)
    }

    /// The age check of [`Self::require_recent`] alone.
    pub(crate) fn recent(&self, max_age: Duration) -> Result<(), Rejection> {
        let began = self.user(|verified| verified.auth_time).flatten();
        match began.is_some_and(|at| self.0.core.now().since(at) <= max_age) {
            true => Ok(()),
            false => Err(Rejection::new(RejectionKind::NotRecent)
                .with_body(self.0.core.settings.rejection_body.clone())),
        }
    }

    /// As [`Self::require`], for operations that need no claims: ending sessions.
    pub(crate) fn require_user(&self) -> Result<(), Rejection> {
        match self.status() {
            SessionStatus::Present | SessionStatus::UnreadClaims => Ok(()),
            _ => Err(self.rejection()),
        }
    }

    /// Returns the session's id, for operations that need no claims.
    pub(crate) fn user_sid(&self) -> Option<String> {
        self.user(|verified| verified.sid.to_string())
    }

    /// Returns the rejection that matches the session's status.
    pub(crate) fn rejection(&self) -> Rejection {
        let rejection = self.view(|view| match (view.status, view.reason) {
            (SessionStatus::Absent, _) => Rejection::new(RejectionKind::NoCredentials),
            (SessionStatus::CrossSite, _) => Rejection::new(RejectionKind::CrossSite),
            (SessionStatus::InsecureHost, _) => Rejection::new(RejectionKind::InsecureHost),
            (SessionStatus::Unavailable { retry_after }, _) => {
                Rejection::new(RejectionKind::Unavailable).retry_after(retry_after)
            }
            (_, Some(InvalidReason::Duplicated)) => Rejection::new(RejectionKind::InvalidRequest),
            _ => Rejection::new(RejectionKind::InvalidToken),
        });
        rejection.with_body(self.0.core.settings.rejection_body.clone())
    }

    /// Reads the token of the signed-in user.
    fn verified<T>(&self, read: impl FnOnce(&Verified<C>) -> T) -> Option<T> {
        self.view(|view| match view.status {
            SessionStatus::Present => view.verified.as_deref().map(read),
            _ => None,
        })
    }

    /// As `verified`, also if the app's type does not take the claims.
    fn user<T>(&self, read: impl FnOnce(&Verified<C>) -> T) -> Option<T> {
        self.view(|view| match view.status {
            SessionStatus::Present | SessionStatus::UnreadClaims => {
                view.verified.as_deref().map(read)
            }
            _ => None,
        })
    }

    /// Reads the presented token whose signature is good, expired or not.
    fn presented<T>(&self, read: impl FnOnce(&Arc<Verified<C>>) -> T) -> Option<T> {
        self.view(|view| view.verified.as_ref().map(read))
    }

    /// Returns what entitles this request to end its session. An access token that is good, or
    /// within its leeway, names the session. Otherwise the refresh token has to. An access token
    /// that is past its leeway ends nothing.
    fn closing(&self) -> Closing {
        let sid = self.user(|verified| verified.sid.to_string());
        Closing { sid, refresh: self.refresh_token() }
    }
}

impl<C> Session<C> {
    /// Returns `Ok` while tokens may still be sent with the response.
    fn check_open(&self) -> Result<(), SessionErrorKind> {
        if self.0.begun.status == SessionStatus::InsecureHost {
            return Err(SessionErrorKind::InsecureHost);
        }
        if self.sealed() { Err(SessionErrorKind::ResponseSent) } else { Ok(()) }
    }
}

impl<C> Clone for Session<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("begun", &self.0.begun.status).finish_non_exhaustive()
    }
}
