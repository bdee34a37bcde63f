//! Tower's contract, and other services around and inside the layer: row S75 of
//! `tests/COVERAGE.md`, F21.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, LOCATION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::testing::*;
use crate::{Rejection, RejectionKind, Session, Transport};

/// Panics when called before it was polled ready, as Tower allows. Clones are not ready.
#[derive(Debug)]
struct Picky {
    ready: bool,
    clones: Arc<AtomicUsize>,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::SeqCst);
        Self { ready: false, clones: self.clones.clone() }
    }
}

impl Service<Request<()>> for Picky {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        let session = request.extensions().get::<Session<User>>().unwrap();
        std::future::ready(Ok(show_user(session)))
    }
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let clones = Arc::new(AtomicUsize::new(0));
    let picky = Picky { ready: false, clones: clones.clone() };
    let mut service = ServiceBuilder::new().layer(fixture.auth.layer()).service(picky);
    for _ in 0..3 {
        let fresh = service.ready().await.unwrap().call(cookie(&token)).await.unwrap();
        assert_eq!(fresh.body(), "alice");
    }
    assert_eq!(clones.load(Ordering::SeqCst), 0, "no clone on the fresh path");
    fixture.pass(900);
    for _ in 0..3 {
        let refreshed = service.ready().await.unwrap().call(cookie(&token)).await.unwrap();
        assert_eq!(refreshed.body(), "alice");
        assert!(token_of(&refreshed).is_some());
    }
    assert_eq!(clones.load(Ordering::SeqCst), 3, "one where a request waits");
}

#[tokio::test]
async fn limits_and_buffers_inside_and_outside_work() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let inner = service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(show_user(request.extensions().get::<Session<User>>().unwrap()))
    });
    let inside = ServiceBuilder::new()
        .layer(fixture.auth.layer())
        .load_shed()
        .layer(ConcurrencyLimitLayer::new(1))
        .buffer(4)
        .service(inner);
    let outside = ServiceBuilder::new()
        .buffer(4)
        .load_shed()
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(fixture.auth.layer())
        .service(inner);
    for left in [800, 100, 10] {
        fixture.pass_until_left(&token, left);
        for _ in 0..10 {
            let by_inside = inside.clone().oneshot(cookie(&token)).await.unwrap();
            let by_outside = outside.clone().oneshot(cookie(&token)).await.unwrap();
            assert_eq!((by_inside.body(), by_outside.body()), (&"alice".into(), &"alice".into()));
        }
    }
}

// Rows: F21, S80.
#[tokio::test]
async fn tokens_leave_with_whatever_response_the_handler_makes() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    for status in [200, 204, 303, 400, 404, 410, 500, 502, 503] {
        let response = fixture
            .send(cookie(&token), move |_, _| async move {
                let mut response = Response::new("a body".to_owned());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert(LOCATION, HeaderValue::from_static("/x"));
                response
            })
            .await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.body(), "a body");
        assert_eq!(response.headers()[LOCATION], "/x");
        assert!(token_of(&response).is_some(), "{status}");
    }
}

// Rows: S73.
#[tokio::test]
async fn a_304_carries_no_tokens_and_the_next_response_does() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let response = fixture
        .send(cookie(&token), |_, _| async {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        })
        .await;
    assert!(response.headers().is_empty());
    assert!(token_of(&fixture.me(cookie(&token)).await).is_some());
}

// Rows: S75.
#[tokio::test]
async fn an_upgrade_keeps_its_101_and_carries_the_cookie() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let response = fixture
        .send(cookie(&token), |_, _| async {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            response.extensions_mut().insert("the upgraded connection");
            response
        })
        .await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[UPGRADE], "websocket");
    assert_eq!(response.extensions().get(), Some(&"the upgraded connection"));
    assert!(token_of(&response).is_some());
}

// Rows: F100, F101.
#[tokio::test]
async fn lasting_responses_are_refreshed_before_their_head_leaves() {
    let fixture = Fixture::with(|b| {
        b.revalidate_with(|_| async {
            tokio::task::yield_now().await;
            Ok::<_, &str>(crate::Revalidated::Keep)
        })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    let carried = format!("{COOKIE_NAME}={token}");
    for (field, value) in [("upgrade", "websocket"), ("accept", "text/event-stream")] {
        let response = fixture
            .send(get(&[("cookie", &carried), (field, value)]), |session, _| async move {
                assert!(session.is_refreshed());
                let left = session.expires_at().unwrap();
                assert!(left.since(START).as_secs() > 1400);
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response
            })
            .await;
        assert!(token_of(&response).is_some(), "{field}");
    }
    let plain = fixture.me(cookie(&fixture.sign_in("bob").await)).await;
    assert!(token_of(&plain).is_none());
}

// Rows: S75, R29.
#[tokio::test]
async fn a_failing_or_panicking_service_loses_no_session() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, _>("broken") });
    let failing = ServiceBuilder::new().layer(fixture.auth.layer()).service(failing);
    assert_eq!(failing.oneshot(cookie(&token)).await.unwrap_err(), "broken");

    let panicking = fixture.service(|_, _| async { panic!("a bug in the handler") });
    let task = tokio::spawn(panicking.oneshot(cookie(&token)));
    assert!(task.await.unwrap_err().is_panic());
    assert!(token_of(&fixture.me(cookie(&token)).await).is_some());
}

