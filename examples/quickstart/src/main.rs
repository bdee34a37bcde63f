//! The quickstart: sign in, watch the token's seconds run out, and stay signed in.
//!
//! Run with: `cargo run -p quickstart`

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router, http::StatusCode};
use everfresh::{Engine, Keys, Resign};
use everfresh_axum::{Claims, Error, Session};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// So short that you can watch it. 15 minutes would be usual.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15);
const SESSION_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What every token says about a person, beside who it is. Yours to choose.
#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A real app reads its secret from the environment; a new one signs everybody out.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;

    let auth = Engine::<User>::builder(Keys::hs256(secret)?)
        .issuer("https://quickstart.example")
        .audience("quickstart")
        .access_lifetime(ACCESS_LIFETIME)
        .session_lifetime(SESSION_LIFETIME)
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(Resign::new())
        .build()?;

    let app = Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/api/me", get(me))
        .layer(auth.layer());

    let listener = listen().await?;
    println!("everfresh quickstart: open http://{} (Ctrl-C stops it)", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c()).await?;
    Ok(())
}

async fn login(session: Session<User>, Form(Login { name }): Form<Login>) -> Response {
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 64 {
        return problem("Tell us a name of 1 to 64 characters.");
    }
    match session.sign_in(name.clone(), User { name }).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => Error::from(error).into_response(),
    }
}

async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Only called for people who are signed in: `Claims` answers 401 for the others.
async fn me(Claims(user): Claims<User>, session: Session<User>) -> Json<Value> {
    Json(json!({
        "name": user.name,
        "sid": session.sid(),
        "outcome": if session.is_refreshed() { "refreshed" } else { "fresh" },
        "expires_in_ms": left(session.expires_at()).as_millis() as u64,
        "lifetime_s": ACCESS_LIFETIME.as_secs(),
        "session_expires_in_s": left(session.session_expires_at()).as_secs(),
    }))
}

#[expect(clippy::disallowed_methods, reason = "shown to people; nothing is decided by it")]
fn left(until: Option<SystemTime>) -> Duration {
    until.and_then(|until| until.duration_since(SystemTime::now()).ok()).unwrap_or_default()
}

fn problem(detail: &str) -> Response {
    let body = json!({"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": detail});
    let content_type = [("content-type", "application/problem+json")];
    (StatusCode::UNPROCESSABLE_ENTITY, content_type, body.to_string()).into_response()
}

/// `PORT`, or 3000, or whatever is free.
async fn listen() -> Result<TcpListener, Box<dyn std::error::Error>> {
    if let Ok(port) = std::env::var("PORT") {
        let port: u16 = port.parse().map_err(|_| format!("PORT={port:?}: want 0 to 65535"))?;
        return Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?);
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
    }
}

async fn ctrl_c() {
    let _ = tokio::signal::ctrl_c().await;
}
