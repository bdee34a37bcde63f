//! Another issuer's keys, as an engine sees them: rows S35 to S41 of `tests/COVERAGE.md`, F111, F114.

#![cfg(feature = "client")]

mod answers;
mod schedule;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use bytes::Bytes;
use everfresh::refresher::{
    Closing, Context, FlightKey, Presented, RefreshRequest, Refresher, SignInRequest, Tokens,
};
use everfresh::{
    Algorithm, Clock, Engine, Failure, Key, KeyError, ManualClock, Reissue, Session, Timestamp,
    Transport,
};
use everfresh_testkit::fault::{Fault, FaultProxy};
use futures::future::join_all;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Service, ServiceExt as _};

use super::*;
use crate::fetch::FetchProblem;
use crate::http::HttpError;
use crate::testing::{Body, Certificate, Server, full};

const URL: &str = "https://id.example/jwks";
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A private key of the issuer.
fn key(kid: &str) -> Key {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    Key::from_der(Algorithm::ES256, &pair.serialize_der()).unwrap().with_kid(kid).unwrap()
}

/// A key set of the issuer and a token by its first key.
struct Signer {
    jwks: Value,
    token: String,
}

impl Signer {
    async fn new(kid: &str) -> Self {
        let keys = Keys::new(key(kid)).unwrap();
        let jwks = serde_json::from_str(&keys.public_jwk_set()).unwrap();
        let auth = Engine::<Value>::builder(keys)
            .issuer("https://id.example")
            .audience("app")
            .clock(Clock::from(ManualClock::starting_at(START)))
            .transports([Transport::headers()])
            .refresh_with(Reissue::new())
            .build()
            .unwrap();
        let sign_in = tower::service_fn(|request: Request<()>| async move {
            let session = request.extensions().get::<Session<Value>>().unwrap();
            session.sign_in("alice", json!({"name": "Alice"})).await.unwrap();
            Ok::<_, Infallible>(Response::new(()))
        });
        let service = tower::ServiceBuilder::new().layer(auth.layer()).service(sign_in);
        let response = service.oneshot(Request::new(())).await.unwrap();
        let token = response.headers()[AUTHORIZATION].to_str().unwrap();
        Self { jwks, token: token.strip_prefix("Bearer ").unwrap().to_owned() }
    }
}

fn both(one: &Value, other: &Value) -> Value {
    json!({"keys": [one["keys"][0], other["keys"][0]]})
}

/// The issuer's reaction to a request for its keys.
#[derive(Clone)]
enum Does {
    Answer(String, &'static str),
    Status(u16),
    Fail,
    Hang,
}

/// An issuer without a socket, so that time may stand still.
#[derive(Clone)]
struct Issuer(Arc<Shared>);

struct Shared {
    does: Mutex<Does>,
    asked: AtomicUsize,
    /// The issuer answers no request while this is false.
    open: watch::Sender<bool>,
}

impl Issuer {
    fn new(jwks: &Value) -> Self {
        let does = Mutex::new(Does::Answer(jwks.to_string(), "max-age=600"));
        Self(Arc::new(Shared { does, asked: AtomicUsize::new(0), open: watch::Sender::new(true) }))
    }

    fn does(&self, does: Does) {
        *self.0.does.lock().unwrap() = does;
    }

    fn has(&self, jwks: &Value) {
        self.does(Does::Answer(jwks.to_string(), "max-age=600"));
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn client(&self) -> HttpClient {
        let shared = self.0.clone();
        HttpClient::over(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let shared = shared.clone();
            async move {
                assert_eq!(request.uri(), URL);
                shared.asked.fetch_add(1, Ordering::SeqCst);
                let _ = shared.open.subscribe().wait_for(|open| *open).await;
                let does = shared.does.lock().unwrap().clone();
                match does {
                    Does::Answer(body, cache) => Ok(Response::builder()
                        .header(CACHE_CONTROL, cache)
                        .body(full(body))
                        .unwrap()),
                    Does::Status(status) => {
                        Ok(Response::builder().status(status).body(full("{}")).unwrap())
                    }
                    Does::Fail => Err(HttpError::Connect { cause: "refused".into() }),
                    Does::Hang => std::future::pending().await,
                }
            }
        }))
    }