#[tokio::test]
async fn a_service_whose_future_is_not_send_will_do() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let local = service_fn(|request: Request<()>| async move {
        let here = std::rc::Rc::new(request);
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(show_user(here.extensions().get::<Session<User>>().unwrap()))
    });
    let service = ServiceBuilder::new().layer(fixture.auth.layer()).service(local);
    assert_eq!(service.oneshot(cookie(&token)).await.unwrap().body(), "alice");
}

#[tokio::test]
async fn require_answers_for_the_service_inside() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let inner = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(b"members".to_vec()))
    });
    let members = ServiceBuilder::new()
        .layer(fixture.auth.layer())
        .layer(fixture.auth.require())
        .service(inner);
    let status = async |request| members.clone().oneshot(request).await.unwrap().status();
    assert_eq!(status(cookie(&token)).await, StatusCode::OK);
    assert_eq!(status(get(&[])).await, StatusCode::UNAUTHORIZED);
    fixture.pass(900);
    assert_eq!(status(cookie(&token)).await, StatusCode::OK, "refreshed first");

    let bare = ServiceBuilder::new().layer(fixture.auth.require()).service(inner);
    let response = bare.oneshot(cookie(&token)).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = String::from_utf8(response.into_body()).unwrap();
    assert!(body.contains(".layer(auth.layer())"), "{body}");
}

/// Answers with the user of the request's session.
async fn inner(request: Request<()>) -> Result<Response<String>, Infallible> {
    Ok(show_user(request.extensions().get::<Session<User>>().unwrap()))
}

// Rows: M7.
#[tokio::test]
async fn require_lets_in_its_own_engines_sessions_alone() {
    let users = Fixture::new();
    let admins = Fixture::with(|b| b.issuer("https://admin.example").audience("admin"));
    let token = users.sign_in("alice").await;
    let secrets = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(b"secrets".to_vec()))
    });
    let service = |layers: (bool, bool)| {
        ServiceBuilder::new()
            .option_layer(layers.0.then(|| admins.auth.layer()))
            .layer(users.auth.layer())
            .option_layer(layers.1.then(|| admins.auth.layer()))
            .layer(admins.auth.require())
            .service(secrets)
    };
    for layers in [(false, false), (true, false)] {
        let response = service(layers).oneshot(cookie(&token)).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = String::from_utf8(response.into_body()).unwrap();
        assert!(body.contains("another engine's: put the layer of the engine"), "{body}");
    }
    let response = service((false, true)).oneshot(cookie(&token)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let admin = admins.sign_in("root").await;
    let response = service((false, true)).oneshot(cookie(&admin)).await.unwrap();
    assert_eq!(response.body(), b"secrets");

    // everfresh's own endpoints also accept only sessions of their own engine.
    let theirs = users.auth.begin(&cookie(&token)).settle().await;
    for endpoint in admins.auth.endpoints() {
        let call = endpoint.read(&request(endpoint.methods().split(',').next().unwrap(), &[]));
        let answer = endpoint.answer(call, Some(b""), Ok(&theirs)).await;
        let expected = if endpoint.path().starts_with("/auth/") { 500 } else { 200 };
        assert_eq!(answer.status(), expected, "{}", endpoint.path());
    }
}

// Rows: R4, N10.
#[tokio::test]
async fn a_layer_twice_around_a_route_is_one_session() {
    let (rotating, _) = Fixture::rotating();
    let reissuing = Fixture::new();
    for fixture in [&rotating, &reissuing] {
        let service = ServiceBuilder::new()
            .layer(fixture.auth.layer())
            .layer(fixture.auth.layer())
            .service(service_fn(inner));
        let mut pair = fixture.sign_in_pair("alice").await;
        let rotates = !pair.refresh.is_empty();
        for left in [600, 100, 10, 0] {
            fixture.pass_until_left(&pair.access, left);
            for request in [pair.request(), request("POST", &[("cookie", &pair.header())])] {
                let response = service.clone().oneshot(request).await.unwrap();
                assert_eq!((response.status(), &**response.body()), (StatusCode::OK, "alice"));
                let cookies = set_cookies(&response).len();
                assert!(cookies == 0 || cookies == if rotates { 2 } else { 1 }, "{cookies}");
                pair.keep(&response);
                tokio::task::yield_now().await;
            }
        }
        if rotates {
            let response = service.clone().oneshot(pair.refresh_only()).await.unwrap();
            assert_eq!((response.status(), &**response.body()), (StatusCode::OK, "alice"));
        }
        assert!(!fixture.events().iter().any(|event| event.contains("Refused")), "one look at it");
    }
}

