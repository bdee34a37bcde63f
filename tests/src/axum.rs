//! The contract in axum.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use everfresh::Engine;
use everfresh_axum::{Claims, Error, Rejection, Session};
use everfresh_testkit::contract::{self, Adopt, CHUNK_EVERY, Delivery, Login, Me, Slow, User};
use futures::StreamExt as _;
use tokio::net::TcpListener;

use crate::METRICS_TYPE;

/// Serves until `stop` ends, and then finishes the pending requests.
pub async fn serve(
    listener: TcpListener,
    auth: Engine<User>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, app(&auth)).with_graceful_shutdown(stop).await
}

/// The routes inside the layer.
pub fn app(auth: &Engine<User>) -> Router {
    let document = crate::openapi(auth);
    Router::new()
        .route("/login", post(login))
        .route("/adopt", post(adopt))
        .route("/me", get(me))
        .route("/slow", get(slow))
        .route("/echo", post(echo))
        .route("/fail", get(fail))
        .route("/stream", get(stream))
        .route("/logout", post(logout))
        .route("/open", get(open))
        .route("/cookies", get(cookies))
        .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], document)))
        .route("/metrics", get(async || ([(CONTENT_TYPE, METRICS_TYPE)], crate::metrics())))
        .route("/socket", get(socket))
        .merge(everfresh_axum::endpoints(auth))
        .layer(auth.layer())
}

async fn login(
    session: Session<User>,
    Query(delivery): Query<Delivery>,
    Json(login): Json<Login>,
) -> Result<StatusCode, Error> {
    contract::login(&session, login, &delivery).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn adopt(session: Session<User>, Json(tokens): Json<Adopt>) -> Result<StatusCode, Error> {
    contract::adopt(&session, tokens).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(session: Session<User>) -> Result<Json<Me>, Rejection> {
    Ok(Json(contract::me(&session)?))
}

async fn slow(session: Session<User>, Query(slow): Query<Slow>) -> Result<Json<Me>, Rejection> {
    tokio::time::sleep(slow.duration()).await;
    me(session).await
}

async fn echo(_: Claims<User>, body: Bytes) -> Bytes {
    body
}

async fn fail(_: Claims<User>) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn stream(_: Claims<User>) -> Response {
    let chunks = futures::stream::iter(contract::chunks()).then(|chunk| async {
        tokio::time::sleep(CHUNK_EVERY).await;
        Ok::<_, Infallible>(chunk)
    });
    Body::from_stream(chunks).into_response()
}

async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn open() -> &'static str {
    "open"
}

async fn socket(
    session: Session<User>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Response> {
    let expires = session.watch().map_err(|problem| Rejection(problem).into_response())?;
    let upgrade = upgrade.map_err(IntoResponse::into_response)?;
    Ok(upgrade.on_upgrade(|mut socket| async move {
        let end = contract::end_of_socket(expires);
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                (code, reason) = &mut end => {
                    let frame = CloseFrame { code, reason: reason.into() };
                    // A client that has disconnected needs no close frame.
                    let _ = socket.send(Message::Close(Some(frame))).await;
                    break;
                }
                message = socket.recv() => if !matches!(message, Some(Ok(_))) { break },
            }
        }
    }))
}

async fn cookies(headers: HeaderMap) -> Vec<u8> {
    contract::cookies(&headers)
}
