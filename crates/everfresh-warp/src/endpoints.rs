//! What everfresh answers itself, as a filter.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use bytes::Buf;
use everfresh::{BODY_LIMIT, Call, ClaimSet, Endpoint, Engine};
use futures::{Stream, StreamExt as _};
use warp::Filter;
use warp::host::Authority;
use warp::http::{HeaderMap, Method, Request};
use warp::path::Tail;

use crate::session;

/// The endpoints that everfresh brings: `POST /auth/refresh`, `GET /auth/sessions`, `DELETE
/// /auth/sessions/{sid}`, `POST /auth/logout-all`, `GET /.well-known/jwks.json`, and the dialects
/// that the engine serves.
///
/// May stand behind a prefix: `warp::path("api").and(endpoints(&auth))`.
///
/// ```
/// # use everfresh::{Engine, Keys, MemoryStore, Rotate};
/// # use warp::Filter;
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// let auth = Engine::<()>::builder(Keys::hs256("0123456789abcdef-0123456789abcdef")?)
///     .issuer("https://app.example")
///     .audience("app")
///     .refresh_with(Rotate::new(MemoryStore::new()))
///     .build()?;
/// let routes = warp::path::end().map(|| "Hello").or(everfresh_warp::endpoints(&auth));
/// let server = everfresh_warp::serve(routes, auth);
/// # let _ = server;
/// # Ok(())
/// # }
/// ```
pub fn endpoints<C: ClaimSet>(
    auth: &Engine<C>,
) -> impl Filter<Extract = (everfresh::Reply,), Error = warp::Rejection> + Clone + use<C> {
    let endpoints: Arc<[Endpoint<C>]> = auth.endpoints().into();
    let find = move |method: Method, rest: Tail, fields: HeaderMap, host: Option<Authority>| {
        let path = format!("/{}", rest.as_str());
        let found = endpoints.iter().find(|endpoint| endpoint.is_at(&path)).and_then(|endpoint| {
            let uri = host.map_or_else(|| path.clone(), |host| format!("http://{host}{path}"));
            let mut head = Request::builder().method(method).uri(uri).body(()).ok()?;
            *head.headers_mut() = fields;
            Some((endpoint.clone(), endpoint.read(&head)))
        });
        ready(found.ok_or_else(warp::reject::not_found))
    };
    // A tunnel has no path, and warp's `tail` panics over that.
    let has_path = |method: Method| {
        ready(if method == Method::CONNECT { Err(warp::reject::not_found()) } else { Ok(method) })
    };
    let found = warp::method()
        .and_then(has_path)
        .and(warp::path::tail())
        .and(warp::header::headers_cloned())
        .and(warp::host::optional())
        .and_then(find);
    found.and(session()).and(warp::body::stream()).then(
        async |(endpoint, call): (Endpoint<C>, Call), session, body| {
            let body = if call.wants_body() { read(body).await } else { Some(Vec::new()) };
            endpoint.answer(call, body.as_deref(), Some(&session)).await
        },
    )
}

/// The whole body, unless it is larger than an endpoint wants or breaks off.
async fn read(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Option<Vec<u8>> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.ok()?;
        if bytes.len() + chunk.remaining() > BODY_LIMIT {
            return None;
        }
        while chunk.has_remaining() {
            let part = chunk.chunk();
            let length = part.len();
            bytes.extend_from_slice(part);
            chunk.advance(length);
        }
    }
    Some(bytes)
}
