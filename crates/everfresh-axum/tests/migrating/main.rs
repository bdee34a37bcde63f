//! The handlers of `crates/everfresh/docs/migrating.md` that migrate users, word for word.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[expect(clippy::disallowed_methods, reason = "an app has no clock of ours")]
mod exchange {
    include!("exchange.rs");

    /// The page's handlers, with the rest of an app.
    pub(super) fn app() -> axum::Router {
        use axum::routing::{get, post};
        use everfresh::{Engine, Keys, MemoryStore, Rotate};
        use everfresh_axum::Claims;

        let auth =
            Engine::<User>::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
                .issuer("https://app.example")
                .audience("app")
                .refresh_with(Rotate::new(MemoryStore::new()))
                .build()
                .unwrap();
        axum::Router::new()
            .route("/auth/exchange", post(exchange))
            .route("/logout", post(logout))
            .route("/logout-everywhere", post(everywhere))
            .route("/me", get(|Claims(user): Claims<User>| async move { user.name.clone() }))
            .layer(auth.layer())
    }

    async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
        session.sign_out().await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

const PAGE: &str = include_str!("../../../../crates/everfresh/docs/migrating.md");

/// A browser's cookies, by name.
struct Jar(BTreeMap<String, String>);

impl Jar {
    fn with_the_old_cookie() -> Self {
        Self([("old".to_owned(), "old-token-of-ada".to_owned())].into())
    }

    async fn send(&mut self, app: &axum::Router, method: &str, path: &str) -> StatusCode {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder().method(method).uri(path);
        let request = request.header("cookie", pairs.join("; ")).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (pair, attributes) = cookie.to_str().unwrap().split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => drop(self.0.remove(name)),
                false => drop(self.0.insert(name.to_owned(), value.to_owned())),
            }
        }
        response.status()
    }
}

// Rows: N2.
#[test]
fn the_page_lists_exactly_these_handlers() {
    assert!(PAGE.contains(&format!("```rust\n{}```", include_str!("exchange.rs"))));
}

// Rows: N2.
#[tokio::test]
async fn after_exchange_and_sign_out_the_old_cookie_is_deleted() {
    let app = exchange::app();
    let mut jar = Jar::with_the_old_cookie();
    assert_eq!(jar.send(&app, "POST", "/auth/exchange").await, StatusCode::NO_CONTENT);
    assert_eq!(jar.0.get("old"), None, "deleted");
    assert_eq!(jar.send(&app, "GET", "/me").await, StatusCode::OK);
    assert_eq!(jar.send(&app, "POST", "/auth/exchange").await, StatusCode::NO_CONTENT);
    assert_eq!(jar.send(&app, "POST", "/logout").await, StatusCode::NO_CONTENT);
    assert_eq!(jar.send(&app, "GET", "/me").await, StatusCode::UNAUTHORIZED);
    // The first request of a page.
    assert_eq!(jar.send(&app, "POST", "/auth/exchange").await, StatusCode::UNAUTHORIZED);
    assert_eq!(jar.send(&app, "GET", "/me").await, StatusCode::UNAUTHORIZED);

    // Another browser, or a thief, still has the old cookie.
    let mut other = Jar::with_the_old_cookie();
    assert_eq!(other.send(&app, "POST", "/auth/exchange").await, StatusCode::NO_CONTENT);
    assert_eq!(other.send(&app, "POST", "/logout-everywhere").await, StatusCode::NO_CONTENT);
    let mut copy = Jar::with_the_old_cookie();
    assert_eq!(copy.send(&app, "POST", "/auth/exchange").await, StatusCode::UNAUTHORIZED);
    assert_eq!(copy.send(&app, "GET", "/me").await, StatusCode::UNAUTHORIZED);
}
