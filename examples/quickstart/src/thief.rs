//! A thief for the quickstart: it copies a browser's cookies outside the layer, as malware or a
//! leaked log would, and presents them later. An app that uses everfresh has no such code.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use everfresh::Event;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// How often everfresh detected reuse of a refresh token.
static NOTICED: AtomicU64 = AtomicU64::new(0);

/// The engine's event hook.
pub(crate) fn notice(event: &Event<'_>) {
    if matches!(event, Event::ReuseDetected { .. }) {
        NOTICED.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Thief {
    app: Router,
    loot: Arc<Mutex<Option<HeaderValue>>>,
}

/// Returns the app together with the thief's routes, which are outside of the layer.
pub(crate) fn beside(app: Router) -> Router {
    let thief = Thief { app: app.clone(), loot: Arc::default() };
    let routes =
        Router::new().route("/demo/steal", post(steal)).route("/demo/replay", post(replay));
    app.merge(routes.with_state(thief))
}

async fn steal(State(thief): State<Thief>, headers: HeaderMap) -> StatusCode {
    let mut loot = thief.loot.lock().unwrap_or_else(PoisonError::into_inner);
    *loot = headers.get(COOKIE).cloned();
    StatusCode::NO_CONTENT
}

/// Presents the copied refresh token alone.
async fn replay(State(thief): State<Thief>) -> Json<Value> {
    let loot = thief.loot.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let cookies = loot.as_ref().and_then(|loot| loot.to_str().ok()).unwrap_or_default();
    let refresh = cookies.split("; ").find(|pair| pair.starts_with("refresh_token="));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = axum::http::Uri::from_static("/api/me");
    if let Some(Ok(cookie)) = refresh.map(HeaderValue::from_str) {
        request.headers_mut().insert(COOKIE, cookie);
    }
    let before = NOTICED.load(Ordering::SeqCst);
    let status = match thief.app.oneshot(request).await {
        Ok(response) => response.status(),
        Err(never) => match never {},
    };
    let reuse = NOTICED.load(Ordering::SeqCst) > before;
    Json(json!({"status": status.as_u16(), "reuse": reuse, "served": status.is_success()}))
}
