//! The contract as a plain Tower service on hyper.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::FromRequest as _;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use everfresh::adapter::{BODY_LIMIT, Endpoint};
use everfresh::{Engine, Rejection, Session, SessionWatch};
use everfresh_testkit::contract::{self, CHUNK_EVERY, Delivery, Slow, User};
use futures::StreamExt as _;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tower::{ServiceBuilder, service_fn};

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves until `stop` ends, and then finishes the pending requests.
pub async fn serve(
    listener: TcpListener,
    auth: Engine<User>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let own = Arc::new((auth.endpoints(), crate::openapi(&auth)));
    let routes = service_fn(move |request| route(own.clone(), request));
    let service = ServiceBuilder::new().layer(auth.layer()).service(routes);
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // The connection broke before it was accepted.
                Err(_) => continue,
            },
            () = &mut stop => break,
        };
        let builder = Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(service.clone());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            // A client that disconnects is not an error.
            let _ = connection.await;
        });
    }
    drop(listener);
    connections.shutdown().await;
    Ok(())
}

async fn route(
    own: Arc<(Vec<Endpoint<User>>, String)>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (endpoints, document) = &*own;
    // The layer is around this service, so there is always a session.
    let session = request.extensions().get::<Session<User>>().cloned();
    if let Some(endpoint) = endpoints.iter().find(|one| one.is_at(request.uri().path())) {
        let call = endpoint.read(&request);
        let body = match call.wants_body() {
            true => Limited::new(request.into_body(), BODY_LIMIT).collect().await.ok(),
            false => Some(Collected::default()),
        };
        let body = body.map(Collected::to_bytes);
        let session = session.as_ref().ok_or_else(Rejection::missing_layer);
        let answered = endpoint.answer(call, body.as_deref(), session).await;
        return Ok(answered.map(|body| Full::new(body.into()).boxed_unsync()));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && request.uri().path() == "/openapi.json"
    {
        return Ok(typed("application/json", document.clone()));
    }
    let reply = match session {
        Some(session) => answer(session, request).await,
        None => Err(Rejection::missing_layer()),
    };
    Ok(reply.unwrap_or_else(|rejection| {
        rejection.into_response::<Full<Bytes>>().map(BodyExt::boxed_unsync)
    }))
}

/// A JSON body; errors are in axum's words.
async fn json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Reply> {
    match Json::<T>::from_request(request.map(Body::new), &()).await {
        Ok(Json(value)) => Ok(value),
        Err(problem) => Err(of_axum(problem.into_response()).await),
    }
}

async fn answer(session: Session<User>, request: Request<Incoming>) -> Result<Reply, Rejection> {
    let path = request.uri().path().to_owned();
    match (request.method(), &*path) {
        (&Method::POST, "/login") => {
            let delivery: Delivery = query(&request);
            let login = match json(request).await {
                Ok(login) => login,
                Err(problem) => return Ok(problem),
            };
            contract::login(&session, login, &delivery).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, "/adopt") => {
            let tokens = match json(request).await {
                Ok(tokens) => tokens,
                Err(problem) => return Ok(problem),
            };
            contract::adopt(&session, tokens).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::GET | &Method::HEAD, "/me") => Ok(respond(&contract::me(&session)?)),
        (&Method::GET | &Method::HEAD, "/slow") => {
            tokio::time::sleep(query::<Slow>(&request).duration()).await;
            Ok(respond(&contract::me(&session)?))
        }
        (&Method::POST, "/echo") => {
            session.require()?;
            match request.into_body().collect().await {
                Ok(body) => Ok(bytes(body.to_bytes())),
                Err(_) => Ok(empty(StatusCode::BAD_REQUEST)),
            }
        }
        (&Method::GET | &Method::HEAD, "/fail") => {
            session.require()?;
            Ok(empty(StatusCode::INTERNAL_SERVER_ERROR))
        }
        (&Method::GET | &Method::HEAD, "/stream") => {
            session.require()?;
            let chunks = futures::stream::iter(contract::chunks()).then(|chunk| async {
                tokio::time::sleep(CHUNK_EVERY).await;
                Ok(Frame::data(Bytes::from(chunk)))
            });
            Ok(Response::new(StreamBody::new(chunks).boxed_unsync()))
        }
        (&Method::GET, "/socket") => {
            let expires = session.watch()?;
            Ok(socket(request, expires))
        }
        (&Method::POST, "/logout") => {
            session.sign_out().await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::GET | &Method::HEAD, "/open") => Ok(text("open")),
        (&Method::GET | &Method::HEAD, "/metrics") => {
            Ok(typed(crate::METRICS_TYPE, crate::metrics()))
        }
        (&Method::GET | &Method::HEAD, "/cookies") => {
            Ok(bytes(contract::cookies(request.headers())))
        }
        (_, "/login" | "/adopt" | "/echo" | "/logout") => Ok(other_method("POST")),
        (
            _,
            "/me" | "/slow" | "/fail" | "/stream" | "/open" | "/cookies" | "/socket" | "/metrics"
            | "/openapi.json",
        ) => Ok(other_method("GET,HEAD")),
        _ => Ok(empty(StatusCode::NOT_FOUND)),
    }
}

/// Upgrades to a WebSocket (RFC 6455 section 4.2.2).
fn socket(mut request: Request<Incoming>, expires: SessionWatch) -> Reply {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return empty(StatusCode::UPGRADE_REQUIRED);
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let mut end = std::pin::pin!(contract::end_of_socket(expires));
        loop {
            tokio::select! {
                (code, reason) = &mut end => {
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    // A client that has disconnected needs no close frame.
                    let _ = socket.close(Some(frame)).await;
                    break;
                }
                message = socket.next() => if !matches!(message, Some(Ok(_))) { break },
            }
        }
    });
    let mut reply = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    reply
}

fn query<T: DeserializeOwned + Default>(request: &Request<Incoming>) -> T {
    axum::extract::Query::try_from_uri(request.uri()).map_or_else(|_| T::default(), |query| query.0)
}

async fn of_axum(response: axum::response::Response) -> Reply {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    Response::from_parts(head, Full::new(body).boxed_unsync())
}

fn other_method(allowed: &'static str) -> Reply {
    let mut reply = empty(StatusCode::METHOD_NOT_ALLOWED);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default().boxed_unsync());
    *reply.status_mut() = status;
    reply
}

fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

fn bytes(body: impl Into<Bytes>) -> Reply {
    typed("application/octet-stream", body)
}

fn text(body: &'static str) -> Reply {
    typed("text/plain; charset=utf-8", body)
}

fn respond(body: &impl Serialize) -> Reply {
    typed("application/json", serde_json::to_vec(body).unwrap_or_default())
}
