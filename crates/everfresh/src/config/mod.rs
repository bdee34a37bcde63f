//! The builder: every setting, its default, and the checks of `build()`.

mod check;
mod error;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::attach::InnerToken;
use crate::carrier::{Carrier, Carriers};
use crate::clock::Clock;
use crate::cookie::MAX_NAME_AND_VALUE;
use crate::edits::CachePolicy;
use crate::endpoint::{Clients, Dialect};
use crate::engine::{Core, Engine, Following};
use crate::mint::{ClaimsObject, Grant, MintRules};
use crate::node::{Revoked, Seen};
use crate::observe::Event;
use crate::observe::metrics::Metrics;
use crate::origin;
use crate::refresh::flight::{Flights, has_timer};
use crate::refresh::{ErasedRefresher, Failure, Refresher, Setup};
use crate::reject::Rejection;
use crate::session::{ClaimSet, Watches};
use crate::verify::{Cache, Keys, Rules, TokenProfile, parse_own};

use check::{endpoints, required, within};

pub use error::ConfigError;

/// What the app says to a session that is about to be refreshed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Revalidated<C> {
    /// It goes on as it is.
    Keep,
    /// It goes on with these claims: a role that changed.
    Replace(C),
    /// It ends: a person who was disabled. Answered with 401.
    ///
    /// This node refuses the session's access tokens from then on; where several nodes serve,
    /// another one takes them until they expire or until it asks too.
    End,
}

/// A session that is about to be refreshed, for the app to look at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Revalidation<C> {
    /// Whose session it is: the claim `sub`.
    pub subject: String,
    /// The session's id.
    pub sid: String,
    /// The claims that the old token carries.
    pub claims: C,
}

/// The app's revalidation with its types erased: new claims, none, or a failure.
pub(crate) type Revalidate = Box<
    dyn Fn(Grant) -> futures::future::BoxFuture<'static, Result<Option<ClaimsObject>, Failure>>
        + Send
        + Sync,
>;

/// Says of a request, by method and path, that no person made it.
pub(crate) type Background = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Where events go.
pub(crate) type EventHook = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// Builds an [`Engine`]. Every contradiction in a configuration is an error in
/// [`build`](Self::build), none later.
///
/// | setting | default |
/// |---|---|
/// | `issuer`, `audience`, `refresh_with` | none: required |
/// | `access_lifetime` | 15 minutes, less up to 5 % |
/// | `session_lifetime` | 30 days |
/// | `leeway` | 30 s, at most a quarter of a token's lifetime |
/// | `carriers` | [`Carrier::cookies`] |
/// | `token_profile` | [`TokenProfile::AtJwt`] |
/// | `inner_token` | [`InnerToken::Untouched`] |
/// | `cache_policy` | [`CachePolicy::Override`] |
/// | `token_cache` | 10,000 tokens |
/// | `debug_headers` | off |
#[must_use = "nothing is built before `build()`"]
pub struct EngineBuilder<C> {
    keys: Keys,
    issuer: String,
    audience: String,
    client_id: Option<String>,
    refresher: Option<Box<dyn ErasedRefresher>>,
    revalidate: Option<Revalidate>,
    access_lifetime: Duration,
    session_lifetime: Duration,
    leeway: Duration,
    waiter_limit: Duration,
    carriers: Vec<Carrier>,
    insecure: bool,
    profile: TokenProfile,
    inner_token: InnerToken,
    cache_policy: CachePolicy,
    token_cache: usize,
    trusted_origins: Vec<String>,
    csrf_handled_elsewhere: bool,
    background: Option<Background>,
    dialects: Vec<Dialect>,
    clients: Clients,
    rejection_body: Option<crate::reject::RejectionBody>,
    events: Option<EventHook>,
    debug_headers: bool,
    clock: Clock,
    runtime: Option<tokio::runtime::Handle>,
    claims: PhantomData<fn() -> C>,
}

