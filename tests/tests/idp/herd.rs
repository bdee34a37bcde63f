//! The figure: 64 parallel clients on each session, four servers, and access tokens that live for
//! two seconds. Each expiry causes one call to the provider, and no client is signed out.
//!
//! `EXPIRIES=1000` makes it longer than some ten seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everfresh_testkit::contract::Me;
use everfresh_tests::idp::{
    AUDIENCE, AccessTokens, IdentityProvider, IdentitySettings, IssuedTokens,
    SECRET as CLIENT_SECRET,
};
use everfresh_tests::process::{Running, Workplace};
use futures::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::tabs::Tabs;

const SERVE: &str = env!("CARGO_BIN_EXE_serve-axum");
const SERVERS: usize = 4;
const TASKS: usize = 64;
const LIFETIME: Duration = Duration::from_secs(4);

/// How many sessions have a token that expires at the same time.
const AT_ONCE: usize = 4;

fn expiries() -> usize {
    std::env::var("EXPIRIES").map_or(40, |number| number.parse().expect("a whole number"))
}

/// Four processes with one store and one secret.
struct Cluster {
    addresses: Vec<SocketAddr>,
    _servers: Vec<Running>,
    _workplace: Workplace,
}

impl Cluster {
    /// `checked`: the servers verify the provider's access tokens, which are JWTs.
    fn start(idp: &IdentityProvider, checked: bool) -> Self {
        let workplace = Workplace::new().unwrap();
        let program = workplace.program(Path::new(SERVE)).unwrap();
        let (mut servers, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..SERVERS {
            let mut command = workplace.command(&program);
            command.envs([
                ("PORT", "0"),
                ("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA"),
                ("STORE", "sqlite:sessions.db"),
                ("REFRESH", "upstream"),
                ("UPSTREAM_URL", &format!("{}/token", idp.url())),
                ("UPSTREAM_DIALECT", "oauth2"),
                ("UPSTREAM_CLIENT_ID", "web"),
                ("UPSTREAM_CLIENT_SECRET", CLIENT_SECRET),
            ]);
            if checked {
                command.env("UPSTREAM_JWKS", format!("{}/jwks", idp.url()));
                command.env("UPSTREAM_ISSUER", idp.url()).env("UPSTREAM_AUDIENCE", AUDIENCE);
            }
            let mut server = Running::start(command).unwrap();
            addresses.push(server.wait_for("listening on http://").parse().unwrap());
            servers.push(server);
        }
        Self { addresses, _servers: servers, _workplace: workplace }
    }
}

async fn adopt(tabs: &Tabs, server: SocketAddr, sub: &str, tokens: &IssuedTokens) {
    let body = json!({
        "sub": sub,
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "expires_in": tokens.expires_in,
    });
    let answer = tabs.post_json(&format!("http://{server}/adopt"), &body).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{:?}", answer.body());
}

async fn me(tabs: &Tabs, server: SocketAddr) -> (StatusCode, Option<Me>) {
    let answer = tabs.get(&format!("http://{server}/me")).await;
    (answer.status(), serde_json::from_slice(answer.body()).ok())
}

/// The result of one session.
#[derive(Default)]
struct TabResult {
    answers: BTreeMap<u16, usize>,
    is_alive: bool,
}

/// A session whose tabs all send requests at once after each expiry.
async fn refresh_rounds(
    tabs: Tabs,
    sub: String,
    servers: Vec<SocketAddr>,
    rounds: usize,
    few: Arc<Semaphore>,
) -> TabResult {
    let mut result = TabResult::default();
    for _ in 0..rounds {
        // By then the provider's tokens have expired, and so have the servers' own.
        tokio::time::sleep(LIFETIME).await;
        let _turn = few.acquire().await.unwrap();
        let herd = (0..TASKS).map(|n| {
            let (tabs, server) = (tabs.clone(), servers[n % servers.len()]);
            tokio::spawn(async move { me(&tabs, server).await })
        });
        result.is_alive = false;
        for answer in join_all(herd).await {
            let (status, me) = answer.unwrap();
            *result.answers.entry(status.as_u16()).or_default() += 1;
            if let Some(me) = me {
                assert_eq!(me.sub, sub);
                result.is_alive = true;
            }
        }
    }
    result
}

/// Runs herds until the given number of tokens have expired, and checks the figure.
async fn figure(idp: &IdentityProvider, cluster: &Cluster, wanted: usize) {
    let sessions = (wanted / 10).clamp(8, 100);
    let rounds = wanted.div_ceil(sessions);
    let few = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = Vec::new();
    for n in 0..sessions {
        let (tabs, sub) = (Tabs::new(), format!("user-{n}"));
        let tokens = idp.tokens("web", &sub, 1).await.remove(0);
        adopt(&tabs, cluster.addresses[n % SERVERS], &sub, &tokens).await;
        let servers = cluster.addresses.clone();
        running.push(tokio::spawn(refresh_rounds(tabs, sub, servers, rounds, few.clone())));
    }
    let (mut answers, mut lost) = (BTreeMap::new(), 0);
    for result in join_all(running).await {
        let result = result.unwrap();
        lost += usize::from(!result.is_alive);
        for (status, count) in result.answers {
            *answers.entry(status).or_insert(0) += count;
        }
    }
    let counts = idp.counts().await;
    let (refreshes, requests) = (counts.refreshes(), counts.token_requests());
    // A herd slower than half of a token's lifetime meets the next expiry, which counts as well. An
    // earlier renewal is waste.
    let expiries = refreshes.rotated_after(LIFETIME.as_secs() / 2);
    let per_expiry = refreshes.calls as f64 / expiries as f64;
    eprintln!(
        "{TASKS} clients on each of {sessions} sessions, {SERVERS} servers: {expiries} expiries, \
         {per_expiry:.3} upstream calls per expiry, {requests} heads of requests, {lost} sessions \
         lost; answers {answers:?}"
    );
    assert!(expiries >= (sessions * rounds) as u64, "{refreshes:?}");
    assert_eq!(refreshes.calls, expiries, "{refreshes:?}");
    assert_eq!(requests, expiries, "no request breaks off after its head");
    assert_eq!(lost, 0);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&200]);
}

fn provider(access_tokens: AccessTokens) -> IdentityProvider {
    let access_lifetime = LIFETIME;
    let settings =
        IdentitySettings { access_lifetime, access_tokens, ..IdentitySettings::default() };
    IdentityProvider::start(&settings)
}

// Rows: F01, F30.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_one_call_of_the_provider_and_no_session_is_lost() {
    let idp = provider(AccessTokens::Opaque);
    let cluster = Cluster::start(&idp, false);
    figure(&idp, &cluster, expiries()).await;
}

// Rows: S41.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_read_survive_new_keys_at_the_provider() {
    let idp = provider(AccessTokens::Jwt);
    let cluster = Cluster::start(&idp, true);
    assert_eq!(idp.counts().await.key_fetches(), SERVERS as u64, "at start");
    idp.rotate_keys(true).await;
    figure(&idp, &cluster, 16).await;
    let fetches = idp.counts().await.key_fetches();
    assert!((SERVERS as u64 + 1..=SERVERS as u64 * 2).contains(&fetches), "{fetches}");
}
