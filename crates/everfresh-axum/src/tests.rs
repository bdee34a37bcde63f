//! The extractors, on a router.

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use everfresh::{Clock, Engine, Keys, ManualClock, Reissue, Timestamp};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tower::ServiceExt as _;

use super::{Claims, Error, Session};

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

fn engine(clock: &ManualClock) -> Engine<User> {
    Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(Clock::from(clock.clone()))
        .leeway(Duration::ZERO)
        .refresh_with(Reissue::new())
        .revalidate_with(|session: everfresh::Revalidation<User>| async move {
            match &*session.claims.unwrap().name {
                "unlucky" => Err("the database is down"),
                _ => Ok(everfresh::Revalidated::Keep),
            }
        })
        .build()
        .unwrap()
}

fn routes() -> Router {
    Router::new()
        .route("/login/{name}", post(login))
        .route("/me", get(|Claims(user): Claims<User>| async move { user.name.clone() }))
        .route("/home", get(home))
        .route("/logout", post(logout))
        .route("/stale", post(stale))
}

async fn login(
    session: Session<User>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Result<StatusCode, Error> {
    session.sign_in(name.clone(), User { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn home(user: Option<Claims<User>>) -> String {
    user.map_or("stranger".into(), |user| user.name.clone())
}

async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stale(session: Session<User>) -> Result<StatusCode, Error> {
    session.refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn send(
    app: &Router,
    method: &str,
    path: &str,
    cookie: &str,
) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(path).header("cookie", cookie);
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let set = response.headers().get("set-cookie").map_or("", |value| value.to_str().unwrap());
    let cookie = set.split(';').next().unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, cookie, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn extractors_answer_as_the_request_is_entitled() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let auth = engine(&clock);
    let app = routes().layer(auth.layer());
    let (status, cookie, _) = send(&app, "POST", "/login/ada", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, set, body) = send(&app, "GET", "/me", &cookie).await;
    assert_eq!((status, &*set, &*body), (StatusCode::OK, "", "ada"));
    assert_eq!(send(&app, "GET", "/home", &cookie).await.2, "ada");

    assert_eq!(send(&app, "GET", "/home", "").await.2, "stranger");
    let broken = format!("{cookie}x");
    assert_eq!(
        send(&app, "GET", "/home", &broken).await.2,
        "stranger",
        "an old cookie is no error"
    );
    let (status, _, body) = send(&app, "GET", "/me", &broken).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("\"status\":401"), "{body}");
    assert_eq!(send(&app, "POST", "/stale", "").await.0, StatusCode::UNAUTHORIZED);

    clock.advance(Duration::from_secs(900));
    let (status, new, _) = send(&app, "GET", "/me", &cookie).await;
    assert_eq!(status, StatusCode::OK);
    assert!(new.starts_with("__Host-access_token=ey") && new != cookie);
    let (_, cleared, _) = send(&app, "POST", "/logout", &new).await;
    assert_eq!(cleared, "__Host-access_token=");
}

// Rows: F07.
#[tokio::test]
async fn an_outage_never_renders_a_signed_out_page() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let app = routes().layer(engine(&clock).layer());
    let (_, cookie, _) = send(&app, "POST", "/login/unlucky", "").await;
    clock.advance(Duration::from_secs(900));
    for path in ["/me", "/home"] {
        let (status, set, _) = send(&app, "GET", path, &cookie).await;
        assert_eq!((status, &*set), (StatusCode::SERVICE_UNAVAILABLE, ""), "{path}");
    }
    let (status, ..) = send(&app, "POST", "/login/ada", &cookie).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "signing in works");
    let (status, ..) = send(&app, "POST", "/logout", &cookie).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "signing out works");
}

#[tokio::test]
async fn a_missing_layer_says_what_to_add() {
    for path in ["/me", "/home"] {
        let (status, _, body) = send(&routes(), "GET", path, "").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("add `.layer(auth.layer())`"), "{body}");
    }
}

// Rows: L2.
#[test]
fn claims_that_are_debugged_show_nothing() {
    let shown = format!("{:?}", Claims(std::sync::Arc::new("the-claims")));
    assert_eq!(shown, "Claims(..)");
}

#[tokio::test]
async fn require_is_a_second_layer() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let auth = engine(&clock);
    let members = Router::new().route("/members", get(|| async { "members" }));
    let app = routes().merge(members.layer(auth.require())).layer(auth.layer());
    let (_, cookie, _) = send(&app, "POST", "/login/ada", "").await;
    assert_eq!(send(&app, "GET", "/members", &cookie).await.2, "members");
    assert_eq!(send(&app, "GET", "/members", "").await.0, StatusCode::UNAUTHORIZED);
}
