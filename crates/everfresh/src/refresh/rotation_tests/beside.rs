//! Work beside rotations: checking late tokens again, renewing access tokens alone, sweeping.

use super::*;
use crate::error::Failure;
use crate::refresh::{Context, RefreshRequest, RefreshToken, ReissueRequest};

fn context(world: &World) -> Context {
    Context::new(world.auth.core.clone())
}

fn presented(pair: &Pair) -> Option<RefreshToken> {
    Some(RefreshToken::new(pair.refresh.clone()))
}

// Rows: F13.
#[tokio::test]
async fn late_tokens_are_delivered_until_their_successor_was_presented() {
    let (world, _) = World::rotating();
    let may_leave = async |pair: &Pair| {
        let admitted = RefreshRequest::new(None, presented(pair), true);
        world.auth.core.refresher.may_still_deliver(context(&world), admitted).await
    };
    let pair = world.sign_in_pair("alice").await;
    assert!(!may_leave(&pair).await, "nothing was rotated");
    expire(&world, &pair);
    let mut next = pair.after(&world.me(pair.request()).await);
    for _ in 0..2 {
        assert!(may_leave(&pair).await, "at once");
        world.pass(20);
        assert!(may_leave(&pair).await, "after half of the reuse interval, which begins anew");
    }
    visit(&world, &mut next).await;
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    assert!(!may_leave(&pair).await, "another one was shown its successor");
    world.pass(20);
    assert!(!may_leave(&pair).await);
    assert!(!may_leave(&Pair::default()).await, "what is no token of ours");
}

#[tokio::test]
async fn an_access_token_alone_says_the_generation_that_was_presented() {
    let (world, store) = World::rotating();
    let pair = world.sign_in_pair("alice").await;
    expire(&world, &pair);
    let next = pair.after(&world.me(pair.request()).await);
    for (shown, expected) in [(&pair, 0), (&next, 1)] {
        let renewal = ReissueRequest { refresh: presented(shown), ..ReissueRequest::default() };
        let tokens = context(&world).reissue_access_token(renewal).await.unwrap();
        assert_eq!(tokens.refresh, None);
        let token = Pair { access: tokens.access.expose().into(), ..Pair::default() };
        let shown = world.send(token.request(), |session, _| async move {
            Response::new(format!("{:?}", session.generation()))
        });
        assert_eq!(*shown.await.body(), format!("Some({expected})"));
    }
    assert_eq!(store.len(), 1);
    assert_eq!(
        context(&world).reissue_access_token(ReissueRequest::default()).await.unwrap_err(),
        Failure::Rejected
    );
}

#[tokio::test]
async fn every_64th_sign_in_sweeps_ended_sessions_out_of_the_store() {
    let (world, store) = World::rotating();
    for _ in 0..62 {
        world.sign_in("alice").await;
    }
    world.pass(15 * 86_400);
    world.sign_in("alice").await;
    tokio::task::yield_now().await;
    assert!(store.len() > 2, "not at each: {}", store.len());
    world.sign_in("alice").await;
    tokio::task::yield_now().await;
    assert_eq!(store.len(), 2, "those that are not over");
}

// Rows: F13.
#[tokio::test]
async fn a_successor_that_is_returned_again_is_as_old_as_its_rotation() {
    let (world, _) = World::rotating();
    let pair = world.sign_in_pair("alice").await;
    expire(&world, &pair);
    let again = async || {
        let admitted = RefreshRequest::new(None, presented(&pair), true);
        context(&world).refresh(admitted).await.unwrap()
    };
    let secs = Duration::from_secs;
    let left = |recheck_at: Option<Duration>| {
        recheck_at.unwrap() - world.auth.core.settings.clock.monotonic()
    };
    let first = again().await;
    assert_eq!(left(first.recheck_at), secs(15), "half of the reuse interval");
    for (passed, expected) in [(5, 10), (9, 1)] {
        world.pass(passed);
        let tokens = again().await;
        assert_eq!(tokens.refresh, first.refresh);
        assert_eq!(left(tokens.recheck_at), secs(expected));
    }
}

#[tokio::test]
async fn the_app_is_asked_again_for_a_successor_that_is_older_than_the_reuse_interval() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let (world, _) = World::rotating_with(|b| {
        b.revalidate_with(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, &str>(Revalidated::Keep) }
        })
    });
    let pair = world.sign_in_pair("alice").await;
    expire(&world, &pair);
    // Each answer after half of the reuse interval resets the rotation's time.
    for (passed, expected) in [(0, 1), (14, 1), (16, 1), (30, 1), (31, 2), (31, 3)] {
        world.pass(passed);
        world.me(pair.request()).await;
        assert_eq!(asked.load(Ordering::SeqCst), expected, "{passed} s later");
    }
}
