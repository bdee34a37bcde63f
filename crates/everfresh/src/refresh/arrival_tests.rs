//! The tokens of a refresh or a sign-in are checked before they count, and before they are sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use tokio::sync::watch;

use crate::refresh::RefreshRequest;
use crate::refresher::{
    Closing, Context, FlightKey, Presented, RefreshToken, Refresher, SignInRequest, Tokens,
};
use crate::testing::*;
use crate::{
    AccessToken, Failure, Reissue, SessionErrorKind, SessionStatus, Timestamp, Transport, mint,
};

/// The lifetime of access tokens, in seconds.
const LIFE: u64 = 900;

/// As [`Reissue`], but it returns tokens that the test sets.
#[derive(Clone)]
struct Brings {
    brought: Arc<Mutex<Brought>>,
    /// Refreshes wait while this is false.
    gate: watch::Sender<bool>,
    /// The largest refresh token, in bytes.
    largest: usize,
}

#[derive(Clone, Copy)]
struct Brought {
    /// The age of the access token.
    age: Duration,
    /// Its lifetime.
    life: Duration,
    refresh: Option<&'static str>,
}

const GOOD: Brought =
    Brought { age: Duration::ZERO, life: Duration::from_secs(LIFE), refresh: None };

impl Brings {
    fn new(brought: Brought) -> Self {
        Self { brought: Arc::new(Mutex::new(brought)), gate: watch::Sender::new(true), largest: 0 }
    }

    fn set(&self, brought: Brought) {
        *self.brought.lock().unwrap() = brought;
    }

    fn fixture(&self) -> Fixture {
        Fixture::with(|b| b.leeway(Duration::ZERO).refresh_with(self.clone()))
    }

    fn bring(
        &self,
        cx: &Context,
        mut tokens: Tokens,
        session_claims: &crate::refresher::SessionClaims,
    ) -> Tokens {
        let Brought { age, life, refresh } = *self.brought.lock().unwrap();
        let core = &cx.core;
        let made = cx.now().minus(age);
        let minted = mint::mint(
            core.settings.mint_rules(),
            &core.settings.keys,
            session_claims,
            mint::For::Us,
            life,
            made,
        );
        tokens.access = AccessToken::new(minted.unwrap().expose().to_owned());
        tokens.refresh = refresh.map(|text| RefreshToken::new(text.into()));
        tokens
    }
}

impl Refresher for Brings {
    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    fn largest_refresh_token(&self) -> usize {
        self.largest
    }

    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
        Reissue::new().identify(presented, now)
    }

    async fn refresh(&self, cx: Context, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        let session_claims = admitted.session_claims.clone().unwrap();
        let tokens = Reissue::new().refresh(cx.clone(), admitted).await?;
        Ok(self.bring(&cx, tokens, &session_claims))
    }

    async fn sign_in(&self, cx: Context, opening: SignInRequest) -> Result<Tokens, Failure> {
        let session_claims = opening.session_claims.clone();
        let tokens = Reissue::new().sign_in(cx.clone(), opening).await?;
        Ok(self.bring(&cx, tokens, &session_claims))
    }

    async fn sign_out(&self, _: Context, closing: Closing) -> Result<Option<String>, Failure> {
        Ok(closing.sid)
    }
}

fn saw(fixture: &Fixture, event: &str) -> usize {
    fixture.events().iter().filter(|one| one.starts_with(event)).count()
}

/// It expires in this second.
fn late() -> Brought {
    Brought { age: Duration::from_secs(LIFE), ..GOOD }
}

// Rows: H4.
#[tokio::test]
async fn an_expired_token_that_a_refresh_returns_signs_no_user_in() {
    let brings = Brings::new(GOOD);
    let fixture = brings.fixture();
    let token = fixture.sign_in("alice").await;
    fixture.pass(LIFE);
    brings.set(late());
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(set_cookies(&response), [""; 0], "nothing is cleared, nothing leaves");
    assert_eq!(saw(&fixture, "ExpiredOnArrival"), 1);
    brings.set(GOOD);
    fixture.pass(2);
    let response = fixture.me(cookie(&token)).await;
    assert_eq!(response.body(), "alice");
    assert!(token_of(&response).is_some());
}

// Rows: H4.
#[tokio::test]
async fn an_expired_token_does_not_take_the_place_of_a_good_one() {
    let brings = Brings::new(GOOD);
    let fixture = brings.fixture();
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    brings.set(late());
    // The refresh runs beside the request, and finishes before the head is sent.
    let handler = |session: crate::Session<User>, _| async move {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        show_user(&session)
    };
    let response = fixture.send(cookie(&token), handler).await;
    assert_eq!((response.body().as_str(), token_of(&response)), ("alice", None));
    assert_eq!(saw(&fixture, "ExpiredOnArrival"), 1);
    brings.set(GOOD);
    fixture.pass(2);
    assert!(token_of(&fixture.send(cookie(&token), handler).await).is_some());
}

// Rows: H4.
#[tokio::test]
async fn a_token_that_expired_while_the_handler_worked_is_not_delivered() {
    let brings = Brings::new(GOOD);
    let fixture = brings.fixture();
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    brings.set(Brought { life: Duration::from_secs(5), ..GOOD });
    let clock = fixture.clock.clone();
    let response = fixture
        .send(cookie(&token), move |session, _| {
            let clock = clock.clone();
            async move {
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                clock.advance(Duration::from_secs(6));
                show_user(&session)
            }
        })
        .await;
    assert_eq!((response.body().as_str(), token_of(&response)), ("alice", None));
}

