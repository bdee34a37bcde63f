//! Cookies with a Domain, which a sibling subdomain can plant.

use std::time::Duration;

use http::{Response, StatusCode};

use crate::store::SessionStore as _;
use crate::testing::*;
use crate::{CookieSpec, EngineBuilder, Location, MemoryStore, Rotate, Transport};

const ACCESS: &str = "__Secure-at";
const REFRESH: &str = "__Secure-rt";

fn shared(builder: EngineBuilder<User>) -> EngineBuilder<User> {
    let cookie = |name: &str| Location::Cookie(CookieSpec::new(name).domain("example.com"));
    builder.transports([Transport::new(cookie(ACCESS), cookie(REFRESH))])
}

fn fixture() -> (Fixture, MemoryStore) {
    Fixture::rotating_with(shared)
}

fn value<'c>(cookies: &'c [String], name: &str) -> Option<&'c str> {
    let found = cookies.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|rest| rest.split(';').next())
}

/// Signs in. Returns the access token and the refresh token.
async fn sign_in(fixture: &Fixture, name: &'static str) -> (String, String) {
    let response = fixture.send(get(&[]), move |session, _| async move {
        session.sign_in(name, user(name)).await.unwrap();
        Response::new(String::new())
    });
    let cookies = set_cookies(&response.await);
    (value(&cookies, ACCESS).unwrap().into(), value(&cookies, REFRESH).unwrap().into())
}

/// The answers to requests with these cookies, in both orders.
async fn answers(fixture: &Fixture, access: &[&str], refresh: &[&str]) -> [Response<String>; 2] {
    let mut pairs: Vec<_> = access.iter().map(|token| format!("{ACCESS}={token}")).collect();
    pairs.extend(refresh.iter().map(|token| format!("{REFRESH}={token}")));
    let one = fixture.me(get(&[("cookie", &pairs.join("; "))])).await;
    pairs.reverse();
    [one, fixture.me(get(&[("cookie", &pairs.join("; "))])).await]
}

// Rows: M4.
#[tokio::test]
async fn a_planted_access_token_never_beats_the_refresh_token_beside_it() {
    let (fixture, _) = fixture();
    let (old, refresh) = sign_in(&fixture, "victim").await;
    fixture.pass(1000);
    let (planted, _) = sign_in(&fixture, "mallory").await;
    for access in [vec![&*planted, &*old], vec![&*planted]] {
        for response in answers(&fixture, &access, &[&refresh]).await {
            assert_eq!(response.body(), "victim", "{} access tokens", access.len());
            assert!(value(&set_cookies(&response), ACCESS).is_some(), "and a token of her own");
        }
    }
    // It still does not count shortly before its expiry.
    fixture.pass_until_left(&planted, 100);
    for response in answers(&fixture, &[&planted], &[&refresh]).await {
        assert_eq!(response.body(), "victim");
    }
}

