//! Step 4: making fresh tokens. What a refresher is, and what it is given.

pub(crate) mod flight;
mod resign;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::clock::Timestamp;
use crate::engine::Core;
use crate::mint::{self, Grant, MintProblem};
use crate::observe::Event;
use crate::secret::AccessToken;

pub use resign::Resign;

/// Makes fresh tokens for a session.
///
/// The engine verifies what a request presents, decides when to refresh, runs one
/// [`refresh`](Self::refresh) per session at a time in a task of its own, and delivers what comes
/// out. A refresher only says who may have new tokens and makes them.
///
/// # Security
/// A `true` from [`admits`](Self::admits) and a token from [`refresh`](Self::refresh) keep a
/// session alive: give them only while its [`Grant::session_expires`] lies ahead. A
/// [`Failure::Rejected`] answers 401 to somebody who was signed in: give it only for a session
/// that is known to be over, never for an outage.
pub trait Refresher: Send + Sync + 'static {
    /// Whether a session with this access token may be refreshed now. No I/O, called in the
    /// path of a request.
    fn admits(&self, held: Held, now: Timestamp) -> bool;

    /// New tokens for a session that was admitted.
    fn refresh(
        &self,
        cx: Context,
        grant: Grant,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// The first tokens of a new session.
    fn sign_in(
        &self,
        cx: Context,
        grant: Grant,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// The session of this id is over.
    fn sign_out(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What the holder of a verified access token holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Held {
    /// When the access token expires, or has expired.
    pub expires: Timestamp,
    /// When the session ends for good.
    pub session_expires: Timestamp,
}

/// What a refresh or a sign-in gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tokens {
    /// The signed access token.
    pub access: AccessToken,
    /// When the session ends for good: how long a browser should keep the cookie.
    pub session_expires: Timestamp,
}

/// Why a refresher gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The session is over. Answered with 401.
    Rejected,
    /// Not now; the session may well be good. A token that is still good goes on, otherwise 503.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// Not until somebody changes the configuration. As `Unavailable`, and an error event.
    Misconfigured,
}

impl Failure {
    /// To be tried again in a second.
    pub(crate) const SOON: Self = Self::Unavailable { retry_after: Duration::from_secs(1) };
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("the session is over"),
            Self::Unavailable { retry_after } => {
                write!(f, "refresh is unavailable; try again in {} s", retry_after.as_secs())
            }
            Self::Misconfigured => f.write_str("refresh is misconfigured"),
        }
    }
}

impl std::error::Error for Failure {}

/// What a refresher works with: minting, the clock, limits, the app's revalidation. Owned.
#[derive(Clone)]
pub struct Context {
    core: Arc<Core>,
}

impl Context {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Wall-clock time, of the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Asks the app whether the session goes on, and with which claims.
    ///
    /// Errors: [`Failure::Rejected`] if the app ended it, [`Failure::Unavailable`] if its answer
    /// was an error.
    pub async fn revalidate(&self, grant: &mut Grant) -> Result<(), Failure> {
        let Some(hook) = &self.core.revalidate else { return Ok(()) };
        if let Some(claims) = hook(grant.clone()).await? {
            grant.claims = claims;
        }
        Ok(())
    }

    /// A signed access token for the session, checked to fit every carrier of the engine.
    pub fn mint(&self, grant: &Grant) -> Result<Tokens, Failure> {
        let now = self.now();
        let access = mint::mint(&self.core.mint_rules, &self.core.keys, grant, now)
            .and_then(|token| match self.core.carriers.fit(token.expose()) {
                true => Ok(token),
                false => Err(MintProblem::TooLarge),
            })
            .map_err(|problem| self.report(grant, problem))?;
        Ok(Tokens { access, session_expires: grant.session_expires })
    }

    fn report(&self, grant: &Grant, problem: MintProblem) -> Failure {
        match problem {
            MintProblem::Over => Failure::Rejected,
            MintProblem::System => Failure::SOON,
            MintProblem::NoSigningKey => Failure::Misconfigured,
            MintProblem::TooLarge => {
                self.core.emit(&Event::TokenTooLarge { sid: &grant.sid });
                Failure::Misconfigured
            }
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// [`Refresher`] with boxed futures, so that the engine has one type whatever the refresher.
pub(crate) trait ErasedRefresher: Send + Sync {
    fn admits(&self, held: Held, now: Timestamp) -> bool;
    fn refresh(
        self: Arc<Self>,
        cx: Context,
        grant: Grant,
    ) -> BoxFuture<'static, Result<Tokens, Failure>>;
    fn sign_in(&self, cx: Context, grant: Grant) -> BoxFuture<'_, Result<Tokens, Failure>>;
    fn sign_out(&self, cx: Context, sid: String) -> BoxFuture<'_, Result<(), Failure>>;
}

impl<R: Refresher> ErasedRefresher for R {
    fn admits(&self, held: Held, now: Timestamp) -> bool {
        Refresher::admits(self, held, now)
    }

    fn refresh(
        self: Arc<Self>,
        cx: Context,
        grant: Grant,
    ) -> BoxFuture<'static, Result<Tokens, Failure>> {
        Box::pin(async move { Refresher::refresh(&*self, cx, grant).await })
    }

    fn sign_in(&self, cx: Context, grant: Grant) -> BoxFuture<'_, Result<Tokens, Failure>> {
        Box::pin(Refresher::sign_in(self, cx, grant))
    }

    fn sign_out(&self, cx: Context, sid: String) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(Refresher::sign_out(self, cx, sid))
    }
}
