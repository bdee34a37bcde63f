//! Sessions that are backed by another server's tokens: stored here, refreshed at that server.

mod breaker;
mod cookies;
mod exchange;
mod exchanges;
mod keeper;
mod receive;
mod refusals;
mod reserve;
mod revoke;
mod send_rules;
mod shared;
mod token_endpoint;
mod tokens;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use everfresh::dialect::{ClientAuthentication, Dialect, RequestValues, TokenKind};
use everfresh::refresher::Setup;
use everfresh::store::UpstreamTokenStore;
use everfresh::{ConfigError, Rotate, Timestamp, TrustedIssuer};

use zeroize::Zeroizing;

use crate::http::{HttpClient, SecureUrl, UrlError};
use keeper::Keeper;
use tokens::UpstreamTokens;

pub use cookies::InCookies;

/// The default time after which a refresh without an answer is in doubt.
const LIMIT: Duration = Duration::from_secs(30);

/// The default number of refreshes that a node sends at once.
const MAX_CALLS: usize = 128;

/// The default limit of a response's body, in bytes.
const MAX_RESPONSE: usize = 1024 * 1024;

/// Whether a node may send a refresh token again after it got no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// Never. The other server accepts each token once, and treats a second use as a stolen token
    /// (RFC 9700 section 4.14.2). The session waits for a late answer, and is over without one.
    #[default]
    Never,
    /// Once, within this time after the first attempt. In that time the other server must issue the
    /// same successor again, or keep all successors valid. Use it only if the server's operator
    /// says so.
    Within(Duration),
    /// As often as needed. The other server's refresh tokens stay valid after use.
    Always,
}

/// Refreshes sessions at another server, by the OAuth 2 refresh token grant, one of everfresh's
/// dialects, or your own dialect.
///
/// # Rules
/// 1. A session is backed by tokens that the other server issued. The session's row holds them,
///    sealed. The client gets an access token of this engine, which never outlives the other
///    server's access token, and a refresh token of this engine. A token that this engine did not
///    issue causes no call.
/// 2. A node reserves the row before it sends a refresh token, so only one of all nodes sends it.
///    The node publishes the answer to the row, even if the answer is late. Waiting requests get
///    their result from the row.
/// 3. If the token was certainly not sent, the node releases the reservation, and the next request
///    tries again. If the token may have been sent, the outcome is unknown, and [`Replay`] decides.
///    No cookie is cleared for that.
/// 4. Of the other server's answers, only the dialect's answer for an invalid token ends a
///    session. After any other failure, an access token that is still valid stays in use. Without
///    one, the request gets 503.
/// 5. After five failures in ten seconds, a node sends one call a second to the server. After a
///    failed refresh, it waits before it tries the session again; that time doubles, up to a
///    minute. A `Retry-After` of the server is respected.
/// 6. A sign-out revokes the token at the other server, if [`revoke_at`](Self::revoke_at) is set.
///
/// # Caveat
/// If a node crashes after it sent a token and before it stored the answer, the only copy of the
/// next token is lost. That session answers 401 from then on, unless [`Replay`] allows another
/// attempt.
///
/// # Example
/// ```
/// use everfresh::{Engine, EngineBuilder, Keys, MemoryStore};
/// use everfresh::dialect::ClientAuthentication;
/// use everfresh_upstream::{HttpClient, Upstream};
///
/// fn auth() -> Result<EngineBuilder<serde_json::Value>, Box<dyn std::error::Error>> {
///     let client = HttpClient::new()?;
///     let me = ClientAuthentication::Basic { id: "app".into(), secret: "s3cret".into() };
///     let upstream = Upstream::oauth2(&client, "https://id.example/token".parse()?).client(me);
/// #     let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
///     Ok(Engine::builder(Keys::hs256(secret)?)
///         .issuer("https://app.example")
///         .audience("app")
///         .refresh_with(upstream.kept_in(MemoryStore::new())))
/// }
/// # let _ = auth;
/// ```
///
/// A session begins with the tokens from a sign-in at the other server:
///
/// ```
/// # use everfresh::{AccessToken, Session, SessionError, SignIn};
/// # use everfresh::dialect::AccessTokenResponse;
/// # use everfresh::refresher::RefreshToken;
/// # async fn adopt(session: Session<()>) -> Result<(), SessionError> {
/// let issued = AccessTokenResponse::new(AccessToken::new("..".to_owned()))
///     .with_refresh_token(RefreshToken::new("..".to_owned()));
/// session.sign_in_with(SignIn::new("user-17", ()).backed_by(issued)).await
/// # }
/// ```
#[must_use = "an upstream refreshes nothing until an engine uses it; call `kept_in(store)`"]
#[derive(Clone)]
pub struct Upstream {
    http: HttpClient,
    url: SecureUrl,
    dialect: Dialect,
    client: Option<ClientAuthentication>,
    replay: Replay,
    limit: Duration,
    max_calls: usize,
    max_response: usize,
    revocation: Option<SecureUrl>,
    access_tokens: Option<TrustedIssuer>,
    id_tokens: Option<TrustedIssuer>,
    settings: BTreeMap<String, Zeroizing<String>>,
    ask_for: Option<Duration>,
}

