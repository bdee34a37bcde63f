//! The builder: every setting and its default. `build.rs` puts them together.

mod build;
mod check;
mod error;
mod revalidate;

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::carrier::Transport;
use crate::clock::Clock;
use crate::endpoint::{Dialect, Named, NativePaths};
use crate::forward::InnerToken;
use crate::observe::Event;
use crate::origin::Trusted;
use crate::refresh::{ErasedRefresher, Refresher};
use crate::reject::Rejection;
use crate::respond::CachePolicy;
use crate::session::ClaimSet;
use crate::verify::{Keys, TokenProfile};

pub use error::ConfigError;
pub(crate) use revalidate::Revalidate;
pub use revalidate::{Revalidated, Revalidation};

/// Says of a request, by method and path, that no person made it.
pub(crate) type Background = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Where events go.
pub(crate) type EventHook = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// Builds an [`Engine`](crate::Engine). Every contradiction in a configuration is an error in
/// [`build`](Self::build), none later.
///
/// | setting | default |
/// |---|---|
/// | `issuer`, `audience`, `refresh_with` | none: required |
/// | `access_lifetime` | 15 minutes, less up to 5 % |
/// | `session_lifetime` | 30 days |
/// | `leeway` | 30 s, at most a quarter of a token's lifetime |
/// | `carriers` | [`Transport::cookies`] |
/// | `token_profile` | [`TokenProfile::AtJwt`] |
/// | `inner_token` | [`InnerToken::Untouched`] |
/// | `cache_policy` | [`CachePolicy::Override`] |
/// | `token_cache` | 10,000 tokens |
/// | `public_attributes` | all but registered names and `scope` |
/// | `recent_sign_in` | none: sign-ins of any age |
/// | `debug_headers` | off |
#[must_use = "nothing is built before `build()`"]
pub struct EngineBuilder<C> {
    keys: Keys,
    issuer: String,
    audience: String,
    audience_in_client_id: bool,
    client_id: Option<String>,
    refresher: Option<Box<dyn ErasedRefresher>>,
    revalidate: Option<Revalidate>,
    access_lifetime: Duration,
    session_lifetime: Duration,
    leeway: Duration,
    refresh_timeout: Duration,
    carriers: Vec<Transport>,
    insecure: bool,
    insecure_hosts: Vec<String>,
    profile: TokenProfile,
    inner_token: InnerToken,
    cache_policy: CachePolicy,
    token_cache: usize,
    trusted_origins: Vec<Trusted>,
    csrf_handled_elsewhere: bool,
    background: Option<Background>,
    public_attributes: Option<BTreeSet<String>>,
    recent_sign_in: Option<Duration>,
    native_paths: NativePaths,
    dialects: Vec<Dialect>,
    clients: Vec<Named>,
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
            audience_in_client_id: false,
            client_id: None,
            refresher: None,
            revalidate: None,
            access_lifetime: Duration::from_secs(15 * 60),
            session_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            leeway: Duration::from_secs(30),
            refresh_timeout: Duration::from_secs(3),
            carriers: vec![Transport::cookies()],
            insecure: false,
            insecure_hosts: Vec::new(),
            profile: TokenProfile::default(),
            inner_token: InnerToken::default(),
            cache_policy: CachePolicy::default(),
            token_cache: 10_000,
            trusted_origins: Vec::new(),
            csrf_handled_elsewhere: false,
            background: None,
            public_attributes: None,
            recent_sign_in: None,
            native_paths: NativePaths::default(),
            dialects: Vec::new(),
            clients: Vec::new(),
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

    /// Whom the tokens are for: the claim `aud`. Required. A name of this service, not the id of a
    /// client at the issuer, which is the audience of ID tokens.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The issuer's access tokens have no `aud`: they are for the client that `client_id` names, and
    /// [`audience`](Self::audience) is its id. Amazon Cognito's are of this kind.
    ///
    /// A token then counts only if it has no `aud` at all, and says by `token_use` (or `token_type`,
    /// or a claim `typ`) that it is an access token: the ID tokens of the same issuer have this id as
    /// `aud`. For engines that only verify; tokens of our own have an `aud`.
    ///
    /// ```
    /// # use everfresh::{ConfigError, Engine, Keys, Refresher, TokenProfile};
    /// fn auth(keys: Keys, verify_only: impl Refresher) -> Result<Engine<()>, ConfigError> {
    ///     Engine::builder(keys)
    ///         .issuer("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example")
    ///         .audience("1example23456789")
    ///         .audience_in_client_id()
    ///         .token_profile(TokenProfile::Jwt)
    ///         .refresh_with(verify_only)
    ///         .build()
    /// }
    /// ```
    pub fn audience_in_client_id(mut self) -> Self {
        self.audience_in_client_id = true;
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

    /// How long an access token lives, in whole seconds: 1 s to 1 day.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = lifetime;
        self
    }

    /// How long a session lives at the most, however often it is refreshed, in whole seconds: 1 s
    /// to 10 years.
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
    pub fn carriers(mut self, carriers: impl IntoIterator<Item = Transport>) -> Self {
        self.carriers = carriers.into_iter().collect();
        self
    }

