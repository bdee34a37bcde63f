//! Freddy. `aitronos-sdk` 5.0.0 has the refresh as a method: it sends a refresh token and returns
//! the answer, without storing tokens or refreshing by itself. `aitronos-cli` 0.2.0 stores tokens,
//! refreshes within five minutes of the expiry, and keeps its refresh token.

use everfresh::dialect::Dialect;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::backed::Backed;
use crate::served::{LATER, REUSE, Served};
use crate::vendor::{Exception, Vendor};

/// `RefreshTokenResponse` of the SDK, and the members beside its fields.
#[derive(Debug, Deserialize)]
struct Refreshed {
    access_token: String,
    refresh_token: String,
    token_type: Option<String>,
    device_id: Option<String>,
    token: Option<String>,
    expires_in: Option<u64>,
}

async fn refresh(vendor: &Vendor, base: &str, token: &str) -> Result<Refreshed, Exception> {
    let arguments = json!({"base": base, "refresh_token": token});
    let answer = vendor.run("sdk_refresh", arguments).await?;
    Ok(serde_json::from_value(answer).unwrap())
}

fn is_dead(exception: &Exception, detail: &str) {
    assert_eq!((exception.r#type.as_str(), exception.status), ("ApiError", Some(401)));
    let body = format!("{{'detail': '{detail}'}}");
    assert!(exception.message.ends_with(&body), "{exception:?}");
}

#[tokio::test]
async fn the_sdk_refreshes_at_a_served_endpoint_and_keeps_its_refresh_token() {
    let vendor = Vendor::start("freddy");
    let served = Served::start(Dialect::FREDDY).await;
    let base = served.url();
    let tokens = served.sign_in("").await;
    let mut access = tokens.access_token;
    for _ in 0..3 {
        served.clock.advance(LATER);
        assert!(served.me(&access).await.is_none(), "it has expired");
        let answer = refresh(&vendor, &base, &tokens.refresh_token).await.unwrap();
        assert_ne!(answer.access_token, access);
        assert_eq!(answer.refresh_token, tokens.refresh_token);
        assert_eq!(answer.token_type.as_deref(), Some("bearer"));
        assert_eq!(answer.device_id.as_deref(), Some("device-1"));
        assert_eq!(answer.token.as_ref(), Some(&answer.access_token));
        let expires_in = answer.expires_in.unwrap();
        access = answer.access_token;
        let me = served.me(&access).await.unwrap();
        assert_eq!(me.sub, "alice");
        // In whole seconds, of a clock that is within one.
        let left = me.exp - served.clock.now().as_secs();
        assert!((left - 1..=left).contains(&expires_in), "{left}");
        let arguments = json!({"base": base, "token": access});
        assert_eq!(vendor.get::<String>("sdk_profile", arguments).await, "alice@example.com");
    }

    served.sign_out(&access).await;
    let dead = refresh(&vendor, &base, &tokens.refresh_token).await.unwrap_err();
    is_dead(&dead, "Refresh token has expired");
    is_dead(&refresh(&vendor, &base, "made-up").await.unwrap_err(), "Invalid refresh token");
}

#[tokio::test]
async fn the_sdk_follows_a_refresh_token_that_rotates() {
    let vendor = Vendor::start("freddy");
    let mut dialect = Dialect::FREDDY;
    dialect.serving.as_mut().unwrap().rotates = true;
    let served = Served::start(dialect).await;
    let base = served.url();
    let first = served.sign_in("").await.refresh_token;
    let mut current = first.clone();
    for _ in 0..3 {
        served.clock.advance(LATER);
        let answer = refresh(&vendor, &base, &current).await.unwrap();
        assert_ne!(answer.refresh_token, current);
        assert!(served.me(&answer.access_token).await.is_some());
        current = answer.refresh_token;
    }

    // A token that was replaced long ago ends the session.
    served.clock.advance(2 * REUSE);
    for token in [&first, &current] {
        let dead = refresh(&vendor, &base, token).await.unwrap_err();
        is_dead(&dead, "Refresh token has expired");
    }
}

#[tokio::test]
async fn the_command_line_stays_signed_in_at_a_served_endpoint() {
    let vendor = Vendor::start("freddy");
    let served = Served::start(Dialect::FREDDY).await;
    let tokens = served.sign_in("").await;
    let mut access = tokens.access_token;
    let saved = json!({
        "base": served.url(), "access_token": access, "refresh_token": tokens.refresh_token,
    });
    vendor.get::<Value>("cli_save", saved).await;
    for _ in 0..3 {
        served.clock.advance(LATER);
        let answer: Value = vendor.get("cli_access_token", json!({})).await;
        let next = answer["access_token"].as_str().unwrap();
        assert_ne!(next, access);
        assert_eq!(answer["stored"]["access_token"], next);
        assert_eq!(answer["stored"]["refresh_token"], tokens.refresh_token);
        assert_eq!(served.me(next).await.unwrap().sub, "alice");
        next.clone_into(&mut access);
    }

    served.sign_out(&access).await;
    let answer: Value = vendor.get("cli_access_token", json!({})).await;
    assert_eq!(answer["access_token"], Value::Null);
    assert_eq!(answer["stored"]["access_token"], access, "the failed refresh changed nothing");
}

#[tokio::test]
async fn sessions_are_refreshed_at_a_server_that_the_sdk_accepts() {
    let vendor = Vendor::start("freddy");
    let base = vendor.url().as_str().to_owned();
    let tokens = vendor.issue().await;
    let answer = refresh(&vendor, &base, &tokens.refresh_token).await.unwrap();
    assert_ne!(answer.refresh_token, tokens.refresh_token);
    refresh(&vendor, &base, &answer.refresh_token).await.unwrap();
    let dead = refresh(&vendor, &base, &tokens.refresh_token).await.unwrap_err();
    assert_eq!(dead.status, Some(401));
    assert_eq!(vendor.seen().await, [200, 200, 401]);

    let url: String = format!("{base}/v1/auth/refresh");
    let tokens = vendor.issue().await;
    let mut backed = Backed::start(Dialect::FREDDY, url.parse().unwrap(), &tokens).await;
    backed.check_while_signed_in(&vendor).await;
    vendor.revoke().await;
    backed.check_over(&vendor).await;
}
