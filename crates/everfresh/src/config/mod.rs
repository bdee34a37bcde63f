//! The engine's builder: every setting and its default. `build.rs` checks the settings and makes
//! the engine.

mod build;
mod check;
mod revalidate;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::core::Settings;
use crate::dialects::{Dialect, Named};
use crate::engine::Engine;
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::origin::Trusted;
use crate::paths::NativePaths;
use crate::policy::{CachePolicy, InnerToken};
use crate::refresh::{ErasedRefresher, Refresher};
use crate::reject::Rejection;
use crate::transport::Transport;
use crate::verify::{Keys, Kind, TokenProfile};

pub use revalidate::{Revalidated, Revalidation};

/// Builds an [`Engine`](crate::Engine). [`build`](Self::build) returns every contradiction in a
/// configuration as an error; none shows later.
///
/// | setting | default |
/// |---|---|
/// | `issuer`, `audience`, `refresh_with` | none: required |
/// | `access_lifetime` | 15 minutes, less up to 5 % |
/// | `session_lifetime` | 30 days |
/// | `leeway` | 30 s, at most a quarter of a token's lifetime |
/// | `transports` | [`Transport::cookies`] |
/// | `token_profile` | [`TokenProfile::AtJwt`] |
/// | `inner_token` | [`InnerToken::Untouched`] |
/// | `cache_policy` | [`CachePolicy::Override`] |
/// | `token_cache` | 10,000 tokens |
/// | `public_attributes` | all but registered names and `scope` |
/// | `recent_sign_in` | none: sign-ins of any age |
/// | `debug_headers` | off |
#[must_use = "the builder builds nothing until `build()` is called"]
pub struct EngineBuilder<C> {
    settings: Settings,
    refresher: Option<Box<dyn ErasedRefresher>>,
    transports: Vec<Transport>,
    token_cache: usize,
    native_paths: NativePaths,
    dialects: Vec<Dialect>,
    clients: Vec<Named>,
    runtime: Option<tokio::runtime::Handle>,
    claims: PhantomData<fn() -> C>,
}

impl<C: ClaimSet> Engine<C> {
    /// Starts a configuration from the keys that sign and verify.
    pub fn builder(keys: Keys) -> EngineBuilder<C> {
        EngineBuilder {
            settings: Settings::new(keys),
            refresher: None,
            transports: vec![Transport::cookies()],
            token_cache: 10_000,
            native_paths: NativePaths::default(),
            dialects: Vec::new(),
            clients: Vec::new(),
            runtime: None,
            claims: PhantomData,
        }
    }
}

