//! What everfresh answers itself, whatever the framework: adapters mount it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /auth/refresh` | 200 `{"sub", "sid", "expires_in", "session_expires_in"}`; new tokens leave the way the old came |
//! | `GET /auth/sessions` | 200 `{"sessions": [..]}`, the latest first |
//! | `DELETE /auth/sessions/{sid}` | 204: that session of the same person is over; 404 if there is none |
//! | `POST /auth/logout-all` | 204: every session of the person is over, this one too |
//! | `GET /.well-known/jwks.json` | 200 the public keys that verify our tokens (RFC 7517); none where secrets sign |
//!
//! They stand inside the layer, and answer as extractors do for who is not signed in. Times are
//! seconds since 1970 (RFC 7519's `NumericDate`), lengths of time are seconds.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::head::RequestHead;
use crate::reject::{Rejection, problem};
use crate::session::{ClaimSet, Session};

/// One path, and what is answered there. [`Engine::endpoints`] gives them all.
///
/// An adapter routes every method of [`path`](Self::path) here, calls [`read`](Self::read) with
/// the request's head and then awaits [`answer`](Self::answer).
pub struct Endpoint<C> {
    engine: Engine<C>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refresh,
    Sessions,
    OneSession,
    LogoutAll,
    Jwks,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Refresh, Self::Sessions, Self::OneSession, Self::LogoutAll, Self::Jwks];

    fn path(self) -> &'static str {
        match self {
            Self::Refresh => "/auth/refresh",
            Self::Sessions => "/auth/sessions",
            Self::OneSession => "/auth/sessions/{sid}",
            Self::LogoutAll => "/auth/logout-all",
            Self::Jwks => "/.well-known/jwks.json",
        }
    }

    /// The methods that are allowed, as `Allow` names them.
    fn methods(self) -> &'static str {
        match self {
            Self::Refresh | Self::LogoutAll => "POST",
            Self::Sessions | Self::Jwks => "GET, HEAD",
            Self::OneSession => "DELETE",
        }
    }
}

/// What a request asks of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    allowed: bool,
    /// The last segment of the path.
    last: String,
}

/// An answer: any framework takes these parts.
pub type Reply = Response<Vec<u8>>;

impl<C: ClaimSet> Engine<C> {
    /// The endpoints that everfresh brings, for adapters to mount inside the layer.
    pub fn endpoints(&self) -> Vec<Endpoint<C>> {
        Kind::ALL.map(|kind| Endpoint { engine: self.clone(), kind }).into()
    }
}

impl<C: ClaimSet> Endpoint<C> {
    /// Its path, with parameters as axum and actix-web write them: `/auth/sessions/{sid}`. May be
    /// mounted under a prefix.
    pub fn path(&self) -> &'static str {
        self.kind.path()
    }

    /// Whether a request for this path is one for this endpoint, for routers that don't know
    /// parameters.
    pub fn is_at(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let same = self.path().split('/').all(|wanted| match segments.next() {
            Some(found) => wanted == found || (wanted.starts_with('{') && !found.is_empty()),
            None => false,
        });
        same && segments.next().is_none()
    }

    /// What a request with this head asks for.
    pub fn read(&self, head: &impl RequestHead) -> Call {
        let mut methods = self.kind.methods().split(", ");
        let last = head.path().rsplit('/').next().unwrap_or_default();
        Call { allowed: methods.any(|method| method == head.method()), last: last.to_owned() }
    }

    /// The answer. `session` is the one that the layer put into the request.
    pub async fn answer(&self, call: Call, session: Option<&Session<C>>) -> Reply {
        if !call.allowed {
            let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "Another method is wanted.");
            let methods = HeaderValue::from_static(self.kind.methods());
            reply.headers_mut().insert(ALLOW, methods);
            return reply;
        }
        if self.kind == Kind::Jwks {
            return self.jwks();
        }
        let Some(session) = session else { return Rejection::missing_layer().into_response() };
        let answered = match self.kind {
            Kind::Refresh => self.refresh(session).await,
            Kind::Sessions => self.sessions(session).await,
            Kind::OneSession => self.sign_out_one(session, &call.last).await,
            _ => self.logout_all(session).await,
        };
        answered.unwrap_or_else(Rejection::into_response)
    }

    async fn refresh(&self, session: &Session<C>) -> Result<Reply, Rejection> {
        session.require()?;
        session.refresh().await?;
        let left = |end: Option<SystemTime>| {
            let now = self.engine.core.clock.now();
            end.map(|end| Timestamp::from(end).since(now).as_secs())
        };
        Ok(reply(&json!({
            "sub": session.subject(),
            "sid": session.sid(),
            "expires_in": left(session.expires_at()),
            "session_expires_in": left(session.session_expires_at()),
        })))
    }

    async fn sessions(&self, session: &Session<C>) -> Result<Reply, Rejection> {
        session.require()?;
        if let Some(reply) = self.keeps_none() {
            return Ok(reply);
        }
        let own = session.sid();
        let sessions = session.sessions().await?.into_iter().map(|one| {
            json!({
                "current": own.as_deref() == Some(&*one.sid),
                "sid": one.sid,
                "signed_in_at": one.signed_in_at.as_secs(),
                "last_used_at": one.last_used_at.as_secs(),
                "expires_at": one.expires.as_secs(),
                "attributes": one.attributes,
            })
        });
        Ok(reply(&json!({ "sessions": sessions.collect::<Vec<_>>() })))
    }

    async fn sign_out_one(&self, session: &Session<C>, sid: &str) -> Result<Reply, Rejection> {
        session.require()?;
        if let Some(reply) = self.keeps_none() {
            return Ok(reply);
        }
        if session.sid().as_deref() == Some(sid) {
            session.sign_out().await?;
        } else if !session.sign_out_other(sid).await? {
            return Ok(problem(StatusCode::NOT_FOUND, "There is no such session of yours."));
        }
        Ok(nothing())
    }

    async fn logout_all(&self, session: &Session<C>) -> Result<Reply, Rejection> {
        session.require()?;
        if let Some(reply) = self.keeps_none() {
            return Ok(reply);
        }
        session.sign_out_everywhere().await?;
        Ok(nothing())
    }

    /// The answer where sessions leave no trace on the server.
    fn keeps_none(&self) -> Option<Reply> {
        let keeps = self.engine.core.refresher.uses_refresh_tokens();
        (!keeps).then(|| problem(StatusCode::NOT_FOUND, "This server keeps no list of sessions."))
    }

    fn jwks(&self) -> Reply {
        /// How long others may keep the keys: announce a key this long before it signs.
        const MAX_AGE: Duration = Duration::from_secs(300);

        let mut reply = reply(&self.engine.core.keys.public_jwk_set());
        let content_type = HeaderValue::from_static("application/jwk-set+json");
        reply.headers_mut().insert(CONTENT_TYPE, content_type);
        if let Ok(age) = HeaderValue::from_str(&format!("public, max-age={}", MAX_AGE.as_secs())) {
            reply.headers_mut().insert(CACHE_CONTROL, age);
        }
        reply
    }
}

fn reply(body: &impl Serialize) -> Reply {
    let mut reply = Response::new(serde_json::to_vec(body).unwrap_or_default());
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn nothing() -> Reply {
    let mut reply = Response::new(Vec::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

impl<C> Clone for Endpoint<C> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), kind: self.kind }
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.kind).finish()
    }
}
