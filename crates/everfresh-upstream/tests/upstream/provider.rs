//! Another server that a test scripts. It issues single-use tokens, detects a token that is sent
//! twice, and records its requests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use everfresh_upstream::{HttpClient, HttpError};
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::watch;

/// In every token, so that a log with a token is detected.
pub(crate) const SECRET_PART: &str = "pssst";

/// The reaction to a call.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// By its state: tokens, or `invalid_grant` for a used token.
    Good,
    /// This answer, without an effect.
    Say(u16, &'static [(&'static str, &'static str)], &'static str),
    /// This connection error, without an effect.
    Fail(HttpError),
    /// As `Good`, but the caller gets this error.
    TakeAndFail(HttpError),
    /// As `Good`, but the caller gets this answer.
    TakeAndSay(u16, &'static str),
    /// As `Good`, but answered when the test releases it.
    Hold,
    /// This answer, without an effect, when the test releases it.
    HoldAndSay(u16, &'static str),
    /// No effect and no answer.
    Hang,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The token in the request.
    pub(crate) token: String,
}

/// A token request, as far as the provider parses it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) family: String,
    /// The token's number in the family.
    pub(crate) n: u64,
}

impl Grant {
    pub(crate) fn access(&self) -> String {
        format!("at.{}.{}.{SECRET_PART}", self.family, self.n)
    }

    pub(crate) fn refresh(&self) -> String {
        format!("rt.{}.{}.{SECRET_PART}", self.family, self.n)
    }

    fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('.').skip(1);
        Some(Self { family: parts.next()?.to_owned(), n: parts.next()?.parse().ok()? })
    }
}

type Answers = Box<dyn Fn(&Grant) -> Value + Send>;

struct State {
    script: VecDeque<Act>,
    rest: Act,
    got: Vec<Got>,
    revoked: Vec<Got>,
    revoking: VecDeque<u16>,
    /// The latest token of each family.
    families: HashMap<String, u64>,
    rotates: bool,
    reuses: usize,
    answers: Answers,
}

#[derive(Clone)]
pub(crate) struct Provider {
    state: Arc<Mutex<State>>,
    releases: watch::Sender<usize>,
}

/// An answer whose tokens every dialect finds.
pub(crate) fn tokens(grant: &Grant) -> Value {
    json!({
        "access_token": grant.access(),
        "token": grant.access(),
        "refresh_token": grant.refresh(),
        "token_type": "bearer",
        "expires_in": 300,
    })
}

