//! Step 4: making fresh tokens. What a refresher is, and what it is given.

mod backoff;
mod erased;
pub(crate) mod flight;
mod recoveries;
mod resign;
mod rotate;
#[cfg(test)]
mod rotation_tests;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::ConfigError;
use crate::engine::Core;
use crate::mint::{self, Grant, MintProblem};
use crate::observe::Event;
use crate::secret::AccessToken;
use crate::store::StoreError;
use crate::verify::Keys;

pub(crate) use erased::ErasedRefresher;
pub use resign::Resign;
pub use rotate::Rotate;
pub use token::{KeyRing, RefreshToken};

/// Makes fresh tokens for a session.
///
/// The engine verifies what a request presents, decides when to refresh, runs one
/// [`refresh`](Self::refresh) per session at a time in a task of its own, and delivers what comes
/// out. A refresher only says who may have new tokens and makes them.
///
/// # Security
/// A `Some` from [`admits`](Self::admits) and tokens from [`refresh`](Self::refresh) keep a
/// session alive: give them only while its [`Grant::session_expires`] lies ahead. A
/// [`Failure::Rejected`] answers 401 to somebody who was signed in: give it only for a session
/// that is known to be over, never for an outage.
pub trait Refresher: Send + Sync + 'static {
    /// Called once, by `build()`, before anything else: the place to check settings.
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let _ = setup;
        Ok(())
    }

    /// Whether there are refresh tokens beside the access tokens.
    fn uses_refresh_tokens(&self) -> bool {
        false
    }

    /// Whether the engine's own keys sign the access tokens. Where another issuer makes them, the
    /// engine's keys may be public ones, that only verify.
    fn mints(&self) -> bool {
        true
    }

    /// How long the tokens of a refresh may be given again from memory, to requests that present
    /// the same token. None where something else has to be asked each time.
    fn result_window(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Whether what was presented may be refreshed now, and which flight that is. No I/O; called
    /// in the path of a request, with bytes that anybody may have sent.
    fn admits(&self, presented: Presented<'_>, now: Timestamp) -> Option<Admission>;

    /// New tokens for what was admitted.
    fn refresh(
        &self,
        cx: Context,
        admitted: Admitted,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// A new access token, and nothing else: for endpoints whose clients keep the token that they
    /// have. Moves no generation. The session's end is checked as in a refresh.
    ///
    /// [`Failure::Misconfigured`] unless the refresher can do it.
    fn renew(
        &self,
        cx: Context,
        renewal: Renewal,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send {
        let _ = (cx, renewal);
        async { Err(Failure::Misconfigured) }
    }

    /// The session of this id, where the refresher keeps sessions and it is not over.
    fn find(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<Option<SessionInfo>, Failure>> + Send {
        let _ = (cx, sid);
        async { Ok(None) }
    }

    /// Whether the tokens of a refresh may still leave, with a response that took long.
    fn recheck(&self, cx: Context, admitted: Admitted) -> impl Future<Output = bool> + Send {
        let _ = (cx, admitted);
        async { true }
    }

    /// The first tokens of a new session.
    fn sign_in(
        &self,
        cx: Context,
        opening: Opening,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// The session of this id is over.
    fn sign_out(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Every session of this subject but `except` is over. Gives the ids of those that were.
    fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        let _ = (cx, subject, except);
        async { Err(Failure::Misconfigured) }
    }

    /// The sessions of a subject, the latest first.
    fn sessions(
        &self,
        cx: Context,
        subject: String,
    ) -> impl Future<Output = Result<Vec<SessionInfo>, Failure>> + Send {
        let _ = (cx, subject);
        async { Err(Failure::Misconfigured) }
    }

    /// A client presented an access token of this generation for the first time. `slide`: a person
    /// did it, and only that counts as activity
    /// ([`background_requests`](crate::EngineBuilder::background_requests)).
    fn confirm(
        &self,
        cx: Context,
        sid: String,
        generation: u64,
        slide: bool,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (cx, sid, generation, slide);
        async { Ok(()) }
    }
}

/// What a request presents, verified as far as that goes without I/O.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Presented<'p> {
    /// The access token's session, if its signature and claims were good.
    pub access: Option<Held<'p>>,
    /// The refresh token, as it came; nothing about it was checked.
    pub refresh: Option<&'p [u8]>,
}

impl<'p> Presented<'p> {
    pub(crate) fn new(access: Option<Held<'p>>, refresh: Option<&'p [u8]>) -> Self {
        Self { access, refresh }
    }
}

/// What the holder of a verified access token holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Held<'p> {
    /// The session.
    pub sid: &'p str,
    /// Tells the session's tokens apart.
    pub mark: u64,
    /// When the access token expires, or has expired.
    pub expires: Timestamp,
    /// When the session ends for good.
    pub session_expires: Timestamp,
}

/// Which flight a request may start or join: the session, and what tells its tokens apart. Two
/// requests with the same one get the same tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admission {
    /// The session.
    pub sid: Box<str>,
    /// The token among the session's: a generation, or part of a signature.
    pub mark: u64,
}

/// What was admitted, to be refreshed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admitted {
    /// What the access token said, if it was good or expired.
    pub grant: Option<Grant>,
    /// The refresh token.
    pub refresh: Option<RefreshToken>,
    /// Whether the request is a person's, which begins the session's idle time anew.
    pub slides: bool,
    /// How long ago the request came that brought it. What was good then may be old by now.
    pub waited: Duration,
}

impl Admitted {
    pub(crate) fn new(grant: Option<Grant>, refresh: Option<RefreshToken>, slides: bool) -> Self {
        Self { grant, refresh, slides, waited: Duration::ZERO }
    }

    pub(crate) fn after(self, waited: Duration) -> Self {
        Self { waited, ..self }
    }
}

/// A new access token is wanted for a session, and no new refresh token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// What the access token that was presented said.
    pub grant: Option<Grant>,
    /// The refresh token that was presented.
    pub refresh: Option<RefreshToken>,
    /// How long the new access token may live at the most, if less than others.
    pub lifetime: Option<Duration>,
}