// Rows: M4.
#[tokio::test]
async fn of_two_planted_tokens_and_the_users_own_none_counts() {
    let (fixture, store) = fixture();
    let (_, refresh) = sign_in(&fixture, "victim").await;
    fixture.pass(1000);
    let (planted, beside) = sign_in(&fixture, "mallory").await;
    for response in answers(&fixture, &[&planted], &[&refresh, &beside]).await {
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(set_cookies(&response).is_empty());
    }
    assert!(fixture.events().contains(&"TokenRefused { reason: Conflict }".to_owned()));
    // Many planted tokens don't hide the user's own either.
    let junk = ["1", "2", "3", "4"];
    for response in answers(&fixture, &[&planted], &[&junk[..], &[&refresh]].concat()).await {
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(store.list("victim").await.unwrap()[0].generation, 0);
}

// Rows: M4.
#[tokio::test]
async fn a_client_that_signed_in_again_keeps_its_fresh_token() {
    let (fixture, _) = fixture();
    let (old, _) = sign_in(&fixture, "alice").await;
    fixture.pass(1000);
    let (access, refresh) = sign_in(&fixture, "alice").await;
    for response in answers(&fixture, &[&old, &access], &[&refresh]).await {
        assert_eq!(response.body(), "alice");
        assert!(response.headers().is_empty());
    }
    let fresh = "x".repeat(124);
    for beside in [&[][..], &["x"], &[&*fresh]] {
        for response in answers(&fixture, &[&access], beside).await {
            assert_eq!(response.body(), "alice", "the access token alone: {beside:?}");
            assert!(response.headers().is_empty());
        }
    }
}

// Rows: M4, F44.
#[tokio::test]
async fn leftover_tokens_of_an_ended_session_take_no_part() {
    let (first, store) = fixture();
    let (old_access, old) = sign_in(&first, "alice").await;
    let header = format!("{ACCESS}={old_access}; {REFRESH}={old}");
    first
        .send(get(&[("cookie", &header)]), |session, _| async move {
            session.sign_out().await.unwrap();
            Response::new(String::new())
        })
        .await;
    // On a node that has not learned of the sign-out.
    let fixture = Fixture::node(&first.clock, &store, shared);
    let (access, refresh) = sign_in(&fixture, "alice").await;
    for beside in [&[&*refresh, &*old][..], &[&*old]] {
        for _ in 0..2 {
            for response in answers(&fixture, &[&access], beside).await {
                assert_eq!(response.body(), "alice", "{} refresh tokens", beside.len());
                assert!(response.headers().is_empty());
            }
        }
    }
}

// Rows: M4.
#[tokio::test]
async fn if_the_token_that_counts_is_unknown_the_answer_is_503() {
    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clock = crate::ManualClock::starting_at(START);
    let store = Failing(MemoryStore::new().clock(clock.clone()), down.clone());
    let mut fixture =
        Fixture::with(|b| shared(b.clock(clock.clone()).refresh_with(Rotate::new(store))));
    fixture.clock = clock;
    let (_, refresh) = sign_in(&fixture, "victim").await;
    let (planted, beside) = sign_in(&fixture, "mallory").await;
    down.store(true, std::sync::atomic::Ordering::SeqCst);
    for refresh in [&[&*refresh][..], &[&*refresh, &*beside]] {
        for response in answers(&fixture, &[&planted], refresh).await {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(set_cookies(&response).is_empty());
        }
    }
}

// Rows: M4.
#[tokio::test]
async fn the_default_cookies_are_read_as_before() {
    let (fixture, _) = Fixture::rotating();
    let alice = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    let mixed = Pair { access: alice.access.clone(), refresh: bob.refresh.clone() };
    let response = fixture.me(mixed.request()).await;
    assert_eq!(response.body(), "alice", "no sibling can plant one of them");
    assert!(response.headers().is_empty());
    fixture.clock.advance(Duration::from_secs(1));
}

/// A store that fails on command.
#[derive(Clone)]
struct Failing(MemoryStore, std::sync::Arc<std::sync::atomic::AtomicBool>);

impl crate::store::SessionStore for Failing {
    async fn create(&self, new: crate::store::NewSession) -> Result<(), crate::store::StoreError> {
        self.0.create(new).await
    }

    async fn load(
        &self,
        sid: crate::SessionId,
    ) -> Result<Option<crate::store::Loaded>, crate::store::StoreError> {
        match self.1.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(crate::store::StoreError::new("down")),
            false => self.0.load(sid).await,
        }
    }

    async fn rotate(
        &self,
        rotation: crate::store::Rotation,
    ) -> Result<bool, crate::store::StoreError> {
        self.0.rotate(rotation).await
    }

    async fn confirm(
        &self,
        sid: crate::SessionId,
        at: u64,
        user_activity: bool,
    ) -> Result<(), crate::store::StoreError> {
        self.0.confirm(sid, at, user_activity).await
    }

    async fn revoke(&self, sid: crate::SessionId) -> Result<bool, crate::store::StoreError> {
        self.0.revoke(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<crate::SessionId>,
    ) -> Result<Vec<crate::SessionId>, crate::store::StoreError> {
        self.0.revoke_subject(subject, except).await
    }

    async fn list(
        &self,
        subject: &str,
    ) -> Result<Vec<crate::store::SessionRecord>, crate::store::StoreError> {
        self.0.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, crate::store::StoreError> {
        self.0.sweep(limit).await
    }
}
