//! Vijil. `vijil-sdk` 0.1.68 and the command line `vijil-console` 0.4.9 present their access token
//! to renew it, in `Authorization: Bearer` without a body. The SDK renews it within five minutes of
//! the expiry that it has stored, and both renew it once at a 401. They ignore the cookie.

use std::time::Duration;

use everfresh::dialect::Dialect;
use serde_json::{Value, json};

use crate::backed::Backed;
use crate::served::{LATER, Served};
use crate::vendor::Vendor;

const AGENTS: &str = "/v1/agent-configurations/";

/// The token that the SDK has stored after a request.
async fn sdk_agents(vendor: &Vendor, name: &str) -> String {
    let answer: Value = vendor.get("sdk_agents", json!({"name": name})).await;
    answer["stored"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_sdk_stays_signed_in_at_a_served_endpoint() {
    let vendor = Vendor::start("vijil");
    let served = Served::start(Dialect::VIJIL).await;
    // The SDK sees the expiry in the token, or is told of one a day ahead and renews at a 401.
    for (name, expires_in) in [("ahead", None), ("at-401", Some(86_400))] {
        let mut access = served.sign_in("access-token").await.access_token;
        let open = json!({
            "name": name, "base": served.url(), "token": access, "expires_in": expires_in,
        });
        vendor.get::<Value>("sdk_open", open).await;
        for _ in 0..3 {
            served.clock.advance(LATER);
            assert!(served.me(&access).await.is_none(), "it has expired");
            let next = sdk_agents(&vendor, name).await;
            assert_ne!(next, access, "{name}");
            assert_eq!(served.me(&next).await.unwrap().sub, "alice");
            access = next;
        }

        served.sign_out(&access).await;
        let dead = vendor.run("sdk_agents", json!({"name": name})).await.unwrap_err();
        assert_eq!((dead.r#type.as_str(), dead.status), ("VijilAuthError", Some(401)));
        assert_eq!(vendor.get::<String>("sdk_stored", json!({"name": name})).await, access);
    }
}

#[tokio::test]
async fn the_sdk_is_refused_an_hour_after_the_expiry() {
    let vendor = Vendor::start("vijil");
    let served = Served::start(Dialect::VIJIL).await;
    let access = served.sign_in("access-token").await.access_token;
    let open = json!({"name": "late", "base": served.url(), "token": access});
    vendor.get::<Value>("sdk_open", open).await;
    served.clock.advance(Duration::from_secs(3700));
    let dead = vendor.run("sdk_agents", json!({"name": "late"})).await.unwrap_err();
    assert_eq!((dead.r#type.as_str(), dead.status), ("VijilAuthError", Some(401)));
}

#[tokio::test]
async fn the_command_line_stays_signed_in_at_a_served_endpoint() {
    let vendor = Vendor::start("vijil");
    let served = Served::start(Dialect::VIJIL).await;
    let base = served.url();
    let mut access = served.sign_in("access-token").await.access_token;
    let mut request = json!({"base": base, "path": "/me", "token": access});
    for _ in 0..3 {
        served.clock.advance(LATER);
        assert!(served.me(&access).await.is_none(), "it has expired");
        let answer: Value = vendor.get("console_get", request).await;
        assert_eq!(answer["answer"]["sub"], "alice");
        let next = answer["stored"].as_str().unwrap();
        assert_ne!(next, access);
        assert!(served.me(next).await.is_some());
        next.clone_into(&mut access);
        request = json!({"base": base, "path": "/me"});
    }

    served.sign_out(&access).await;
    let dead = vendor.run("console_get", request).await.unwrap_err();
    assert_eq!(dead.r#type, "SessionExpiredError");
    assert_eq!(vendor.get::<String>("console_stored", json!({})).await, access);
}

#[tokio::test]
async fn sessions_are_refreshed_at_a_server_that_the_sdk_accepts() {
    let vendor = Vendor::start("vijil");
    let root = vendor.url().as_str().to_owned();
    let tokens = vendor.issue().await;
    let open = json!({
        "name": "sdk", "base": root, "token": tokens.access_token, "expires_in": 60,
    });
    vendor.get::<Value>("sdk_open", open).await;
    assert_ne!(sdk_agents(&vendor, "sdk").await, tokens.access_token);
    assert_eq!(vendor.seen().await, [200]);

    let url = format!("{root}/v1/auth/jwt/refresh");
    for detail in [
        json!("Unauthorized"),
        json!({"code": "TOKEN_REVOKED", "reason": "signed out"}),
        json!([{"loc": ["header", "authorization"], "msg": "revoked", "type": "value_error"}]),
        json!(40_101),
    ] {
        let tokens = vendor.issue().await;
        let mut backed = Backed::start(Dialect::VIJIL, url.parse().unwrap(), &tokens).await;
        backed.check_while_signed_in(&vendor).await;
        vendor.revoke().await;
        vendor.get::<Value>("mode", json!({"mode": "good", "detail": detail})).await;
        backed.check_over(&vendor).await;
    }

    // The SDK takes any `detail` for its error, and so does the command line.
    let path = json!({"base": root, "path": AGENTS, "token": tokens.access_token});
    let dead = vendor.run("console_get", path).await.unwrap_err();
    assert_eq!(dead.r#type, "SessionExpiredError");
    let dead = vendor.run("sdk_agents", json!({"name": "sdk"})).await.unwrap_err();
    assert_eq!((dead.message.as_str(), dead.status), ("40101", Some(401)));
}