/// A new session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opening {
    /// What its tokens are minted from.
    pub grant: Grant,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
    /// What the app noted of it: device, user agent.
    pub attributes: BTreeMap<String, String>,
}

/// What a refresh or a sign-in gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tokens {
    /// The signed access token.
    pub access: AccessToken,
    /// The refresh token, if there is another one.
    pub refresh: Option<RefreshToken>,
    /// When the session ends for good: how long a browser should keep the cookies.
    pub session_expires: Timestamp,
    /// Whether cookies outlive the browser.
    pub persistent: bool,
    /// From when on, by this node's monotonic clock, they have to be rechecked before they leave.
    pub(crate) recheck_at: Option<Duration>,
}

/// One of a person's sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    pub sid: String,
    /// When it began.
    pub signed_in_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub expires: Timestamp,
    /// What the app noted of it.
    pub attributes: BTreeMap<String, String>,
}

/// What a refresher learns of the engine when that is built.
pub struct Setup<'s> {
    pub(crate) keys: &'s Keys,
    pub(crate) issuer: &'s str,
    pub(crate) audience: &'s str,
    pub(crate) access_lifetime: Duration,
    pub(crate) session_lifetime: Duration,
}

impl Setup<'_> {
    /// How long an access token lives.
    pub fn access_lifetime(&self) -> Duration {
        self.access_lifetime
    }

    /// How long a session lives at the most.
    pub fn session_lifetime(&self) -> Duration {
        self.session_lifetime
    }

    /// An error unless `found` lies between `least` and `most`.
    pub fn within(
        &self,
        setting: &'static str,
        found: Duration,
        least: Duration,
        most: Duration,
    ) -> Result<(), ConfigError> {
        if (least..=most).contains(&found) {
            return Ok(());
        }
        Err(ConfigError::OutOfRange { setting, found, least, most })
    }

    pub(crate) fn scope(&self) -> token::Scope {
        token::Scope::new(self.issuer, self.audience)
    }

    /// A key ring from the signing secrets, under a label of its own.
    pub(crate) fn derive_ring(&self) -> Result<KeyRing, ConfigError> {
        let secrets = self.keys.derive("everfresh refresh token ring").unwrap_or_default();
        let mut secrets = secrets.iter();
        let first = secrets.next().ok_or(ConfigError::Missing {
            setting: "Rotate::key_ring",
            remedy: "public signing keys give no secret to derive refresh tokens with; make one \
                     with `openssl rand -base64 32`",
        })?;
        let ring = KeyRing::new(first)?;
        secrets.try_fold(ring, |ring, secret| ring.and_former(secret)).map_err(Into::into)
    }
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresh = self.refresh.map(<[u8]>::len);
        f.debug_struct("Presented")
            .field("access", &self.access)
            .field("refresh", &refresh)
            .finish()
    }
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
    ended_by_app: Arc<AtomicBool>,
}

impl Context {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, ended_by_app: Arc::default() }
    }

    /// Whether the app's revalidation ended the session.
    pub(crate) fn ended_by_app(&self) -> bool {
        self.ended_by_app.load(Ordering::Relaxed)
    }

    pub(crate) async fn renew(self, renewal: Renewal) -> Result<Tokens, Failure> {
        self.core.refresher.clone().renew(self, renewal).await
    }

    pub(crate) async fn refresh(self, admitted: Admitted) -> Result<Tokens, Failure> {
        self.core.refresher.clone().refresh(self, admitted).await
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
        match hook(grant.clone()).await {
            Ok(Some(claims)) => grant.claims = claims,
            Ok(None) => {}
            Err(failure) => {
                self.ended_by_app.fetch_or(failure == Failure::Rejected, Ordering::Relaxed);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// A signed access token for the session, checked to fit every carrier of the engine.
    pub fn mint(&self, grant: &Grant) -> Result<Tokens, Failure> {
        self.mint_for(grant, None)
    }

    /// The same, of a token that lives for `lifetime` at the most.
    pub fn mint_for(&self, grant: &Grant, lifetime: Option<Duration>) -> Result<Tokens, Failure> {
        let now = self.now();
        let rules = &self.core.mint_rules;
        let lifetime = lifetime.unwrap_or(rules.lifetime).min(rules.lifetime);
        let access = mint::mint(rules, &self.core.keys, grant, lifetime, now)
            .and_then(|token| match self.core.carriers.fit(token.expose()) {
                true => Ok(token),
                false => Err(MintProblem::TooLarge),
            })
            .map_err(|problem| self.report(grant, problem))?;
        let session_expires = grant.session_expires;
        Ok(Tokens { access, refresh: None, session_expires, persistent: true, recheck_at: None })
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.core.emit(event);
    }

    /// What the monotonic clock will say after so long.
    pub(crate) fn after(&self, time: Duration) -> Duration {
        self.core.clock.monotonic() + time
    }

    /// Runs something that nobody waits for, where there is a runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.core.runtime {
            runtime.spawn(task);
        }
    }

    pub(crate) fn store_failed(&self, error: &StoreError) {
        tracing::warn!(target: "everfresh", %error, "the session store failed");
        self.core.emit(&Event::StoreFailed);
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
