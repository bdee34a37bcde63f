//! The endpoints of everfresh's own: refresh, a person's sessions, public keys.

use std::collections::BTreeMap;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Native {
    Refresh,
    Sessions,
    OneSession,
    LogoutAll,
    Jwks,
}

/// What a request's head says.
#[derive(Debug)]
pub(super) struct Asked {
    /// The last segment of the path.
    last: String,
}

impl Asked {
    pub(super) fn read(head: &impl RequestHead) -> Self {
        Self { last: head.path().rsplit('/').next().unwrap_or_default().to_owned() }
    }
}

impl Native {
    pub(super) const ALL: [Self; 5] =
        [Self::Refresh, Self::Sessions, Self::OneSession, Self::LogoutAll, Self::Jwks];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Refresh => "/auth/refresh",
            Self::Sessions => "/auth/sessions",
            Self::OneSession => "/auth/sessions/{sid}",
            Self::LogoutAll => "/auth/logout-all",
            Self::Jwks => "/.well-known/jwks.json",
        }
    }

    /// The methods that are allowed, as `Allow` names them.
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
        asked: Asked,
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

/// The attributes that the person may read: those that the app named, or all but what the engine and
/// its dialects go by.
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
            "There is no such session of yours: `GET /auth/sessions` lists those that there are.",
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

/// Whether the sign-in is as recent as the app wants it where other sessions are ended.
fn ends_others<C: ClaimSet>(engine: &Engine<C>, session: &Session<C>) -> Result<(), Rejection> {
    engine.core.recent_sign_in.map_or(Ok(()), |max_age| session.recent(max_age))
}

/// The answer where sessions leave no trace on the server.
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
    /// How long others may keep the keys: announce a key this long before it signs.
    const MAX_AGE: Duration = Duration::from_secs(300);

    // Another issuer's keys are for that issuer to publish.
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