impl Upstream {
    /// Refreshes by the OAuth 2 refresh token grant (RFC 6749 section 6) at this token endpoint.
    pub fn oauth2(http: &HttpClient, token_endpoint: SecureUrl) -> Self {
        Self::at(http, Dialect::OAUTH2, token_endpoint)
    }

    /// Refreshes by a dialect, at the dialect's first path on this server, or at this URL itself if
    /// the dialect has no path.
    ///
    /// # Errors
    /// Returns an error if the dialect's path does not make a valid URL.
    pub fn new(http: &HttpClient, dialect: Dialect, server: &SecureUrl) -> Result<Self, UrlError> {
        let url = match dialect.paths.first() {
            Some(path) => server.with_path(path)?,
            None => server.clone(),
        };
        Ok(Self::at(http, dialect, url))
    }

    /// Refreshes by a dialect at this URL. The dialect's own paths are ignored.
    pub fn at(http: &HttpClient, dialect: Dialect, url: SecureUrl) -> Self {
        Self {
            http: http.clone(),
            url,
            dialect,
            client: None,
            replay: Replay::Never,
            limit: LIMIT,
            max_calls: MAX_CALLS,
            max_response: MAX_RESPONSE,
            revocation: None,
            access_tokens: None,
            id_tokens: None,
            settings: BTreeMap::new(),
            ask_for: None,
        }
    }

    /// Sets how this client authenticates at the other server. It is required if the dialect
    /// requires it, as OAuth 2 does, and with [`revoke_at`](Self::revoke_at). A public client uses
    /// [`ClientAuthentication::None`].
    pub fn client(mut self, client: ClientAuthentication) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets whether a node may send a refresh token again after it got no answer. The default is
    /// [`Replay::Never`].
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Sets the time after which a refresh without an answer is in doubt. The default is 30 s. The
    /// time must be from 1 s to 5 minutes. A later answer is still used.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how many refreshes this node sends at once, at least 1. The default is 128.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Limits a response's body, in bytes, before and after its content coding is undone. The default
    /// is 1 MiB. A refresh with a larger response is in doubt. All refreshes that a node sends at
    /// once may hold as much.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Sets the other server's revocation endpoint (RFC 7009). A sign-out revokes the session's
    /// refresh token there, in the background. A new token that arrives after the sign-out is
    /// revoked as well. If a session has no refresh token, its access token is revoked.
    pub fn revoke_at(mut self, revocation_endpoint: SecureUrl) -> Self {
        self.revocation = Some(revocation_endpoint);
        self
    }

    /// Verifies the access tokens that the other server issues, and refuses tokens of another
    /// issuer or user. Use it for servers whose access tokens are JWTs. Without it, access tokens
    /// are opaque, and are trusted because they came from the configured address.
    pub fn access_tokens_by(mut self, issuer: TrustedIssuer) -> Self {
        self.access_tokens = Some(issuer);
        self
    }

    /// Verifies the ID tokens that the other server issues, and refuses an ID token of another user
    /// after a refresh (OpenID Connect Core 1.0 section 12.2). The audience is the client's id.
    pub fn id_tokens_by(mut self, issuer: TrustedIssuer) -> Self {
        self.id_tokens = Some(issuer);
        self
    }

