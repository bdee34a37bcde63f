//! An everfresh server of dialects, with the endpoints that the vendors' clients call besides.

use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use everfresh::dialect::Dialect;
use everfresh::{Clock, Engine, Keys, ManualClock, MemoryStore, Rotate, Transport};
use everfresh_axum::Claims;
use everfresh_testkit::Browser;
use everfresh_testkit::contract::{Me, User};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The lifetime of access tokens. The clients refresh within five minutes of the expiry, so they
/// refresh before each request.
pub(crate) const LIFE: Duration = Duration::from_secs(20);

/// More than that, with the leeway. The clients have the system's clock, so a test that advances
/// the server's clock by this four times still has tokens that the clients refresh.
pub(crate) const LATER: Duration = Duration::from_secs(65);

/// The reuse interval of a rotated token.
pub(crate) const REUSE: Duration = Duration::from_secs(10);

/// A server that serves these dialects, over a clock that starts at the present time.
pub(crate) struct Served {
    pub(crate) clock: ManualClock,
    address: SocketAddr,
}

/// The tokens of a sign-in.
pub(crate) struct SignedIn {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl Served {
    pub(crate) async fn start(dialect: Dialect) -> Self {
        let clock = ManualClock::starting_at(Clock::system().now());
        let rotate = Rotate::new(MemoryStore::new().clock(clock.clone())).reuse_interval(REUSE);
        let auth: Engine<User> =
            Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
                .issuer("https://app.example")
                .audience("app")
                .access_lifetime(LIFE)
                .transports([Transport::cookies(), Transport::headers()])
                .insecure_dev_only()
                .clock(clock.clone())
                .refresh_with(rotate)
                .dialect(dialect)
                .build()
                .unwrap();
        let routes = Router::new()
            .route("/healthcheck", get(async || Json(json!({"message": "ok"}))))
            .route("/current_user", get(profile))
            .route("/v1/user/me", get(profile))
            .route("/v1/agent-configurations/", get(agents));
        let app = Router::new().nest("/v1", routes.clone()).merge(routes).layer(auth.layer());
        let app = app.merge(everfresh_tests::axum::app(&auth));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { clock, address }
    }

    /// The base address that the clients are configured with.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Signs a user in. `whom`: as the contract server's parameter `for`.
    pub(crate) async fn sign_in(&self, whom: &str) -> SignedIn {
        let login = format!("/login?deliver=header&for={whom}");
        let answer = self.browser().post_json(&login, &json!({"user": "alice"})).await;
        assert_eq!(answer.status, 204);
        let access_token = answer.field("authorization").unwrap().strip_prefix("Bearer ");
        SignedIn {
            access_token: access_token.unwrap().to_owned(),
            refresh_token: answer.field("x-refresh-token").unwrap().to_owned(),
        }
    }

    /// What the server knows of an access token, or `None` if it refuses it.
    pub(crate) async fn me(&self, access_token: &str) -> Option<Me> {
        let answer = self.bearer("GET", "/me", access_token).await;
        (answer.status == 200).then(|| answer.json())
    }

    /// Signs the session of an access token out.
    pub(crate) async fn sign_out(&self, access_token: &str) {
        assert_eq!(self.bearer("POST", "/logout", access_token).await.status, 204);
    }

    async fn bearer(&self, method: &str, path: &str, token: &str) -> everfresh_testkit::Answer {
        let browser = self.browser();
        let bearer = format!("Bearer {token}").parse().unwrap();
        let fields = [(http::header::AUTHORIZATION, bearer)];
        let method = method.parse().unwrap();
        browser.fetch(browser.request(method, path, &fields, bytes::Bytes::new())).await
    }

    fn browser(&self) -> Browser {
        Browser::new(self.address, self.clock.clone())
    }
}

/// The members that the clients' models of a user require.
async fn profile(_: Claims<User>) -> Json<Value> {
    Json(json!({
        "id": "2f0b4c3e-7f5e-4f0a-9d5c-6a1f6a0f7c11",
        "email": "alice@example.com",
        "is_active": true,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }))
}

async fn agents(_: Claims<User>) -> Json<Value> {
    Json(json!([]))
}
