//! Tokens whose keys are missing in the set: which requests wait, which source is asked, and which
//! requests are refused at once. Rows S35 and S41 of `tests/COVERAGE.md`, F111.

use std::sync::atomic::AtomicUsize;

use http::Request;
use tokio::time::Instant;

use super::*;
use crate::adapter::Progress;
use crate::testing::named_key as key;
use crate::upstream::Seek;
use crate::{Algorithm, InvalidReason, Key, Keys, Transport};

/// The keys after the issuer's rotation.
fn rotated() -> Keys {
    Keys::with_former(key("old"), [key("new")]).unwrap()
}

fn of_the_issuer() -> Keys {
    Keys::new(key("new")).unwrap()
}

/// An engine that knows the key `old`, its issuer, which already signs with `new`, and the number
/// of calls to the key source. `answer` gets the number of earlier calls, and the set to fill.
fn fixtures(
    answer: impl Fn(usize, &Keys) -> Seek + Send + Sync + 'static,
) -> (Fixture, Fixture, Arc<AtomicUsize>) {
    let (keys, asked) = sourced(Keys::new(key("old")).unwrap(), answer);
    let both = [Transport::cookies(), Transport::headers()];
    let app = Fixture::keyed(keys, |b| b.transports(both));
    let clock = app.clock.clone();
    let issuer = Fixture::keyed(of_the_issuer(), |b| b.clock(clock));
    (app, issuer, asked)
}

