//! Galileo. `galileo-core` 4.5.0 refreshes within five minutes of the expiry and whenever it has no
//! access token. Its requests go to the root of its base address, which may end in `/v1/`. If an
//! answer has no access token, the SDK holds an empty one and no refresh token.

use everfresh::dialect::Dialect;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::backed::Backed;
use crate::served::{LATER, Served};
use crate::vendor::Vendor;

/// The tokens that the SDK holds.
#[derive(Debug, Deserialize)]
struct Held {
    access_token: String,
    refresh_token: Option<String>,
}

/// The base addresses of the SDK: the vendor's own, and the one of the vendor's documents.
const BASES: [&str; 2] = ["/", "/v1/"];

async fn current_user(vendor: &Vendor, name: &str) -> Held {
    let answer: Value = vendor.get("current_user", json!({"name": name})).await;
    assert_eq!(answer["email"], "alice@example.com");
    serde_json::from_value(answer).unwrap()
}

#[tokio::test]
async fn the_sdk_stays_signed_in_at_a_served_endpoint() {
    let vendor = Vendor::start("galileo");
    for base in BASES {
        let served = Served::start(Dialect::GALILEO).await;
        let first = served.sign_in("").await.refresh_token;
        let open = json!({
            "name": base, "base": format!("{}{base}", served.url()), "refresh_token": first,
        });
        let mut held: Held = vendor.get("open", open.clone()).await;
        // A refresh right after another one repeats the cookie. Without one the SDK would forget
        // its refresh token.
        assert_eq!(held.refresh_token.as_ref(), Some(&first));
        held = current_user(&vendor, base).await;
        assert_eq!(held.refresh_token.as_ref(), Some(&first));
        for _ in 0..3 {
            served.clock.advance(LATER);
            assert!(served.me(&held.access_token).await.is_none(), "it has expired");
            let next = current_user(&vendor, base).await;
            assert_ne!(next.access_token, held.access_token);
            assert_ne!(next.refresh_token, held.refresh_token);
            assert_eq!(served.me(&next.access_token).await.unwrap().sub, "alice");
            held = next;
        }

        served.sign_out(&held.access_token).await;
        let dead = vendor.run("current_user", json!({"name": base})).await.unwrap_err();
        assert_eq!((dead.r#type.as_str(), dead.status), ("GalileoHTTPException", Some(401)));
        let held: Held = vendor.get("held", json!({"name": base})).await;
        assert_eq!((held.access_token.as_str(), held.refresh_token), ("", None));
        // It sends its empty access token, which httpx refuses as a header.
        let dead = vendor.run("open", open).await.unwrap_err();
        assert_eq!(dead.r#type, "LocalProtocolError");
    }
}

#[tokio::test]
async fn sessions_are_refreshed_at_a_server_that_the_sdk_accepts() {
    let vendor = Vendor::start("galileo");
    let root = vendor.url().as_str().to_owned();
    for base in BASES {
        let base_url = format!("{root}{base}");
        let open = json!({
            "name": base, "base": base_url, "username": "alice", "password": "s3cret",
        });
        let first: Held = vendor.get("open", open).await;
        let second = current_user(&vendor, base).await;
        assert_ne!(second.refresh_token, first.refresh_token);
        let again = current_user(&vendor, base).await;
        assert_ne!(again.refresh_token, second.refresh_token);
        assert_eq!(vendor.seen().await, [200, 200]);

        let url = format!("{base_url}refresh_token").parse().unwrap();
        let tokens = vendor.issue().await;
        let mut backed = Backed::start(Dialect::GALILEO, url, &tokens).await;
        backed.check_while_signed_in(&vendor).await;
        vendor.revoke().await;
        backed.check_over(&vendor).await;
    }
}
