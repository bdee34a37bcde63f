//! The delivery of tokens: no response gets another client's tokens, no token is lost, and the
//! inner service sees no refresh token.

use super::*;
use crate::{InnerToken, SessionStatus, Transport};

fn transports(first: Transport, second: Transport) -> (Fixture, MemoryStore) {
    Fixture::rotating_with(move |b| b.transports([first, second]))
}

// Rows: S79.
#[tokio::test]
async fn a_refresh_token_in_a_cookie_never_crosses_into_a_header() {
    for (first, second) in
        [(Transport::cookies(), Transport::headers()), (Transport::headers(), Transport::cookies())]
    {
        let (fixture, _) = transports(first, second);
        let response = fixture
            .send(get(&[]), |session, _| async move {
                let sign_in = SignIn::new("alice", user("alice")).via(Transport::cookies());
                session.sign_in_with(sign_in).await.unwrap();
                empty()
            })
            .await;
        let mut pair = Pair::default();
        pair.keep(&response);
        let cookie = format!("{REFRESH_NAME}={}", pair.refresh);
        for junk in ["Bearer a.b.c", "Bearer x"] {
            let response = fixture.me(get(&[("cookie", &cookie), ("authorization", junk)])).await;
            assert_eq!(response.body(), "alice");
            assert!(!response.headers().contains_key("authorization"));
            assert!(!response.headers().contains_key("x-refresh-token"));
            assert!(pair.after(&response).access.len() > 100);
        }
    }
}

#[tokio::test]
async fn a_sign_in_and_a_refresh_in_one_handler_lose_no_refresh_token() {
    let (fixture, _) = Fixture::rotating();
    let response = fixture
        .send(get(&[]), |session, _| async move {
            session.sign_in("alice", user("alice")).await.unwrap();
            session.refresh().await.unwrap();
            empty()
        })
        .await;
    let mut pair = Pair::default();
    pair.keep(&response);
    assert!(!pair.refresh.is_empty());
    expire(&fixture, &pair);
    visit(&fixture, &mut pair).await;
}

#[tokio::test]
async fn only_a_client_can_confirm_a_generation() {
    let (fixture, store) = Fixture::rotating_with(|b| b.inner_token(InnerToken::Fresh));
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let lost = fixture
        .send(pair.request(), |session, request| async move {
            // The inner service may forward both forms.
            let cookie = request.headers()["cookie"].to_str().unwrap().to_owned();
            let upstream_access_token = session.access_token().unwrap().expose().to_owned();
            Response::new(format!("{cookie}\n{COOKIE_NAME}={upstream_access_token}"))
        })
        .await;
    assert_eq!(lost.body().lines().count(), 2);
    for cookie in lost.body().lines() {
        let response = fixture.me(get(&[("cookie", cookie)])).await;
        assert_eq!(response.body(), "alice", "another service of ours takes it");
        tokio::task::yield_now().await;
        assert!(!store.list("alice").await.unwrap()[0].confirmed, "and confirms nothing");
    }
    fixture.pass(60);
    assert_eq!(fixture.me(pair.refresh_only()).await.body(), "alice", "the response was lost");
}

// Rows: S82.
#[tokio::test]
async fn login_csrf_needs_only_one_cookie_of_the_pair() {
    let fixture = Fixture::rotating_with(|b| b.transports([Transport::bearer_with_cookie()])).0;
    let cross = request("POST", &[("sec-fetch-site", "cross-site")]);
    let response = fixture
        .send(cross, |session, _| async move {
            let refused = session.sign_in("mallory", user("mallory")).await.unwrap_err();
            assert_eq!(refused.kind(), SessionErrorKind::CrossSite);
            empty()
        })
        .await;
    assert!(response.headers().is_empty());
}

// Rows: F80.
#[tokio::test]
async fn a_refresh_token_alone_is_enough_to_sign_out() {
    let (fixture, store) = Fixture::rotating_with(|b| {
        b.revalidate_with(|_| async { Err::<Revalidated<User>, _>("the database is down") })
    });
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let response = fixture
        .send(pair.refresh_only(), |session, _| async move {
            assert!(matches!(session.status(), SessionStatus::Unavailable { .. }));
            session.sign_out().await.unwrap();
            empty()
        })
        .await;
    assert_eq!(set_cookies(&response).len(), 2);
    assert!(store.is_empty(), "the session is over for every holder of a copy");
}

// Rows: F120.
#[test]
fn an_active_user_is_never_idle() {
    let build = |idle: u64, reuse_interval: u64| {
        let secs = Duration::from_secs;
        let rotate = Rotate::new(MemoryStore::new())
            .idle_lifetime(secs(idle))
            .reuse_interval(secs(reuse_interval));
        let builder = Engine::<()>::builder(Keys::hs256(SECRET).unwrap()).issuer("i").audience("a");
        builder.refresh_with(rotate).build().map(drop)
    };
    for (idle, reuse_interval) in [(600, 30), (900, 30), (60, 300)] {
        let problem = build(idle, reuse_interval).unwrap_err();
        assert!(problem.to_string().starts_with("`Rotate::idle_lifetime`"), "{problem}");
    }
    build(930, 30).unwrap();
    const TEN_YEARS: u64 = 3650 * 86_400;
    build(TEN_YEARS, 30).unwrap();
    assert!(build(TEN_YEARS + 1, 30).is_err());
}
