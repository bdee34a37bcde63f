//! Sessions that rest on another server's tokens: kept here, renewed there.

mod breaker;
mod calls;
mod cookies;
mod exchange;
mod held;
mod keeper;
mod receive;
mod reserve;
mod revoke;
mod table;

use std::fmt;
use std::time::Duration;

use everfresh::dialect::Place;
use everfresh::{
    ClientAuthentication, ConfigError, Dialect, Rotate, Setup, TrustedIssuer, UpstreamTokenStore,
};

use crate::http::{HttpClient, SecureUrl, UrlError};
use keeper::Keeper;

pub use cookies::InCookies;

/// How long a refresh may take before it is in doubt.
const LIMIT: Duration = Duration::from_secs(30);

/// How many refreshes are sent at once.
const MAX_CALLS: usize = 128;

/// Whether a refresh token that was sent, and got no answer, may be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// Never: the server takes each token once, and whoever shows it again for a thief (RFC 9700
    /// section 4.14.2). The session waits for a late answer, and is over without one.
    #[default]
    Never,
    /// Once, as long as the server gives the same successor again, or lets siblings live, for so
    /// long after the first time. Only if its operator says so.
    Within(Duration),
    /// As often as needed: its refresh tokens stay good when they are used.
    Always,
}

/// Refreshes sessions at another server: by the OAuth 2 refresh token grant, one of the dialects
/// that everfresh knows, or one of your own.
///
/// # Rules
/// 1. A session rests on tokens that the other server issued. They lie sealed in its row; what
///    travels is an access token of this engine, which never outlives the one it rests on, and a
///    refresh token of this engine's. A stranger's bytes cause no call to anybody.
/// 2. Before a refresh token is sent, the row is claimed, so that of all nodes one sends it. The
///    answer is published to the row however late it comes; who waits is answered from the row.
/// 3. What certainly was not sent is given back and tried again by the next request. Of what may
///    have been sent nobody knows the end: see [`Replay`]. No cookie is cleared for it.
/// 4. Only the dialect's own words end a session. Everything else keeps it: an access token that
///    is still good goes on, otherwise the answer is 503.
/// 5. A server that fails five times in ten seconds is left alone but for one call a second, and a
///    session whose refresh failed for a while that doubles up to a minute; `Retry-After` counts.
/// 6. Signing out tells the other server, where [`revoke_at`](Self::revoke_at) says how.
///
/// # Caveat
/// A node that dies between sending a token and storing the answer takes the only copy of the next
/// token with it: that session answers 401 from then on, unless [`Replay`] allows another try.
///
/// # Example
/// ```
/// use everfresh::{ClientAuthentication, Engine, EngineBuilder, Keys, MemoryStore};
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
/// A session begins with tokens that a sign-in at the other server gave:
///
/// ```
/// # use everfresh::{AccessToken, AccessTokenResponse, RefreshToken, Session, SessionError, SignIn};
/// # async fn adopt(session: Session<()>) -> Result<(), SessionError> {
/// let issued = AccessTokenResponse::new(AccessToken::new("..".to_owned()))
///     .with_refresh_token(RefreshToken::new("..".to_owned()));
/// session.sign_in_with(SignIn::new("user-17", ()).backed_by(issued)).await
/// # }
/// ```
#[must_use = "it does nothing before an engine has it: `kept_in(store)`"]
#[derive(Clone)]
pub struct Upstream {
    http: HttpClient,
    url: SecureUrl,
    dialect: Dialect,
    client: Option<ClientAuthentication>,
    replay: Replay,
    limit: Duration,
    max_calls: usize,
    revocation: Option<SecureUrl>,
    access_tokens: Option<TrustedIssuer>,
    id_tokens: Option<TrustedIssuer>,
}

impl Upstream {
    /// The refresh token grant of OAuth 2 (RFC 6749 section 6) at this token endpoint.
    pub fn oauth2(http: &HttpClient, token_endpoint: SecureUrl) -> Self {
        Self::at(http, Dialect::OAUTH2, token_endpoint)
    }

    /// A dialect at its own path of this server.
    ///
    /// Errors: the dialect's path makes no address.
    pub fn new(http: &HttpClient, dialect: Dialect, server: &SecureUrl) -> Result<Self, UrlError> {
        let url = server.with_path(&dialect.path)?;
        Ok(Self::at(http, dialect, url))
    }

