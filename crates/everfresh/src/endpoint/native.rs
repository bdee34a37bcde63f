//! Everfresh's own endpoints: refresh, the sessions of a user, and public keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{Reply, reply};
use crate::clock::Timestamp;
use crate::engine::{Core, Engine};
use crate::head::RequestHead;
use crate::reject::{Rejection, problem};
use crate::session::{ClaimSet, Session};
use crate::verify::REGISTERED;

/// One of everfresh's own endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NativeEndpoint {
    /// Refreshes the session now.
    Refresh,
    /// Lists the sessions of the user.
    Sessions,
    /// Ends one session of the user.
    OneSession,
    /// Ends all sessions of the user.
    LogoutAll,
    /// Serves the public keys as a JWK set.
    Jwks,
}

/// The paths of everfresh's own endpoints, for
/// [`EngineBuilder::native_paths`](crate::EngineBuilder::native_paths). `None` leaves an endpoint
/// out.
///
/// A path begins with a slash and has no query and no parameters. No two endpoints, dialects
/// included, may have the same path.
///
/// ```
/// use everfresh::NativePaths;
///
/// let mut paths = NativePaths::under("/session");
/// assert_eq!(paths.refresh.as_deref(), Some("/session/refresh"));
/// paths.logout_all = None;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NativePaths {
    /// `POST` refreshes the session now. Default: `/auth/refresh`.
    pub refresh: Option<String>,
    /// `GET` lists the sessions of the user, and `DELETE` of `{sid}` below it ends one. Default:
    /// `/auth/sessions`.
    pub sessions: Option<String>,
    /// `POST` ends all sessions of the user. Default: `/auth/logout-all`.
    pub logout_all: Option<String>,
    /// `GET` returns the public keys. Default: `/.well-known/jwks.json`.
    pub jwks: Option<String>,
}

impl NativePaths {
    /// Returns paths with `refresh`, `sessions` and `logout-all` below `prefix`, and the public
    /// keys at `/.well-known/jwks.json`. The default prefix is `/auth`.
    pub fn under(prefix: &str) -> Self {
        let below = |name: &str| Some(format!("{}/{name}", prefix.trim_end_matches('/')));
        Self {
            refresh: below("refresh"),
            sessions: below("sessions"),
            logout_all: below("logout-all"),
            jwks: Some("/.well-known/jwks.json".into()),
        }
    }

    /// Returns no paths. Set the paths that you want, or leave all endpoints out.
    pub fn none() -> Self {
        Self { refresh: None, sessions: None, logout_all: None, jwks: None }
    }

    /// Returns the endpoints that are served, each with its path.
    pub(crate) fn served(self) -> Vec<(NativeEndpoint, Arc<str>)> {
        let one_session = self.sessions.as_ref().map(|path| format!("{path}/{{sid}}"));
        [
            (NativeEndpoint::Refresh, self.refresh),
            (NativeEndpoint::Sessions, self.sessions),
            (NativeEndpoint::OneSession, one_session),
            (NativeEndpoint::LogoutAll, self.logout_all),
            (NativeEndpoint::Jwks, self.jwks),
        ]
        .into_iter()
        .filter_map(|(native, path)| Some((native, path?.into())))
        .collect()
    }
}

impl Default for NativePaths {
    fn default() -> Self {
        Self::under("/auth")
    }
}

/// The part of a request's head that the endpoints use.
#[derive(Debug)]
pub(super) struct ParsedCall {
    /// The last segment of the path.
    last: String,
}

impl ParsedCall {
    pub(super) fn read(head: &impl RequestHead) -> Self {
        Self { last: head.path().rsplit('/').next().unwrap_or_default().to_owned() }
    }
}

impl NativeEndpoint {
    /// Returns the endpoint's name for error messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Sessions => "the list of sessions",
            Self::OneSession => "ending a session",
            Self::LogoutAll => "logout_all",
            Self::Jwks => "jwks",
        }
    }

    /// Returns the allowed methods in the format of the `Allow` header.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Refresh | Self::LogoutAll => "POST",
            Self::Sessions | Self::Jwks => "GET, HEAD",
            Self::OneSession => "DELETE",
        }
    }

    pub(super) async fn answer<C: ClaimSet>(
        self,
        engine: &Engine<C>,
        asked: ParsedCall,
        session: Result<&Session<C>, Rejection>,
    ) -> Reply {
        if self == Self::Jwks {
            return jwks(engine);
        }
        let session = match session {
            Ok(session) => session,
            Err(rejection) => return rejection.into_response(),
        };
        let answered = match self {
            Self::Refresh => refresh(engine, session).await,
            Self::Sessions => sessions(engine, session).await,
            Self::OneSession => sign_out_one(engine, session, &asked.last).await,
            _ => logout_all(engine, session).await,
        };
        answered.unwrap_or_else(Rejection::into_response)
    }
}

