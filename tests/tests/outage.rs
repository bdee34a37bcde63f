//! The identity provider is down for a while, under load, in real time. A contract server's
//! sessions are backed by the provider, and a proxy between the two answers 503.
//!
//! ```sh
//! OUTAGE_SECONDS=60 OUTAGE_RATE=500 cargo test --release -p everfresh-tests --test outage -- --nocapture
//! ```
//!
//! Without the variables the provider is down for 4 s under 200 requests a second.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everfresh::{Clock, ManualClock, Timestamp};
use everfresh_testkit::Browser;
use everfresh_testkit::fault::{Fault, FaultProxy};
use everfresh_testkit::suite::{ACCESS_COOKIE, token_of};
use everfresh_tests::process::{Running, Workplace};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// The number of sessions.
const SESSIONS: u64 = 240;

/// The time limit of a request that waits for no refresh: half of a waiting request's limit. A
/// request that waited for the provider would exceed it.
const NO_WAIT: Duration = Duration::from_millis(1500);

/// A provider with single-use refresh tokens.
#[derive(Clone, Default)]
struct Provider {
    latest: Arc<Mutex<HashMap<String, u64>>>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    issued: usize,
    reused: usize,
}

impl Provider {
    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/token", post(issue)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }
}

async fn issue(
    State(provider): State<Provider>,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let (family, n) = form["refresh_token"].rsplit_once('.').unwrap();
    let (mut latest, mut counts) =
        (provider.latest.lock().unwrap(), provider.counts.lock().unwrap());
    let latest = latest.entry(family.to_owned()).or_default();
    if n.parse() != Ok(*latest) {
        counts.reused += 1;
        let body = Json(json!({"error": "invalid_grant"}));
        return (StatusCode::BAD_REQUEST, body).into_response();
    }
    *latest += 1;
    counts.issued += 1;
    let refresh = format!("{family}.{latest}");
    let tokens = json!({
        "access_token": format!("access.{refresh}"),
        "refresh_token": refresh,
        "token_type": "Bearer",
        "expires_in": 3600,
    });
    Json(tokens).into_response()
}

/// The results of requests.
#[derive(Debug, Default)]
struct Tally {
    /// Requests with a valid access token.
    good: usize,
    /// The ones among them with an answer other than 200.
    failed: usize,
    /// The duration of each of them.
    took: Vec<Duration>,
    /// Requests without one that were answered 503.
    unavailable: usize,
    /// Requests without one that got another.
    renewed: usize,
    /// Requests with an expired token, accepted within the leeway.
    stale: usize,
    /// Answered 401.
    refused: usize,
    /// Responses that deleted a cookie.
    cleared: usize,
    /// The time of the first renewal.
    first_renewed: Option<Instant>,
}

impl Tally {
    fn slowest(&self) -> Duration {
        self.took.iter().copied().max().unwrap_or_default()
    }

    /// A percentile of sorted values.
    fn percentile(&self, of: usize) -> Duration {
        self.took.get(self.took.len() * of / 100).copied().unwrap_or_default()
    }
}

/// When the access token in the jar expires.
fn expires(browser: &Browser) -> Timestamp {
    let token = browser.jar.get(ACCESS_COOKIE).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    Timestamp::from_secs(payload["exp"].as_u64().unwrap())
}

/// One request of a client.
async fn request(browser: &mut Browser, tally: &Mutex<Tally>) {
    let clock = Clock::system();
    let until = expires(browser);
    let began = Instant::now();
    let answer = browser.get("/me").await;
    let took = began.elapsed();
    let mut tally = tally.lock().unwrap();
    tally.cleared +=
        usize::from(answer.set_cookies().iter().any(|cookie| cookie.contains("Max-Age=0")));
    // Valid for the whole outage.
    if clock.now() < until {
        tally.good += 1;
        tally.failed += usize::from(answer.status != 200);
        tally.took.push(took);
        return;
    }
    match answer.status.as_u16() {
        200 if token_of(&answer).is_some() => {
            tally.renewed += 1;
            tally.first_renewed.get_or_insert(Instant::now());
        }
        200 => tally.stale += 1,
        503 => tally.unavailable += 1,
        401 => tally.refused += 1,
        other => panic!("{other}"),
    }
}