    /// Sets the value of a setting that the dialect names
    /// ([`FixedValue::Setting`](everfresh::dialect::FixedValue::Setting)), such as an API key. Every
    /// setting of the dialect is required.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), Zeroizing::new(value.into()));
        self
    }

    /// Asks the other server for access tokens that live this long, within the range that the
    /// dialect names ([`LifetimeMember`](everfresh::dialect::LifetimeMember)). By default the
    /// server decides.
    pub fn ask_for(mut self, lifetime: Duration) -> Self {
        self.ask_for = Some(lifetime);
        self
    }

    /// Returns the values of a request that presents `token`, which is one of these tokens.
    fn values<'v>(&'v self, tokens: &'v UpstreamTokens, token: &'v str) -> RequestValues<'v> {
        let mut values = RequestValues::new(token)
            .access_token(tokens.access.expose())
            .settings(&self.settings)
            .kept(&tokens.kept);
        values.client = self.client.as_ref();
        values.lifetime = self.ask_for;
        values
    }

    /// Stores the tokens, sealed, in the sessions' rows. Returns a [`Rotate`], whose own settings
    /// apply as well.
    pub fn kept_in<S: UpstreamTokenStore + Clone>(self, store: S) -> Rotate {
        Rotate::backed_by(store.clone(), Keeper::new(self, store))
    }

    /// Stores the tokens with the client, sealed, in cookies. Large tokens take up to four cookies.
    /// This needs no store. Use it for servers whose refresh tokens stay valid after use.
    ///
    /// # Rules
    /// 1. The node stores nothing of an exchange. If a response is lost, the next request sends the
    ///    same refresh token again. So `build()` refuses this without [`Replay::Always`]. If the
    ///    other server accepts each refresh token once, use [`kept_in`](Self::kept_in), on one node
    ///    with a `MemoryStore`.
    /// 2. A copy of a cookie is valid as long as the other server accepts its refresh token, until
    ///    the session's absolute end
    ///    ([`session_lifetime`](everfresh::EngineBuilder::session_lifetime)). The node sends the
    ///    refresh token whenever the access token in the copy is due, so a revoked grant or a
    ///    disabled account takes effect then. A sign-out takes effect at the other server only if
    ///    [`revoke_at`](Self::revoke_at) is set.
    /// 3. A node that has seen a sign-out, or `invalid_grant` for any cookie of the session,
    ///    refuses all of the session's tokens for the lifetime of an access token and an hour, and
    ///    makes no call for them. Other nodes don't know of it, nor does the same node after a
    ///    restart.
    /// 4. Tokens may hold any bytes. Tokens that don't fit into four cookies are an error of the
    ///    sign-in or the refresh, and the event `TokenTooLarge`. The client's cookies stay as they
    ///    are.
    /// 5. A refresh without an answer is a failure after 25 s, or after [`limit`](Self::limit) if
    ///    that is shorter.
    pub fn sealed_in_cookies(self) -> InCookies {
        InCookies::new(self)
    }

    /// Checks the configuration.
    fn check(&self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let secs = Duration::from_secs;
        setup.within("Upstream::limit", self.limit, secs(1), secs(300))?;
        if let Replay::Within(grace) = self.replay {
            setup.within("Upstream::replay (Within)", grace, secs(4), secs(24 * 60 * 60))?;
        }
        let missing = |setting, remedy| Err(ConfigError::Missing { setting, remedy });
        if self.max_calls == 0 {
            return Err(ConfigError::Unfit {
                setting: "Upstream::max_calls",
                found: "is 0, so no session could be refreshed".into(),
                remedy: "allowed is 1 or more, and the default is 128",
            });
        }
        let sign_out = self.dialect.sign_out.as_ref();
        let sign_out_names = sign_out.is_none_or(|format| format.client.is_some());
        let names_client =
            self.dialect.request.client.is_some() || self.revocation.is_some() && sign_out_names;
        if names_client && self.client.is_none() {
            return missing(
                "Upstream::client",
                "the other server identifies its clients; for a public client use \
                 `ClientAuthentication::None { id }`",
            );
        }
        self.dialect.check().map_err(ConfigError::Dialect)?;
        if let Some(name) = self.dialect.settings().find(|name| !self.settings.contains_key(*name))
        {
            return Err(ConfigError::Unfit {
                setting: "Upstream::setting",
                found: format!("lacks {name:?}, which `dialect` {:?} sends", self.dialect.name),
                remedy: "give its value by `.setting(name, value)`",
            });
        }
        if self.ask_for.is_some() && self.dialect.request.lifetime.is_none() {
            return Err(ConfigError::Unfit {
                setting: "Upstream::ask_for",
                found: format!("is set, and `dialect` {:?} can't ask", self.dialect.name),
                remedy: "leave it out, or name the member in the dialect's `request.lifetime`",
            });
        }
        Ok(())
    }

    /// Returns whether an access token that expires then may be good although the server rejects the
    /// refresh. Some servers reject a refresh token that is used early. A rejected access token is
    /// not good.
    fn may_be_good(&self, expires: Timestamp, now: Timestamp) -> bool {
        self.dialect.request.token == TokenKind::Refresh && now < expires
    }

    /// Returns whether the dialect allows to present the token of an access token that expires then.
    fn may_present(&self, expires: Timestamp, now: Timestamp) -> bool {
        let earliest = self.dialect.request.earliest_before_expiry;
        earliest.is_none_or(|secs| now.plus(Duration::from_secs(secs.into())) >= expires)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("url", &self.url)
            .field("dialect", &self.dialect.name)
            .field("client", &self.client)
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}
