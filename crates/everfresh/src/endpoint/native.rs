//! Everfresh's own endpoints: refresh, the sessions of a user, and public keys.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{Reply, reply};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::engine::Engine;
use crate::head::RequestHead;
use crate::mint::ClaimSet;
use crate::paths::NativeEndpoint;
use crate::reject::{Rejection, problem};
use crate::session::Session;
use crate::verify::REGISTERED;

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
    let now = engine.core.now();
    let left = |end: Option<Timestamp>| end.map(|end| end.since(now).as_secs());
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
    session.require_user()?;
    if let Some(reply) = keeps_none(engine) {
        return Ok(reply);
    }
    let own = session.user_sid();
    let sessions = session.sessions().await?.into_iter().map(|one| {
        json!({
            "current": own.as_deref() == Some(&*one.sid),
            "sid": one.sid,
            "signed_in_at": one.signed_in_at.as_secs(),
            "last_used_at": one.last_used_at.as_secs(),
            "expires_at": one.expires_at.as_secs(),
            "attributes": shown(&engine.core, one.attributes),
        })
    });
    Ok(reply(&json!({ "sessions": sessions.collect::<Vec<_>>() })))
}

/// Returns the attributes that the user may read: the ones that the app named, or else all except
/// the ones that the engine and its dialects use.
fn shown(core: &Core, mut attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    attributes.retain(|name, _| match &core.settings.public_attributes {
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
    session.require_user()?;
    if let Some(reply) = keeps_none(engine) {
        return Ok(reply);
    }
    if session.user_sid().as_deref() == Some(sid) {
        session.sign_out().await?;
        return Ok(no_content());
    }
    ends_others(engine, session)?;
    if !session.sign_out_session(sid).await? {
        return Ok(problem(
            StatusCode::NOT_FOUND,
            "There is no such session of yours: `GET` on the list of sessions names those that there \
             are.",
        ));
    }
    Ok(no_content())
}

async fn logout_all<C: ClaimSet>(
    engine: &Engine<C>,
    session: &Session<C>,
) -> Result<Reply, Rejection> {
    session.require_user()?;
    if let Some(reply) = keeps_none(engine) {
        return Ok(reply);
    }
    ends_others(engine, session)?;
    session.sign_out_everywhere().await?;
    Ok(no_content())
}

/// Checks that the sign-in is as recent as the app requires for ending other sessions.
fn ends_others<C: ClaimSet>(engine: &Engine<C>, session: &Session<C>) -> Result<(), Rejection> {
    engine.core.settings.recent_sign_in.map_or(Ok(()), |max_age| session.recent(max_age))
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
        true => engine.core.settings.keys.public_jwk_set(),
        false => r#"{"keys":[]}"#.to_owned(),
    };
    let mut reply = super::json(StatusCode::OK, keys.into_bytes());
    let content_type = HeaderValue::from_static("application/jwk-set+json");
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    if let Ok(age) = HeaderValue::from_str(&format!("public, max-age={}", MAX_AGE.as_secs())) {
        reply.headers_mut().insert(CACHE_CONTROL, age);
    }
    reply
}

fn no_content() -> Reply {
    let mut reply = Response::new(Vec::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}