    async fn fetch(&self) -> Result<RemoteKeys, FetchError> {
        JwksUrl::new(URL).unwrap().fetch(&self.client()).await
    }
}

/// Verifies another issuer's tokens, and never refreshes.
struct Elsewhere;

impl Refresher for Elsewhere {
    fn mints(&self) -> bool {
        false
    }

    fn identify(&self, _: Presented<'_>, _: Timestamp) -> Option<FlightKey> {
        None
    }

    async fn refresh(&self, _: Context, _: RefreshRequest) -> Result<Tokens, Failure> {
        Err(Failure::Misconfigured)
    }

    async fn sign_in(&self, _: Context, _: SignInRequest) -> Result<Tokens, Failure> {
        Err(Failure::Misconfigured)
    }

    async fn sign_out(&self, _: Context, _: Closing) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

/// An app that accepts the issuer's tokens.
fn app(
    remote: &RemoteKeys,
) -> impl Service<Request<()>, Response = Response<Vec<u8>>, Error = Infallible, Future: Send> + Clone
{
    let auth = Engine::<Value>::builder(remote.keys())
        .issuer("https://id.example")
        .audience("app")
        .clock(Clock::from(ManualClock::starting_at(START)))
        .transports([Transport::headers()])
        .refresh_with(Elsewhere)
        .build()
        .unwrap();
    let inner = tower::service_fn(|_: Request<()>| async { Ok(Response::new(b"hello".to_vec())) });
    tower::ServiceBuilder::new().layer(auth.layer()).layer(auth.require()).service(inner)
}

async fn ask<S>(app: &S, token: &str) -> Response<Vec<u8>>
where
    S: Service<Request<()>, Response = Response<Vec<u8>>, Error = Infallible> + Clone,
{
    let mut request = Request::new(());
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    app.clone().oneshot(request).await.unwrap()
}

async fn status<S>(app: &S, token: &str) -> u16
where
    S: Service<Request<()>, Response = Response<Vec<u8>>, Error = Infallible> + Clone,
{
    ask(app, token).await.status().as_u16()
}

/// A token with a key id of this name, which needs no key to make.
fn forged(header: &Value) -> String {
    let mut full = json!({"typ": "at+jwt", "alg": "ES256"});
    full.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
    format!("{}.{}.{}", B64.encode(full.to_string()), B64.encode("{}"), B64.encode([7; 64]))
}

fn unknown(kid: usize) -> String {
    forged(&json!({"kid": format!("{kid}")}))
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

// Rows: F111, S35.
#[tokio::test(start_paused = true)]
async fn ten_thousand_unknown_keys_are_one_fetch_in_thirty_seconds() {
    let signer = Signer::new("a").await;
    let issuer = Issuer::new(&signer.jwks);
    let remote = issuer.fetch().await.unwrap();
    let app = app(&remote);
    assert_eq!(issuer.asked(), 1, "at start");
    let began = Instant::now();
    for round in 1..=3 {
        for n in 0..10_000 {
            assert_eq!(status(&app, &unknown(n)).await, 401);
            if n % 1000 == 0 {
                assert_eq!(status(&app, &signer.token).await, 200, "a good token notices nothing");
            }
        }
        assert_eq!(issuer.asked(), 1 + round, "one in each thirty seconds");
        pass(29).await;
        assert_eq!(status(&app, &unknown(0)).await, 401);
        assert_eq!(issuer.asked(), 1 + round);
        pass(1).await;
    }
    assert!(began.elapsed() < Duration::from_secs(100), "no caller has waited");
}

/// A stranger uses up each fetch. Requests whose key is gone are refused and don't wait. A new key
/// is accepted once it can be fetched.
// Rows: L11.
#[tokio::test(start_paused = true)]
async fn unknown_keys_from_a_stranger_turn_no_401_into_a_503() {
    let (gone, stays) = (Signer::new("gone").await, Signer::new("stays").await);
    let coming = Signer::new("coming").await;
    let issuer = Issuer::new(&gone.jwks);
    let remote = issuer.fetch().await.unwrap();
    let app = app(&remote);
    issuer.has(&stays.jwks);
    for _ in 0..5 {
        assert_eq!(status(&app, &unknown(1)).await, 401, "the stranger");
        for _ in 0..29 {
            pass(1).await;
            assert_eq!(status(&app, &gone.token).await, 401, "sign in again");
            assert_eq!(status(&app, &stays.token).await, 200);
        }
        pass(1).await;
    }
    assert_eq!(status(&app, &unknown(1)).await, 401);
    issuer.has(&both(&stays.jwks, &coming.jwks));
    pass(29).await;
    assert_eq!(status(&app, &coming.token).await, 401, "documented: rule 2");
    pass(1).await;
    assert_eq!(status(&app, &coming.token).await, 200);
}

#[tokio::test(start_paused = true)]
async fn the_cooldown_is_between_a_second_and_an_hour() {
    let signer = Signer::new("a").await;
    for (cooldown, secs) in
        [(Duration::ZERO, 1), (Duration::from_secs(5), 5), (Duration::MAX, 3600)]
    {
        let issuer = Issuer::new(&signer.jwks);
        let url = JwksUrl::new(URL).unwrap().cooldown(cooldown);
        let remote = url.fetch(&issuer.client()).await.unwrap();
        let app = app(&remote);
        let began = Instant::now();
        let mut caused = Vec::new();
        while caused.len() < 2 {
            // Fetches in the background don't matter here.
            remote.refresh().await.unwrap();
            let before = issuer.asked();
            assert_eq!(status(&app, &unknown(1)).await, 401);
            if issuer.asked() > before {
                caused.push(began.elapsed().as_secs());
            }
            pass(1).await;
        }
        assert_eq!(caused, [0, secs]);
    }
}

// Rows: S35.
#[tokio::test(start_paused = true)]
async fn waiting_requests_share_one_fetch_and_are_bounded() {
    let (former, coming) = (Signer::new("a").await, Signer::new("b").await);
    let issuer = Issuer::new(&former.jwks);
    let remote = issuer.fetch().await.unwrap();
    let app = app(&remote);
    issuer.has(&both(&former.jwks, &coming.jwks));
    issuer.0.open.send_replace(false);
    let open = async {
        pass(1).await;
        issuer.0.open.send_replace(true);
    };
    let waiting = join_all((0..5000).map(|n| {
        let (app, coming) = (&app, &coming);
        async move {
            if n % 2 == 0 {
                status(app, &coming.token).await
            } else {
                status(app, &unknown(n)).await
            }
        }
    }));
    let (answers, ()) = tokio::join!(waiting, open);
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!(issuer.asked(), 2, "one fetch for all");
    assert_eq!((count(200), count(401), count(503)), (512, 512, 5000 - MAX_WAITING));
    assert_eq!(status(&app, &coming.token).await, 200);
}

// Rows: S41.
#[tokio::test(start_paused = true)]
async fn a_key_rotation_at_the_issuer_costs_no_request_a_401() {
    let signers = [Signer::new("a").await, Signer::new("b").await, Signer::new("c").await];
    let issuer = Issuer::new(&signers[0].jwks);
    let remote = issuer.fetch().await.unwrap();
    let app = app(&remote);
    for pair in signers.windows(2) {
        issuer.has(&both(&pair[0].jwks, &pair[1].jwks));
        let requests = (0..1000).map(|n| status(&app, &pair[n % 2].token));
        let answers = join_all(requests).await;
        assert!(answers.iter().all(|status| *status == 200), "both are good, from the first on");
        pass(30).await;
    }
    assert_eq!(issuer.asked(), 3);
    assert_eq!(status(&app, &signers[0].token).await, 401, "it was taken away by then");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_up_right_after_a_fetch_in_the_background_need_not_wait() {
    let (former, coming) = (Signer::new("a").await, Signer::new("b").await);
    let issuer = Issuer::new(&former.jwks);
    let remote = issuer.fetch().await.unwrap();
    let app = app(&remote);
    pass(601).await;
    assert_eq!(issuer.asked(), 2);
    issuer.has(&coming.jwks);
    assert_eq!(status(&app, &coming.token).await, 200);
    assert_eq!(issuer.asked(), 3);
    // The request waits for a fetch that is already running.
    issuer.has(&former.jwks);
    pass(599).await;
    issuer.0.open.send_replace(false);
    pass(2).await;
    assert_eq!(issuer.asked(), 4, "in the background");
    let late = async {
        issuer.0.open.send_replace(true);
    };
    let third = Signer::new("c").await;
    let asks = async { status(&app, &third.token).await };
    issuer.has(&third.jwks);
    let (answer, ()) = tokio::join!(asks, late);
    assert_eq!((answer, issuer.asked()), (200, 4));
}

#[test]
fn a_runtime_that_ended_is_an_outage_and_no_deadlock() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let signer = first.block_on(Signer::new("a"));
    let coming = first.block_on(Signer::new("b"));
    let issuer = Issuer::new(&signer.jwks);
    let remote = first.block_on(issuer.fetch()).unwrap();
    drop(first);
    second.block_on(async {
        let app = app(&remote);
        assert_eq!(status(&app, &signer.token).await, 200);
        assert_eq!(status(&app, &coming.token).await, 503);
        assert!(remote.refresh().await.unwrap_err().to_string().contains("runtime"));
    });
}

#[tokio::test]
async fn a_client_that_panics_is_an_outage() {
    let signer = Signer::new("a").await;
    let (jwks, calls) = (signer.jwks.to_string(), Arc::new(AtomicUsize::new(0)));
    let client = crate::testing::over(move |_| {
        assert_eq!(calls.fetch_add(1, Ordering::SeqCst), 0, "it panics from the second one on");
        Response::new(full(jwks.clone()))
    });
    let remote = JwksUrl::new(URL).unwrap().fetch(&client).await.unwrap();
    let app = app(&remote);
    assert_eq!(status(&app, &unknown(1)).await, 503);
    assert_eq!(status(&app, &signer.token).await, 200);
    assert!(remote.refresh().await.is_err());
}

/// A set on a server of its own, behind TLS.
async fn real(
    answer: impl Fn(&Request<Bytes>) -> Response<Body> + Send + Sync + 'static,
) -> (Server, HttpClient) {
    let certificate = Certificate::of("127.0.0.1");
    let server = Server::secure(&certificate, move |request| answer(&request)).await;
    let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
    (server, client.build().unwrap())
}

// Rows: F114.
#[tokio::test]
async fn nothing_that_a_token_names_is_fetched() {
    let signer = Signer::new("a").await;
    let there = Server::new(|_| Response::new(full("{}"))).await;
    let jwks = signer.jwks.to_string();
    let (server, client) = real(move |request| {
        assert_eq!(request.uri().path(), "/jwks");
        assert_eq!(request.uri().query(), None);
        Response::new(full(jwks.clone()))
    })
    .await;
    let remote = JwksUrl::from(server.url("/jwks")).fetch(&client).await.unwrap();
    let app = app(&remote);
    let url = there.url("/jwks").to_string();
    for header in [
        json!({"kid": "x", "jku": url}),
        json!({"kid": "x", "x5u": url}),
        json!({"kid": url}),
        json!({"kid": "../jwks?x=y"}),
        json!({"kid": "x", "jwk": signer.jwks["keys"][0]}),
        json!({"kid": "x", "x5c": [url]}),
        json!({"jku": url, "iss": url}),
    ] {
        assert_eq!(status(&app, &forged(&header)).await, 401, "{header}");
    }
    assert_eq!(there.connections(), 0);
    assert_eq!(server.requests(), 2, "at start, and for the first that named an unknown key");
}

#[test]
fn problems_are_distinguished() {
    let url: SecureUrl = URL.parse().unwrap();
    let error = FetchError::new(&url, KeyError::Empty);
    assert_eq!(error.problem(), &FetchProblem::Keys(KeyError::Empty));
    assert_ne!(error, FetchError::new(&url, FetchProblem::SharedSecret));
}
