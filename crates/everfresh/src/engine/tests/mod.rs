//! The path of a request, from outside: which token counts, when it is refreshed, what the answer
//! is.

mod changed_claims;
mod metrics;
mod planted;
mod presented;
mod remembered;
mod unknown_keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::testing::*;
use crate::{Reissue, Revalidated, SessionErrorKind, SessionStatus};

#[tokio::test]
async fn a_session_lives_through_many_expiries_and_ends_at_its_limit() {
    let fixture = Fixture::with(|b| b.session_lifetime(Duration::from_secs(3600)));
    let mut token = fixture.sign_in("alice").await;
    let mut refreshed = 0;
    for _ in 0..60 {
        fixture.pass(59);
        let response = fixture.me(cookie(&token)).await;
        assert_eq!(response.body(), "alice");
        if let Some(new) = token_of(&response) {
            token = new;
            refreshed += 1;
        }
    }
    assert!((4..=7).contains(&refreshed), "{refreshed} refreshes in an hour of 15 minute tokens");
    fixture.pass(60);
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "the session's end, however refreshed");
    assert!(set_cookies(&response).is_empty());
}

// Rows: F53.
#[tokio::test]
async fn a_hundred_fresh_requests_set_nothing() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    for _ in 0..100 {
        let response = fixture.me(cookie(&token)).await;
        assert_eq!(response.body(), "alice");
        assert!(response.headers().is_empty(), "{:?}", response.headers());
    }
}

#[tokio::test]
async fn an_expired_token_is_refreshed_before_the_handler_runs() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let response = fixture
        .send(cookie(&token), |session, _| async move {
            assert!(session.is_refreshed());
            assert!(session.expires_at() > Some(START.plus(Duration::from_secs(900))));
            show_user(&session)
        })
        .await;
    assert_eq!(response.body(), "alice");
    let new = token_of(&response).expect("a new token");
    assert_ne!(new, token);
    assert_eq!(fixture.me(cookie(&new)).await.body(), "alice");
}

// Rows: F02.
#[tokio::test]
async fn late_requests_get_the_same_token() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let first = token_of(&fixture.me(cookie(&token)).await).unwrap();
    for wait in [0, 1, 28] {
        fixture.pass(wait);
        let twin = fixture.me(cookie(&token)).await;
        assert_eq!(token_of(&twin).as_ref(), Some(&first));
    }
    fixture.pass(2);
    let later = token_of(&fixture.me(cookie(&token)).await).unwrap();
    assert_ne!(later, first, "with `Reissue` the window's end means a new token, nothing worse");
}

#[tokio::test]
async fn the_advisory_window_refreshes_beside_the_request() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    let response = fixture
        .send(cookie(&token), |session, _| async move {
            assert!(!session.is_refreshed(), "the request goes on with the token it has");
            // The handler is slow, and the flight ends meanwhile.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            show_user(&session)
        })
        .await;
    let new = token_of(&response).expect("done in time, so it leaves with this response");

    let quick = fixture.me(cookie(&token)).await;
    assert_eq!(token_of(&quick), Some(new), "or with the next one");
}

// Rows: F11.
#[tokio::test]
async fn a_prefetch_is_not_refreshed_early_but_when_it_must_be() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let prefetch = |token: &str| {
        get(&[("cookie", &format!("{COOKIE_NAME}={token}")), ("sec-purpose", "prefetch")])
    };
    fixture.pass_until_left(&token, 100);
    assert!(set_cookies(&fixture.me(prefetch(&token)).await).is_empty());
    fixture.pass_until_left(&token, 10);
    let lost = fixture.me(prefetch(&token)).await;
    assert!(token_of(&lost).is_some());
    assert_eq!(
        fixture.me(cookie(&token)).await.body(),
        "alice",
        "though that response was dropped"
    );
}

// Rows: F10.
#[tokio::test]
async fn a_preflight_touches_nothing() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let preflight = request("OPTIONS", &[("cookie", &format!("{COOKIE_NAME}={token}"))]);
    let response = fixture.send(preflight, |_, _| async { Response::new(String::new()) }).await;
    assert!(response.headers().is_empty());
    assert!(fixture.events().iter().all(|event| !event.starts_with("Refreshed")));
}

