//! The engine opens a refresh token once per request, and passes the result on.

use http::StatusCode;

use super::*;
use crate::refresh::token::OPENED;

/// How many tags of refresh tokens are verified while `work` runs.
async fn opened<T>(work: impl Future<Output = T>) -> (T, usize) {
    OPENED.set(0);
    let done = work.await;
    (done, OPENED.take())
}

#[tokio::test]
async fn a_refresh_token_is_opened_once_a_request() {
    let fixture = Fixture::rotating().0;
    let pair = fixture.sign_in_pair("alice").await;
    let (fresh, times) = opened(fixture.me(pair.request())).await;
    assert_eq!((fresh.status(), times), (StatusCode::OK, 0), "nothing is to be refreshed");

    fixture.pass_until_left(&pair.access, 100);
    let beside = async {
        let response = fixture.me(pair.request()).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        response.status()
    };
    assert_eq!(opened(beside).await, (StatusCode::OK, 1));

    let pair = fixture.sign_in_pair("bob").await;
    fixture.pass(1000);
    let (awaited, times) = opened(fixture.me(pair.request())).await;
    assert_eq!((&**awaited.body(), set_cookies(&awaited).len(), times), ("bob", 2, 1));
    let (alone, times) = opened(fixture.me(pair.refresh_only())).await;
    assert_eq!((&**alone.body(), times), ("bob", 1));

    let signed_out = fixture.send(pair.refresh_only(), |session, _| async move {
        session.sign_out().await.unwrap();
        empty()
    });
    assert_eq!(opened(signed_out).await.1, 1);
}

#[tokio::test]
async fn a_refresh_token_is_opened_once_at_a_dialect() {
    let fixture = Fixture::rotating_with(|b| b.dialect(crate::dialect::Dialect::JWT_AUTH_PRO)).0;
    let pair = fixture.sign_in_pair("alice").await;
    let endpoint = fixture.auth.endpoints().pop().unwrap();
    let call = endpoint.read(&request("POST", &[]));
    let session = fixture.auth.begin(&get(&[])).settle().await;
    let body = format!(r#"{{"refresh_token": "{}"}}"#, pair.refresh);
    let answer = endpoint.answer(call, Some(body.as_bytes()), Ok(&session));
    let (reply, times) = opened(answer).await;
    assert_eq!((reply.status(), times), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_token_that_another_engine_opened_is_opened_anew() {
    let (ours, theirs) = (Fixture::rotating().0, Fixture::rotating_with(|b| b.audience("other")).0);
    let pair = ours.sign_in_pair("alice").await;
    let token = crate::refresh::RefreshToken::new(pair.refresh);
    let identify = |fixture: &Fixture| {
        let core = &fixture.auth.core;
        core.refresher.identify(crate::refresh::Presented::with(None, Some(&token)), core.now())
    };
    assert!(identify(&ours).is_some());
    assert!(identify(&theirs).is_none(), "its keys are others");
    assert!(identify(&ours).is_some());
}

#[tokio::test]
async fn what_one_text_was_found_to_be_is_not_taken_for_another() {
    let fixture = Fixture::rotating().0;
    let pair = fixture.sign_in_pair("alice").await;
    let core = &fixture.auth.core;
    let token = crate::refresh::RefreshToken::new(pair.refresh.clone());
    let mut presented = crate::refresh::Presented::with(None, Some(&token));
    assert!(core.refresher.identify(presented, core.now()).is_some());
    // As a refresher does that wraps this one.
    let forged = pair.refresh.replacen(|c: char| c.is_ascii(), "_", 1);
    presented.refresh = Some(forged.as_bytes());
    assert!(core.refresher.identify(presented, core.now()).is_none());
}
