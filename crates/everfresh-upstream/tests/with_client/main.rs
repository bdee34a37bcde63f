//! Tokens of another server, sealed in the client's cookies.

#![expect(clippy::unwrap_used, reason = "tests")]

mod ended;
mod fixture;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::dialect::AccessTokenResponse;
use everfresh::refresher::RefreshToken;
use everfresh::{
    AccessToken, ConfigError, Engine, InnerToken, KeyRing, Keys, ManualClock, SessionErrorKind,
    SessionStatus, SignIn,
};
use everfresh_error_texts::check_error;
use everfresh_testkit::Site;
use everfresh_upstream::Replay;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};

use fixture::*;

// Rows: S83.
#[tokio::test]
async fn sealed_tokens_are_refreshed_once_per_expiry_and_unreadable_to_clients() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    let visit = fixture.sign_in().await;
    assert_eq!(names(&visit), [ACCESS, REFRESH]);
    for expiry in 1..=5 {
        let sealed = fixture.jar.get(REFRESH).unwrap().to_owned();
        let bytes = B64.decode(&sealed).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("access"), "it is sealed");
        fixture.pass(LIFE);
        let visit = fixture.look().await;
        assert_eq!((visit.status, issuer.calls()), (SessionStatus::Present, expiry));
        assert_eq!(names(&visit), [ACCESS, REFRESH]);
        assert!(!visit.seen.contains(REFRESH), "the inner service sees none of it");
        let visit = fixture.look().await;
        assert_eq!((visit.status, visit.set.len()), (SessionStatus::Present, 0));
    }
}

/// The new tokens would be stored nowhere else, so the node sends no request.
// Rows: N1.
#[tokio::test]
async fn sealed_tokens_are_not_spent_on_claims_that_do_not_fit() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Changed {
        email: String,
    }
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut old = Fixture::new(issuer.sealed(), &clock);
    old.sign_in().await;
    old.pass(LIFE);
    let new = Engine::<Changed>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(clock.clone())
        .refresh_with(issuer.sealed())
        .build()
        .unwrap();
    let cookies = old.jar.header(&Site::https("app.example", "/"), clock.now());
    let request = Request::builder().header(COOKIE, cookies).body(()).unwrap();
    let session = new.begin(&request).settle().await;
    let in_flight = new.attach(session.clone(), &mut Request::new(()));
    let response = in_flight.finish(Response::new(())).await;
    assert_eq!((session.status(), issuer.calls()), (SessionStatus::UnreadClaims, 0));
    assert!(response.headers().get(SET_COOKIE).is_none());
    assert_eq!((old.look().await.status, issuer.calls()), (SessionStatus::Present, 1));
}

// Rows: F110.
#[tokio::test]
async fn a_strangers_bytes_cause_no_call() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let fixture = Fixture::new(issuer.sealed(), &clock);
    for stranger in ["x", "r0", &"A".repeat(4000)] {
        let visit = fixture.thief(stranger).look().await;
        assert!(visit.status != SessionStatus::Present && visit.set.is_empty());
    }
    assert_eq!(issuer.calls(), 0);
}

// Rows: F40, F41.
#[tokio::test]
async fn large_tokens_take_several_cookies_and_leave_none_behind() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    let pieces: Vec<String> = (0..4)
        .map(|n| if n == 0 { REFRESH.to_owned() } else { format!("{REFRESH}.{n}") })
        .collect();
    for padding in [3_000, 9_000, 5_000, 0, 6_000, 0] {
        issuer.pads(padding);
        fixture.pass(LIFE);
        let visit = fixture.look().await;
        assert_eq!(visit.status, SessionStatus::Present, "{padding}");
        assert!(visit.set.iter().all(|(name, size)| name.len() + size <= 4096), "{:?}", visit.set);
        let mut written: Vec<_> = visit.set.iter().map(|(name, _)| name.clone()).collect();
        written.sort();
        let mut all = pieces.clone();
        all.push(ACCESS.to_owned());
        all.sort();
        assert_eq!(written, all, "each is written or deleted, once");
        let kept = pieces.iter().filter(|name| fixture.jar.get(name).is_some()).count();
        // As base64, twice. An access token of some 250 bytes is included as well.
        assert!(kept > padding / 3_800, "{padding}: {kept}");
        let visit = fixture.look().await;
        assert_eq!(visit.status, SessionStatus::Present);
        assert!(!visit.seen.contains(REFRESH), "no piece of it is seen inside");
    }
    issuer.pads(20_000);
    fixture.pass(LIFE + LEEWAY);
    let visit = fixture.look().await;
    assert!(matches!(visit.status, SessionStatus::Unavailable { .. }), "too large for any client");
    assert!(visit.set.is_empty(), "and nothing is committed");
    let visit = fixture.visit(|session| async move { session.sign_out().await.unwrap() }).await;
    assert_eq!(visit.set.len(), 5);
    assert!(visit.set.iter().all(|(_, size)| *size == 0), "sign-out deletes every piece");
}

