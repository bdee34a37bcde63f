//! Another server with single-use refresh tokens, on a host of its own, and a node's connection to
//! it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use everfresh_upstream::HttpError;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tower::Service;
use turmoil::net::{TcpListener, TcpStream};

use crate::ledger::Ledger;

pub(crate) const HOST: &str = "provider";
const PORT: u16 = 8000;

/// The nodes' configuration. `SecureUrl` accepts `http` for loopback only, and the test supplies
/// the connection.
pub(crate) const URL: &str = "https://provider.test/token";

/// The lifetime of its access tokens.
pub(crate) const LIFE: Duration = Duration::from_secs(4);

/// The time limit of a node's connection attempt.
const CONNECT: Duration = Duration::from_secs(2);

/// The provider's state, which outlasts a crash of its host.
#[derive(Debug, Default)]
pub(crate) struct Provider(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    families: HashMap<String, Family>,
    random: Option<fastrand::Rng>,
}

/// The tokens of one sign-in, `name.number`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Family {
    /// The token that is valid.
    pub(crate) current: u64,
    /// An invalid token was presented, which made all of them invalid.
    pub(crate) reused: bool,
}

impl Provider {
    pub(crate) fn new(seed: u64) -> Self {
        let random = Some(fastrand::Rng::with_seed(seed));
        Self(Mutex::new(State { families: HashMap::new(), random }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a user in. Returns the refresh token.
    pub(crate) fn sign_in(&self, name: &str) -> String {
        self.state().families.insert(name.to_owned(), Family::default());
        format!("{name}.0")
    }

    pub(crate) fn family(&self, name: &str) -> Family {
        self.state().families.get(name).copied().unwrap_or_default()
    }

    /// The next token, if `token` is the valid one (RFC 9700 section 4.14.2).
    fn refresh(&self, token: &str, ledger: &Ledger) -> Option<String> {
        let (name, number) = token.rsplit_once('.')?;
        let mut state = self.state();
        let family = state.families.get_mut(name)?;
        if number.parse() != Ok(family.current) {
            family.reused = true;
            ledger.wrong(format!("token {token} came again, or was never given"));
        }
        if family.reused {
            return None;
        }
        family.current += 1;
        ledger.tell(|| format!("the provider issues {name}.{}", family.current));
        Some(format!("{name}.{}", family.current))
    }

    /// The time until it processes a request, and the time until it answers.
    fn pauses(&self) -> [Duration; 2] {
        let mut state = self.state();
        let mut draw = || {
            let random = state.random.get_or_insert_with(|| fastrand::Rng::with_seed(0));
            Duration::from_millis(if random.u8(..4) == 0 { random.u64(..2500) } else { 0 })
        };
        [draw(), draw()]
    }
}

/// The host.
pub(crate) async fn serve(provider: Arc<Provider>, ledger: Arc<Ledger>) -> turmoil::Result {
    let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (provider, ledger) = (provider.clone(), ledger.clone());
        let service = service_fn(move |request| token(provider.clone(), ledger.clone(), request));
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new();
            // A client that disconnects is not an error.
            let _ = serving.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn token(
    provider: Arc<Provider>,
    ledger: Arc<Ledger>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let field =
        body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"refresh_token="));
    let token = String::from_utf8_lossy(field.unwrap_or_default()).into_owned();
    // A client that disconnects does not interrupt a request.
    let work = tokio::spawn(async move {
        let [before, after] = provider.pauses();
        tokio::time::sleep(before).await;
        let next = provider.refresh(&token, &ledger);
        tokio::time::sleep(after).await;
        next
    });
    let (status, body) = match work.await {
        Ok(Some(next)) => (
            StatusCode::OK,
            json!({
                "access_token": "opaque",
                "token_type": "Bearer",
                "expires_in": LIFE.as_secs(),
                "refresh_token": next,
            }),
        ),
        _ => (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"})),
    };
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

type Connecting = Pin<Box<dyn Future<Output = Result<SendRequest<Full<Bytes>>, HttpError>> + Send>>;

/// A node's connection: a new one for each call, opened before the call asks for permission.
pub(crate) struct Dial {
    connecting: Option<Connecting>,
    sender: Option<SendRequest<Full<Bytes>>>,
    on_token: Arc<dyn Fn(String) + Send + Sync>,
}

impl Dial {
    /// `on_token` is called with each refresh token that arrives.
    pub(crate) fn new(on_token: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self { connecting: None, sender: None, on_token: Arc::new(on_token) }
    }
}

impl Clone for Dial {
    fn clone(&self) -> Self {
        Self { connecting: None, sender: None, on_token: self.on_token.clone() }
    }
}

impl Service<Request<Full<Bytes>>> for Dial {
    type Response = Response<Full<Bytes>>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        if self.sender.is_none() {
            let connecting = self.connecting.get_or_insert_with(|| Box::pin(connect()));
            let connected = ready!(connecting.as_mut().poll(cx));
            self.connecting = None;
            self.sender = Some(connected?);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (sender, on_token) = (self.sender.take(), self.on_token.clone());
        Box::pin(async move {
            let lost = |error: hyper::Error| HttpError::Lost { cause: error.to_string() };
            let mut sender =
                sender.ok_or_else(|| HttpError::Unsent { cause: "not ready".into() })?;
            let (parts, body) = sender.send_request(request).await.map_err(lost)?.into_parts();
            let body = body.collect().await.map_err(lost)?.to_bytes();
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            if let Some(token) = json["refresh_token"].as_str() {
                on_token(token.to_owned());
            }
            Ok(Response::from_parts(parts, Full::new(body)))
        })
    }
}

async fn connect() -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let connecting = async {
        let stream = TcpStream::connect((HOST, PORT)).await;
        let stream = stream.map_err(|error| HttpError::Connect { cause: error.to_string() })?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|error| HttpError::Connect { cause: error.to_string() })?;
        tokio::spawn(async move {
            // The sender gets the connection's error.
            let _ = connection.await;
        });
        Ok(sender)
    };
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    connected.unwrap_or(Err(HttpError::ConnectTimeout { limit: CONNECT }))
}
