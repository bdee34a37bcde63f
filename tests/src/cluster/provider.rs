//! Another server that backs sessions: an OAuth 2 token endpoint with single-use refresh tokens,
//! which a test can hold at each step.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The steps at which a test can hold an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The token has arrived and is not consumed yet.
    Received,
    /// The next token is issued and the previous one is invalid, but the answer is not sent yet.
    Issued,
}

/// A server on loopback. It ends when this is dropped.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    families: Mutex<HashMap<String, Family>>,
    held: watch::Sender<()>,
}

/// The tokens of one sign-in: `name.number`.
#[derive(Clone, Debug, Default)]
struct Family {
    /// The number of the valid token.
    current: u64,
    calls: usize,
    is_reused: bool,
    hold: Option<Step>,
    is_held: bool,
}

#[derive(Deserialize)]
struct RefreshForm {
    refresh_token: String,
}

impl Provider {
    /// On a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let app = Router::new().route("/token", post(token)).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle();
        Self { address, shared, serving }
    }

    /// The environment of a contract server that uses it. `limit`: the time limit of a refresh.
    pub fn settings(&self, limit: u64) -> [(&'static str, String); 5] {
        [
            ("REFRESH", "upstream".into()),
            ("UPSTREAM_URL", format!("http://{}/token", self.address)),
            ("UPSTREAM_DIALECT", "oauth2".into()),
            ("UPSTREAM_CLIENT_ID", "cluster".into()),
            ("UPSTREAM_LIMIT", limit.to_string()),
        ]
    }

    /// Signs a user in. Returns the refresh token.
    pub fn sign_in(&self, name: &str) -> String {
        self.shared.families().insert(name.to_owned(), Family::default());
        format!("{name}.0")
    }

    /// Holds the next refresh of these tokens at this step.
    pub fn hold(&self, name: &str, step: Step) {
        self.change(name, |family| family.hold = Some(step));
    }

    /// Waits until an answer is held.
    pub async fn held(&self, name: &str) {
        let mut held = self.shared.held.subscribe();
        while !self.family(name).is_held {
            // The sender lives as long as this provider.
            let _ = held.changed().await;
        }
    }

    /// Releases the held answer.
    pub fn release(&self, name: &str) {
        self.change(name, |family| family.hold = None);
    }

    /// How often these tokens were sent.
    pub fn calls(&self, name: &str) -> usize {
        self.family(name).calls
    }

    /// Whether a token was sent twice, which made all of them invalid.
    pub fn is_reused(&self, name: &str) -> bool {
        self.family(name).is_reused
    }

    fn family(&self, name: &str) -> Family {
        self.shared.families()[name].clone()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Family)) {
        self.shared.change(name, change);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn families(&self) -> MutexGuard<'_, HashMap<String, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Family) -> T) -> Option<T> {
        let changed = self.families().get_mut(name).map(change);
        self.held.send_replace(());
        changed
    }

    async fn stop_at(&self, name: &str, step: Step) {
        let mut changed = self.held.subscribe();
        let holds = |family: &mut Family| family.hold == Some(step);
        if self.families().get_mut(name).is_some_and(holds) {
            self.change(name, |family| family.is_held = true);
        }
        while self.families().get_mut(name).is_some_and(holds) {
            let _ = changed.changed().await;
        }
    }
}

/// RFC 6749 section 6, with the reuse detection of RFC 9700 section 4.14.2.
async fn token(State(shared): State<Arc<Shared>>, Form(form): Form<RefreshForm>) -> Response {
    let bad = || (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    let parts = form.refresh_token.rsplit_once('.');
    let Some((name, Ok(number))) = parts.map(|(name, number)| (name, number.parse::<u64>())) else {
        return bad();
    };
    let name = name.to_owned();
    // A client that disconnects, such as a killed node, does not interrupt a request.
    let work = tokio::spawn(async move {
        shared.stop_at(&name, Step::Received).await;
        let taken = shared.change(&name, |family| {
            family.calls += 1;
            family.is_reused |= number != family.current;
            family.current += 1;
            !family.is_reused
        });
        shared.stop_at(&name, Step::Issued).await;
        (taken == Some(true)).then(|| format!("{name}.{}", number + 1))
    });
    match work.await {
        Ok(Some(next)) => Json(json!({
            "access_token": "opaque",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": next,
        }))
        .into_response(),
        _ => bad(),
    }
}