// Rows: F49.
#[tokio::test]
async fn a_ring_rotates_under_sealed_cookies() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let (old, new) = (b"G6Hj5Vt5KX2ZcVFTVKCfpFG9VFUqWWbZ", b"M8GkDNsi9tA3codC8Q6Cz6YJs2kuBVAE");
    let ring = |first: &[u8]| KeyRing::new(first).unwrap();
    let node = |ring| Fixture::new(issuer.sealed().key_ring(ring), &clock);
    let mut before = node(ring(old));
    before.sign_in().await;
    let mut after = node(ring(new).and_former(old).unwrap());
    after.jar = before.jar.clone();
    after.pass(LIFE);
    assert_eq!(after.look().await.status, SessionStatus::Present);
    let mut alone = node(ring(new));
    alone.jar = after.jar.clone();
    alone.pass(LIFE);
    assert_eq!(alone.look().await.status, SessionStatus::Present, "sealed by the new key");
    let mut stranger = node(ring(old));
    stranger.jar = alone.jar.clone();
    let before = issuer.calls();
    stranger.pass(LIFE + LEEWAY);
    assert_eq!((stranger.look().await.status, issuer.calls()), (SessionStatus::Rejected, before));
}

#[tokio::test(start_paused = true)]
async fn a_result_leaves_with_the_response_that_asked_for_it() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    fixture.pass(LIFE - 40);
    issuer.open.send_replace(false);
    let gate = issuer.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        gate.open.send_replace(true);
    });
    let began = tokio::time::Instant::now();
    let visit = fixture.visit(|session| async move {
        assert_eq!(session.status(), SessionStatus::Present);
    });
    let visit = visit.await;
    assert_eq!(names(&visit), [ACCESS, REFRESH], "the head waited for it");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    fixture.pass(LIFE);
    assert_eq!((fixture.look().await.status, issuer.calls()), (SessionStatus::Present, 2));
}

// Rows: F15.
#[tokio::test]
async fn a_lost_response_is_recovered_by_the_next_request() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    for wait in [0, 20, 31, 3600] {
        fixture.pass(LIFE);
        let kept = fixture.jar.clone();
        assert_eq!(fixture.look().await.status, SessionStatus::Present);
        fixture.jar = kept;
        fixture.pass(wait);
        let before = issuer.calls();
        let visit = fixture.look().await;
        assert_eq!((visit.status, names(&visit)), (SessionStatus::Present, vec![ACCESS, REFRESH]));
        // A late concurrent request gets the kept result. Afterwards the node asks the other
        // server.
        assert_eq!(issuer.calls() - before, usize::from(wait > 30), "after {wait} s");
    }
}

// Rows: S57.
#[tokio::test]
async fn without_a_row_a_token_is_sent_again_only_if_the_policy_says_so() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    issuer.fails(Fault::Gone);
    fixture.pass(LIFE + LEEWAY);
    let visit = fixture.look().await;
    assert!(matches!(visit.status, SessionStatus::Unavailable { .. }), "{:?}", visit.status);
    assert!(visit.set.is_empty(), "no cookie is cleared");
    issuer.fails(Fault::Nothing);
    fixture.pass(60);
    assert_eq!(fixture.look().await.status, SessionStatus::Present);
    assert_eq!(*issuer.sent.lock().unwrap(), ["r0", "r0"]);
    // With any other replay setting `build()` fails.
    for replay in [Replay::Never, Replay::Within(Duration::from_secs(60))] {
        let built = Engine::<()>::builder(Keys::hs256(SECRET).unwrap())
            .issuer("https://app.example")
            .audience("app")
            .clock(clock.clone())
            .refresh_with(issuer.upstream().replay(replay).sealed_in_cookies())
            .build();
        let error = built.unwrap_err();
        assert!(matches!(error, ConfigError::Unfit { .. }), "{error:?}");
        let says = ["`Upstream::sealed_in_cookies`", "`Replay::", "`kept_in(store)`"];
        check_error(&error.to_string(), &says);
    }
}