fn asked(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

// Rows: S41.
#[tokio::test]
async fn a_key_published_in_the_meantime_costs_no_request_a_401() {
    let (app, issuer, count) = fixtures(|_, set| brings(rotated(), set));
    let token = issuer.sign_in("alice").await;
    for _ in 0..3 {
        let response = app.me(cookie(&token)).await;
        assert_eq!(response.body(), "alice");
        assert!(response.headers().is_empty(), "it is a good token like any other");
    }
    assert_eq!(asked(&count), 1, "once it is known, no request waits");
    assert_eq!(app.events(), [""; 0], "nothing was refused");
}

// Rows: S35.
#[tokio::test]
async fn a_token_whose_key_is_in_the_set_causes_no_fetch() {
    let (app, _, count) = fixtures(|_, _| panic!("asked"));
    let token = app.sign_in("alice").await;
    assert_eq!(app.me(cookie(&token)).await.body(), "alice");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{signed}.{first}{}", &signature[1..]);
    let foreign = Fixture::keyed(rotated(), |b| b.issuer("https://other.example"));
    let foreign = foreign.sign_in("alice").await;
    for bad in ["a.b.c", "x", "eyJhbGciOiJub25lIn0.e30.x", &tampered, &foreign] {
        assert_eq!(app.me(cookie(bad)).await.status(), StatusCode::UNAUTHORIZED);
    }
    app.pass(900);
    assert_eq!(app.me(cookie(&token)).await.body(), "alice", "expired, and refreshed");
    assert_eq!(asked(&count), 0);
}

// Rows: F111.
#[tokio::test]
async fn a_key_that_the_set_still_lacks_is_refused_at_once() {
    let (app, issuer, count) = fixtures(|_, _| Seek::NotFound);
    let token = issuer.sign_in("alice").await;
    for n in 1..=3 {
        assert!(matches!(app.auth.begin(&cookie(&token)), Progress::Pass(_)), "nothing is awaited");
        assert_eq!(asked(&count), 2 * n - 1);
        assert_eq!(app.me(cookie(&token)).await.status(), StatusCode::UNAUTHORIZED);
        let refused = format!("TokenRefused {{ reason: {:?} }}", InvalidReason::UnknownKey);
        assert_eq!(app.events(), [refused.clone(), refused]);
    }
}

// Rows: S41.
#[tokio::test]
async fn a_key_that_comes_while_it_is_sought_counts() {
    let (app, issuer, _) = fixtures(|_, set| {
        set.replace_with(&rotated());
        Seek::NotFound
    });
    let token = issuer.sign_in("alice").await;
    assert_eq!(app.me(cookie(&token)).await.body(), "alice");
}

#[tokio::test]
async fn keys_that_cant_be_had_are_an_outage_and_no_sign_out() {
    let retry_after = Duration::from_secs(17);
    let (app, issuer, _) = fixtures(move |_, _| Seek::Unavailable { retry_after });
    let token = issuer.sign_in("alice").await;
    let response = app.me(cookie(&token)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "17");
    assert!(set_cookies(&response).is_empty());
    assert_eq!(app.events(), [""; 0]);
    // A client whose key is in the set is not affected.
    let known = app.sign_in("bob").await;
    assert_eq!(app.me(cookie(&known)).await.body(), "bob");
    // An expired token is refreshed as usual.
    app.pass(900);
    let response = app.me(beside(&token, &known)).await;
    assert_eq!((response.body().as_str(), token_of(&response).is_some()), ("bob", false));
    assert!(response.headers().contains_key("authorization"), "refreshed where it came from");
}

/// A request with one token in the cookie and another one in `Authorization`.
fn beside(cookie: &str, bearer: &str) -> Request<()> {
    let (pair, value) = (format!("{COOKIE_NAME}={cookie}"), format!("Bearer {bearer}"));
    get(&[("cookie", &pair), ("authorization", &value)])
}

#[tokio::test]
async fn a_good_token_beside_an_unknown_one_does_not_wait() {
    let (app, issuer, count) = fixtures(|_, _| panic!("asked"));
    let (unknown, known) = (issuer.sign_in("alice").await, app.sign_in("bob").await);
    assert_eq!(app.me(beside(&unknown, &known)).await.body(), "bob");
    assert_eq!(app.me(beside(&known, &unknown)).await.body(), "bob");
    assert_eq!(asked(&count), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_fetch_until_the_refresh_timeout() {
    let (app, issuer, _) = fixtures(|_, _| Seek::InFlight(Box::pin(std::future::pending())));
    let token = issuer.sign_in("alice").await;
    let began = Instant::now();
    let response = app.me(cookie(&token)).await;
    assert_eq!(began.elapsed().as_millis() / 10, 300, "three seconds");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_one_for_the_key_and_the_refresh_after_it() {
    let slow = || Seek::InFlight(Box::pin(tokio::time::sleep(Duration::from_secs(2))));
    let answer = move |before, _: &Keys| if before == 0 { slow() } else { Seek::NotFound };
    let (keys, _) = sourced(Keys::new(key("old")).unwrap(), answer);
    let both = [Transport::cookies(), Transport::headers()];
    let app = Fixture::keyed(keys, |b| {
        b.transports(both)
            .leeway(Duration::ZERO)
            .revalidate_with(|_| std::future::pending::<Result<Revalidated<User>, &str>>())
    });
    let expired = app.sign_in("bob").await;
    app.pass(900);
    let unknown = Fixture::keyed(of_the_issuer(), |b| b.clock(app.clock.clone()));
    let unknown = unknown.sign_in("alice").await;
    let began = Instant::now();
    let response = app.me(beside(&expired, &unknown)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(began.elapsed().as_millis() / 10, 300, "two seconds, and one more");
}

#[tokio::test]
async fn a_fetch_that_began_too_early_is_followed_by_one_more() {
    let early = Keys::new(key("old")).unwrap();
    let (app, issuer, count) = fixtures(move |before, set| match before {
        0 => brings(early.clone(), set),
        _ => brings(rotated(), set),
    });
    let token = issuer.sign_in("alice").await;
    assert_eq!(app.me(cookie(&token)).await.body(), "alice");
    assert_eq!(asked(&count), 2);
    // A source that never succeeds. everfresh's own sources don't behave so, but the request ends
    // in any case.
    let (app, issuer, count) = fixtures(|_, set| brings(Keys::new(key("old")).unwrap(), set));
    let token = issuer.sign_in("alice").await;
    let response = app.me(cookie(&token)).await;
    assert_eq!((response.status(), asked(&count)), (StatusCode::SERVICE_UNAVAILABLE, 3));
}

#[tokio::test]
async fn a_fetch_without_the_key_refuses_the_waiting_tokens() {
    let (app, issuer, count) = fixtures(|before, set| match before {
        0 => brings(Keys::new(key("old")).unwrap(), set),
        _ => Seek::NotFound,
    });
    let token = issuer.sign_in("alice").await;
    assert_eq!(app.me(cookie(&token)).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(asked(&count), 2);
    assert_eq!(app.events().len(), 1, "refused once, when it was clear");
}

#[tokio::test]
async fn a_token_without_a_name_may_be_by_a_new_key_too() {
    let unnamed = |text: &[u8]| Key::hmac(Algorithm::HS256, text).unwrap();
    let (former, coming) = (Vec::from_iter(0..32), Vec::from_iter(100..132));
    let next = Keys::new(unnamed(&coming)).unwrap();
    let answer = move |_, set: &Keys| brings(next.clone(), set);
    let (keys, asked_of) = sourced(Keys::new(unnamed(&former)).unwrap(), answer);
    let app = Fixture::keyed(keys, |b| b);
    let clock = app.clock.clone();
    let issuer = Fixture::keyed(Keys::new(unnamed(&coming)).unwrap(), |b| b.clock(clock));
    let token = issuer.sign_in("alice").await;
    assert_eq!(app.me(cookie(&token)).await.body(), "alice");
    assert_eq!(asked(&asked_of), 1);
}

#[tokio::test]
async fn an_expired_token_is_no_reason_to_miss_a_good_one_by_a_new_key() {
    let (app, issuer, _) = fixtures(|_, set| brings(rotated(), set));
    let expired = app.sign_in("bob").await;
    app.pass(900);
    let token = issuer.sign_in("alice").await;
    let response = app.me(beside(&expired, &token)).await;
    assert_eq!(response.body(), "alice");
    assert!(response.headers().is_empty(), "nothing was refreshed");
}

#[tokio::test]
async fn a_preflight_waits_for_no_key() {
    let (app, issuer, count) = fixtures(|_, set| brings(rotated(), set));
    let token = issuer.sign_in("alice").await;
    let preflight = request("OPTIONS", &[("cookie", &format!("{COOKIE_NAME}={token}"))]);
    assert!(matches!(app.auth.begin(&preflight), Progress::Pass(_)));
    assert_eq!(asked(&count), 0);
}

/// Two engines, of which one can't verify the other's access tokens yet. The request has a valid
/// refresh token as well.
async fn beside_a_refresh_token(
    answer: impl Fn(usize, &Keys) -> Seek + Send + Sync + 'static,
) -> Response<String> {
    let ring = || crate::KeyRing::new(b"a ring's secret of more than 32 bytes").unwrap();
    let clock = crate::ManualClock::starting_at(START);
    let store = crate::MemoryStore::new().clock(clock.clone());
    let rotate = || crate::Rotate::new(store.clone()).key_ring(ring());
    let (keys, _) = sourced(Keys::new(key("old")).unwrap(), answer);
    let app = Fixture::keyed(keys, |b| b.clock(clock.clone()).refresh_with(rotate()));
    let issuer = Fixture::keyed(of_the_issuer(), |b| b.clock(clock.clone()).refresh_with(rotate()));
    let pair = issuer.sign_in_pair("alice").await;
    clock.advance(Duration::from_secs(60));
    app.me(pair.request()).await
}

#[tokio::test]
async fn a_refresh_token_helps_where_the_key_stays_away() {
    let in_time = beside_a_refresh_token(|_, set| brings(rotated(), set)).await;
    assert_eq!((in_time.body().as_str(), set_cookies(&in_time).len()), ("alice", 0));
    for answer in [
        || Seek::NotFound,
        || Seek::Unavailable { retry_after: Duration::from_secs(9) },
        || Seek::InFlight(Box::pin(std::future::ready(()))),
    ] {
        let refreshed = beside_a_refresh_token(move |_, _| answer()).await;
        assert_eq!((refreshed.body().as_str(), set_cookies(&refreshed).len()), ("alice", 2));
    }
}

#[test]
fn without_a_runtime_a_fetch_that_is_ready_counts() {
    let (app, issuer, _) = fixtures(|_, set| {
        set.replace_with(&rotated());
        Seek::InFlight(Box::pin(std::future::ready(())))
    });
    let token = futures::executor::block_on(issuer.sign_in("alice"));
    assert_eq!(futures::executor::block_on(app.me(cookie(&token))).body(), "alice");
}

#[test]
fn a_pending_session_shows_no_token() {
    let (app, issuer, _) = fixtures(|_, set| brings(rotated(), set));
    let token = futures::executor::block_on(issuer.sign_in("alice"));
    let step = app.auth.begin(&cookie(&token));
    assert!(matches!(&step, Progress::Wait(_)));
    let shown = format!("{step:?}");
    assert!(!shown.contains(&token[..20]), "{shown}");
    fn is_send<T: Send>(_: T) {}
    is_send::<Progress<User>>(step);
}