impl<C: ClaimSet> EngineBuilder<C> {
    pub(crate) fn new(keys: Keys) -> Self {
        Self {
            keys,
            issuer: String::new(),
            audience: String::new(),
            client_id: None,
            refresher: None,
            revalidate: None,
            access_lifetime: Duration::from_secs(15 * 60),
            session_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            leeway: Duration::from_secs(30),
            waiter_limit: Duration::from_secs(3),
            carriers: vec![Carrier::cookies()],
            insecure: false,
            profile: TokenProfile::default(),
            inner_token: InnerToken::default(),
            cache_policy: CachePolicy::default(),
            token_cache: 10_000,
            trusted_origins: Vec::new(),
            csrf_handled_elsewhere: false,
            background: None,
            dialects: Vec::new(),
            clients: Clients::default(),
            rejection_body: None,
            events: None,
            debug_headers: false,
            clock: Clock::default(),
            runtime: None,
            claims: PhantomData,
        }
    }

    /// Who issues the tokens: the claim `iss`, compared as a whole string. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Whom the tokens are for: the claim `aud`. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The claim `client_id` of minted tokens (RFC 9068 section 2.2). Left out unless set.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// What makes fresh tokens. Required.
    pub fn refresh_with(mut self, refresher: impl Refresher) -> Self {
        self.refresher = Some(Box::new(refresher));
        self
    }

    /// Asks the app at every refresh whether the session goes on, and with which claims.
    ///
    /// An `Err` means that the app does not know at the moment (its database is down): a token
    /// that is still good goes on, otherwise the answer is 503. Only [`Revalidated::End`] ends a
    /// session. It may take as long as a refresh (30 s); requests wait 3 s for it.
    pub fn revalidate_with<F, Fut, E>(mut self, hook: F) -> Self
    where
        F: Fn(Revalidation<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Revalidated<C>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let hook = Arc::new(hook);
        self.revalidate = Some(Box::new(move |grant: Grant| {
            let hook = hook.clone();
            Box::pin(async move {
                let Grant { subject, sid, claims, .. } = grant;
                let claims = parse_own(claims.as_str()).map_err(|_| Failure::Misconfigured)?;
                match hook(Revalidation { subject, sid, claims }).await {
                    Ok(Revalidated::Keep) => Ok(None),
                    Ok(Revalidated::Replace(claims)) => match ClaimsObject::new(&claims) {
                        Ok(claims) => Ok(Some(claims)),
                        Err(problem) => {
                            tracing::error!(target: "everfresh", %problem, "claims refused");
                            Err(Failure::Misconfigured)
                        }
                    },
                    Ok(Revalidated::End) => Err(Failure::Rejected),
                    Err(error) => {
                        tracing::warn!(target: "everfresh", %error, "revalidation failed");
                        Err(Failure::SOON)
                    }
                }
            })
        }));
        self
    }

