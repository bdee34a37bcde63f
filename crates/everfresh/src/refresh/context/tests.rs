//! The values that a refresher and an upstream token keeper receive.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::watch;

use super::*;
use crate::cookie::MAX_NAME_AND_VALUE;
use crate::decide::spread;
use crate::refresher::{Closing, FlightKey, Presented, Refresher, SignInRequest};
use crate::testing::*;
use crate::{Reissue, Timestamp};

fn context(fixture: &Fixture) -> Context {
    Context::new(fixture.auth.core.clone())
}

/// As [`Reissue`], with more recording.
#[derive(Clone, Default)]
struct Told {
    /// Whether each refresh was told that its request still has a valid token.
    token_still_valid: Arc<Mutex<Vec<bool>>>,
    delivers_only_copy: bool,
    largest: usize,
    /// Refreshes wait while this is false.
    gate: Option<watch::Receiver<bool>>,
    /// Fails, and reports that it attempted nothing.
    untried: Option<Arc<AtomicUsize>>,
}

impl Refresher for Told {
    fn largest_refresh_token(&self) -> usize {
        self.largest
    }

    fn delivers_only_copy(&self) -> bool {
        self.delivers_only_copy
    }

    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
        Reissue::new().identify(presented, now)
    }

    async fn refresh(&self, cx: Context, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        self.token_still_valid.lock().unwrap().push(admitted.token_still_valid);
        if let Some(calls) = &self.untried {
            calls.fetch_add(1, Ordering::SeqCst);
            cx.untried();
            return Err(Failure::SOON);
        }
        if let Some(gate) = &self.gate {
            gate.clone().wait_for(|open| *open).await.unwrap();
        }
        Reissue::new().refresh(cx, admitted).await
    }

    async fn sign_in(&self, cx: Context, opening: SignInRequest) -> Result<Tokens, Failure> {
        Reissue::new().sign_in(cx, opening).await
    }

    async fn sign_out(&self, _: Context, _: Closing) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

fn told(told: Told) -> Fixture {
    Fixture::with(|b| b.leeway(Duration::ZERO).refresh_with(told))
}

#[tokio::test]
async fn a_refresher_is_told_whether_the_request_can_do_without_it() {
    let it = Told::default();
    let fixture = told(it.clone());
    for (left, token_still_valid) in [(100, true), (10, true), (0, false)] {
        let token = fixture.sign_in("alice").await;
        fixture.pass_until_left(&token, left);
        fixture.me(cookie(&token)).await;
        // A refresh beside its request has started by now.
        tokio::task::yield_now().await;
        assert_eq!(
            std::mem::take(&mut *it.token_still_valid.lock().unwrap()),
            [token_still_valid],
            "{left} s left"
        );
    }
}

// Rows: F72.
#[tokio::test]
async fn an_untried_refresh_does_not_count_against_its_session() {
    let calls = Arc::new(AtomicUsize::new(0));
    let fixture = told(Told { untried: Some(calls.clone()), ..Told::default() });
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    for nth in 1..=30 {
        let response = fixture.me(cookie(&token)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(calls.load(Ordering::SeqCst), nth, "a second each time, never more");
        fixture.me(cookie(&token)).await;
        assert_eq!(calls.load(Ordering::SeqCst), nth, "and never less");
        fixture.pass(1);
    }
}

#[tokio::test]
async fn a_head_waits_for_tokens_that_are_stored_nowhere_else() {
    for delivers_only_copy in [true, false] {
        let (open, gate) = watch::channel(false);
        let fixture = told(Told { delivers_only_copy, gate: Some(gate), ..Told::default() });
        let token = fixture.sign_in("alice").await;
        fixture.pass_until_left(&token, 100);
        let mut answer = Box::pin(fixture.me(cookie(&token)));
        let at_once = futures::poll!(answer.as_mut());
        assert_eq!(at_once.is_pending(), delivers_only_copy);
        let std::task::Poll::Ready(response) = at_once else {
            open.send(true).unwrap();
            assert!(token_of(&answer.await).is_some());
            continue;
        };
        assert_eq!(token_of(&response), None, "it is kept, and leaves with a later response");
    }
}

#[test]
fn only_refresh_tokens_larger_than_a_cookie_travel_in_pieces() {
    for (largest, pieces) in
        [(0, false), (MAX_NAME_AND_VALUE, false), (MAX_NAME_AND_VALUE + 1, true)]
    {
        let fixture = told(Told { largest, ..Told::default() });
        assert_eq!(fixture.auth.core.transports.any_pieces(), pieces, "{largest}");
        let token = RefreshToken::new("x".repeat(MAX_NAME_AND_VALUE));
        let fits = context(&fixture).check_size("s", &token);
        let reported = fixture.events();
        assert_eq!(fits, if pieces { Ok(()) } else { Err(Failure::Misconfigured) });
        let expected =
            if pieces { vec![] } else { vec!["TokenTooLarge { sid: \"s\" }".to_owned()] };
        assert_eq!(reported, expected);
    }
}

#[test]
fn tokens_of_another_server_are_due_before_our_own_windows_open() {
    let step = Duration::from_millis(1);
    for lifetime in [3600, 900, 60].map(Duration::from_secs) {
        for sid in ["a", "b", "alice", "a session"] {
            let own = Windows::new(lifetime, spread(sid)).advisory;
            let due = own + lifetime / 20 + Duration::from_secs(1);
            assert!(Context::is_due(sid, lifetime, due), "{sid}: {due:?} of {lifetime:?}");
            assert!(Context::is_due(sid, lifetime, Duration::ZERO));
            assert!(!Context::is_due(sid, lifetime, due + step), "{sid}: {due:?} of {lifetime:?}");
        }
    }
    // Never in the first half of the lifetime.
    let (lifetime, half) = (Duration::from_secs(10), Duration::from_secs(5));
    assert!(Context::is_due("a", lifetime, half));
    assert!(!Context::is_due("a", lifetime, half + step));
}

#[tokio::test]
async fn a_refresher_learns_the_engines_limits() {
    let session = Duration::from_secs(5 * 86_400);
    let fixture = Fixture::with(|b| b.session_lifetime(session));
    let cx = context(&fixture);
    assert_eq!(cx.session_lifetime(), session);
    assert_eq!(cx.refresh_timeout(), fixture.auth.core.settings.refresh_timeout);
    assert!(cx.refresh_timeout() > Duration::from_secs(1));
    let before = cx.monotonic();
    fixture.pass(7);
    assert_eq!(cx.monotonic() - before, Duration::from_secs(7));
    assert_eq!(cx.now(), START.plus(Duration::from_secs(7)));
}

#[tokio::test]
async fn background_work_runs_on_the_engines_runtime() {
    let ran = Arc::new(AtomicBool::new(false));
    let fingerprint = ran.clone();
    context(&Fixture::new()).spawn(async move { fingerprint.store(true, Ordering::SeqCst) });
    tokio::task::yield_now().await;
    assert!(ran.load(Ordering::SeqCst));
}
