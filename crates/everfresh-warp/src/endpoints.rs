//! everfresh's endpoints, as a filter.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use bytes::Buf;
use everfresh::adapter::{BODY_LIMIT, Endpoint};
use everfresh::{ClaimSet, Engine};
use futures::{Stream, StreamExt as _};
use warp::Filter;
use warp::host::Authority;
use warp::http::{Method, Request};
use warp::path::Tail;

use crate::session;

/// Returns a filter with everfresh's endpoints: `POST /auth/refresh`, `GET /auth/sessions`,
/// `DELETE /auth/sessions/{sid}`, `POST /auth/logout-all`, `GET /.well-known/jwks.json`, and the
/// dialects that the engine serves. [`NativePaths`](everfresh::NativePaths) moves or omits the
/// first five.
///
/// The filter may follow a prefix: `warp::path("api").and(endpoints(&auth))`.
///
/// ```
/// # use everfresh::{Engine, Keys, MemoryStore, Rotate};
/// # use warp::Filter;
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// let auth = Engine::<()>::builder(Keys::hs256(secret)?)
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
) -> impl Filter<Extract = (everfresh::adapter::Reply,), Error = warp::Rejection> + Clone + use<C> {
    let endpoints: Arc<[Endpoint<C>]> = auth.endpoints().into();
    let find = move |method: Method, rest: Tail| {
        let path = format!("/{}", rest.as_str());
        let found = endpoints.iter().find(|endpoint| endpoint.is_at(&path)).cloned();
        ready(found.map(|found| (found, method, path)).ok_or_else(warp::reject::not_found))
    };
    // A CONNECT request has no path, and warp's `tail` panics on it.
    let has_path = |method: Method| {
        ready(if method == Method::CONNECT { Err(warp::reject::not_found()) } else { Ok(method) })
    };
    let found = warp::method().and_then(has_path).and(warp::path::tail()).and_then(find);
    let head = warp::header::headers_cloned().and(warp::host::optional());
    found.and(session()).and(head).and(warp::body::stream()).then(
        async |(endpoint, method, path): (Endpoint<C>, _, String),
               session,
               fields,
               host: Option<Authority>,
               body| {
            let uri = host.map_or(path.clone(), |host| format!("http://{host}{path}"));
            let mut head = Request::new(());
            *head.uri_mut() = uri.parse().or_else(|_| path.parse()).unwrap_or_default();
            (*head.method_mut(), *head.headers_mut()) = (method, fields);
            let call = endpoint.read(&head);
            let body = if call.wants_body() { read(body).await } else { Some(Vec::new()) };
            endpoint.answer(call, body.as_deref(), Ok(&session)).await
        },
    )
}

/// Reads the whole body. Returns `None` if it exceeds `BODY_LIMIT` or can't be read to its end.
async fn read(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Option<Vec<u8>> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.ok()?;
        if bytes.len() + chunk.remaining() > BODY_LIMIT {
            return None;
        }
        bytes.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Some(bytes)
}
