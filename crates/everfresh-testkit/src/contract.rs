//! The application that the suite and the contract servers share, for every framework.

use std::time::Duration;

use everfresh::dialect::{AccessTokenResponse, Dialect};
use everfresh::refresher::RefreshToken;
use everfresh::{
    AccessToken, EndReason, EngineBuilder, Rejection, Session, SessionError, SessionWatch, SignIn,
    Timestamp, Transport,
};
use serde::{Deserialize, Serialize};

/// The client id of the contract's OAuth 2 endpoint. The client is public.
pub const CLIENT_ID: &str = "contract";

/// Adds every dialect to an engine that stores sessions, each at its own path.
pub fn with_dialects(builder: EngineBuilder<User>) -> EngineBuilder<User> {
    let dialects = Dialect::ALL.into_iter().cloned();
    dialects.fold(builder.client(CLIENT_ID, None), |builder, dialect| builder.dialect(dialect))
}

/// The app's own claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's name.
    pub name: String,
}

/// The body of `POST /login`.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct Login {
    /// The user who signs in.
    pub user: String,
}

/// The body of `POST /adopt`: another server's tokens, which will back the session.
#[derive(Deserialize)]
pub struct Adopt {
    access_token: String,
    refresh_token: Option<String>,
    id_token: Option<String>,
    expires_in: Option<u64>,
    #[serde(default = "adopted")]
    sub: String,
}

fn adopted() -> String {
    "adopted".to_owned()
}

/// The query of `POST /login`.
#[derive(Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// With `header`, the response delivers the tokens in `Authorization` and `X-Refresh-Token`.
    pub deliver: Option<String>,
    /// With `client`, the session is for [`CLIENT_ID`] alone. With `access-token`, its access
    /// tokens may be renewed by the dialects whose clients have no other token.
    pub r#for: Option<String>,
}

/// The query of `GET /slow`.
#[derive(Debug, Default, Deserialize)]
pub struct Slow {
    /// The duration in milliseconds, at most one minute.
    #[serde(default)]
    pub ms: u64,
}

impl Slow {
    /// Returns how long the response takes.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.ms.min(60_000))
    }
}

/// The body of `GET /me` and `GET /slow`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Me {
    /// The subject who is signed in.
    pub sub: String,
    /// The session id.
    pub sid: String,
    /// How often the session's refresh token was rotated, or `null` if it has none.
    pub r#gen: Option<u64>,
    /// The expiry of the access token, in seconds since the epoch.
    pub exp: u64,
}

/// The interval between the ten chunks of `GET /stream`.
pub const CHUNK_EVERY: Duration = Duration::from_millis(50);

/// Returns the chunks of `GET /stream`.
pub fn chunks() -> impl Iterator<Item = String> + Send {
    (1..=10).map(|n| format!("chunk {n}\n"))
}

/// Returns the response of `GET /me`.
pub fn me(session: &Session<User>) -> Result<Me, Rejection> {
    session.claims()?;
    Ok(Me {
        sub: session.subject().unwrap_or_default(),
        sid: session.sid().unwrap_or_default(),
        r#gen: session.generation(),
        exp: session.expires_at().map_or(0, Timestamp::as_secs),
    })
}

/// Handles `POST /login`.
pub async fn login(
    session: &Session<User>,
    login: Login,
    delivery: &Delivery,
) -> Result<(), SessionError> {
    let mut sign_in = SignIn::new(login.user.clone(), User { name: login.user })
        .attribute("device_id", "device-1")
        .attribute("user_id", "17");
    sign_in = match delivery.r#for.as_deref() {
        Some("client") => sign_in.attribute("client_id", CLIENT_ID),
        Some("access-token") => sign_in.renewable_by_access_token(),
        _ => sign_in,
    };
    if delivery.deliver.as_deref() == Some("header") {
        sign_in = sign_in.via(Transport::headers());
    }
    session.sign_in_with(sign_in).await
}

/// Handles `POST /adopt`.
pub async fn adopt(session: &Session<User>, adopt: Adopt) -> Result<(), SessionError> {
    let mut issued = AccessTokenResponse::new(AccessToken::new(adopt.access_token));
    if let Some(token) = adopt.refresh_token {
        issued = issued.with_refresh_token(RefreshToken::new(token));
    }
    if let Some(token) = adopt.id_token {
        issued = issued.with_id_token(AccessToken::new(token));
    }
    if let Some(seconds) = adopt.expires_in {
        issued = issued.with_expires_in(Duration::from_secs(seconds));
    }
    let user = User { name: adopt.sub.clone() };
    session.sign_in_with(SignIn::new(adopt.sub, user).backed_by(issued)).await
}

/// Waits for the end of a socket of `GET /socket`. Returns the code that closes the `WebSocket`,
/// and the reason in words.
///
/// With 4401 the client has to refresh and reconnect, with 4403 it has to sign in.
pub async fn end_of_socket(mut expires: SessionWatch) -> (u16, &'static str) {
    match expires.ended().await {
        EndReason::Expired => (4401, "expired"),
        _ => (4403, "signed out"),
    }
}

/// Returns the body of `GET /cookies`: the `Cookie` fields that the handler sees, one per line.
pub fn cookies(headers: &http::HeaderMap) -> Vec<u8> {
    let fields = headers.get_all(http::header::COOKIE).iter();
    fields.flat_map(|field| field.as_bytes().iter().copied().chain([b'\n'])).collect()
}
