//! Flights: one refresh for any number of requests, without leftovers. F01, F14, F16.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use tower::ServiceExt as _;

use super::flight::{Flight, Mode, join_or_start};
use super::{
    Closing, Context, Failure, FlightKey, Presented, RefreshRequest, Refresher, SignInRequest,
    Tokens,
};
use crate::adapter::Progress;
use crate::dialect::Dialect;
use crate::mint;
use crate::secret::AccessToken;
use crate::testing::{named_key as key, *};
use crate::upstream::Seek;
use crate::{Keys, Revalidated, SignIn, Timestamp};

/// A fixture whose revalidation counts its calls and is slow.
fn counting() -> (Fixture, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let fixture = Fixture::with(|b| {
        b.revalidate_with(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::task::yield_now().await;
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    (fixture, calls)
}

// Rows: F01.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_one_expiry_are_one_refresh() {
    let (fixture, calls) = counting();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let service = fixture.service(|session, _| async move { show_user(&session) });
    let requests: Vec<_> =
        (0..1000).map(|_| tokio::spawn(service.clone().oneshot(cookie(&token)))).collect();
    let mut tokens = std::collections::BTreeSet::new();
    for request in requests {
        let response = request.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        tokens.insert(token_of(&response).expect("every answer carries the successor"));
    }
    assert_eq!(tokens.len(), 1, "the same one");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn flights_of_different_tokens_are_apart() {
    let (fixture, calls) = counting();
    let alice = fixture.sign_in("alice").await;
    let bob = fixture.sign_in("bob").await;
    fixture.pass(900);
    let (a, b) = tokio::join!(fixture.me(cookie(&alice)), fixture.me(cookie(&bob)));
    assert_eq!((a.body().as_str(), b.body().as_str()), ("alice", "bob"));
    assert_ne!(token_of(&a), token_of(&b));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn signing_out_drops_what_is_kept() {
    let (fixture, calls) = counting();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let first = token_of(&fixture.me(cookie(&token)).await);
    fixture
        .send(cookie(&token), |session, _| async move {
            session.sign_out().await.unwrap();
            Response::new(String::new())
        })
        .await;
    // With `Reissue` the old token is still valid, but it gets no result from before the sign-out.
    assert_ne!(token_of(&fixture.me(cookie(&token)).await), first);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_app_without_claims_is_revalidated_like_any_other() {
    let clock = crate::ManualClock::starting_at(START);
    let auth = crate::Engine::<()>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(clock.clone())
        .leeway(Duration::ZERO)
        .refresh_with(crate::Reissue::new())
        .revalidate_with(|_| async { Ok::<_, &str>(Revalidated::Keep) })
        .build()
        .unwrap();
    let session = auth.begin(&get(&[])).settle().await;
    session.sign_in("alice", ()).await.unwrap();
    let token = session.access_token().unwrap().expose().to_owned();
    clock.advance(Duration::from_secs(900));
    assert!(auth.begin(&cookie(&token)).settle().await.is_refreshed());
}

#[test]
fn without_a_runtime_what_is_ready_works_and_the_rest_is_unavailable() {
    let ready =
        Fixture::with(|b| b.revalidate_with(|_| async { Ok::<_, &str>(Revalidated::Keep) }));
    let pending = Fixture::with(|b| {
        b.leeway(Duration::ZERO)
            .revalidate_with(|_| std::future::pending::<Result<Revalidated<User>, &str>>())
    });
    for (fixture, expected) in [(ready, StatusCode::OK), (pending, StatusCode::SERVICE_UNAVAILABLE)]
    {
        let token = futures::executor::block_on(fixture.sign_in("alice"));
        fixture.pass(900);
        for _ in 0..2 {
            let response = futures::executor::block_on(fixture.me(cookie(&token)));
            assert_eq!(response.status(), expected);
            assert_eq!(
                fixture.auth.core.flights.sizes().0,
                0,
                "what was dropped blocks no request"
            );
        }
    }
}

#[test]
fn a_runtime_that_ended_is_an_outage() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO).runtime(handle).revalidate_with(|_| async {
            tokio::task::yield_now().await;
            Ok::<_, &str>(Revalidated::Keep)
        })
    });
    let token = runtime.block_on(fixture.sign_in("alice"));
    fixture.pass(900);
    drop(runtime);
    for _ in 0..2 {
        let response = futures::executor::block_on(fixture.me(cookie(&token)));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn begin_alone_starts_nothing_that_is_awaited() {
    let (fixture, calls) = counting();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let Progress::Wait(waiting) = fixture.auth.begin(&cookie(&token)) else { panic!("expired") };
    assert_eq!(calls.load(Ordering::SeqCst), 0, "steps 1 to 3 do no work of step 4");
    let session = waiting.settle().await;
    assert!(session.is_refreshed());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

// Rows: S68.
#[tokio::test]
async fn more_results_than_are_kept_never_stop_the_keeping() {
    let (fixture, calls) = counting();
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(fixture.sign_in("alice").await);
    }
    // A mass expiry fills the table, and the passing time empties it.
    super::flight::tests::fill(&fixture.auth, 40_000);
    fixture.pass(900);
    let mut firsts = Vec::new();
    for token in &tokens {
        firsts.push(token_of(&fixture.me(cookie(token)).await));
    }
    for (token, first) in tokens.iter().zip(firsts) {
        assert_eq!(token_of(&fixture.me(cookie(token)).await), first, "kept for late twins");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 10);
    let (results, ends) = super::flight::tests::sizes(&fixture.auth);
    assert!(results <= 16 * 1024 && ends <= 16 * 1024);
    fixture.pass(60);
    fixture.me(cookie(&tokens[0])).await;
    assert_eq!(super::flight::tests::sizes(&fixture.auth).0, 1, "what is over is let go");
}

// Rows: F02.
#[tokio::test]
async fn a_result_is_kept_for_less_than_the_reuse_interval() {
    let (fixture, calls) = counting();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let first = token_of(&fixture.me(cookie(&token)).await);
    fixture.pass(29);
    assert_eq!(token_of(&fixture.me(cookie(&token)).await), first);
    fixture.pass(1);
    assert_ne!(token_of(&fixture.me(cookie(&token)).await), first);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

// Rows: F72.
#[tokio::test]
async fn a_session_whose_refresh_failed_is_left_alone_for_a_while() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO).revalidate_with(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Err::<Revalidated<User>, _>("down") }
        })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    // For any jitter: in 20 minutes with one request per second, refreshes end up a minute apart.
    for _ in 0..1200 {
        let response = fixture.me(cookie(&token)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(set_cookies(&response).is_empty());
        fixture.pass(1);
    }
    let calls = calls.load(Ordering::SeqCst);
    assert!((20..300).contains(&calls), "{calls} calls for 1200 requests");
}

// Rows: F17.
#[tokio::test]
async fn a_shutdown_waits_for_running_flights_and_starts_no_new_one() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO).revalidate_with(move |_| {
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.map_err(|_| "gone")?;
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    let alice = fixture.sign_in("alice").await;
    let bob = fixture.sign_in("bob").await;
    fixture.pass(900);
    let service = fixture.service(|session, _| async move { show_user(&session) });
    let waiting = tokio::spawn(service.oneshot(cookie(&alice)));
    tokio::task::yield_now().await;
    let engine = fixture.auth.clone();
    let shutdown = tokio::spawn(async move { engine.shutdown().await });
    tokio::task::yield_now().await;
    assert!(!shutdown.is_finished());
    assert_eq!(fixture.me(cookie(&bob)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    open.send(true).unwrap();
    assert_eq!(shutdown.await.unwrap(), 0);
    assert_eq!(waiting.await.unwrap().unwrap().body(), "alice");
}

// Rows: F17.
#[tokio::test(start_paused = true)]
async fn a_shutdown_has_an_end() {
    let fixture = Fixture::with(|b| {
        b.revalidate_with(|_| std::future::pending::<Result<Revalidated<User>, &str>>())
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 0);
    let service = fixture.service(|session, _| async move { show_user(&session) });
    let waiting = tokio::spawn(service.oneshot(cookie(&token)));
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();
    assert_eq!(fixture.auth.shutdown().await, 1, "what did not end");
    assert!((29..=31).contains(&began.elapsed().as_secs()), "a flight's limit");
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK, "the leeway");
}

/// Its flights end in the order of their release. Each returns a token of its own.
struct Numbered {
    started: AtomicUsize,
    let_go: tokio::sync::watch::Sender<usize>,
}

impl Refresher for Numbered {
    fn identify(&self, _: Presented<'_>, _: Timestamp) -> Option<FlightKey> {
        None
    }

    async fn refresh(&self, cx: Context, _: RefreshRequest) -> Result<Tokens, Failure> {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        let mut let_go = self.let_go.subscribe();
        let _ = let_go.wait_for(|so_many| number < *so_many).await;
        Ok(Tokens {
            access: AccessToken::new(number.to_string()),
            refresh: None,
            session_expires: cx.now(),
            persistent: true,
            recheck_at: None,
        })
    }

    async fn sign_in(&self, _: Context, _: SignInRequest) -> Result<Tokens, Failure> {
        Err(Failure::Misconfigured)
    }

    async fn sign_out(&self, _: Context, _: Closing) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

// Rows: F14.
#[tokio::test]
async fn a_flight_that_ends_late_removes_no_newer_flight() {
    let let_go = tokio::sync::watch::Sender::new(0);
    let numbered = Numbered { started: AtomicUsize::new(0), let_go: let_go.clone() };
    let fixture = Fixture::with(|b| b.refresh_with(numbered));
    let core = &fixture.auth.core;
    let key = FlightKey { sid: "s".into(), fingerprint: 1 };
    let start = || {
        let request = || RefreshRequest::new(None, None, true);
        join_or_start(core, &key, request, Mode::Blocking, core.now()).0
    };
    let settle = async || {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    };
    let number =
        |flight: &Flight| flight.outcome().map(|end| end.unwrap().access.expose().to_owned());

    let old = start();
    // Requests that come and go change nothing.
    for _ in 0..10 {
        drop(start());
    }
    // Signed out, and started again.
    core.flights.forget("s");
    let new = start();
    let_go.send_replace(1);
    settle().await;
    assert_eq!(old.outcome().unwrap().unwrap_err(), Failure::Rejected, "whatever it brought");
    assert_eq!(number(&new), None);
    let joined = start();
    let_go.send_replace(2);
    settle().await;
    assert_eq!(number(&joined).as_deref(), Some("1"), "the newer one was joined");
    assert_eq!(number(&start()).as_deref(), Some("1"), "and its result is the one that is kept");
}

/// Another issuer. Its tokens are signed with a key that was just added there.
struct Issuer(Keys);

impl Refresher for Issuer {
    fn mints(&self) -> bool {
        false
    }

    fn identify(&self, presented: Presented<'_>, _: Timestamp) -> Option<FlightKey> {
        let held = presented.access?;
        Some(FlightKey { sid: held.sid.into(), fingerprint: held.fingerprint })
    }

    async fn refresh(&self, cx: Context, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        let session_claims = admitted.session_claims.ok_or(Failure::Rejected)?;
        let access = mint::mint(
            cx.core.settings.mint_rules(),
            &self.0,
            &session_claims,
            mint::For::Us,
            cx.core.settings.access_lifetime,
            cx.now(),
        );
        Ok(Tokens {
            access: access.map_err(|_| Failure::Misconfigured)?,
            refresh: None,
            session_expires: session_claims.session_expires,
            persistent: true,
            recheck_at: None,
        })
    }

    async fn sign_in(&self, _: Context, _: SignInRequest) -> Result<Tokens, Failure> {
        Err(Failure::Misconfigured)
    }

    async fn sign_out(&self, _: Context, _: Closing) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

// Rows: S41.
#[tokio::test]
async fn a_refresh_that_brings_a_token_by_a_new_key_fetches_the_key() {
    let both = || Keys::with_former(key("old"), [key("new")]).unwrap();
    for (next, expected) in
        [(Some(both()), StatusCode::OK), (None, StatusCode::SERVICE_UNAVAILABLE)]
    {
        let former = Fixture::keyed(Keys::new(key("old")).unwrap(), |b| b);
        let token = former.sign_in("alice").await;
        let clock = former.clock.clone();
        let set = Keys::verifying([key("old")]).unwrap();
        let (keys, _) = sourced(set, move |_, set| match &next {
            Some(next) => brings(next.clone(), set),
            None => Seek::NotFound,
        });
        let issuer = Issuer(Keys::new(key("new")).unwrap());
        let app =
            Fixture::keyed(keys, |b| b.clock(clock).leeway(Duration::ZERO).refresh_with(issuer));
        former.pass(900);
        let response = app.me(cookie(&token)).await;
        assert_eq!(response.status(), expected, "no 401, whatever is known");
        assert_eq!(token_of(&response).is_some(), expected == StatusCode::OK);
        let retry_after = response.headers().get(RETRY_AFTER).map(|secs| secs.to_str().unwrap());
        assert_eq!(retry_after, (expected != StatusCode::OK).then_some("1"));
    }
}

/// Signs in for the browser session. Returns the token and its cookie.
async fn sign_in_briefly(fixture: &Fixture) -> (String, String) {
    let response = fixture
        .send(get(&[]), |session, _| async move {
            let sign_in = SignIn::new("alice", user("alice")).persistent(false);
            session.sign_in_with(sign_in).await.unwrap();
            Response::new(String::new())
        })
        .await;
    (token_of(&response).unwrap(), set_cookies(&response).remove(0))
}

// Rows: M8.
#[tokio::test]
async fn a_session_that_ends_with_the_browser_stays_one() {
    let fixture = Fixture::with(|b| b.dialect(Dialect::VIJIL));
    let (mut token, signed_in) = sign_in_briefly(&fixture).await;
    assert!(!signed_in.contains("Max-Age"), "{signed_in}");
    for _ in 0..3 {
        fixture.pass(900);
        let response = fixture.me(cookie(&token)).await;
        let [set] = &set_cookies(&response)[..] else { panic!("refreshed") };
        assert!(!set.contains("Max-Age"), "{set}");
        token = token_of(&response).unwrap();
    }
    let asked = fixture
        .send(cookie(&token), |session, _| async move {
            session.refresh().await.unwrap();
            Response::new(String::new())
        })
        .await;
    assert!(!set_cookies(&asked)[0].contains("Max-Age"));

    // Through an endpoint that mints access tokens for the holder of one.
    let vijil = fixture.auth.endpoints().pop().unwrap();
    let call = vijil.read(&request("POST", &[("authorization", &format!("Bearer {token}"))]));
    let session = fixture.auth.begin(&get(&[])).settle().await;
    let reply = vijil.answer(call, Some(b""), Ok(&session)).await;
    let [set] = &set_cookies(&reply)[..] else { panic!("{:?}", reply.headers()) };
    assert!(set.starts_with("access_token=ey") && !set.contains("Max-Age"), "{set}");
}

// Rows: M8.
#[tokio::test]
async fn a_token_without_session_persistent_belongs_to_a_persistent_session() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert!(payload.get("session_persistent").is_none(), "as former versions wrote it: {payload}");
    fixture.pass(900);
    assert!(set_cookies(&fixture.me(cookie(&token)).await)[0].contains("Max-Age="));
}
