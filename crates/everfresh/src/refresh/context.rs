//! What a refresher is given: the engine's settings when that is built, and its means in each call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Failure, KeyRing, RefreshRequest, RefreshToken, ReissueRequest, Sealer, Tokens, token,
};
use crate::clock::Timestamp;
use crate::config::ConfigError;
use crate::decide::{Windows, spread};
use crate::engine::Core;
use crate::mint::{self, For, MintProblem, SessionClaims};
use crate::observe::Event;
use crate::secret::AccessToken;
use crate::store::StoreError;
use crate::verify::Keys;

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

    /// What seals for this engine, by these keys or by ones that are derived from its signing
    /// secrets.
    ///
    /// Errors: there is neither.
    pub fn sealer(&self, ring: Option<KeyRing>) -> Result<Sealer, ConfigError> {
        let ring = ring.map_or_else(|| self.derive_ring(), Ok)?;
        Ok(Sealer::new(ring, self.scope()))
    }

    pub(crate) fn scope(&self) -> token::Scope {
        token::Scope::new(self.issuer, self.audience)
    }

    /// A key ring from the signing secrets, under a label of its own.
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

/// What a refresher works with: minting, the clock, limits, the app's revalidation. Owned.
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

    /// Whether the app's revalidation ended the session.
    pub(crate) fn ended_by_app(&self) -> bool {
        self.ended_by_app.load(Ordering::Relaxed)
    }

    /// Nothing was tried that could fail, so the failure that this refresh ends with does not count
    /// against its session: it is not left alone for longer than the failure says.
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
    ) -> Result<AccessToken, Failure> {
        self.core.refresher.clone().upstream_access_token(self, sid, presented).await
    }

    /// Wall-clock time, of the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Asks the app whether the session goes on, and with which claims.
    ///
    /// Errors: [`Failure::Rejected`] if the app ended it, [`Failure::Unavailable`] if its answer
    /// was an error, [`Failure::UnreadClaims`] if its type does not take the claims and it gave no
    /// others. Call it before anything is spent.
    pub async fn revalidate(&self, grant: &mut SessionClaims) -> Result<(), Failure> {
        if let Some(hook) = &self.core.revalidate {
            match hook(grant.clone()).await {
                Ok(Some(claims)) => grant.claims = claims,
                Ok(None) => {}
                Err(failure) => {
                    self.ended_by_app.fetch_or(failure == Failure::Rejected, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
        self.core.fits(&grant.claims)
    }

    /// A signed access token for the session, checked to fit every carrier of the engine. The tokens
    /// are as persistent as the grant.
    ///
    /// Errors: [`Failure::Rejected`] if the session is over, [`Failure::UnreadClaims`] if the app's
    /// type would not take the claims, [`Failure::Misconfigured`] if the token is too large or no
    /// key signs.
    pub fn mint(&self, grant: &SessionClaims) -> Result<Tokens, Failure> {
        self.mint_for(grant, None)
    }

    /// The same, of a token that lives for `lifetime` at the most.
    pub fn mint_for(
        &self,
        grant: &SessionClaims,
        lifetime: Option<Duration>,
    ) -> Result<Tokens, Failure> {
        self.core.fits(&grant.claims)?;
        let now = self.now();
        let rules = &self.core.mint_rules;
        let lifetime = lifetime.unwrap_or(rules.lifetime).min(rules.lifetime);
        let access = mint::mint(rules, &self.core.keys, grant, For::Us, lifetime, now)
            .and_then(|token| match self.core.carriers.fit(token.expose()) {
                true => Ok(token),
                false => Err(MintProblem::TooLarge),
            })
            .map_err(|problem| self.report(grant, problem))?;
        let mut tokens = Tokens::new(access, grant.session_expires);
        tokens.persistent = grant.persistent;
        Ok(tokens)
    }

    /// A signed access token for another service, that lives for `lifetime` at the most.
    pub(crate) fn mint_onward(
        &self,
        grant: &SessionClaims,
        audience: &str,
        lifetime: Duration,
    ) -> Result<AccessToken, Failure> {
        let rules = &self.core.mint_rules;
        let (audience, lifetime) = (For::Another(audience), lifetime.min(rules.lifetime));
        mint::mint(rules, &self.core.keys, grant, audience, lifetime, self.now())
            .map_err(|problem| self.report(grant, problem))
    }

    /// Whether a token that was made for `lifetime` and lasts for `left` is to be renewed now, by
    /// the windows that the engine has for its own; not at the same moment for all sessions.
    pub fn is_due(sid: &str, lifetime: Duration, left: Duration) -> bool {
        let early = Windows::new(lifetime, spread(sid)).advisory;
        // What our own access tokens end earlier by chance: when one of them asks to be refreshed,
        // the token that it rests on is due as well.
        let early = early + lifetime / 20 + Duration::from_secs(1);
        left <= early.min(lifetime / 2)
    }

    /// Whether the refresh token fits every carrier of the engine, by its size and by its bytes: a
    /// cookie holds no space, quote, comma, semicolon or backslash (RFC 6265bis section 4.1.1), and no
    /// dot where a token may travel in several cookies
    /// ([`largest_refresh_token`](super::Refresher::largest_refresh_token)); a header holds visible
    /// ASCII. The engine refuses to deliver tokens that don't fit, so ask before something is spent
    /// for them.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`], after the event [`TokenTooLarge`](Event::TokenTooLarge).
    pub fn check_size(&self, sid: &str, token: &RefreshToken) -> Result<(), Failure> {
        self.core.check_fit(sid, None, Some(token))
    }

    /// How long a session may live at the most.
    pub fn session_lifetime(&self) -> Duration {
        self.core.session_lifetime
    }

    /// The engine's monotonic clock, from some moment on.
    pub fn monotonic(&self) -> Duration {
        self.core.clock.monotonic()
    }

    /// How long a request waits for a refresh at the most.
    pub fn refresh_timeout(&self) -> Duration {
        self.core.refresh_timeout
    }

    /// Reports an event, to `tracing` and to the app's hook.
    pub fn emit(&self, event: &Event<'_>) {
        self.core.emit(event);
    }

    /// What the monotonic clock will say after so long.
    pub(crate) fn after(&self, time: Duration) -> Duration {
        self.core.clock.monotonic() + time
    }

    /// Runs something that nobody waits for, on the engine's runtime. Without one it is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.core.runtime() {
            runtime.spawn(task);
        }
    }

    /// Reports that the store did not do what it was asked.
    pub fn store_failed(&self, error: &StoreError) {
        tracing::warn!(target: "everfresh", %error, "the session store failed");
        self.core.emit(&Event::StoreFailed);
    }

    fn report(&self, grant: &SessionClaims, problem: MintProblem) -> Failure {
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

#[cfg(test)]
mod tests;
