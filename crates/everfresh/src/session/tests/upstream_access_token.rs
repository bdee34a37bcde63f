//! Tokens for calls to other services.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::*;
use crate::{InvalidReason, TrustedIssuer};

const BILLING: &str = "https://billing.example";

async fn token_for(fixture: &Fixture, cookies: &str, audience: &'static str, secs: u64) -> String {
    let request = get(&[("cookie", cookies)]);
    let response = fixture.send(request, move |session, _| async move {
        let token = session.access_token_for(audience, Duration::from_secs(secs)).unwrap();
        Response::new(token.expose().to_owned())
    });
    response.await.into_body()
}

fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// An engine of the other service, with the same keys.
fn billing() -> Fixture {
    Fixture::with(|builder| builder.audience(BILLING))
}

// Rows: L14.
#[tokio::test]
async fn a_token_for_another_service_counts_there_and_is_refreshed_nowhere() {
    for fixture in [Fixture::new(), Fixture::rotating().0] {
        let cookies = fixture.sign_in_pair("alice").await.header();
        let token = token_for(&fixture, &cookies, BILLING, 60).await;
        let said = payload(&token);
        assert_eq!((&said["aud"], &said["sub"]), (&BILLING.into(), &"alice".into()));
        assert_eq!((&said["name"], &said["auth_time"]), (&"alice".into(), &START.as_secs().into()));
        for of_the_session in ["sid", "gen", "session_exp"] {
            assert_eq!(said.get(of_the_session), None);
        }
        let lifetime = said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap();
        assert!((57..=60).contains(&lifetime), "{lifetime}");

        let keys = Keys::hs256(SECRET).unwrap();
        let trusted = TrustedIssuer::new(keys, "https://app.example", BILLING);
        let read = trusted.read(&token, START).await.unwrap();
        assert_eq!(read.subject.as_deref(), Some("alice"));

        fixture.events();
        assert_eq!(fixture.me(cookie(&token)).await.status(), StatusCode::UNAUTHORIZED);
        let refused = format!("TokenRefused {{ reason: {:?} }}", InvalidReason::Audience);
        assert_eq!(fixture.events(), [refused]);
        // Not even a service with the same keys, this audience and `Reissue` accepts it as a
        // session.
        let billing = billing();
        assert_eq!(billing.me(cookie(&token)).await.status(), StatusCode::UNAUTHORIZED);
        let refused = format!("TokenRefused {{ reason: {:?} }}", InvalidReason::NoSession);
        assert_eq!(billing.events(), [refused]);
    }
}

// Rows: L14.
#[tokio::test]
async fn a_token_for_another_audience_outlives_neither_the_engines_tokens_nor_the_session() {
    let (fixture, _) = Fixture::rotating_with(|b| b.session_lifetime(Duration::from_secs(1000)));
    let mut pair = fixture.sign_in_pair("alice").await;
    let long = payload(&token_for(&fixture, &pair.header(), BILLING, 86_400).await);
    assert!(long["exp"].as_u64().unwrap() <= START.as_secs() + 900);
    fixture.pass(890);
    let response = fixture.me(pair.request()).await;
    pair.keep(&response);
    let late = payload(&token_for(&fixture, &pair.header(), BILLING, 600).await);
    assert!(late["exp"].as_u64().unwrap() <= START.as_secs() + 1000, "the session ends");
}

// Rows: L14.
#[tokio::test]
async fn a_token_for_another_service_needs_an_audience_and_a_signed_in_user() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let minute = Duration::from_secs(60);
    for request in [cookie(&token), get(&[])] {
        fixture
            .send(request, move |session, _| async move {
                for own in ["", "app"] {
                    let refused = kind(session.access_token_for(own, minute));
                    assert_eq!(refused, SessionErrorKind::Audience);
                }
                match session.status() {
                    SessionStatus::Present => {
                        let none = kind(session.access_token_for(BILLING, Duration::ZERO));
                        assert_eq!(none, SessionErrorKind::Rejected);
                    }
                    _ => {
                        let refused = kind(session.access_token_for(BILLING, minute));
                        assert_eq!(refused, SessionErrorKind::NotSignedIn);
                    }
                }
                empty()
            })
            .await;
    }
}
