//! An everfresh server whose sessions are backed by a vendor's server.

use std::time::Duration;

use everfresh::dialect::Dialect;
use everfresh::{Clock, Engine, Keys, ManualClock, MemoryStore};
use everfresh_testkit::contract::User;
use everfresh_testkit::{Answer, Browser};
use everfresh_upstream::{HttpClient, SecureUrl, Upstream};
use serde_json::json;
use tokio::net::TcpListener;

use crate::vendor::{Issued, Vendor};

/// More than the life of an access token, and than the leeway after its expiry.
const LATER: Duration = Duration::from_secs(20 * 60);

/// A server with one signed-in browser.
pub(crate) struct Backed {
    clock: ManualClock,
    browser: Browser,
}

impl Backed {
    /// Starts a server that refreshes by this dialect at this URL, and signs a user in by the
    /// vendor's tokens.
    pub(crate) async fn start(dialect: Dialect, url: SecureUrl, tokens: &Issued) -> Self {
        let upstream = Upstream::at(&HttpClient::new().unwrap(), dialect, url);
        let clock = ManualClock::starting_at(Clock::system().now());
        let store = MemoryStore::new().clock(clock.clone());
        let auth: Engine<User> =
            Engine::builder(Keys::hs256("Z8EoVK2UM8YxELyipgdDzaFjdKQSMfpve").unwrap())
                .issuer("https://here.example")
                .audience("here")
                .insecure_dev_only()
                .clock(clock.clone())
                .refresh_with(upstream.kept_in(store))
                .build()
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut browser = Browser::new(listener.local_addr().unwrap(), clock.clone());
        let app = everfresh_tests::axum::app(&auth);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let tokens = json!({
            "access_token": tokens.access_token, "refresh_token": tokens.refresh_token,
            "expires_in": 60, "sub": "alice",
        });
        assert_eq!(browser.post_json("/adopt", &tokens).await.status, 204);
        Self { clock, browser }
    }

    /// The status of a request after the access token has expired, which needs a refresh.
    pub(crate) async fn later(&mut self) -> u16 {
        self.clock.advance(LATER);
        let Answer { status, .. } = self.browser.get("/me").await;
        status.as_u16()
    }

    /// Refreshes while the vendor's server is good, limits requests, and is down.
    pub(crate) async fn check_while_signed_in(&mut self, vendor: &Vendor) {
        for _ in 0..3 {
            assert_eq!(self.later().await, 200);
        }
        for mode in ["limited", "outage"] {
            vendor.mode(mode).await;
            assert_eq!(self.later().await, 503, "{mode}");
            vendor.mode("good").await;
            assert_eq!(self.later().await, 200, "after {mode}");
        }
        assert_eq!(vendor.seen().await, [200, 200, 200, 429, 200, 503, 200]);
    }

    /// Refreshes a session that the vendor's server has ended.
    pub(crate) async fn check_over(&mut self, vendor: &Vendor) {
        assert_eq!(self.later().await, 401);
        assert_eq!(self.later().await, 401);
        assert_eq!(vendor.seen().await, [401], "the session is over");
    }
}