async fn refresh<C: ClaimSet>(
    engine: &Engine<C>,
    session: &Session<C>,
) -> Result<Reply, Rejection> {
    session.require()?;
    session.refresh().await?;
    let left = |end: Option<SystemTime>| {
        let now = engine.core.clock.now();
        end.map(|end| Timestamp::from(end).since(now).as_secs())
    };
    Ok(reply(&json!({
        "sub": session.subject(),
        "sid": session.sid(),
        "expires_in": left(session.expires_at()),
        "session_expires_in": left(session.session_expires_at()),
    })))
}

async fn sessions<C: ClaimSet>(
    engine: &Engine<C>,
    session: &Session<C>,
) -> Result<Reply, Rejection> {
    session.require_person()?;
    if let Some(reply) = keeps_none(engine) {
        return Ok(reply);
    }
    let own = session.person_sid();
    let sessions = session.sessions().await?.into_iter().map(|one| {
        json!({
            "current": own.as_deref() == Some(&*one.sid),
            "sid": one.sid,
            "signed_in_at": one.signed_in_at.as_secs(),
            "last_used_at": one.last_used_at.as_secs(),
            "expires_at": one.expires.as_secs(),
            "attributes": shown(&engine.core, one.attributes),
        })
    });
    Ok(reply(&json!({ "sessions": sessions.collect::<Vec<_>>() })))
}

/// Returns the attributes that the user may read: the ones that the app named, or else all except
/// the ones that the engine and its dialects use.
fn shown(core: &Core, mut attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    attributes.retain(|name, _| match &core.public_attributes {
        Some(public) => public.contains(name),
        None => name != "scope" && !REGISTERED.contains(&&**name),
    });
    attributes
}

async fn sign_out_one<C: ClaimSet>(
    engine: &Engine<C>,
    session: &Session<C>,
    sid: &str,
) -> Result<Reply, Rejection> {
    session.require_person()?;
    if let Some(reply) = keeps_none(engine) {
        return Ok(reply);
    }
    if session.person_sid().as_deref() == Some(sid) {
        session.sign_out().await?;
        return Ok(nothing());
    }
    ends_others(engine, session)?;
    if !session.sign_out_other(sid).await? {
        return Ok(problem(
            StatusCode::NOT_FOUND,
            "There is no such session of yours: `GET` on the list of sessions names those that there \
             are.",
        ));
    }
    Ok(nothing())
}

async fn logout_all<C: ClaimSet>(
    engine: &Engine<C>,
    session: &Session<C>,
) -> Result<Reply, Rejection> {
    session.require_person()?;
    if let Some(reply) = keeps_none(engine) {
        return Ok(reply);
    }
    ends_others(engine, session)?;
    session.sign_out_everywhere().await?;
    Ok(nothing())
}

/// Checks that the sign-in is as recent as the app requires for ending other sessions.
fn ends_others<C: ClaimSet>(engine: &Engine<C>, session: &Session<C>) -> Result<(), Rejection> {
    engine.core.recent_sign_in.map_or(Ok(()), |max_age| session.recent(max_age))
}

/// Returns a 404 response if the server stores no sessions.
fn keeps_none<C>(engine: &Engine<C>) -> Option<Reply> {
    let keeps = engine.core.refresher.uses_refresh_tokens();
    (!keeps).then(|| {
        problem(
            StatusCode::NOT_FOUND,
            "This server keeps no list of sessions: sign out to end this one.",
        )
    })
}

fn jwks<C>(engine: &Engine<C>) -> Reply {
    /// How long other servers may cache the keys. Announce a key this long before it signs.
    const MAX_AGE: Duration = Duration::from_secs(300);

    // Only the issuer publishes its keys: an engine that does not mint has another issuer's keys.
    let keys = match engine.core.refresher.mints() {
        true => engine.core.keys.public_jwk_set(),
        false => jsonwebtoken::jwk::JwkSet { keys: Vec::new() },
    };
    let mut reply = reply(&keys);
    let content_type = HeaderValue::from_static("application/jwk-set+json");
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    if let Ok(age) = HeaderValue::from_str(&format!("public, max-age={}", MAX_AGE.as_secs())) {
        reply.headers_mut().insert(CACHE_CONTROL, age);
    }
    reply
}

fn nothing() -> Reply {
    let mut reply = Response::new(Vec::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}