// Rows: H4.
#[tokio::test]
async fn a_handlers_refresh_reports_a_refused_result() {
    let brings = Brings::new(GOOD);
    let fixture = brings.fixture();
    for (left, status) in [(800, SessionStatus::Present), (0, SessionStatus::Rejected)] {
        brings.set(GOOD);
        let token = fixture.sign_in("alice").await;
        fixture.pass_until_left(&token, left);
        brings.set(late());
        let response = fixture
            .send(cookie(&token), move |session, _| async move {
                let error = session.refresh().await.unwrap_err();
                assert_eq!(error.kind(), SessionErrorKind::Unavailable);
                let good = session.status() == SessionStatus::Present;
                assert_eq!(good, status == SessionStatus::Present, "the token that it has goes on");
                Response::new(String::new())
            })
            .await;
        assert_eq!(set_cookies(&response), [""; 0], "{left} s left");
    }
}

// Rows: H4.
#[tokio::test]
async fn an_expired_token_that_a_sign_in_returns_signs_no_user_in() {
    let fixture = Brings::new(late()).fixture();
    let response = fixture
        .send(get(&[]), |session, _| async move {
            let error = session.sign_in("alice", user("alice")).await.unwrap_err();
            assert_eq!(error.kind(), SessionErrorKind::Unavailable);
            assert_eq!(session.status(), SessionStatus::Absent);
            Response::new(String::new())
        })
        .await;
    assert_eq!(set_cookies(&response), [""; 0]);
    assert_eq!(saw(&fixture, "ExpiredOnArrival"), 1);
}

// Rows: H4.
#[tokio::test]
async fn a_result_is_given_again_for_half_of_its_own_life() {
    let brings = Brings::new(GOOD);
    let fixture = brings.fixture();
    let token = fixture.sign_in("alice").await;
    fixture.pass(LIFE);
    // The jitter of this lifetime is less than a second.
    brings.set(Brought { life: Duration::from_secs(10), ..GOOD });
    let first = token_of(&fixture.me(cookie(&token)).await);
    fixture.pass(4);
    assert_eq!(token_of(&fixture.me(cookie(&token)).await), first);
    fixture.pass(2);
    let later = fixture.me(cookie(&token)).await;
    assert_eq!(later.body(), "alice");
    assert_ne!(token_of(&later), first, "made again");
}

// Rows: M12.
#[tokio::test]
async fn a_refresh_token_that_cant_travel_is_an_error_and_an_event() {
    let headers = || vec![Transport::headers()];
    let cookies = || vec![Transport::cookies()];
    for (text, transports, largest) in [
        ("a b", cookies(), 0),
        ("a;b", cookies(), 0),
        ("\"q\"", cookies(), 0),
        ("a\nb", cookies(), 0),
        ("\u{fc}", cookies(), 0),
        // If a token may travel in several cookies.
        ("aaa.bbb.ccc", cookies(), 9_000),
        ("a b", cookies(), 9_000),
        ("a b", headers(), 0),
        ("a\nb", headers(), 0),
        ("\u{fc}", headers(), 0),
    ] {
        let case = format!("{text:?}, {transports:?}");
        let brings = Brings { largest, ..Brings::new(GOOD) };
        let it = brings.clone();
        let fixture = Fixture::with(|b| {
            b.leeway(Duration::ZERO).transports(transports.clone()).refresh_with(it)
        });
        let response = fixture
            .send(get(&[]), |session, _| async move {
                session.sign_in("alice", user("alice")).await.unwrap();
                Response::new(String::new())
            })
            .await;
        let (token, by_cookie) = match token_of(&response) {
            Some(token) => (token, true),
            None => {
                let value = response.headers()["authorization"].to_str().unwrap();
                (value.strip_prefix("Bearer ").unwrap().to_owned(), false)
            }
        };
        brings.set(Brought { refresh: Some(text), ..GOOD });
        let _ = fixture.events();
        let signed_in = fixture
            .send(get(&[]), |session, _| async move {
                let error = session.sign_in("bob", user("bob")).await.unwrap_err();
                assert_eq!(error.kind(), SessionErrorKind::Misconfigured);
                Response::new(String::new())
            })
            .await;
        assert!(signed_in.headers().is_empty(), "{case}");
        assert_eq!(saw(&fixture, "TokenTooLarge"), 1, "{case}");
        fixture.pass(LIFE);
        let request = if by_cookie { cookie(&token) } else { bearer(&token) };
        let refreshed = fixture.me(request).await;
        assert_eq!(refreshed.status(), StatusCode::SERVICE_UNAVAILABLE, "{case}");
        assert_eq!(set_cookies(&refreshed), [""; 0], "{case}");
        assert!(!refreshed.headers().contains_key("authorization"), "{case}");
        assert_eq!(saw(&fixture, "TokenTooLarge"), 1, "{case}");
    }
    // A token that fits the transport is sent.
    let brings = Brings::new(Brought { refresh: Some("aaa.bbb.ccc"), ..GOOD });
    let pair = brings.fixture().sign_in_pair("alice").await;
    assert_eq!(pair.refresh, "aaa.bbb.ccc");
}