    /// How long an access token lives, in whole seconds: 1 s to 1 day.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = lifetime;
        self
    }

    /// How long a session lives at the most, however often it is refreshed: 1 s to 10 years.
    ///
    /// A browser keeps a cookie for 400 days at the most.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = lifetime;
        self
    }

    /// How long a token may be used past `exp` when clocks differ or no refresh is to be had:
    /// 0 s to 5 minutes, and never more than a quarter of the token's lifetime.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Where tokens travel, in order: 1 to 4 carriers.
    pub fn carriers(mut self, carriers: impl IntoIterator<Item = Carrier>) -> Self {
        self.carriers = carriers.into_iter().collect();
        self
    }

    /// For plain `http://` on a developer's machine: cookies without Secure and without the
    /// prefixes that need it. Anybody on the way can read the tokens.
    pub fn insecure_dev_only(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Which tokens count as access tokens, and how minted ones are marked.
    pub fn token_profile(mut self, profile: TokenProfile) -> Self {
        self.profile = profile;
        self
    }

    /// What the inner service sees of the access token.
    pub fn inner_token(mut self, policy: InnerToken) -> Self {
        self.inner_token = policy;
        self
    }

    /// What happens to tokens on a response that its handler made cacheable by shared caches.
    pub fn cache_policy(mut self, policy: CachePolicy) -> Self {
        self.cache_policy = policy;
        self
    }

    /// How many verified tokens are remembered, so that a token is verified once and not at every
    /// request: up to 1,000,000, rounded down to a multiple of eight; 0 turns it off.
    ///
    /// A remembered token costs about 300 bytes and its own length, in this process's memory. It
    /// is forgotten when it expires, when the keys change and when its session is revoked. More
    /// than fit in the processor's cache, some ten thousand, gain less each.
    pub fn token_cache(mut self, tokens: usize) -> Self {
        self.token_cache = tokens;
        self
    }

    /// An origin whose requests count as our own, such as `https://admin.example`.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(origin.into());
        self
    }

    /// Turns the cross-site rule off, for those who stack `tower_http::csrf::CsrfLayer` or another
    /// defence outside.
    pub fn csrf_handled_elsewhere(mut self) -> Self {
        self.csrf_handled_elsewhere = true;
        self
    }

    /// Requests that no person makes: polling, telemetry. They are refreshed like others, but don't
    /// keep an idle session alive. The hook is given the method and the path, and is called in the
    /// path of every request.
    ///
    /// The idle time of [`Rotate`](crate::Rotate) then counts from the last request of another
    /// kind, give or take the lifetime of an access token.
    ///
    /// ```
    /// # use everfresh::{Engine, Keys, MemoryStore, Rotate};
    /// # fn main() -> Result<(), everfresh::ConfigError> {
    /// let auth = Engine::<()>::builder(Keys::hs256("0123456789abcdef-0123456789abcdef")?)
    ///     .issuer("https://app.example")
    ///     .audience("app")
    ///     .refresh_with(Rotate::new(MemoryStore::new()))
    ///     .background_requests(|_method, path| path == "/notifications")
    ///     .build()?;
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    pub fn background_requests<F>(mut self, hook: F) -> Self
    where
        F: Fn(&str, &str) -> bool + Send + Sync + 'static,
    {
        self.background = Some(Box::new(hook));
        self
    }

    /// Serves this dialect at its path, among the endpoints that adapters mount. May be called
    /// several times.
    ///
    /// The session's attributes (`SignIn::attribute`) fill the members that a dialect has of the
    /// user; with client authentication the attribute `client_id` names the client that the
    /// session is for, and `scope` what it may ask for.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialects.push(dialect);
        self
    }

    /// A client of dialects with client authentication. Without a secret it is a public client.
    pub fn client(mut self, id: impl Into<String>, secret: Option<String>) -> Self {
        self.clients.add(id.into(), secret);
        self
    }

    /// Makes the body of rejections: a content type and bytes. problem+json unless set.
    pub fn rejection_body<F>(mut self, body: F) -> Self
    where
        F: Fn(&Rejection) -> (HeaderValue, Vec<u8>) + Send + Sync + 'static,
    {
        self.rejection_body = Some(Arc::new(body));
        self
    }

    /// Is told what happens, in the path of the request: must not block.
    pub fn on_event(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.events = Some(Box::new(hook));
        self
    }

    /// Puts into every response what became of its request, for whoever develops: a field
    /// `everfresh-debug` such as `carrier=0;by=cookie, verdict=expired, decision=wait,
    /// flight=started, outcome=refreshed, standing=present, generation=3, sends=tokens`.
    /// `docs/observability.md` says what each word means.
    ///
    /// Off unless set, and not for production: it tells whoever asks why a token does not count. It
    /// holds no token, no id and no name.
    pub fn debug_headers(mut self, on: bool) -> Self {
        self.debug_headers = on;
        self
    }

    /// Another clock: [`ManualClock`](crate::ManualClock) in tests.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The tokio runtime that flies refreshes. The one around `build()` unless set; without any,
    /// a refresh that has to wait for something is unavailable.
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Checks everything and builds the engine.
    ///
    /// Errors: see [`ConfigError`].
    pub fn build(self) -> Result<Engine<C>, ConfigError> {
        const DAY: u64 = 24 * 60 * 60;
        /// Of 1 KiB tokens, some 1.5 GB.
        const MAX_CACHED: usize = 1_000_000;

        required(
            "issuer",
            &self.issuer,
            "name who issues the tokens, such as `https://app.example`",
        )?;
        required("audience", &self.audience, "name whom the tokens are for, such as `app`")?;
        if self.client_id.is_none() && self.profile == TokenProfile::Rfc9068 {
            required("client_id", "", "RFC 9068 section 2.2 requires the claim in every token")?;
        }
        let Some(mut refresher) = self.refresher else {
            return Err(ConfigError::Missing {
                setting: "refresh_with",
                remedy: "say what makes fresh tokens, such as `Resign::new()`",
            });
        };
        within("access_lifetime", self.access_lifetime, 1, DAY)?;
        within("session_lifetime", self.session_lifetime, 1, 3650 * DAY)?;
        within("leeway", self.leeway, 0, 300)?;
        if self.token_cache > MAX_CACHED {
            return Err(ConfigError::CacheSize { found: self.token_cache, most: MAX_CACHED });
        }
        if refresher.mints() && !self.keys.can_sign() {
            return Err(ConfigError::NoSigningKey);
        }
        for origin in &self.trusted_origins {
            origin::check_trusted(origin)?;
        }
        let runtime = self.runtime.or_else(|| tokio::runtime::Handle::try_current().ok());
        if runtime.as_ref().is_some_and(|runtime| !has_timer(runtime)) {
            return Err(ConfigError::NoTimer);
        }
        refresher.prepare(&Setup {
            keys: &self.keys,
            issuer: &self.issuer,
            audience: &self.audience,
            access_lifetime: self.access_lifetime,
            session_lifetime: self.session_lifetime,
        })?;
        let large = refresher.largest_refresh_token() > MAX_NAME_AND_VALUE;
        let carriers = Carriers::build(self.carriers, self.insecure, large)?;
        let keeps = refresher.uses_refresh_tokens();
        let dialects = endpoints(self.dialects, &carriers, &self.clients, keeps, self.insecure)?;
        if self.insecure {
            tracing::warn!(target: "everfresh", "insecure_dev_only: cookies travel without Secure");
        }
        if self.debug_headers {
            tracing::warn!(target: "everfresh", "debug_headers: responses say why tokens don't count");
        }
        let cache = Cache::new(self.token_cache);
        let core = Core {
            rules: Rules {
                issuer: self.issuer.clone(),
                audience: self.audience.clone(),
                profile: self.profile,
                leeway: self.leeway,
                needs_session: refresher.mints(),
            },
            mint_rules: MintRules {
                issuer: self.issuer,
                audience: self.audience,
                client_id: self.client_id,
                profile: self.profile,
                lifetime: self.access_lifetime,
            },
            keys: self.keys,
            carriers,
            // A result that is given again must not be near its own end.
            overlap: refresher.result_window().min(self.access_lifetime / 2),
            refresher: refresher.into(),
            revalidate: self.revalidate,
            session_lifetime: self.session_lifetime,
            waiter_limit: self.waiter_limit,
            inner_token: self.inner_token,
            cache_policy: self.cache_policy,
            trusted_origins: self.trusted_origins,
            csrf_handled_elsewhere: self.csrf_handled_elsewhere,
            background: self.background,
            rejection_body: self.rejection_body,
            events: self.events,
            debug_headers: self.debug_headers,
            clock: self.clock,
            runtime,
            flights: Flights::default(),
            revoked: Revoked::new(),
            seen: Seen::new(),
            watches: Watches::new(),
            dialects,
            clients: self.clients,
            following: Following::default(),
            metrics: Metrics::new(),
        };
        Ok(Engine::new(core, cache))
    }
}

impl<C> fmt::Debug for EngineBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod tests;
