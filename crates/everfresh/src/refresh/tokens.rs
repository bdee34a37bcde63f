//! The tokens that a refresher returns, the tokens of another server, and the list of sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::RefreshToken;
use crate::clock::Timestamp;
use crate::secret::AccessToken;

/// The tokens that a refresh or a sign-in returns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tokens {
    /// The signed access token.
    pub access: AccessToken,
    /// The refresh token, if there is a new one.
    pub refresh: Option<RefreshToken>,
    /// When the session ends, however active it is: a browser should keep the cookies until then.
    pub session_expires: Timestamp,
    /// Whether the cookies persist after the browser closes.
    pub persistent: bool,
    /// The time, by this node's monotonic clock, from which the tokens have to be rechecked before
    /// they leave.
    pub(crate) recheck_at: Option<Duration>,
}

impl Tokens {
    /// Wraps an access token without a refresh token, of a session that ends at `session_expires`.
    pub fn new(access: AccessToken, session_expires: Timestamp) -> Self {
        Self { access, refresh: None, session_expires, persistent: true, recheck_at: None }
    }
}

/// Tokens that another server issued, at a refresh or at a sign-in there.
///
/// ```
/// use std::time::Duration;
/// use everfresh::AccessToken;
/// use everfresh::dialect::AccessTokenResponse;
/// use everfresh::refresher::RefreshToken;
///
/// let issued = AccessTokenResponse::new(AccessToken::new("..".to_owned()))
///     .with_refresh_token(RefreshToken::new("..".to_owned()))
///     .with_expires_in(Duration::from_secs(300));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessTokenResponse {
    /// The access token.
    pub access_token: AccessToken,
    /// The refresh token that replaces the one in the request. `None` keeps that one.
    pub refresh_token: Option<RefreshToken>,
    /// The ID token, if there is one (OpenID Connect Core 1.0 section 12.2).
    pub id_token: Option<AccessToken>,
    /// How long the access token is valid from now, if the response says so.
    pub expires_in: Option<Duration>,
    /// The response's other members that the dialect
    /// [keeps](crate::dialect::ResponseFormat::keep), by path. After a sign-in there, the app sets
    /// those that the first response had.
    pub members: BTreeMap<String, String>,
}

impl AccessTokenResponse {
    /// Creates a response with an access token alone.
    pub fn new(access_token: AccessToken) -> Self {
        Self {
            access_token,
            refresh_token: None,
            id_token: None,
            expires_in: None,
            members: BTreeMap::new(),
        }
    }

    /// Sets the refresh token that was issued with the access token.
    pub fn with_refresh_token(mut self, refresh_token: RefreshToken) -> Self {
        self.refresh_token = Some(refresh_token);
        self
    }

    /// Sets the ID token that was issued with the access token.
    pub fn with_id_token(mut self, id_token: AccessToken) -> Self {
        self.id_token = Some(id_token);
        self
    }

    /// Sets how long the access token is valid from now.
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }
}

/// The access token of another server that backs a session, and the members that the dialect
/// [keeps](crate::dialect::ResponseFormat::keep) of the responses, such as the address that the
/// token is for.
///
/// `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamAccessToken {
    token: AccessToken,
    kept: BTreeMap<String, String>,
}

impl UpstreamAccessToken {
    /// Wraps an access token, and the kept members by their paths.
    pub fn new(token: AccessToken, kept: BTreeMap<String, String>) -> Self {
        Self { token, kept }
    }

    /// Returns the token itself. A party that holds it can act as the user at the other server until
    /// it expires.
    pub fn expose(&self) -> &str {
        self.token.expose()
    }

    /// Returns the member at this path of the last response that had it, such as Salesforce's
    /// `instance_url`. `None` if no response had it, or if the dialect does not keep it.
    pub fn kept(&self, path: &str) -> Option<&str> {
        self.kept.get(path).map(String::as_str)
    }
}

impl fmt::Debug for UpstreamAccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamAccessToken").finish_non_exhaustive()
    }
}

/// One of a subject's sessions.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id.
    pub sid: String,
    /// The subject that the session belongs to.
    pub subject: String,
    /// When the session began.
    pub signed_in_at: Timestamp,
    /// When the session was last refreshed.
    pub last_used_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub expires_at: Timestamp,
    /// The app's notes about the session.
    pub attributes: BTreeMap<String, String>,
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo")
            .field("sid", &self.sid)
            .field("signed_in_at", &self.signed_in_at)
            .field("last_used_at", &self.last_used_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AccessTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}
