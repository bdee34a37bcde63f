//! Another server with single-use tokens, whose calls take turns.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use everfresh::AccessToken;
use everfresh::dialect::AccessTokenResponse;
use everfresh::refresher::RefreshToken;
use everfresh_upstream::{HttpClient, HttpError};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::service_fn;

use crate::simulation::LIFE;
use crate::turns::Turns;

#[derive(Clone)]
pub(crate) struct Provider {
    turns: Turns,
    ledger: Arc<Mutex<Ledger>>,
}

/// The tokens that it received.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The number of the valid token.
    latest: u64,
    pub(crate) taken: usize,
    /// How many consumed tokens it received.
    pub(crate) reuses: usize,
    pub(crate) revoked: usize,
}

impl Provider {
    pub(crate) fn new(turns: Turns) -> Self {
        Self { turns, ledger: Arc::default() }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// The first tokens of a session.
    pub(crate) fn first() -> AccessTokenResponse {
        AccessTokenResponse::new(AccessToken::new("at.0".into()))
            .with_refresh_token(RefreshToken::new("rt.0".into()))
            .with_expires_in(LIFE)
    }

    /// The connection to it.
    pub(crate) fn client(&self) -> HttpClient {
        let provider = self.clone();
        HttpClient::over(service_fn(move |request| {
            let provider = provider.clone();
            async move { provider.call(request).await }
        }))
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, HttpError> {
        self.turns.turn().await;
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap_or_default().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        let (status, answer) = self.answer(head.uri.path(), &body);
        self.turns.turn().await;
        let mut response = Response::new(Full::new(answer.into()));
        *response.status_mut() = status;
        Ok(response)
    }

    fn answer(&self, path: &str, body: &str) -> (StatusCode, String) {
        let mut ledger = self.ledger();
        if path == "/revoke" {
            ledger.revoked += 1;
            return (StatusCode::OK, String::new());
        }
        ledger.taken += 1;
        if !body.contains(&format!("refresh_token=rt.{}", ledger.latest)) {
            ledger.reuses += 1;
            return (StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#.into());
        }
        ledger.latest += 1;
        let (n, life) = (ledger.latest, LIFE.as_secs());
        let tokens = format!(
            r#"{{"access_token":"at.{n}","refresh_token":"rt.{n}","token_type":"Bearer","expires_in":{life}}}"#
        );
        (StatusCode::OK, tokens)
    }
}