impl<C: ClaimSet> EngineBuilder<C> {
    /// Sets the issuer of the tokens: the claim `iss`, compared as a whole string. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.settings.rules.issuer = issuer.into();
        self
    }

    /// Sets the audience of the tokens: the claim `aud`. Required. It is a name of this service. It
    /// is not the id of a client at the issuer, which is the audience of ID tokens.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.settings.rules.audience = audience.into();
        self
    }

    /// Accepts access tokens without `aud`. They are for the client that their claim `client_id`
    /// names, and [`audience`](Self::audience) is its id. Amazon Cognito issues such tokens.
    ///
    /// A token then counts only if it has no `aud` at all, and its `token_use` (or `token_type`, or
    /// a claim `typ`) marks it as an access token, because the ID tokens of the same issuer have
    /// the client's id as `aud`. This setting is for engines that only verify; tokens that
    /// everfresh mints have an `aud`.
    ///
    /// ```
    /// # use everfresh::{ConfigError, Engine, Keys, TokenProfile};
    /// # use everfresh::refresher::Refresher;
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
        self.settings.rules.audience_in_client_id = true;
        self
    }

    /// Sets the claim `client_id` of minted tokens (RFC 9068 section 2.2). Unless set, minted
    /// tokens have no such claim.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.settings.client_id = Some(client_id.into());
        self
    }

    /// Sets the refresher, which makes fresh tokens. Required.
    pub fn refresh_with(mut self, refresher: impl Refresher) -> Self {
        self.refresher = Some(Box::new(refresher));
        self
    }

    /// Sets the lifetime of an access token, in whole seconds: 1 s to 1 day.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.access_lifetime = lifetime;
        self
    }

    /// Sets the longest lifetime of a session, however often it is refreshed, in whole seconds: 1 s
    /// to 10 years.
    ///
    /// A browser keeps a cookie for 400 days at the most.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.session_lifetime = lifetime;
        self
    }

    /// Sets how long a token may be used past `exp` if clocks differ or no refresh is available:
    /// 0 s to 5 minutes, and never more than a quarter of the token's lifetime.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.settings.rules.leeway = leeway;
        self
    }

    /// Sets where tokens travel, in order: 1 to 4 transports.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports = transports.into_iter().collect();
        self
    }

    /// Allows plain `http://` on a developer's machine: cookies have neither Secure nor the
    /// prefixes that need it. Any party on the network path can read the tokens.
    ///
    /// This setting is for requests to this machine: `localhost` and the names below it,
    /// 127.0.0.0/8 and `[::1]`, as the request's target or the field `Host` names them. A request
    /// to another host can't be signed in. If its handler asks for a session, the response is 500
    /// ([`SessionStatus::InsecureHost`](crate::SessionStatus)).
    pub fn insecure_dev_only(mut self) -> Self {
        self.settings.insecure = true;
        self
    }

    /// Adds a host that [`insecure_dev_only`](Self::insecure_dev_only) is for, by its name or
    /// address without a port: a container, or the developer's machine as a phone addresses it. Any
    /// party on the network path can read the tokens. May be called several times.
    pub fn insecure_dev_host(mut self, host: impl Into<String>) -> Self {
        self.settings.insecure_hosts.push(host.into());
        self
    }

    /// Sets which tokens count as access tokens, and how minted tokens are marked.
    pub fn token_profile(mut self, profile: TokenProfile) -> Self {
        self.settings.profile = profile;
        self.settings.rules.kind = Kind::Access(profile);
        self
    }

    /// Sets what the inner service sees of the access token.
    pub fn inner_token(mut self, policy: InnerToken) -> Self {
        self.settings.inner_token = policy;
        self
    }

    /// Sets what happens to tokens on a response that its handler made cacheable by shared caches.
    pub fn cache_policy(mut self, policy: CachePolicy) -> Self {
        self.settings.cache_policy = policy;
        self
    }

    /// Sets how many verified tokens the engine remembers, so that it verifies a token once and not
    /// at every request: up to 1,000,000, rounded down to a multiple of eight. 0 turns the cache
    /// off.
    ///
    /// A remembered token takes about 300 bytes and its own length in this process's memory. The
    /// engine forgets it when it expires, when the keys change and when its session is revoked.
    /// Beyond the size of the processor's cache, some ten thousand tokens, each further token saves
    /// less.
    pub fn token_cache(mut self, tokens: usize) -> Self {
        self.token_cache = tokens;
        self
    }

    /// Trusts an origin, such as `https://admin.example`, for every path: its requests count as
    /// same-origin.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.settings.trusted_origins.push(Trusted::new(origin.into(), None));
        self
    }

    /// Trusts an origin at this path, or at every path below it if it ends with a slash: its
    /// requests there count as same-origin. An example is an identity provider that posts its
    /// answer to the callback (`response_mode=form_post`) and needs no other path. The path is
    /// compared with the path that the layer sees.
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
        self.settings.trusted_origins.push(Trusted::new(origin.into(), Some(path.into())));
        self
    }

    /// Turns the cross-site rule off, for apps that have `tower_http::csrf::CsrfLayer` or another
    /// defence in front of this layer.
    pub fn csrf_handled_elsewhere(mut self) -> Self {
        self.settings.csrf_handled_elsewhere = true;
        self
    }

    /// Names requests that are no user activity: polling, telemetry. They are refreshed like
    /// others, but don't keep an idle session alive. While the engine handles a request, it calls
    /// the hook with the request's method and path.
    ///
    /// The idle time of [`Rotate`](crate::Rotate) then counts from the last other request, give or
    /// take the lifetime of an access token.
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
        self.settings.background = Some(Box::new(hook));
        self
    }

    /// Sets which attributes of sessions (`SignIn::attribute`) `GET /auth/sessions` shows, such as
    /// `device`. It shows no others. Unless set, it shows all but `scope` and the names that
    /// everfresh writes itself, such as `client_id`.
    /// [`Session::sessions`](crate::Session::sessions) returns all of them.
    ///
    /// Set it if the app keeps attributes that the user must not read, such as a risk score.
    pub fn public_attributes<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.settings.public_attributes = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how recent a sign-in must be to end other sessions by `POST /auth/logout-all` or
    /// `DELETE /auth/sessions/{sid}`. After an older sign-in, the response is 401
    /// `insufficient_user_authentication` (RFC 9470), and no session ends. Unless set, any session
    /// may end others, because users who lost a device need this. With it, a thief who holds a
    /// session can't sign the user out elsewhere. Handlers have
    /// [`Session::require_recent`](crate::Session::require_recent).
    pub fn recent_sign_in(mut self, max_age: Duration) -> Self {
        self.settings.recent_sign_in = Some(max_age);
        self
    }

    /// Sets the paths of everfresh's own endpoints, and which of them are left out, to make room
    /// for a dialect or a route of the app.
    ///
    /// ```
    /// # use everfresh::{Engine, Keys, MemoryStore, NativePaths, Rotate};
    /// # use everfresh::dialect::Dialect;
    /// # fn auth(secret: &[u8]) -> Result<(), everfresh::ConfigError> {
    /// let mut mobile = Dialect::FREDDY.clone();
    /// mobile.paths = vec!["/auth/refresh".into()].into();
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
    /// The session's attributes (`SignIn::attribute`) fill the dialect's members that describe the
    /// user. With client authentication, the attribute `client_id` names the client that the
    /// session is for, and `scope` the scope that this client may ask for. Only that client can
    /// refresh such a session, whichever endpoint gets its refresh token.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialects.push(dialect);
        self
    }

    /// Adds a client of dialects with client authentication. A client without a secret is a public
    /// client (RFC 6749 section 2.1). A secret has at least 16 random bytes. Each id is added once.
    pub fn client(mut self, id: impl Into<String>, secret: Option<String>) -> Self {
        let secret = secret.map(|secret| Zeroizing::new(secret.into_bytes()));
        self.clients.push((id.into(), secret));
        self
    }

    /// Sets the function that makes the body of rejections: a content type and bytes. Unless set,
    /// the body is problem+json.
    pub fn rejection_body<F>(mut self, body: F) -> Self
    where
        F: Fn(&Rejection) -> (HeaderValue, Vec<u8>) + Send + Sync + 'static,
    {
        self.settings.rejection_body = Some(Arc::new(body));
        self
    }

    /// Sets a hook that is called with each event. It runs in the path of the request and must not
    /// block.
    pub fn on_event(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.settings.events = Some(Box::new(hook));
        self
    }

    /// Adds a field `everfresh-debug` to every response, which tells developers what became of its
    /// request, such as `transport=0;by=cookie, verdict=expired, decision=wait, flight=started,
    /// outcome=refreshed, status=present, generation=3, sends=tokens`. `crates/everfresh/docs/observability.md`
    /// says what each word means.
    ///
    /// Off unless set, and not for production, because it tells every client why a token does not
    /// count. The field holds no token, no id and no name.
    pub fn debug_headers(mut self, on: bool) -> Self {
        self.settings.debug_headers = on;
        self
    }

    /// Sets another clock: [`ManualClock`](crate::ManualClock) in tests.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.settings.clock = clock.into();
        self
    }

    /// Sets the tokio runtime that runs refreshes. Unless set, it is the runtime around `build()`.
    /// If there is none, or it has ended, the runtime around the request takes its place. Without
    /// any runtime, a refresh that has to wait is unavailable
    /// ([`Event::NoRuntime`](crate::Event::NoRuntime)).
    ///
    /// The runtime needs a timer (`enable_time`), which `build()` checks. tokio reports a missing
    /// timer by a panic, which everfresh catches and which may be printed. In a program whose
    /// panics abort (`panic = "abort"`), `build()` makes no such check, and the first wait ends the
    /// program.
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }
}

impl<C> fmt::Debug for EngineBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("issuer", &self.settings.rules.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod tests;
