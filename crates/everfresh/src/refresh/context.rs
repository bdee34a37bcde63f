//! What a refresher gets from the engine: the settings at `build()`, and a context in each call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Failure, KeyRing, RefreshRequest, RefreshToken, ReissueRequest, Sealer, Tokens,
    UpstreamAccessToken, token,
};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::Windows;
use crate::error::ConfigError;
use crate::mint::{self, For, MintProblem, SessionClaims};
use crate::observe::Event;
use crate::secret::AccessToken;
use crate::store::StoreError;
use crate::verify::Keys;

/// The engine's settings that `build()` passes to a refresher.
pub struct Setup<'s> {
    pub(crate) keys: &'s Keys,
    pub(crate) issuer: &'s str,
    pub(crate) audience: &'s str,
    pub(crate) access_lifetime: Duration,
    pub(crate) session_lifetime: Duration,
}

impl Setup<'_> {
    /// Returns the lifetime of an access token.
    pub fn access_lifetime(&self) -> Duration {
        self.access_lifetime
    }

    /// Returns the longest lifetime of a session.
    pub fn session_lifetime(&self) -> Duration {
        self.session_lifetime
    }

    /// Checks that `found` lies between `least` and `most`, both included.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] if it does not.
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

    /// Returns a sealer for this engine. It uses the keys of `ring`, or keys that are derived from
    /// the engine's signing secrets if `ring` is `None`.
    ///
    /// # Errors
    /// [`ConfigError`] if there is neither a ring nor a signing secret.
    pub fn sealer(&self, ring: Option<KeyRing>) -> Result<Sealer, ConfigError> {
        let ring = ring.map_or_else(|| self.derive_ring(), Ok)?;
        Ok(Sealer::new(ring, self.scope()))
    }

    pub(crate) fn scope(&self) -> token::Scope {
        token::Scope::new(self.issuer, self.audience)
    }

    /// Derives a key ring from the signing secrets, under a separate label.
    pub(crate) fn derive_ring(&self) -> Result<KeyRing, ConfigError> {
        let secrets = self.keys.derive("everfresh refresh token ring").unwrap_or_default();
        let secrets: Vec<_> = secrets.into_iter().map(Zeroizing::new).collect();
        let mut secrets = secrets.iter();
        let first = secrets.next().ok_or(ConfigError::Missing {
            setting: "key_ring",
            remedy: "public signing keys give no secret to derive refresh tokens with; make one \
                     with `openssl rand -hex 32`",
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

/// The means that a refresher works with: minting, the clock, limits, and the app's revalidation.
/// It owns its data, so that a task can keep it.
#[derive(Clone)]
pub struct Context {
    pub(super) core: Arc<Core>,
    ended_by_app: Arc<AtomicBool>,
    untried: Arc<AtomicBool>,
}

impl Context {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, ended_by_app: Arc::default(), untried: Arc::default() }
    }

    /// Returns whether the app's revalidation ended the session.
    pub(crate) fn ended_by_app(&self) -> bool {
        self.ended_by_app.load(Ordering::Relaxed)
    }

    /// Marks this refresh as one that tried nothing that could fail. The failure that it ends with
    /// does not count against its session: the session is backed off for no longer than the failure
    /// says.
    pub fn untried(&self) {
        self.untried.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_untried(&self) -> bool {
        self.untried.load(Ordering::Relaxed)
    }

    pub(crate) async fn reissue_access_token(
        self,
        renewal: ReissueRequest,
    ) -> Result<Tokens, Failure> {
        self.core.refresher.clone().reissue_access_token(self, renewal).await
    }

    pub(crate) async fn refresh(self, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        self.core.refresher.clone().refresh(self, admitted).await
    }

    pub(crate) async fn upstream_access_token(
        self,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Result<UpstreamAccessToken, Failure> {
        self.core.refresher.clone().upstream_access_token(self, sid, presented).await
    }

    /// Returns the wall-clock time of the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// Asks the app whether the session goes on, and with which claims. Call it before a one-time
    /// token is spent.
    ///
    /// # Errors
    /// * [`Failure::Rejected`] if the app ended the session
    /// * [`Failure::Unavailable`] if the app's answer was an error
    /// * [`Failure::UnreadClaims`] if the app's type can't read the claims and the app returned no
    ///   others
    pub async fn revalidate(&self, session_claims: &mut SessionClaims) -> Result<(), Failure> {
        if let Some(hook) = &self.core.settings.revalidate {
            match hook(session_claims.clone()).await {
                Ok(Some(claims)) => session_claims.claims = claims,
                Ok(None) => {}
                Err(failure) => {
                    self.ended_by_app.fetch_or(failure == Failure::Rejected, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
        self.core.fits(&session_claims.claims)
    }

    /// Mints a signed access token for the session, and checks that it fits every transport of the
    /// engine. The tokens are as persistent as the grant.
    ///
    /// # Errors
    /// * [`Failure::Rejected`] if the session is over
    /// * [`Failure::UnreadClaims`] if the app's type can't read the claims
    /// * [`Failure::Misconfigured`] if the token is too large or no key signs
    /// * [`Failure::Unavailable`] if the system failed
    pub fn mint(&self, session_claims: &SessionClaims) -> Result<Tokens, Failure> {
        self.mint_for(session_claims, None)
    }

    /// Like [`mint`](Self::mint), with an access token that lives for `lifetime` at most.
    pub fn mint_for(
        &self,
        session_claims: &SessionClaims,
        lifetime: Option<Duration>,
    ) -> Result<Tokens, Failure> {
        self.core.fits(&session_claims.claims)?;
        let now = self.now();
        let rules = self.core.settings.mint_rules();
        let most = self.core.settings.access_lifetime;
        let lifetime = lifetime.unwrap_or(most).min(most);
        let access =
            mint::mint(rules, &self.core.settings.keys, session_claims, For::Us, lifetime, now)
                .and_then(|token| match self.core.transports.fit(token.expose()) {
                    true => Ok(token),
                    false => Err(MintProblem::TooLarge),
                })
                .map_err(|problem| self.report(session_claims, problem))?;
        let mut tokens = Tokens::new(access, session_claims.session_expires);
        tokens.persistent = session_claims.persistent;
        Ok(tokens)
    }

    /// Mints a signed access token for another service, which lives for `lifetime` at most.
    pub(crate) fn mint_onward(
        &self,
        session_claims: &SessionClaims,
        audience: &str,
        lifetime: Duration,
    ) -> Result<AccessToken, Failure> {
        let rules = self.core.settings.mint_rules();
        let most = self.core.settings.access_lifetime;
        let (audience, lifetime) = (For::Another(audience), lifetime.min(most));
        mint::mint(rules, &self.core.settings.keys, session_claims, audience, lifetime, self.now())
            .map_err(|problem| self.report(session_claims, problem))
    }

    /// Returns whether to renew a token now that was issued for `lifetime` and expires in `left`.
    /// The engine's refresh windows for its own tokens decide, and vary the moment by session.
    pub fn is_due(sid: &str, lifetime: Duration, left: Duration) -> bool {
        Windows::is_due(sid, lifetime, left)
    }

    /// Checks that the refresh token fits every transport of the engine, by its size and by its
    /// bytes. A cookie holds no space, quote, comma, semicolon or backslash (RFC 6265bis section
    /// 4.1.1), and no dot if a token may travel in several cookies
    /// ([`largest_refresh_token`](super::Refresher::largest_refresh_token)). A header holds visible
    /// ASCII. The engine refuses to deliver tokens that don't fit, so call this before a one-time
    /// token is spent for them.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`], after the event [`TokenTooLarge`](Event::TokenTooLarge).
    pub fn check_size(&self, sid: &str, token: &RefreshToken) -> Result<(), Failure> {
        self.core.check_fit(sid, None, Some(token))
    }

    /// Returns the longest lifetime of a session.
    pub fn session_lifetime(&self) -> Duration {
        self.core.settings.session_lifetime
    }

    /// Returns the time of the engine's monotonic clock, since an arbitrary moment.
    pub fn monotonic(&self) -> Duration {
        self.core.settings.clock.monotonic()
    }

    /// Returns how long a request waits for a refresh at most.
    pub fn refresh_timeout(&self) -> Duration {
        self.core.settings.refresh_timeout
    }

    /// Reports an event to `tracing` and to the app's hook.
    pub fn emit(&self, event: &Event<'_>) {
        self.core.emit(event);
    }

    /// Returns the time of the monotonic clock after `time` has passed.
    pub(crate) fn after(&self, time: Duration) -> Duration {
        self.core.settings.clock.monotonic() + time
    }

    /// Spawns a task that no request waits for on the engine's runtime. Without a runtime the task
    /// is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.core.runtime() {
            runtime.spawn(task);
        }
    }

    /// Reports that a call to the store failed.
    pub fn store_failed(&self, error: &StoreError) {
        tracing::warn!(target: "everfresh", %error, "the session store failed");
        self.core.emit(&Event::StoreFailed);
    }

    fn report(&self, session_claims: &SessionClaims, problem: MintProblem) -> Failure {
        match problem {
            MintProblem::Over => Failure::Rejected,
            MintProblem::System => Failure::SOON,
            MintProblem::NoSigningKey => Failure::Misconfigured,
            MintProblem::TooLarge => {
                self.core.emit(&Event::TokenTooLarge { sid: &session_claims.sid });
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

#[cfg(test)]
mod tests;