    /// A dialect at this very address, whatever its own path is.
    pub fn at(http: &HttpClient, dialect: Dialect, url: SecureUrl) -> Self {
        Self {
            http: http.clone(),
            url,
            dialect,
            client: None,
            replay: Replay::Never,
            limit: LIMIT,
            max_calls: MAX_CALLS,
            revocation: None,
            access_tokens: None,
            id_tokens: None,
        }
    }

    /// Who we are to the server. Required where its dialect says so, as OAuth 2 does, and with
    /// [`revoke_at`](Self::revoke_at); a public client has [`ClientAuthentication::None`].
    pub fn client(mut self, client: ClientAuthentication) -> Self {
        self.client = Some(client);
        self
    }

    /// Whether a token that was sent, and got no answer, may be sent again.
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// How long a refresh may take before it is in doubt: 30 s unless set, 1 s to 5 minutes. An
    /// answer that comes later still counts.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How many refreshes this node sends at once: 128 unless set.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Where the server takes tokens back (RFC 7009). Whoever signs out has his refresh token
    /// revoked there, beside the request; so has one that came after the sign-out.
    pub fn revoke_at(mut self, revocation_endpoint: SecureUrl) -> Self {
        self.revocation = Some(revocation_endpoint);
        self
    }

    /// Reads the access tokens that the server issues, and refuses those that are another's. For
    /// servers whose access tokens are JWTs; otherwise they are opaque, and trusted because they
    /// came from the address that was configured.
    pub fn access_tokens_by(mut self, issuer: TrustedIssuer) -> Self {
        self.access_tokens = Some(issuer);
        self
    }

    /// Reads the ID tokens that come with a refresh, and refuses those of another person (OpenID
    /// Connect Core 1.0 section 12.2). The audience is the client's id.
    pub fn id_tokens_by(mut self, issuer: TrustedIssuer) -> Self {
        self.id_tokens = Some(issuer);
        self
    }

    /// Keeps the tokens sealed in sessions' rows. What it gives has the settings of
    /// [`Rotate`] as well.
    pub fn kept_in<S: UpstreamTokenStore + Clone>(self, store: S) -> Rotate {
        Rotate::backed_by(store.clone(), Keeper::new(self, store))
    }

    /// Keeps the tokens with the client: sealed, in its cookies, of which a large one takes up to
    /// four. Needs no store, and is for servers whose refresh tokens stay good when they are used.
    ///
    /// # Rules
    /// 1. The node keeps nothing of an exchange. A response that was lost is made up for by the next
    ///    request: it sends the same refresh token again. So `build()` refuses this without
    ///    [`Replay::Always`]; where the other server takes each refresh token once, use
    ///    [`kept_in`](Self::kept_in), on one node with a `MemoryStore`.
    /// 2. A copy of a cookie is worth what the other server says, until the session's absolute end
    ///    ([`session_lifetime`](everfresh::EngineBuilder::session_lifetime)). Its refresh token is sent
    ///    whenever the access token in the copy is due, so a revoked grant and a disabled account count
    ///    then. A sign-out counts there only if [`revoke_at`](Self::revoke_at) is set.
    /// 3. A node that has seen a sign-out, or `invalid_grant` for any cookie of the session, refuses all
    ///    of the session's tokens for an access token's life and an hour, and calls no server for
    ///    them. Other nodes, and the same one after a restart, don't know of it.
    /// 4. Tokens of any bytes fit. What is larger than four cookies is an error of the sign-in or the
    ///    refresh, and the event `TokenTooLarge`; the cookies that the client has stay as they are.
    /// 5. A refresh that has no answer after 25 s is a failure, if [`limit`](Self::limit) is longer.
    pub fn sealed_in_cookies(self) -> InCookies {
        InCookies::new(self)
    }

    /// What a configuration can be wrong in.
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
                found: "is 0, so nothing would ever be refreshed".into(),
                remedy: "allowed is 1 or more, and the default is 128",
            });
        }
        let says_who = self.dialect.client_authentication || self.revocation.is_some();
        if says_who && self.client.is_none() {
            return missing(
                "Upstream::client",
                "the server wants to know who calls it; a public client is \
                 `ClientAuthentication::None { id }`",
            );
        }
        self.dialect.check().map_err(ConfigError::Dialect)?;
        Ok(())
    }

    /// Whether the token travels where it leaves before a body is asked for.
    fn token_in_head(&self) -> bool {
        !matches!(self.dialect.places.first(), Some(Place::Json(_) | Place::Form(_)))
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