// Rows: S66.
#[tokio::test]
async fn signing_out_revokes_what_the_client_held() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    fixture.sign_out().await;
    assert!(fixture.jar.get(REFRESH).is_none());
    assert_eq!(*issuer.revoked.lock().unwrap(), ["r0"]);
}

// Rows: M12.
#[tokio::test]
async fn tokens_of_any_bytes_come_back_as_they_were() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    for text in ["aaa.bbb.ccc", "a b", "\"q\"", "semi;colon, comma\\", "\u{fc}\n\u{1f511}"] {
        let mut fixture = Fixture::new(issuer.sealed(), &clock);
        let mut issued = AccessTokenResponse::new(AccessToken::new(format!("at {text}")))
            .with_refresh_token(RefreshToken::new(text.into()))
            .with_expires_in(Duration::from_secs(LIFE));
        issued.members.insert("instance_url".into(), text.into());
        let sign_in = SignIn::new("alice", ()).backed_by(issued);
        let visit = fixture.visit(|session| async move {
            session.sign_in_with(sign_in).await.unwrap();
        });
        assert_eq!(names(&visit.await), [ACCESS, REFRESH], "{text:?}");
        fixture
            .visit(|session| async move {
                let token = session.upstream_access_token().await.unwrap();
                assert_eq!(token.expose(), format!("at {text}"));
                assert_eq!(token.kept("instance_url"), Some(text));
            })
            .await;
        fixture.pass(LIFE);
        fixture.look().await;
        let sent = issuer.sent.lock().unwrap().last().cloned().unwrap();
        let sent: String = form_urlencoded::parse(format!("t={sent}").as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect();
        assert_eq!(sent, text);
    }
}

// Rows: M12.
#[tokio::test]
async fn tokens_that_do_not_fit_are_an_error_of_the_sign_in() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    let issued = AccessTokenResponse::new(AccessToken::new(access(0, LIFE)))
        .with_refresh_token(RefreshToken::new("x".repeat(20_000)))
        .with_expires_in(Duration::from_secs(LIFE));
    let sign_in = SignIn::new("alice", ()).backed_by(issued);
    let visit = fixture.visit(|session| async move {
        let error = session.sign_in_with(sign_in).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Misconfigured);
    });
    assert_eq!(visit.await.set, []);
}

// Rows: H2.
#[tokio::test]
async fn a_flight_belongs_to_the_exact_cookie_that_was_presented() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    let kept = fixture.jar.clone();
    fixture.pass(LIFE);
    fixture.look().await;
    let one = fixture.sealed();
    // The same cookie again, after its result is forgotten. It gets other tokens with the same
    // number.
    fixture.pass(31);
    fixture.jar = kept;
    fixture.look().await;
    let other = fixture.sealed();
    assert_ne!(one, other);
    fixture.pass(LIFE);
    for sealed in [&one, &other] {
        let calls = issuer.calls();
        let visit = fixture.thief(sealed).look().await;
        assert_eq!((visit.status, issuer.calls()), (SessionStatus::Present, calls + 1));
    }
}

#[tokio::test]
async fn upstream_calls_use_the_access_token_in_the_clients_cookie() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let refresher = issuer.sealed();
    let mut fixture =
        Fixture::with(refresher, &clock, |builder| builder.inner_token(InnerToken::Strip));
    fixture.sign_in().await;
    fixture.pass(LIFE);
    let visit = fixture.visit(|session| async move {
        let token = session.upstream_access_token().await.unwrap();
        assert_eq!(token.expose(), access(1, LIFE));
    });
    assert_eq!(visit.await.seen, "");
}