// Rows: R4.
#[tokio::test]
async fn two_engines_around_a_route_work_each_for_itself() {
    let users = Fixture::rotating().0;
    let admins = Fixture::with(|b| {
        b.issuer("https://admin.example").audience("admin").transports([Transport::headers()])
    });
    let service = ServiceBuilder::new()
        .layer(users.auth.layer())
        .layer(admins.auth.layer())
        .layer(users.auth.layer())
        .service(service_fn(inner));
    let (pair, admin) = (users.sign_in_pair("alice").await, admins.auth.clone());
    let session = admin.begin(&get(&[])).settle().await;
    session.sign_in("root", user("root")).await.unwrap();
    let signed_in = finish(&admin, &session, Response::new(())).await;
    let token = signed_in.headers()["authorization"].to_str().unwrap();
    let both = [("cookie", &*pair.header()), ("authorization", token)];
    users.pass(900);
    admins.pass(900);
    let response = service.clone().oneshot(get(&both)).await.unwrap();
    assert_eq!(response.headers().get_all("authorization").iter().count(), 1, "of the one");
    assert_eq!(set_cookies(&response).len(), 2, "of the other, once");

    // A request that is built from an answered one starts over.
    let mut again = cookie(&pair.access);
    let session = users.auth.begin(&again).settle().await;
    finish(&users.auth, &session, Response::new(())).await;
    again.extensions_mut().insert(session);
    assert!(!users.auth.has_begun(again.extensions().get()));
}

#[tokio::test]
async fn the_body_of_a_rejection_can_be_replaced() {
    let fixture = Fixture::with(|b| {
        b.rejection_body(|rejection: &Rejection| {
            assert_eq!(rejection.kind(), RejectionKind::NoCredentials);
            (HeaderValue::from_static("text/plain"), b"please sign in".to_vec())
        })
    });
    let response = fixture.me(get(&[])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(response.body(), "please sign in");
}

#[tokio::test]
async fn a_client_that_hangs_up_while_waiting_does_not_end_the_refresh() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let fixture = Fixture::with(|b| {
        b.revalidate_with(move |_| {
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.map_err(|_| "gone")?;
                Ok::<_, &str>(crate::Revalidated::Keep)
            }
        })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let _ = fixture.events();
    let service = fixture.service(|session, _| async move { show_user(&session) });
    let waiting = tokio::spawn(service.clone().oneshot(cookie(&token)));
    let twin = tokio::spawn(service.clone().oneshot(cookie(&token)));
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    open.send(true).unwrap();
    assert_eq!(twin.await.unwrap().unwrap().body(), "alice");
    let refreshes = fixture.events().iter().filter(|event| event.starts_with("Refreshed")).count();
    assert_eq!(refreshes, 1);
}

// Rows: F73.
#[tokio::test(start_paused = true)]
async fn an_outage_stalls_no_request_with_a_good_token() {
    let fixture = Fixture::with(|b| {
        b.revalidate_with(|_| std::future::pending::<Result<crate::Revalidated<User>, &str>>())
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 200);
    let began = tokio::time::Instant::now();
    for left in [200, 100, 40] {
        fixture.pass_until_left(&token, left);
        for _ in 0..10 {
            let response = fixture.me(cookie(&token)).await;
            assert_eq!((response.body().as_str(), token_of(&response)), ("alice", None));
        }
    }
    assert!(began.elapsed().is_zero(), "the refresh hangs beside them");
}

// Rows: F18.
#[tokio::test(start_paused = true)]
async fn a_request_stops_waiting_after_three_seconds_and_the_flight_goes_on() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO).revalidate_with(move |_| {
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.map_err(|_| "gone")?;
                Ok::<_, &str>(crate::Revalidated::Keep)
            }
        })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 10);
    let began = tokio::time::Instant::now();
    assert_eq!(fixture.me(cookie(&token)).await.body(), "alice", "on the token that is still good");
    assert_eq!(began.elapsed().as_secs(), 3, "the mandatory window waits");
    fixture.pass(60);
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    open.send(true).unwrap();
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.body(), "alice", "the flight ended");
}