impl Provider {
    pub(crate) fn new() -> Self {
        let state = State {
            script: VecDeque::new(),
            rest: Act::Good,
            got: Vec::new(),
            revoked: Vec::new(),
            revoking: VecDeque::new(),
            families: HashMap::new(),
            rotates: true,
            reuses: 0,
            answers: Box::new(tokens),
        };
        Self { state: Arc::new(Mutex::new(state)), releases: watch::Sender::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Sets the act of the next call without an act of its own.
    pub(crate) fn next(&self, act: Act) {
        self.state().script.push_back(act);
    }

    /// Sets the act of every call without an act of its own.
    pub(crate) fn all(&self, act: Act) {
        self.state().rest = act;
    }

    /// Sets the answer with tokens.
    pub(crate) fn answers(&self, answers: impl Fn(&Grant) -> Value + Send + 'static) {
        self.state().answers = Box::new(answers);
    }

    /// The statuses of the next revocations; afterwards 200.
    pub(crate) fn revocations(&self, statuses: &[u16]) {
        self.state().revoking = statuses.iter().copied().collect();
    }

    /// Its refresh tokens stay valid.
    pub(crate) fn keeps_tokens(&self) {
        self.state().rotates = false;
    }

    /// Releases every held answer.
    pub(crate) fn release(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }

    /// How many token requests it received.
    pub(crate) fn calls(&self) -> usize {
        self.state().got.len()
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.state().got.clone()
    }

    /// The tokens that it was asked to revoke.
    pub(crate) fn revoked(&self) -> Vec<Got> {
        self.state().revoked.clone()
    }

    /// How often it received a token that it had consumed before.
    pub(crate) fn reuses(&self) -> usize {
        self.state().reuses
    }

    /// Waits until it has received the given number of token requests.
    pub(crate) async fn until_calls(&self, calls: usize) {
        while self.calls() < calls {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// The connection to it.
    pub(crate) fn client(&self) -> HttpClient {
        let provider = self.clone();
        HttpClient::over(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let provider = provider.clone();
            async move { provider.call(request).await }
        }))
    }

    /// One request.
    pub(crate) async fn call(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, HttpError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap_or_default().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        let path = head.uri.path().to_owned();
        let token = find_token(&head.headers, &body);
        let query = head.uri.query().map(str::to_owned);
        let got = Got { path, query, headers: head.headers, body, token };
        if got.path == "/revoke" {
            return Ok(self.revoke(got));
        }
        self.answer(got).await
    }

    fn revoke(&self, got: Got) -> Response<Full<Bytes>> {
        let mut state = self.state();
        state.revoked.push(got);
        let status = state.revoking.pop_front().unwrap_or(200);
        respond(status, &[], "")
    }

    fn answer(&self, got: Got) -> BoxFuture<'static, Result<Response<Full<Bytes>>, HttpError>> {
        let mut releases = self.releases.subscribe();
        let mut state = self.state();
        let act = state.script.pop_front().unwrap_or_else(|| state.rest.clone());
        let token = got.token.clone();
        state.got.push(got);
        let taken = match act {
            Act::Say(..) | Act::Fail(_) | Act::HoldAndSay(..) | Act::Hang => None,
            _ => Some(state.take(&token)),
        };
        drop(state);
        Box::pin(async move {
            match act {
                Act::Say(status, headers, body) => Ok(respond(status, headers, body)),
                Act::TakeAndSay(status, body) => Ok(respond(status, &[], body)),
                Act::Fail(error) | Act::TakeAndFail(error) => Err(error),
                Act::Hang => std::future::pending().await,
                Act::Hold => {
                    let _ = releases.changed().await;
                    Ok(taken.unwrap())
                }
                Act::HoldAndSay(status, body) => {
                    let _ = releases.changed().await;
                    Ok(respond(status, &[], body))
                }
                Act::Good => Ok(taken.unwrap()),
            }
        })
    }
}

impl State {
    /// RFC 6749 section 6, and RFC 9700 section 4.14.2.
    fn take(&mut self, token: &str) -> Response<Full<Bytes>> {
        let Some(grant) = Grant::parse(token) else {
            return respond(400, &[], r#"{"error":"invalid_grant"}"#);
        };
        let latest = self.families.entry(grant.family.clone()).or_default();
        if self.rotates && *latest != grant.n {
            self.reuses += 1;
            return respond(400, &[], r#"{"error":"invalid_grant"}"#);
        }
        *latest += 1;
        let next = Grant { n: *latest, ..grant };
        let body = (self.answers)(&next).to_string();
        let mut response = respond(200, &[], &body);
        let cookie = format!("refresh_token={}; HttpOnly; Secure; Path=/", next.refresh());
        response.headers_mut().insert("set-cookie", cookie.parse().unwrap());
        response
    }
}

fn respond(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_owned().into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// Finds the token in any place that a dialect uses.
fn find_token(headers: &HeaderMap, body: &str) -> String {
    let fields = ["authorization", "cookie"].iter().filter_map(|name| headers.get(*name));
    let texts = fields.filter_map(|value| value.to_str().ok()).chain([body]);
    let words = texts.flat_map(|text| text.split(['=', '&', ' ', '"', ';']));
    let mut tokens = words.filter(|word| word.contains(SECRET_PART) || word.starts_with("ey"));
    tokens.next().unwrap_or_default().to_owned()
}