    /// For plain `http://` on a developer's machine: cookies without Secure and without the
    /// prefixes that need it. Anybody on the way can read the tokens.
    ///
    /// It is for requests to this machine: `localhost` and the names below it, 127.0.0.0/8 and
    /// `[::1]`, as the target or the field `Host` names them. Others can't be signed in, and are
    /// answered 500 where a session is asked for ([`SessionStatus::InsecureHost`](crate::SessionStatus)).
    pub fn insecure_dev_only(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// One more host that [`insecure_dev_only`](Self::insecure_dev_only) is for, by its name or
    /// address without a port: a container, a telephone's way to the developer's machine. Anybody
    /// on the way can read the tokens. May be called several times.
    pub fn insecure_dev_host(mut self, host: impl Into<String>) -> Self {
        self.insecure_hosts.push(host.into());
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

    /// An origin whose requests count as our own, such as `https://admin.example`, for every path.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(Trusted::new(origin.into(), None));
        self
    }

    /// An origin whose requests count as our own at this path, or at every path below it if it ends
    /// with a slash: an identity provider that posts its answer to the callback
    /// (`response_mode=form_post`) has no business elsewhere. The path is what the layer sees.
    ///
    /// ```
    /// # use everfresh::{Engine, Keys, Reissue};
    /// # fn auth(secret: &[u8]) -> Result<(), everfresh::ConfigError> {
    /// let auth = Engine::<()>::builder(Keys::hs256(secret)?)
    ///     .issuer("https://app.example")
    ///     .audience("app")
    ///     .refresh_with(Reissue::new())
    ///     .trusted_origin_for("https://id.example", "/auth/callback")
    ///     .build()?;
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trusted_origin_for(
        mut self,
        origin: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        self.trusted_origins.push(Trusted::new(origin.into(), Some(path.into())));
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
    /// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
    /// let auth = Engine::<()>::builder(Keys::hs256(secret)?)
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

    /// The attributes of sessions (`SignIn::attribute`) that `GET /auth/sessions` shows, and no
    /// others: `device`, say. Unless set, all but `scope` and the names that everfresh writes itself,
    /// such as `client_id`. [`Session::sessions`](crate::Session::sessions) has all of them.
    ///
    /// Set it where the app notes what the person must not read, such as a score of risk.
    pub fn public_attributes<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.public_attributes = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// How long ago a person may have signed in who ends other sessions by `POST /auth/logout-all` or
    /// `DELETE /auth/sessions/{sid}`: otherwise the answer is 401 `insufficient_user_authentication`
    /// (RFC 9470), and nothing ends. Unless set, any session may, since it is what people do who
    /// have lost a device; with it, a thief who holds a session can't sign the person out elsewhere.
    /// Handlers have [`Session::require_recent`](crate::Session::require_recent).
    pub fn recent_sign_in(mut self, max_age: Duration) -> Self {
        self.recent_sign_in = Some(max_age);
        self
    }

    /// Where everfresh's own endpoints are, and which are left out: to make room for a dialect or a
    /// route of the app's.
    ///
    /// ```
    /// # use everfresh::{Dialect, Engine, Keys, MemoryStore, NativePaths, Rotate};
    /// # fn auth(secret: &[u8]) -> Result<(), everfresh::ConfigError> {
    /// let mut mobile = Dialect::FREDDY.clone();
    /// mobile.path = "/auth/refresh".into();
    /// let auth = Engine::<()>::builder(Keys::hs256(secret)?)
    ///     .issuer("https://app.example")
    ///     .audience("app")
    ///     .refresh_with(Rotate::new(MemoryStore::new()))
    ///     .native_paths(NativePaths::under("/session"))
    ///     .dialect(mobile)
    ///     .build()?;
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    pub fn native_paths(mut self, paths: NativePaths) -> Self {
        self.native_paths = paths;
        self
    }

    /// Serves this dialect at its path, among the endpoints that adapters mount. May be called
    /// several times.
    ///
    /// The session's attributes (`SignIn::attribute`) fill the members that a dialect has of the
    /// user; with client authentication the attribute `client_id` names the client that the
    /// session is for, and `scope` what it may ask for. Such a session is refreshed by that client
    /// alone, wherever its refresh token is shown.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialects.push(dialect);
        self
    }

    /// A client of dialects with client authentication. Without a secret it is a public client
    /// (RFC 6749 section 2.1). A secret has at least 16 random bytes; each id is named once.
    pub fn client(mut self, id: impl Into<String>, secret: Option<String>) -> Self {
        let secret = secret.map(|secret| Zeroizing::new(secret.into_bytes()));
        self.clients.push((id.into(), secret));
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

    /// The tokio runtime that flies refreshes. The one around `build()` unless set. Where there is
    /// none, or it has ended, the one around a request takes its place; without any, a refresh that
    /// has to wait for something is unavailable ([`Event::NoRuntime`](crate::Event::NoRuntime)).
    ///
    /// It needs a timer (`enable_time`), which `build()` sees to. tokio tells of that by a panic,
    /// which is caught and may be printed; in a program whose panics abort (`panic = "abort"`)
    /// nothing is tried, and the first wait ends the program.
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
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
