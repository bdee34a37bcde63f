//! A client that handles tokens itself and chooses the node of each request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use everfresh_testkit::contract::Me;
use everfresh_testkit::suite::{ACCESS_COOKIE, REFRESH_COOKIE};
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// Longer than any flight.
const ANSWER_LIMIT: Duration = Duration::from_secs(100);

/// Sends requests. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Client(Hyper<HttpConnector, Full<Bytes>>);

/// The tokens that a client holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: Option<String>,
    /// The refresh token.
    pub refresh: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// The refresh token alone, which nodes treat like a request with an expired access token.
    pub fn expired(&self) -> Self {
        Self { access: None, refresh: self.refresh.clone() }
    }

    /// The access token alone, which a node refuses without the store.
    pub fn access_alone(&self) -> Self {
        Self { access: self.access.clone(), refresh: None }
    }

    /// Replaces tokens as a browser does.
    pub fn take(&mut self, new: Self) {
        self.access = new.access.or_else(|| self.access.take());
        self.refresh = new.refresh.or_else(|| self.refresh.take());
    }

    fn header(&self) -> String {
        let access = self.access.iter().map(|token| format!("{ACCESS_COOKIE}={token}"));
        let refresh = self.refresh.iter().map(|token| format!("{REFRESH_COOKIE}={token}"));
        access.chain(refresh).collect::<Vec<_>>().join("; ")
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The answer of `GET /me`.
    pub me: Option<MeAnswer>,
    /// The ids in the answer of `GET /auth/sessions`, sorted.
    pub sids: Vec<String>,
    /// New tokens.
    pub tokens: Tokens,
}

/// The fields that the tests need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeAnswer {
    /// The session.
    pub sid: String,
    /// The generation that the access token carries.
    pub generation: u64,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// One without connections.
    pub fn new() -> Self {
        // Without retries, so that the test sees requests that a killed node leaves unanswered.
        let http = Hyper::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self(http)
    }

    /// `POST /login`.
    pub async fn sign_in(&self, node: SocketAddr, user: &str) -> Tokens {
        self.try_sign_in(node, user).await.expect("204")
    }

    /// The same at a node that may fail.
    pub async fn try_sign_in(&self, node: SocketAddr, user: &str) -> Option<Tokens> {
        self.begin(node, "/login", &json!({"user": user})).await
    }

    /// `POST /adopt`: a session backed by another server's tokens, which last for a second.
    pub async fn adopt(&self, node: SocketAddr, user: &str, refresh_token: &str) -> Tokens {
        let body = json!({
            "sub": user,
            "access_token": "opaque",
            "refresh_token": refresh_token,
            "expires_in": 1,
        });
        // Our access token expires with the other server's, in whole seconds. Late in a second it
        // has expired on arrival, and the sign-in is answered 503.
        for _ in 0..20 {
            if let Some(tokens) = self.begin(node, "/adopt", &body).await {
                return tokens;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no sign-in in 2 s")
    }

    async fn begin(&self, node: SocketAddr, path: &str, body: &Value) -> Option<Tokens> {
        let nothing = Tokens::default();
        let answer = self.send(node, Method::POST, path, &nothing, body.to_string()).await?;
        (answer.status == 204).then_some(answer.tokens)
    }

    /// `GET /me`. `None` if the node operation not answer.
    pub async fn me(&self, node: SocketAddr, tokens: &Tokens) -> Option<Answer> {
        self.send(node, Method::GET, "/me", tokens, String::new()).await
    }

    /// `POST /logout`.
    pub async fn sign_out(&self, node: SocketAddr, tokens: &Tokens) -> Option<Answer> {
        self.send(node, Method::POST, "/logout", tokens, String::new()).await
    }

    /// `GET /auth/sessions`.
    pub async fn sessions(&self, node: SocketAddr, tokens: &Tokens) -> Option<Answer> {
        self.send(node, Method::GET, "/auth/sessions", tokens, String::new()).await
    }

    /// `DELETE /auth/sessions/{sid}`.
    pub async fn end(&self, node: SocketAddr, tokens: &Tokens, sid: &str) -> Option<Answer> {
        let path = format!("/auth/sessions/{sid}");
        self.send(node, Method::DELETE, &path, tokens, String::new()).await
    }

    /// `POST /auth/logout-all`.
    pub async fn sign_out_everywhere(&self, node: SocketAddr, tokens: &Tokens) -> Option<Answer> {
        self.send(node, Method::POST, "/auth/logout-all", tokens, String::new()).await
    }

    /// How many requests have started to wait for a refresh on a node, read from `GET /metrics`.
    pub async fn waits(&self, node: SocketAddr) -> u64 {
        let request = Request::get(format!("http://{node}/metrics")).body(Full::default());
        let answer = self.0.request(request.expect("a request")).await.expect("it runs");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&body);
        let counts = text.lines().filter(|line| line.starts_with("everfresh_decisions_total"));
        let waits = counts.filter(|line| line.contains("decision=\"wait\""));
        waits.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    async fn send(
        &self,
        node: SocketAddr,
        method: Method,
        path: &str,
        tokens: &Tokens,
        body: String,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://{node}{path}"));
        if *tokens != Tokens::default() {
            request = request.header(COOKIE, tokens.header());
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let exchange = async {
            let (parts, body) = self.0.request(request).await.ok()?.into_parts();
            Some((parts, body.collect().await.ok()?.to_bytes()))
        };
        let (parts, body) = tokio::time::timeout(ANSWER_LIMIT, exchange).await.ok()??;
        let mut new = Tokens::default();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().ok()?.split(';').next()?;
            match pair.split_once('=')? {
                (_, "") => {}
                (ACCESS_COOKIE, token) => new.access = Some(token.to_owned()),
                (REFRESH_COOKIE, token) => new.refresh = Some(token.to_owned()),
                _ => {}
            }
        }
        let me = serde_json::from_slice(&body)
            .ok()
            .and_then(|me: Me| Some(MeAnswer { sid: me.sid, generation: me.r#gen? }));
        let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let listed = listed["sessions"].as_array().into_iter().flatten();
        let mut sids: Vec<_> = listed.filter_map(|one| Some(one["sid"].as_str()?.into())).collect();
        sids.sort();
        Some(Answer { status: parts.status.as_u16(), me, sids, tokens: new })
    }
}
