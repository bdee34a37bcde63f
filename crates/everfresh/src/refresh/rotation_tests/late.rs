//! Late events: a handler's refresh, a former session's token, an end by another node.

use super::*;

// Rows: F13, F34.
#[tokio::test]
async fn a_handler_that_refreshes_late_causes_no_reuse_alarm() {
    let (fixture, store) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    let clock = fixture.clock.clone();
    let quick = fixture.service(|session, _| async move { show_user(&session) });
    let pair = old.clone();
    let response = fixture
        .send(old.request(), move |session, _| {
            let (clock, quick, pair) = (clock.clone(), quick.clone(), pair.clone());
            async move {
                // A long request. Meanwhile another tab is refreshed, and presents its new tokens.
                clock.advance(Duration::from_secs(900));
                let twin = pair.after(&quick.clone().oneshot(pair.request()).await.unwrap());
                assert_eq!(quick.clone().oneshot(twin.request()).await.unwrap().body(), "alice");
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                clock.advance(Duration::from_secs(31));
                let refused = session.refresh().await.unwrap_err();
                assert_eq!(refused.kind(), SessionErrorKind::Unavailable);
                assert_eq!(quick.oneshot(twin.request()).await.unwrap().body(), "alice");
                empty()
            }
        })
        .await;
    assert!(set_cookies(&response).is_empty());
    assert_eq!((saw(&fixture, "ReuseDetected"), store.len()), (0, 1));
    // In a new request the same token counts as reused.
    assert_eq!(fixture.me(old.refresh_only()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.pass(60);
    assert_eq!(fixture.me(old.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((saw(&fixture, "ReuseDetected"), store.len()), (1, 0));
}

/// A process that is stopped, or a slow hook, in the middle of a rotation.
// Rows: S46.
#[tokio::test]
async fn a_node_stopped_while_it_rotates_causes_no_reuse_alarm() {
    let stop = Arc::new(tokio::sync::Semaphore::new(0));
    let (home, store) = Fixture::rotating();
    let stopped = Fixture::node(&home.clock, &store, |b| {
        let stop = stop.clone();
        b.revalidate_with(move |_| {
            let stop = stop.clone();
            async move {
                stop.acquire().await.unwrap().forget();
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    let mut pair = home.sign_in_pair("alice").await;
    let old = pair.clone();
    expire(&home, &pair);
    let mut request = std::pin::pin!(stopped.me(old.request()));
    assert!(futures::poll!(&mut request).is_pending());
    // The browser switches to another node and presents the tokens that it got there. Then the
    // reuse interval ends.
    visit(&home, &mut pair).await;
    visit(&home, &mut pair).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    home.pass(31);
    stop.add_permits(1);
    assert_eq!(request.await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((saw(&stopped, "ReuseDetected"), store.len()), (0, 1));
    visit(&home, &mut pair).await;
    // In a new request the old token counts as reused.
    stopped.pass(60);
    stop.add_permits(1);
    assert_eq!(stopped.me(old.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((saw(&stopped, "ReuseDetected"), store.len()), (1, 0));
}

// Rows: F44.
#[tokio::test]
async fn an_expired_access_token_of_a_former_session_hides_no_refresh_token() {
    let (fixture, store) = Fixture::rotating();
    let former = fixture.sign_in_pair("alice").await;
    let mut new = fixture.sign_in_pair("bob").await;
    fixture.pass(1000);
    let mixed = Pair { access: former.access.clone(), refresh: new.refresh.clone() };
    let response = fixture.me(mixed.request()).await;
    assert_eq!(response.body(), "bob");
    new.keep(&response);
    assert_eq!(fixture.me(new.request()).await.body(), "bob");
    assert_eq!(store.list("alice").await.unwrap()[0].generation, 0, "nothing came of that one");
    // The refresh token of the access token's session is preferred.
    let both = format!(
        "{COOKIE_NAME}={}; {REFRESH_NAME}={}; {REFRESH_NAME}={}",
        former.access, new.refresh, former.refresh
    );
    assert_eq!(fixture.me(get(&[("cookie", &both)])).await.body(), "alice");
}

// Rows: F62.
#[tokio::test]
async fn a_session_that_is_over_stays_so_for_tokens_of_a_node_that_is_ahead() {
    let (home, store) = Fixture::rotating();
    let now = home.clock.now().as_secs() + 3000;
    let clock = crate::ManualClock::starting_at(crate::Timestamp::from_secs(now));
    let ahead = Fixture::node(&clock, &store, |b| b);
    let pair = ahead.sign_in_pair("alice").await;
    home.send(pair.request(), |session, _| async move {
        session.sign_out().await.unwrap();
        empty()
    })
    .await;
    for _ in 0..4 {
        home.pass(900);
        assert_eq!(home.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    }
}

// Rows: F80.
#[tokio::test]
async fn tokens_of_a_session_that_ended_in_the_meantime_are_withheld() {
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let quick = fixture.service(|session, _| async move {
        session.sign_out().await.unwrap();
        empty()
    });
    let other = pair.clone();
    let response = fixture
        .send(pair.request(), move |session, _| {
            let (quick, other) = (quick.clone(), other.clone());
            async move {
                assert!(session.is_refreshed());
                quick.oneshot(other.refresh_only()).await.unwrap();
                empty()
            }
        })
        .await;
    assert!(set_cookies(&response).is_empty(), "they would overwrite a new sign-in");
}
