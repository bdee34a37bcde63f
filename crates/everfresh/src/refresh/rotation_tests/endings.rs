//! A session ends only by a signed-in client, or by a fully valid refresh token.

use super::*;
use crate::refresh::{Closing, Context, RefreshToken};

fn saw_of(events: &[String], event: &str) -> usize {
    events.iter().filter(|one| one.starts_with(event)).count()
}

async fn logout(fixture: &Fixture, request: http::Request<()>) -> Response<String> {
    fixture
        .send(request, |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        })
        .await
}

/// Signs out by the refresh token alone. Returns the session that ended.
async fn close(fixture: &Fixture, refresh: &str) -> Option<String> {
    let refresh = Some(RefreshToken::new(refresh.to_owned()));
    let cx = Context::new(fixture.auth.core.clone());
    fixture.auth.core.refresher.sign_out(cx, Closing { sid: None, refresh }).await.unwrap()
}

// Rows: M1.
#[tokio::test]
async fn an_access_token_past_its_leeway_ends_nothing() {
    for age in [0, 60, 9 * 86_400] {
        let (fixture, store) = Fixture::rotating();
        let old = fixture.sign_in_pair("alice").await;
        expire(&fixture, &old);
        let mut now = old.after(&fixture.me(old.request()).await);
        // The leeway is 30 s. The user stays active.
        fixture.pass(31);
        for _ in 0..age / 3600 {
            fixture.pass(3600);
            visit(&fixture, &mut now).await;
        }
        fixture.pass(age % 3600);
        let _ = fixture.events();
        let response = logout(&fixture, cookie(&old.access)).await;
        assert_eq!(old.after(&response), Pair::default(), "cookies are cleared all the same");
        let over = fixture
            .send(cookie(&old.access), |session, _| async move {
                session.sign_in("mallory", user("mallory")).await.unwrap();
                assert_eq!(session.subject().as_deref(), Some("mallory"));
                empty()
            })
            .await;
        assert!(token_of(&over).is_some());
        let all = fixture
            .send(cookie(&old.access), |session, _| async move {
                assert!(session.sign_out_others().await.is_err(), "no user is signed in");
                assert!(session.sign_out_everywhere().await.is_err());
                empty()
            })
            .await;
        assert!(set_cookies(&all).is_empty());
        assert_eq!(saw_of(&fixture.events(), "SignedOut"), 0);
        visit(&fixture, &mut now).await;
        assert_eq!(store.list("alice").await.unwrap().len(), 1);
    }
}

// Rows: M1, N3.
#[tokio::test]
async fn an_access_token_ends_its_session_once_while_it_is_good_or_within_the_leeway() {
    for late in [0, 10] {
        let (fixture, store) = Fixture::rotating();
        let pair = fixture.sign_in_pair("alice").await;
        fixture.pass_until_left(&pair.access, if late == 0 { 600 } else { 0 });
        fixture.pass(late);
        logout(&fixture, cookie(&pair.access)).await;
        logout(&fixture, cookie(&pair.access)).await;
        assert!(store.is_empty());
        assert_eq!(saw(&fixture, "SignedOut"), 1, "one sign-out is one event");
    }
}

// Rows: M1.
#[tokio::test]
async fn a_refresh_token_ends_its_session_if_it_is_the_current_one_or_the_one_before() {
    let (fixture, store) = Fixture::rotating();
    let first = fixture.sign_in_pair("alice").await;
    expire(&fixture, &first);
    let second = first.after(&fixture.me(first.request()).await);
    expire(&fixture, &second);
    let third = second.after(&fixture.me(second.request()).await);
    assert_eq!(close(&fixture, &first.refresh).await, None, "it lies in a log");
    let mut inner = third.refresh.clone().into_bytes();
    let at = inner.len() - 8;
    inner[at] = if inner[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(close(&fixture, std::str::from_utf8(&inner).unwrap()).await, None, "a ring alone");
    assert_eq!(close(&fixture, "x").await, None);
    assert_eq!(
        (store.len(), saw(&fixture, "ReuseDetected")),
        (1, 0),
        "no reuse is reported either"
    );
    let one_more = fixture.sign_in_pair("alice").await;
    assert!(close(&fixture, &second.refresh).await.is_some(), "its successor may have been lost");
    assert_eq!(close(&fixture, &third.refresh).await, None, "it is over");
    assert!(close(&fixture, &one_more.refresh).await.is_some());
    assert!(store.is_empty());
}

// Rows: M1.
#[tokio::test]
async fn after_a_week_a_sign_out_works_by_the_refresh_token() {
    let (fixture, store) = Fixture::rotating();
    for method in ["POST", "OPTIONS"] {
        let pair = fixture.sign_in_pair("alice").await;
        fixture.pass(7 * 86_400);
        let _ = fixture.events();
        // A preflight causes no refresh, so here only the refresh token identifies the session.
        logout(&fixture, request(method, &[("cookie", &pair.header())])).await;
        assert!(store.is_empty(), "{method}");
        assert_eq!(saw(&fixture, "SignedOut"), 1);
        assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    }
}