/// Sends the given number of requests per second, for the given time.
async fn load(
    browsers: &[Arc<tokio::sync::Mutex<Browser>>],
    rate: u64,
    time: Duration,
    at: &mut usize,
) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut tick = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let (end, mut requests) = (Instant::now() + time, tokio::task::JoinSet::new());
    while Instant::now() < end {
        tick.tick().await;
        // A browser that waits for an answer sends no other request.
        let free = loop {
            *at += 1;
            if let Ok(free) = browsers[*at % browsers.len()].clone().try_lock_owned() {
                break free;
            }
        };
        let (mut browser, tally) = (free, tally.clone());
        requests.spawn(async move { request(&mut browser, &tally).await });
        while let Some(done) = requests.try_join_next() {
            done.unwrap();
        }
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    Arc::into_inner(tally).unwrap().into_inner().unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |found| found.parse().unwrap())
}

// Rows: F72, F73, S59.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
async fn the_provider_is_down_and_comes_back() {
    let (seconds, rate) = (number("OUTAGE_SECONDS", 4), number("OUTAGE_RATE", 200));
    let provider = Provider::default();
    let proxy = FaultProxy::start(provider.listen().await).await;
    let workplace = Workplace::new().unwrap();
    let program = workplace.program(Path::new(env!("CARGO_BIN_EXE_serve-axum"))).unwrap();
    let mut command = workplace.command(program);
    command
        .env("PORT", "0")
        .env("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA")
        .env("REFRESH", "upstream")
        .env("UPSTREAM_URL", format!("http://{}/token", proxy.address()))
        .env("UPSTREAM_CLIENT_ID", "contract");
    let mut server = Running::start(command).unwrap();
    let address: SocketAddr = server.wait_for("listening on http://").parse().unwrap();

    // The tokens of half of the sessions expire during the outage, the others long after it.
    let clock = ManualClock::starting_at(Timestamp::from_secs(0));
    let first = Browser::new(address, clock);
    let mut browsers = Vec::new();
    for n in 0..SESSIONS {
        let mut browser = first.stranger();
        let refresh = format!("p{n}.0");
        let life = if n % 2 == 0 { 3600 } else { 2 + seconds * n / SESSIONS };
        let tokens = json!({
            "access_token": format!("access.{refresh}"),
            "refresh_token": refresh,
            "expires_in": life,
            "sub": format!("p{n}"),
        });
        assert_eq!(browser.post_json("/adopt", &tokens).await.status, 204);
        browsers.push(Arc::new(tokio::sync::Mutex::new(browser)));
    }

    let (before, mut at) = (proxy.counts().requests, 0);
    proxy.all(Fault::unavailable(1));
    let mut down = load(&browsers, rate, Duration::from_secs(seconds), &mut at).await;
    let calls = proxy.counts().requests - before;
    down.took.sort_unstable();

    proxy.all(Fault::Pass);
    let back = Instant::now();
    let after = load(&browsers, rate, Duration::from_secs(3), &mut at).await;
    let first = after.first_renewed.map(|first| first - back);

    let Counts { issued, reused } = provider.counts();
    println!("down for {seconds} s, {rate} requests a second, {SESSIONS} sessions");
    let (median, most) = (down.percentile(50), down.percentile(99));
    println!(
        "with a good token: {} requests, {} failed, median {:?}, 99 % within {:?}, slowest {:?}",
        down.good,
        down.failed,
        median,
        most,
        down.slowest(),
    );
    println!(
        "without one: {} times 503, {} times within the leeway, {} times 401; cookies cleared: {}",
        down.unavailable,
        down.stale,
        down.refused,
        down.cleared + after.cleared,
    );
    println!("calls to the provider while it was down: {calls}");
    println!("first refresh after its return: {first:?}; issued {issued}, reused {reused}");

    assert!(down.good > 0 && down.unavailable > 0, "there were both");
    assert_eq!((down.failed, after.failed), (0, 0));
    assert!(down.slowest() < NO_WAIT, "{:?}", down.slowest());
    // The other server's token may outlive our access token by a moment. Another access token is
    // then made from it.
    assert_eq!((down.refused, down.cleared), (0, 0));
    assert_eq!((after.refused, after.cleared), (0, 0));
    // Five failures open the circuit breaker, and as many calls may be pending. Then there is one
    // call per second.
    let budget = usize::try_from(seconds).unwrap() + 10;
    assert!(calls <= budget, "{calls} calls, {budget} allowed");
    assert!(first.unwrap() < Duration::from_secs(2), "{first:?}");
    assert_eq!(reused, 0);

    // No session was lost. Every client is served after its back-off.
    let deadline = Instant::now() + Duration::from_secs(61);
    for browser in &browsers {
        let mut browser = browser.lock().await;
        while browser.get("/me").await.status != 200 {
            assert!(Instant::now() < deadline, "a session that does not come back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
