//! A cached token is not verified again, and still ends for every reason that ends a token.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::json;

use crate::testing::*;
use crate::verify::{Verified, verify};
use crate::{Algorithm, ConfigError, Engine, Key, Keys, Reissue};

impl Fixture {
    fn remembered(&self, token: &str) -> Option<Arc<Verified<User>>> {
        let version = self.auth.core.settings.keys.version();
        self.auth.rest.cache.find(token.as_bytes(), version, self.clock.now())
    }

    async fn status(&self, token: &str) -> StatusCode {
        self.me(cookie(token)).await.status()
    }
}

fn key(name: &str) -> Key {
    let secret = format!("{name}-{SECRET}");
    Key::hmac(Algorithm::HS256, secret.as_bytes()).unwrap().with_kid(name).unwrap()
}

#[tokio::test]
async fn a_token_is_verified_once() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    assert!(fixture.remembered(&token).is_none());
    assert_eq!(fixture.me(cookie(&token)).await.body(), "alice");
    assert!(fixture.remembered(&token).is_some());

    // A cached text without a signature counts, because the engine does not check the signature
    // again.
    let (version, keys) =
        (fixture.auth.core.settings.keys.version(), fixture.auth.core.settings.keys.current());
    let alice =
        verify(token.as_bytes(), &keys, &fixture.auth.core.settings.rules, fixture.clock.now())
            .unwrap();
    fixture.auth.rest.cache.insert(b"not.signed.ever", version, &Arc::new(alice));
    assert_eq!(fixture.me(cookie("not.signed.ever")).await.body(), "alice");
}

#[tokio::test]
async fn the_cache_can_be_turned_off_and_has_a_limit() {
    let fixture = Fixture::with(|builder| builder.token_cache(0));
    let token = fixture.sign_in("alice").await;
    assert_eq!(fixture.me(cookie(&token)).await.body(), "alice");
    assert!(fixture.remembered(&token).is_none());

    let builder = Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(Reissue::new())
        .token_cache(1_000_001);
    let problem = builder.build().unwrap_err();
    assert_eq!(problem, ConfigError::CacheSize { found: 1_000_001, most: 1_000_000 });
    assert_eq!(problem.to_string(), "`token_cache` is 1000001; allowed are 0 to 1000000 tokens");
}

// Rows: S32.
#[tokio::test]
async fn a_tampered_token_never_counts() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    assert_eq!(fixture.status(&token).await, StatusCode::OK);
    for at in 0..token.len() {
        let mut tampered = token.clone().into_bytes();
        tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(tampered).unwrap();
        assert_eq!(fixture.status(&tampered).await, StatusCode::UNAUTHORIZED, "byte {at}");
        assert!(fixture.remembered(&tampered).is_none(), "what is refused is not remembered");
    }
    assert_eq!(fixture.status(&token).await, StatusCode::OK);
}

// Rows: S32.
#[tokio::test]
async fn a_key_that_leaves_takes_its_tokens_along() {
    let keys = Keys::new(key("old")).unwrap();
    let fixture = Fixture::keyed(keys.clone(), |builder| builder);
    let token = fixture.sign_in("alice").await;
    assert_eq!(fixture.status(&token).await, StatusCode::OK);
    keys.rotate_to(key("new")).unwrap();
    assert!(fixture.remembered(&token).is_none(), "any change counts");
    assert_eq!(fixture.status(&token).await, StatusCode::OK, "but the key still verifies");
    assert!(fixture.remembered(&token).is_some());
    keys.retire("old").unwrap();
    assert_eq!(fixture.status(&token).await, StatusCode::UNAUTHORIZED);

    let other = Fixture::keyed(Keys::new(key("new")).unwrap(), |builder| builder);
    let token = other.sign_in("alice").await;
    assert_eq!(fixture.status(&token).await, StatusCode::OK);
    keys.replace_with(&Keys::new(key("third")).unwrap());
    assert_eq!(fixture.status(&token).await, StatusCode::UNAUTHORIZED);
}

// Rows: S32.
#[tokio::test]
async fn a_session_that_ends_takes_its_tokens_along() {
    let (fixture, _) = Fixture::rotating();
    let alice = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    for pair in [&alice, &bob] {
        assert_eq!(fixture.status(&pair.access).await, StatusCode::OK);
        assert!(fixture.remembered(&pair.access).is_some());
    }
    fixture
        .send(alice.request(), |session, _| async move {
            session.sign_out().await.unwrap();
            http::Response::new(String::new())
        })
        .await;
    assert_eq!(fixture.status(&alice.access).await, StatusCode::UNAUTHORIZED);
    assert!(fixture.remembered(&alice.access).is_none(), "it was taken out");
    assert_eq!(fixture.status(&alice.access).await, StatusCode::UNAUTHORIZED);
    assert!(fixture.remembered(&alice.access).is_none(), "and does not come in again");
    assert!(fixture.remembered(&bob.access).is_some());
}

// Rows: S32.
#[tokio::test]
async fn a_token_expires_on_time_however_often_it_was_seen() {
    let fixture = Fixture::with(|builder| builder.leeway(Duration::ZERO));
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 1);
    let request = || request("OPTIONS", &[("cookie", &format!("{COOKIE_NAME}={token}"))]);
    for _ in 0..3 {
        assert_eq!(fixture.me(request()).await.body(), "alice");
    }
    fixture.clock.advance(Duration::from_millis(999));
    assert_eq!(fixture.me(request()).await.body(), "alice");
    fixture.clock.advance(Duration::from_millis(1));
    // A preflight is never refreshed, so its answer depends on the access token alone.
    assert_eq!(fixture.me(request()).await.status(), StatusCode::UNAUTHORIZED);
    assert!(fixture.remembered(&token).is_none());
}

// Rows: S32.
#[tokio::test]
async fn nbf_and_iat_are_held_against_a_clock_that_steps_back() {
    let fixture = Fixture::new();
    let minted = fixture.sign_in("alice").await;
    let payload = minted.split('.').nth(1).unwrap();
    let mut payload: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    payload["nbf"] = json!(START.as_secs());
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(json!({ "typ": "at+jwt", "alg": "HS256" }).to_string());
    let signed = format!("{header}.{}", encode(payload.to_string()));
    let key = Key::hmac(Algorithm::HS256, SECRET.as_bytes()).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
    let with_nbf = format!("{signed}.{signature}");

    const LEEWAY: Duration = Duration::from_secs(30);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    for (token, slack) in [(&with_nbf, LEEWAY), (&minted, DAY)] {
        fixture.clock.set_wall(START);
        assert_eq!(fixture.status(token).await, StatusCode::OK);
        assert!(fixture.remembered(token).is_some());
        fixture.clock.set_wall(START.minus(slack));
        assert_eq!(fixture.status(token).await, StatusCode::OK);
        fixture.clock.set_wall(START.minus(slack).minus(Duration::from_millis(1)));
        assert_eq!(fixture.status(token).await, StatusCode::UNAUTHORIZED);
    }
}