#[tokio::test]
async fn reissue_accepts_a_token_until_grace_after_its_expiry() {
    let grace = Duration::from_secs(600);
    let fixture = Fixture::with(|b| b.refresh_with(Reissue::new().grace(grace)));
    let token = fixture.sign_in("alice").await;
    let minted = 900; // minus up to 45 s of jitter
    fixture.pass(minted - 45 + 600 - 1);
    assert_eq!(fixture.me(cookie(&token)).await.status(), StatusCode::OK);
    fixture.pass(46);
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(set_cookies(&response).is_empty(), "what is over is not cleared either");
}

// Rows: S11.
#[tokio::test]
async fn a_tampered_expired_token_is_401_and_sets_nothing() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let mut forged = token[..token.len() - 4].to_owned();
    forged.push_str(if token.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    let _ = fixture.events();
    let response = fixture.me(cookie(&forged)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(set_cookies(&response).is_empty());
    assert_eq!(fixture.events(), ["TokenRefused { reason: Signature }"], "no refresh attempted");
}

// Rows: S76.
#[tokio::test]
async fn rejections_name_their_challenge_and_leak_nothing() {
    let fixture = Fixture::new();
    let none = fixture.me(get(&[])).await;
    assert_eq!(none.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(none.headers()[WWW_AUTHENTICATE], "Bearer", "no error code without credentials");
    assert_eq!(none.headers()["content-type"], "application/problem+json");
    assert_eq!(none.headers()[CACHE_CONTROL], "no-store");

    let bad = fixture.me(cookie("a.b.c")).await;
    assert_eq!(bad.status(), StatusCode::UNAUTHORIZED);
    let challenge = bad.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""));
    // RFC 6750 section 3: %x20-21 / %x23-5B / %x5D-7E inside the quotes.
    let description = challenge.rsplit_once("=\"").unwrap().1.strip_suffix('"').unwrap();
    assert!(description.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
    let problem: serde_json::Value = serde_json::from_str(bad.body()).unwrap();
    assert_eq!(problem["status"], 401);
    assert!(!bad.body().contains("ignature"), "why it is refused is for the log");
}

// Rows: F83.
#[tokio::test]
async fn revalidation_changes_claims_or_ends_the_session() {
    let fixture = Fixture::with(|b| {
        b.revalidate_with(|session| async move {
            Ok::<_, &str>(match &*session.claims.unwrap().name {
                "alice" => Revalidated::Replace(user("alice the second")),
                "bob" => Revalidated::End,
                _ => Revalidated::Keep,
            })
        })
    });
    for (name, expected) in
        [("alice", (StatusCode::OK, "alice the second")), ("carol", (StatusCode::OK, "carol"))]
    {
        let token = fixture.sign_in(name).await;
        fixture.pass(900);
        let response = fixture.me(cookie(&token)).await;
        assert_eq!((response.status(), &**response.body()), expected);
        let new = token_of(&response).unwrap();
        assert_eq!(fixture.me(cookie(&new)).await.body(), expected.1);
    }
    let token = fixture.sign_in("bob").await;
    fixture.pass(900);
    assert_eq!(fixture.me(cookie(&token)).await.status(), StatusCode::UNAUTHORIZED);
}

// Rows: F70, S59.
#[tokio::test]
async fn a_failing_hook_is_503_for_an_expired_token_and_nothing_for_a_good_one() {
    let fixture = Fixture::with(|b| {
        b.revalidate_with(|_| async { Err::<Revalidated<User>, _>("the database is down") })
    });
    let token = fixture.sign_in("alice").await;
    for left in [100, 10] {
        fixture.pass_until_left(&token, left);
        let response = fixture.me(cookie(&token)).await;
        assert_eq!(response.body(), "alice", "advisory or mandatory: the token is still good");
        assert!(response.headers().is_empty());
    }
    fixture.pass(10 + 29);
    let _ = fixture.events();
    assert_eq!(
        fixture.me(cookie(&token)).await.body(),
        "alice",
        "the leeway, as no new token is available"
    );
    assert!(fixture.events().iter().any(|event| event.starts_with("StaleServed")));
    fixture.pass(1);
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert!(set_cookies(&response).is_empty(), "no cookie is touched");
}

// Rows: S34.
#[tokio::test]
async fn a_panicking_hook_is_an_outage_and_nothing_more() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO).revalidate_with(move |_| {
            let call = count.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(call > 0, "a bug in the hook");
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    assert_eq!(fixture.me(cookie(&token)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.pass(1);
    assert_eq!(fixture.me(cookie(&token)).await.body(), "alice", "the next flight is a new one");
}

// Rows: F71.
#[tokio::test]
async fn keys_that_no_longer_sign_are_an_outage_and_not_a_sign_out() {
    let keys = crate::Keys::hs256(SECRET).unwrap();
    let fixture = Fixture::with(|b| b.leeway(Duration::ZERO));
    let token = fixture.sign_in("alice").await;
    let verifying =
        crate::Keys::verifying([
            crate::Key::hmac(crate::Algorithm::HS256, SECRET.as_bytes()).unwrap()
        ]);
    fixture.auth.core.settings.keys.replace_with(&verifying.unwrap());
    fixture.pass(900);
    assert_eq!(fixture.me(cookie(&token)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.auth.core.settings.keys.replace_with(&keys);
    fixture.pass(1);
    assert_eq!(fixture.me(cookie(&token)).await.body(), "alice");
}

#[tokio::test]
async fn signing_in_again_replaces_the_session_of_this_request() {
    let fixture = Fixture::new();
    let alice = fixture.sign_in("alice").await;
    fixture.pass(900);
    let response = fixture
        .send(cookie(&alice), |session, _| async move {
            assert_eq!(session.subject().as_deref(), Some("alice"));
            let first = session.sid();
            session.sign_in("bob", user("bob")).await.unwrap();
            assert_ne!(session.sid(), first);
            show_user(&session)
        })
        .await;
    assert_eq!(response.body(), "bob", "handlers see it at once");
    assert_eq!(set_cookies(&response).len(), 1, "one cookie of a name, the last word's");
    let bob = token_of(&response).unwrap();
    assert_eq!(fixture.me(cookie(&bob)).await.body(), "bob");
}

// Rows: F80.
#[tokio::test]
async fn signing_out_wins_over_a_refresh_in_the_same_request() {
    let fixture = Fixture::new();
    for age in [0, 700, 900, 10 * 3600] {
        let token = fixture.sign_in("alice").await;
        fixture.pass(age);
        let response = fixture
            .send(cookie(&token), |session, _| async move {
                session.sign_out().await.unwrap();
                assert_eq!(session.status(), SessionStatus::Absent);
                Response::new(String::new())
            })
            .await;
        let cookies = set_cookies(&response);
        assert_eq!(token_of(&response), None, "age {age}: {cookies:?}");
        assert_eq!(cookies.len(), 2, "both cookies of the pair are deleted: {cookies:?}");
        assert!(cookies.iter().all(|cookie| cookie.contains("Max-Age=0")));
    }
}

#[tokio::test]
async fn sealed_after_the_head_is_sent() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let (keep, kept) = std::sync::mpsc::channel();
    let response = fixture
        .send(cookie(&token), move |session, _| {
            keep.send(session).unwrap();
            async { Response::new(String::new()) }
        })
        .await;
    assert!(set_cookies(&response).is_empty());
    let session = kept.recv().unwrap();
    let late = session.sign_in("bob", user("bob")).await.unwrap_err();
    assert_eq!(late.kind(), SessionErrorKind::ResponseSent);
    assert_eq!(session.refresh().await.unwrap_err().kind(), SessionErrorKind::ResponseSent);
    assert_eq!(session.subject().as_deref(), Some("alice"), "nothing changed");
    session.sign_out().await.unwrap();
    assert_eq!(session.status(), SessionStatus::Absent);
}

// Rows: F13.
#[tokio::test]
async fn a_refresh_by_the_handler_joins_the_middlewares_refresh() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let refresh = |session: crate::Session<User>, _| async move {
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
        assert!(session.is_refreshed());
        show_user(&session)
    };
    let fresh = fixture.send(cookie(&token), refresh).await;
    assert!(token_of(&fresh).is_some(), "on demand, though the token is fresh");
    fixture.pass(900);
    let _ = fixture.events();
    let response = fixture.send(cookie(&token), refresh).await;
    assert!(token_of(&response).is_some());
    assert_eq!(fixture.events().len(), 1, "one flight for both");

    let stranger = fixture
        .send(get(&[]), |session, _| async move {
            assert_eq!(session.refresh().await.unwrap_err().kind(), SessionErrorKind::NotSignedIn);
            assert_eq!(session.access_token().unwrap_err().kind(), SessionErrorKind::NotSignedIn);
            Response::new(String::new())
        })
        .await;
    assert!(stranger.headers().is_empty());
}

#[tokio::test]
async fn claims_that_cant_travel_are_refused_before_anything_is_sent() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Wrong {
        exp: u64,
    }
    let auth = crate::Engine::<Wrong>::builder(crate::Keys::hs256(SECRET).unwrap())
        .issuer("i")
        .audience("a")
        .refresh_with(Reissue::new())
        .build()
        .unwrap();
    let crate::adapter::Progress::Pass(session) = auth.begin(&get(&[])) else {
        panic!("nothing to wait for")
    };
    let problem = session.sign_in("x", Wrong { exp: 1 }).await.unwrap_err();
    assert_eq!(problem.kind(), SessionErrorKind::Claims);
    assert!(problem.to_string().contains("\"exp\""), "{problem}");

    let fixture = Fixture::new();
    let large = "n".repeat(4096);
    let response = fixture
        .send(get(&[]), move |session, _| {
            let large = large.clone();
            async move {
                let problem = session.sign_in("x", User { name: large }).await.unwrap_err();
                assert_eq!(problem.kind(), SessionErrorKind::Misconfigured);
                assert_eq!(session.status(), SessionStatus::Absent);
                Response::new(String::new())
            }
        })
        .await;
    assert!(response.headers().is_empty(), "F40: an error, not a cookie that a browser drops");
    assert!(fixture.events().iter().any(|event| event.starts_with("TokenTooLarge")));
}

#[tokio::test]
async fn a_token_for_upstream_calls_is_another_token_of_the_same_session() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let response = fixture
        .send(cookie(&token), |session, _| async move {
            Response::new(session.access_token().unwrap().expose().to_owned())
        })
        .await;
    assert_ne!(*response.body(), token);
    assert!(response.headers().is_empty(), "the client's own token stays");
    assert_eq!(fixture.me(cookie(response.body())).await.body(), "alice");
}

#[tokio::test]
async fn without_a_refresh_a_token_is_used_for_the_leeway_and_no_longer() {
    for (lifetime, leeway) in [(900, 30), (20, 5)] {
        let fixture = Fixture::with(|b| {
            b.access_lifetime(Duration::from_secs(lifetime))
                .refresh_with(Reissue::new().grace(Duration::ZERO))
        });
        let token = fixture.sign_in("alice").await;
        fixture.pass_until_left(&token, 0);
        // A quarter of its lifetime, which jitter shortens by up to 5 %.
        fixture.pass(leeway - 1 - leeway / 20);
        assert_eq!(fixture.me(cookie(&token)).await.body(), "alice");
        fixture.pass(2 + leeway / 20);
        assert_eq!(fixture.me(cookie(&token)).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_session_reports_its_times() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(60);
    fixture
        .send(cookie(&token), |session, _| async move {
            assert_eq!(session.signed_in_at(), Some(START));
            let month = START.plus(Duration::from_secs(30 * 24 * 3600));
            assert_eq!(session.session_expires_at(), Some(month));
            assert_eq!(session.sid().unwrap().len(), 22);
            Response::new(String::new())
        })
        .await;
}

#[tokio::test]
async fn an_adapter_can_run_each_step_by_hand() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let pairs = format!("{COOKIE_NAME}={token}; __Host-refresh_token=rt; a=1");
    let mut request = get(&[("cookie", &pairs)]);
    let step = fixture.auth.begin(&request);
    assert!(matches!(step, crate::adapter::Progress::Wait(_)), "expired");
    let session = step.settle().await;
    let in_flight = fixture.auth.attach(session, &mut request);
    assert_eq!(request.headers()["cookie"], format!("{COOKIE_NAME}={token}; a=1"));
    let session = in_flight.session().clone();
    let response = in_flight.finish(show_user(&session)).await;
    assert!(token_of(&response).is_some());
    let too_late = session.sign_in("bob", user("bob")).await.unwrap_err();
    assert_eq!(too_late.kind(), SessionErrorKind::ResponseSent);
}

#[tokio::test]
async fn an_adapter_that_is_dropped_seals_its_session() {
    let fixture = Fixture::new();
    let mut request = get(&[]);
    let session = fixture.auth.begin(&request).settle().await;
    let in_flight = fixture.auth.attach(session, &mut request);
    let session = in_flight.session().clone();
    session.sign_in("alice", user("alice")).await.unwrap();
    drop(in_flight);
    let too_late = session.sign_in("bob", user("bob")).await.unwrap_err();
    assert_eq!(too_late.kind(), SessionErrorKind::ResponseSent);
}
