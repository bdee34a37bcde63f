//! The endpoints that everfresh serves itself. Adapters mount them in each framework.
//!
//! | request | answer |
//! |---|---|
//! | `POST /auth/refresh` | 200 `{"sub", "sid", "expires_in", "session_expires_in"}`; the new tokens use the transport of the old ones |
//! | `GET /auth/sessions` | 200 `{"sessions": [..]}`, the latest first |
//! | `DELETE /auth/sessions/{sid}` | 204: that session of the same user is over; 404 if there is none |
//! | `POST /auth/logout-all` | 204: every session of the user is over, including this one |
//! | `GET /.well-known/jwks.json` | 200 the public keys that verify everfresh's tokens (RFC 7517); no keys if secrets sign |
//! | each [`Dialect`] that the engine was given, at its path | as the dialect defines |
//!
//! [`NativePaths`] moves these endpoints or leaves them out. The endpoints are inside the layer,
//! and reject a request without a session as extractors do. Times are seconds since 1970 (RFC
//! 7519's `NumericDate`), and durations are seconds.

mod answer;
mod native;
mod serve;
mod shown;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::dialects::{Dialect, Served};
use crate::engine::Engine;
use crate::head::RequestHead;
use crate::mint::ClaimSet;
use crate::paths::{NativeEndpoint, is_at};
use crate::reject::{Rejection, RejectionKind, problem};
use crate::session::Session;

/// The maximum number of bytes of a request's body that an endpoint reads.
pub const BODY_LIMIT: usize = 64 * 1024;

/// One path and the responses at it. [`Engine::endpoints`] returns all endpoints.
///
/// An adapter routes every method of [`path`](Self::path) here, calls [`read`](Self::read) with
/// the request's head, reads the body if the call [wants it](Call::wants_body), up to
/// [`BODY_LIMIT`], and then awaits [`answer`](Self::answer).
pub struct Endpoint<C> {
    engine: Engine<C>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Native(NativeEndpoint, Arc<str>),
    Dialect(Arc<Served>),
}

/// A request to an endpoint, read from the request's head.
#[derive(Debug)]
pub struct Call(ParsedCall);

#[derive(Debug)]
enum ParsedCall {
    /// The request's method is not allowed.
    Otherwise,
    /// The request's host would receive tokens in the clear.
    Exposed,
    Native(native::ParsedCall),
    Dialect(serve::ParsedCall),
}

impl Call {
    /// Returns whether the response depends on the request's body.
    pub fn wants_body(&self) -> bool {
        matches!(&self.0, ParsedCall::Dialect(asked) if asked.wants_body())
    }
}

/// A response, in parts that any framework can convert.
pub type Reply = Response<Vec<u8>>;

impl<C: ClaimSet> Engine<C> {
    /// Returns the endpoints that everfresh serves, for adapters to mount inside the layer.
    pub fn endpoints(&self) -> Vec<Endpoint<C>> {
        let native = self.served().native.iter().cloned();
        let native = native.map(|(native, path)| Kind::Native(native, path));
        let dialects = self.served().dialects.iter().cloned().map(Kind::Dialect);
        native.chain(dialects).map(|kind| Endpoint { engine: self.clone(), kind }).collect()
    }
}

impl<C: ClaimSet> Endpoint<C> {
    /// Returns the path, with parameters as axum and actix-web write them: `/auth/sessions/{sid}`.
    /// An adapter may mount it under a prefix. [`NativePaths`](crate::NativePaths) moves the paths
    /// of everfresh's own endpoints.
    pub fn path(&self) -> &str {
        match &self.kind {
            Kind::Native(_, path) => path,
            Kind::Dialect(served) => served.path(),
        }
    }

    /// Returns whether a request for `path` is a request to this endpoint, for routers that do not
    /// support parameters.
    pub fn is_at(&self, path: &str) -> bool {
        is_at(self.path(), path)
    }

    /// Returns the dialect that the endpoint serves, or `None` for everfresh's own endpoints.
    pub fn dialect(&self) -> Option<&Dialect> {
        match &self.kind {
            Kind::Native(..) => None,
            Kind::Dialect(served) => Some(served.dialect()),
        }
    }

    /// Returns which of everfresh's own endpoints this is, or `None` for a dialect.
    pub fn native(&self) -> Option<NativeEndpoint> {
        match &self.kind {
            Kind::Native(native, _) => Some(*native),
            Kind::Dialect(_) => None,
        }
    }

    /// Returns the allowed methods in the format of the `Allow` header: `GET, HEAD`.
    pub fn methods(&self) -> &'static str {
        match &self.kind {
            Kind::Native(native, _) => native.methods(),
            Kind::Dialect(served) => served.methods(),
        }
    }

    /// Reads the head of a request.
    pub fn read(&self, head: &impl RequestHead) -> Call {
        let mut methods = self.methods().split(", ");
        if !methods.any(|method| method == head.method()) {
            return Call(ParsedCall::Otherwise);
        }
        Call(match &self.kind {
            Kind::Native(..) => ParsedCall::Native(native::ParsedCall::read(head)),
            Kind::Dialect(_) if self.engine.core.is_exposed(head) => ParsedCall::Exposed,
            Kind::Dialect(served) => ParsedCall::Dialect(served.read(&self.engine.core, head)),
        })
    }

    /// Returns the response.
    ///
    /// `body` is empty if the call does not want it, and `None` if it is larger than
    /// [`BODY_LIMIT`]. `session` is the session that the layer put into the request, or the
    /// rejection if there is none. A session of another engine counts as none.
    pub async fn answer(
        &self,
        call: Call,
        body: Option<&[u8]>,
        session: Result<&Session<C>, Rejection>,
    ) -> Reply {
        let session = session.and_then(|session| self.engine.own(session));
        match (call.0, &self.kind) {
            (ParsedCall::Exposed, _) => Rejection::new(RejectionKind::InsecureHost).into_response(),
            (ParsedCall::Native(asked), Kind::Native(native, _)) => {
                native.answer(&self.engine, asked, session).await
            }
            (ParsedCall::Dialect(asked), Kind::Dialect(served)) => match body {
                Some(body) => served.answer(&self.engine, asked, body, session.ok()).await,
                None => problem(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "The body is too large: send 64 KiB at the most.",
                ),
            },
            _ => {
                let detail = "This endpoint takes other methods: use one that `Allow` names.";
                let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, detail);
                let methods = HeaderValue::from_static(self.methods());
                reply.headers_mut().insert(ALLOW, methods);
                reply
            }
        }
    }
}

fn reply(body: &impl Serialize) -> Reply {
    json(StatusCode::OK, serde_json::to_vec(body).unwrap_or_default())
}

fn json(status: StatusCode, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

impl<C> Clone for Endpoint<C> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), kind: self.kind.clone() }
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.kind).finish()
    }
}
