//! Work beside rotations: checking late tokens again, renewing access tokens alone, sweeping.

use super::*;
use crate::error::Failure;
use crate::refresh::{Context, RefreshRequest, RefreshToken, ReissueRequest};

fn context(fixture: &Fixture) -> Context {
    Context::new(fixture.auth.core.clone())
}

fn presented(pair: &Pair) -> Option<RefreshToken> {
    Some(RefreshToken::new(pair.refresh.clone()))
}

// Rows: F13.
#[tokio::test]
async fn late_tokens_are_delivered_until_their_successor_was_presented() {
    let (fixture, _) = Fixture::rotating();
    let may_leave = async |pair: &Pair| {
        let admitted = RefreshRequest::new(None, presented(pair), true);
        fixture.auth.core.refresher.may_still_deliver(context(&fixture), admitted).await
    };
    let pair = fixture.sign_in_pair("alice").await;
    assert!(!may_leave(&pair).await, "nothing was rotated");
    expire(&fixture, &pair);
    let mut next = pair.after(&fixture.me(pair.request()).await);
    for _ in 0..2 {
        assert!(may_leave(&pair).await, "at once");
        fixture.pass(20);
        assert!(may_leave(&pair).await, "after half of the reuse interval, which starts again");
    }
    visit(&fixture, &mut next).await;
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    assert!(!may_leave(&pair).await, "another one was shown its successor");
    fixture.pass(20);
    assert!(!may_leave(&pair).await);
    assert!(!may_leave(&Pair::default()).await, "what is no token of ours");
}

#[tokio::test]
async fn an_access_token_alone_says_the_generation_that_was_presented() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let next = pair.after(&fixture.me(pair.request()).await);
    for (shown, expected) in [(&pair, 0), (&next, 1)] {
        let renewal = ReissueRequest { refresh: presented(shown), ..ReissueRequest::default() };
        let tokens = context(&fixture).reissue_access_token(renewal).await.unwrap();
        assert_eq!(tokens.refresh, None);
        let token = Pair { access: tokens.access.expose().into(), ..Pair::default() };
        let shown = fixture.send(token.request(), |session, _| async move {
            Response::new(format!("{:?}", session.generation()))
        });
        assert_eq!(*shown.await.body(), format!("Some({expected})"));
    }
    assert_eq!(store.len(), 1);
    assert_eq!(
        context(&fixture).reissue_access_token(ReissueRequest::default()).await.unwrap_err(),
        Failure::Rejected
    );
}

#[tokio::test]
async fn every_64th_sign_in_sweeps_ended_sessions_out_of_the_store() {
    let (fixture, store) = Fixture::rotating();
    for _ in 0..62 {
        fixture.sign_in("alice").await;
    }
    fixture.pass(15 * 86_400);
    fixture.sign_in("alice").await;
    tokio::task::yield_now().await;
    assert!(store.len() > 2, "not at each: {}", store.len());
    fixture.sign_in("alice").await;
    tokio::task::yield_now().await;
    assert_eq!(store.len(), 2, "those that are not over");
}

// Rows: F13.
#[tokio::test]
async fn a_successor_that_is_returned_again_is_as_old_as_its_rotation() {
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let again = async || {
        let admitted = RefreshRequest::new(None, presented(&pair), true);
        context(&fixture).refresh(admitted).await.unwrap()
    };
    let secs = Duration::from_secs;
    let left = |recheck_at: Option<Duration>| {
        recheck_at.unwrap() - fixture.auth.core.settings.clock.monotonic()
    };
    let first = again().await;
    assert_eq!(left(first.recheck_at), secs(15), "half of the reuse interval");
    for (passed, expected) in [(5, 10), (9, 1)] {
        fixture.pass(passed);
        let tokens = again().await;
        assert_eq!(tokens.refresh, first.refresh);
        assert_eq!(left(tokens.recheck_at), secs(expected));
    }
}

#[tokio::test]
async fn the_app_is_asked_again_for_a_successor_that_is_older_than_the_reuse_interval() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let (fixture, _) = Fixture::rotating_with(|b| {
        b.revalidate_with(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, &str>(Revalidated::Keep) }
        })
    });
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    // Each answer after half of the reuse interval resets the rotation's time.
    for (passed, expected) in [(0, 1), (14, 1), (16, 1), (30, 1), (31, 2), (31, 3)] {
        fixture.pass(passed);
        fixture.me(pair.request()).await;
        assert_eq!(asked.load(Ordering::SeqCst), expected, "{passed} s later");
    }
}
