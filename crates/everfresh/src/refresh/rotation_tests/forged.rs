//! A refresh token with a valid outer tag and an invalid inner tag: from an attacker that has the
//! key ring and not the store, or damaged in transit.

use tokio::sync::Semaphore;

use super::*;
use crate::SessionStatus;
use crate::adapter::Progress;

/// Another text under the same outer tag.
fn forged(pair: &Pair) -> Pair {
    let mut refresh = pair.refresh.clone().into_bytes();
    let at = refresh.len() - 8;
    refresh[at] = if refresh[at] == b'A' { b'B' } else { b'A' };
    Pair { refresh: String::from_utf8(refresh).unwrap(), ..pair.clone() }
}

// Rows: S55.
#[tokio::test]
async fn a_forged_refresh_token_gets_no_other_tokens_successor() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let (fixture, store) = Fixture::rotating_with(|b| {
        b.revalidate_with(move |_| {
            let held = held.clone();
            async move {
                held.acquire().await.unwrap().forget();
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    let begin = |request: &http::Request<()>| match fixture.auth.begin(request) {
        Progress::Wait(waiting) => waiting,
        Progress::Pass(session) => panic!("{session:?} does not wait"),
    };
    for order in [[true, false], [false, true]] {
        let pair = fixture.sign_in_pair("alice").await;
        expire(&fixture, &pair);
        let waiting = order.map(|good| (good, if good { pair.clone() } else { forged(&pair) }));
        let waiting = waiting.map(|(good, pair)| (good, begin(&pair.refresh_only())));
        // Both flights run before either may end.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        for (good, waiting) in waiting {
            let session = waiting.settle().await;
            let response = finish(&fixture.auth, &session, empty()).await;
            let (status, cookies) = (session.status(), set_cookies(&response).len());
            let expected =
                if good { (SessionStatus::Present, 2) } else { (SessionStatus::Rejected, 0) };
            assert_eq!((status, cookies), expected, "{order:?}");
        }
    }
    assert_eq!((store.len(), saw(&fixture, "ReuseDetected")), (2, 0));
}

// Rows: F34, S44.
#[tokio::test]
async fn a_forged_refresh_token_ends_nothing() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    let header = format!("{REFRESH_NAME}={}", forged(&pair).refresh);
    let response = fixture.me(get(&[("cookie", &header), ("sec-fetch-mode", "navigate")])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(set_cookies(&response).is_empty(), "what is not authentic clears nothing");
    assert_eq!((store.len(), saw(&fixture, "ReuseDetected")), (1, 0));
    assert_eq!(fixture.me(pair.request()).await.body(), "alice", "nothing is known against her");
    assert_eq!(fixture.me(pair.refresh_only()).await.body(), "alice");
}
