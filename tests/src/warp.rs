//! The contract in warp.

use std::convert::Infallible;
use std::future::ready;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Query, WebSocketUpgrade};
use bytes::{Buf, Bytes};
use everfresh::{Engine, SessionWatch};
use everfresh_testkit::contract::{self, Adopt, CHUNK_EVERY, Delivery, Login, Slow, User};
use everfresh_warp::{Error, Session, require, session};
use futures::{SinkExt as _, Stream, StreamExt as _, TryStreamExt as _};
use http::header::{ALLOW, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body::Body as _;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use warp::path::FullPath;
use warp::reject::{Reject, Rejection};
use warp::reply::{Json as JsonReply, Response};
use warp::ws::{Message, Ws};
use warp::{Filter, Reply};

/// Serves until `stop` ends, and then finishes the pending requests.
pub async fn serve(
    listener: TcpListener,
    auth: Engine<User>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    everfresh_warp::serve(app(&auth), auth).incoming(listener).graceful(stop).run().await;
    Ok(())
}

/// The routes, to be served inside the layer.
pub fn app(
    auth: &Engine<User>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + use<> {
    let document = crate::openapi(auth);
    let document =
        move || warp::reply::with_header(document.clone(), "content-type", "application/json");
    (post("/login").and(session()).and(query()).and(json()).then(login))
        .or(post("/adopt").and(session()).and(json()).then(adopt))
        .or(get("/me").and(session()).map(|session| me(&session)))
        .or(get("/slow").and(session()).and(query()).then(slow))
        .or(post("/echo").and(require(auth)).and(body()).map(Vec::from))
        .or(get("/fail").and(require(auth)).map(|| StatusCode::INTERNAL_SERVER_ERROR))
        .or(get("/stream").and(require(auth)).map(stream))
        .or(post("/logout").and(session()).then(logout))
        .or(get("/open").map(|| "open"))
        .or(get("/cookies").and(headers()).map(cookies))
        .or(get("/socket").and(expires()).and(warp::ws()).map(socket))
        .or(get("/socket").and(expires()).and(warp::method()).and(headers()).and_then(no_socket))
        .or(get("/metrics").map(metrics))
        .or(get("/openapi.json").map(document))
        .or(everfresh_warp::endpoints(auth))
        .recover(recover)
        .map(sized)
}

fn metrics() -> impl Reply {
    warp::reply::with_header(crate::metrics(), "content-type", crate::METRICS_TYPE)
}

async fn login(
    session: Session<User>,
    delivery: Delivery,
    login: Login,
) -> Result<StatusCode, Error> {
    contract::login(&session, login, &delivery).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn adopt(session: Session<User>, tokens: Adopt) -> Result<StatusCode, Error> {
    contract::adopt(&session, tokens).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn me(session: &Session<User>) -> Result<JsonReply, Error> {
    Ok(warp::reply::json(&contract::me(session)?))
}

async fn slow(session: Session<User>, slow: Slow) -> Result<JsonReply, Error> {
    tokio::time::sleep(slow.duration()).await;
    me(&session)
}

fn stream() -> impl Reply {
    let chunks = futures::stream::iter(contract::chunks()).then(|chunk| async {
        tokio::time::sleep(CHUNK_EVERY).await;
        Ok::<_, Infallible>(chunk)
    });
    warp::reply::stream(chunks)
}

async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn expires() -> impl Filter<Extract = (SessionWatch,), Error = Rejection> + Copy {
    session::<User>().and_then(|session: Session<User>| {
        ready(session.watch().map_err(|problem| Rejection::from(Error::from(problem))))
    })
}

fn socket(expires: SessionWatch, upgrade: Ws) -> impl Reply {
    upgrade.on_upgrade(|mut socket| async move {
        let mut end = std::pin::pin!(contract::end_of_socket(expires));
        loop {
            tokio::select! {
                (code, reason) = &mut end => {
                    // A client that has disconnected needs no close frame.
                    let _ = socket.send(Message::close_with(code, reason)).await;
                    break;
                }
                message = socket.next() => if !matches!(message, Some(Ok(_))) { break },
            }
        }
    })
}

/// Answers a request that is not an upgrade, in axum's words.
async fn no_socket(
    _: SessionWatch,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.headers) = (method, headers);
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(_) => Err(warp::reject::not_found()),
        Err(problem) => Err(Refused::reject(problem.status(), problem.body_text())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what the filter extracts")]
fn cookies(headers: HeaderMap) -> Vec<u8> {
    contract::cookies(&headers)
}

/// The answer to a request without a matching route, in axum's words.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    text: String,
    allow: Option<&'static str>,
}

impl Reject for Refused {}

impl Refused {
    fn reject(status: StatusCode, text: String) -> Rejection {
        warp::reject::custom(Self { status, text, allow: None })
    }
}

async fn recover(rejection: Rejection) -> Result<Response, Rejection> {
    if let Some(response) = everfresh_warp::answer(&rejection) {
        return Ok(response);
    }
    let Some(refused) = rejection.find::<Refused>() else { return Err(rejection) };
    let mut response = match refused.allow {
        Some(allow) => {
            let mut response = Response::default();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            response
        }
        None => refused.text.clone().into_response(),
    };
    *response.status_mut() = refused.status;
    Ok(response)
}

/// Adds the length of the body, which hyper omits for an empty answer to HEAD.
fn sized(reply: impl Reply) -> Response {
    let mut response = reply.into_response();
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response
}

fn get(path: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    route(path, &[Method::GET, Method::HEAD], "GET,HEAD")
}

fn post(path: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    route(path, &[Method::POST], "POST")
}

/// Matches the exact path and a method.
fn route(
    path: &'static str,
    methods: &'static [Method],
    allow: &'static str,
) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    // A tunnel has no path, and `path::full` panics then.
    let has_path = |method: Method| {
        ready(if method == Method::CONNECT { Err(warp::reject::not_found()) } else { Ok(method) })
    };
    let is = move |method: Method, full: FullPath| {
        let found = match full.as_str() == path {
            false => Err(warp::reject::not_found()),
            true if methods.contains(&method) => Ok(()),
            true => {
                let (status, text) = (StatusCode::METHOD_NOT_ALLOWED, String::new());
                Err(warp::reject::custom(Refused { status, text, allow: Some(allow) }))
            }
        };
        ready(found)
    };
    warp::method().and_then(has_path).and(warp::path::full()).and_then(is).untuple_one()
}

fn query<T: DeserializeOwned + Send + 'static>()
-> impl Filter<Extract = (T,), Error = Rejection> + Copy {
    let raw = warp::query::raw().or(warp::any().map(String::new)).unify();
    raw.and_then(|raw: String| {
        // PANIC: it was the query of a URI just now.
        let uri: Uri = format!("/?{raw}").parse().expect("a query");
        let query = Query::<T>::try_from_uri(&uri);
        ready(match query {
            Ok(Query(query)) => Ok(query),
            Err(error) => Err(Refused::reject(error.status(), error.body_text())),
        })
    })
}

fn json<T: DeserializeOwned + Send>() -> impl Filter<Extract = (T,), Error = Rejection> + Copy {
    headers().and(warp::body::stream()).and_then(|headers, chunks| async {
        match read::<Json<T>>(headers, chunks).await {
            Ok(Json(value)) => Ok(value),
            Err(error) => Err(Refused::reject(error.status(), error.body_text())),
        }
    })
}

fn body() -> impl Filter<Extract = (Bytes,), Error = Rejection> + Copy {
    headers().and(warp::body::stream()).and_then(|headers, chunks| async {
        let body = read::<Bytes>(headers, chunks).await;
        body.map_err(|error| Refused::reject(error.status(), error.body_text()))
    })
}

fn headers() -> impl Filter<Extract = (HeaderMap,), Error = Infallible> + Copy {
    warp::header::headers_cloned()
}

/// Reads as axum does: with the same limit and the same order of checks.
async fn read<T: FromRequest<()>>(
    headers: HeaderMap,
    chunks: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> Result<T, T::Rejection> {
    let bytes = chunks.map_ok(|mut chunk| chunk.copy_to_bytes(chunk.remaining()));
    let mut request = http::Request::new(Body::from_stream(bytes));
    *request.headers_mut() = headers;
    T::from_request(request, &()).await
}
