//! The quickstart: sign in, watch the access token expire, and stay signed in. List your sessions,
//! end one elsewhere, and replay a stolen token.
//!
//! Run with: `cargo run -p quickstart`

mod thief;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use axum::extract::Path as UrlPath;
use axum::http::{HeaderMap, StatusCode, header::USER_AGENT};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use everfresh::{Engine, Keys, Rotate, SignIn, Timestamp};
use everfresh_axum::{Claims, Error, Session};
use everfresh_sqlx::SqliteStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Short enough to watch. A usual value is 15 minutes.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15);
const SESSION_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Shorter than the usual 30 s, because the access tokens are short-lived too.
const REUSE_INTERVAL: Duration = Duration::from_secs(5);

/// The claims that each token carries about a user, beside the subject. Your app defines them.
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
    // The store and the secret are files side by side, so users stay signed in over a restart.
    let store = SqliteStore::open("quickstart.db").await?;
    let auth = Engine::<User>::builder(Keys::hs256(secret(Path::new("quickstart.key"))?)?)
        .issuer("https://quickstart.example")
        .audience("quickstart")
        .access_lifetime(ACCESS_LIFETIME)
        .session_lifetime(SESSION_LIFETIME)
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(Rotate::new(store).reuse_interval(REUSE_INTERVAL))
        .on_event(thief::notice)
        .build()?;

    let app = Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/api/me", get(me))
        .route("/api/sessions", get(sessions))
        .route("/api/sessions/{sid}", delete(end_session))
        .route("/api/sessions/end-others", post(end_others))
        .merge(everfresh_axum::endpoints(&auth)) // POST /auth/refresh and others
        .layer(auth.layer());
    let app = thief::beside(app);

    let listener = listen().await?;
    println!("everfresh quickstart: open http://{} (Ctrl-C stops it)", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c()).await?;
    auth.shutdown().await;
    Ok(())
}

async fn login(
    session: Session<User>,
    headers: HeaderMap,
    Form(Login { name }): Form<Login>,
) -> Response {
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 64 {
        return problem("Tell us a name of 1 to 64 characters.");
    }
    let sign_in = SignIn::new(name.clone(), User { name }).attribute("device", device(&headers));
    match session.sign_in_with(sign_in).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => Error::from(error).into_response(),
    }
}

async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Requires a signed-in user, because `Claims` answers other requests with 401.
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

async fn sessions(session: Session<User>) -> Result<Json<Value>, Error> {
    let own = session.sid();
    let all = session.sessions().await?.into_iter().map(|one| {
        json!({
            "current": Some(&one.sid) == own.as_ref(),
            "device": one.attributes.get("device"),
            "signed_in_s_ago": ago(one.signed_in_at),
            "last_used_s_ago": ago(one.last_used_at),
            "sid": one.sid,
        })
    });
    Ok(Json(all.collect()))
}

async fn end_session(
    session: Session<User>,
    UrlPath(sid): UrlPath<String>,
) -> Result<StatusCode, Error> {
    let found = session.sign_out_session(&sid).await?;
    Ok(if found { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

async fn end_others(session: Session<User>) -> Result<Json<Value>, Error> {
    Ok(Json(json!({"ended": session.sign_out_others().await?})))
}

/// Returns a name for a device that users recognize. It is only a hint.
fn device(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let find = |names: &[(&str, &'static str)], unknown| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map_or(unknown, |(_, name)| *name)
    };
    let browsers = [
        ("Edg", "Edge"),
        ("Firefox", "Firefox"),
        ("Chrome", "Chrome"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    format!("{} on {}", find(&browsers, "a client"), find(&systems, "an unknown system"))
}

/// Returns the secret of the last run, or a new one. A real app gets it from its environment.
fn secret(file: &Path) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    if let Ok(secret) = std::fs::read(file) {
        return Ok(secret);
    }
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret)?;
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(file)?.write_all(&secret)?;
    Ok(secret)
}

#[expect(clippy::disallowed_methods, reason = "shown to people; nothing is decided by it")]
fn now() -> Timestamp {
    SystemTime::now().into()
}

fn left(until: Option<Timestamp>) -> Duration {
    until.map_or(Duration::ZERO, |until| until.since(now()))
}

fn ago(time: Timestamp) -> u64 {
    now().since(time).as_secs()
}

fn problem(detail: &str) -> Response {
    let body = json!({
        "type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": detail,
    });
    let content_type = [("content-type", "application/problem+json")];
    (StatusCode::UNPROCESSABLE_ENTITY, content_type, body.to_string()).into_response()
}

/// Listens on `PORT`, or on 3000, or on any free port.
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
