//! A session ends only by a signed-in client, or by a fully valid refresh token.

use super::*;
use crate::refresh::{Closing, Context, RefreshToken};

fn saw_of(events: &[String], event: &str) -> usize {
    events.iter().filter(|one| one.starts_with(event)).count()
}

async fn logout(world: &World, request: http::Request<()>) -> Response<String> {
    world
        .send(request, |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        })
        .await
}

/// Signs out by the refresh token alone. Returns the session that ended.
async fn close(world: &World, refresh: &str) -> Option<String> {
    let refresh = Some(RefreshToken::new(refresh.to_owned()));
    let cx = Context::new(world.auth.core.clone());
    world.auth.core.refresher.sign_out(cx, Closing { sid: None, refresh }).await.unwrap()
}

// Rows: M1.
#[tokio::test]
async fn an_access_token_past_its_leeway_ends_nothing() {
    for age in [0, 60, 9 * 86_400] {
        let (world, store) = World::rotating();
        let old = world.sign_in_pair("alice").await;
        expire(&world, &old);
        let mut now = old.after(&world.me(old.request()).await);
        // The leeway is 30 s. The user stays active.
        world.pass(31);
        for _ in 0..age / 3600 {
            world.pass(3600);
            visit(&world, &mut now).await;
        }
        world.pass(age % 3600);
        let _ = world.events();
        let response = logout(&world, cookie(&old.access)).await;
        assert_eq!(old.after(&response), Pair::default(), "cookies are cleared all the same");
        let over = world
            .send(cookie(&old.access), |session, _| async move {
                session.sign_in("mallory", user("mallory")).await.unwrap();
                assert_eq!(session.subject().as_deref(), Some("mallory"));
                empty()
            })
            .await;
        assert!(token_of(&over).is_some());
        let all = world
            .send(cookie(&old.access), |session, _| async move {
                assert!(session.sign_out_others().await.is_err(), "nobody is signed in");
                assert!(session.sign_out_everywhere().await.is_err());
                empty()
            })
            .await;
        assert!(set_cookies(&all).is_empty());
        assert_eq!(saw_of(&world.events(), "SignedOut"), 0);
        visit(&world, &mut now).await;
        assert_eq!(store.list("alice").await.unwrap().len(), 1);
    }
}

// Rows: M1, N3.
#[tokio::test]
async fn an_access_token_ends_its_session_once_while_it_is_good_or_within_the_leeway() {
    for late in [0, 10] {
        let (world, store) = World::rotating();
        let pair = world.sign_in_pair("alice").await;
        world.pass_until_left(&pair.access, if late == 0 { 600 } else { 0 });
        world.pass(late);
        logout(&world, cookie(&pair.access)).await;
        logout(&world, cookie(&pair.access)).await;
        assert!(store.is_empty());
        assert_eq!(saw(&world, "SignedOut"), 1, "one sign-out is one event");
    }
}

// Rows: M1.
#[tokio::test]
async fn a_refresh_token_ends_its_session_if_it_is_the_current_one_or_the_one_before() {
    let (world, store) = World::rotating();
    let first = world.sign_in_pair("alice").await;
    expire(&world, &first);
    let second = first.after(&world.me(first.request()).await);
    expire(&world, &second);
    let third = second.after(&world.me(second.request()).await);
    assert_eq!(close(&world, &first.refresh).await, None, "it lies in a log");
    let mut inner = third.refresh.clone().into_bytes();
    let at = inner.len() - 8;
    inner[at] = if inner[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(close(&world, std::str::from_utf8(&inner).unwrap()).await, None, "a ring alone");
    assert_eq!(close(&world, "x").await, None);
    assert_eq!((store.len(), saw(&world, "ReuseDetected")), (1, 0), "nobody is accused either");
    let one_more = world.sign_in_pair("alice").await;
    assert!(close(&world, &second.refresh).await.is_some(), "its successor may have been lost");
    assert_eq!(close(&world, &third.refresh).await, None, "it is over");
    assert!(close(&world, &one_more.refresh).await.is_some());
    assert!(store.is_empty());
}

// Rows: M1.
#[tokio::test]
async fn after_a_week_a_sign_out_works_by_the_refresh_token() {
    let (world, store) = World::rotating();
    for method in ["POST", "OPTIONS"] {
        let pair = world.sign_in_pair("alice").await;
        world.pass(7 * 86_400);
        let _ = world.events();
        // A preflight causes no refresh, so here only the refresh token identifies the session.
        logout(&world, request(method, &[("cookie", &pair.header())])).await;
        assert!(store.is_empty(), "{method}");
        assert_eq!(saw(&world, "SignedOut"), 1);
        assert_eq!(world.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    }
}
