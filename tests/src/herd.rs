//! The figure of an expiry: 64 parallel clients on each session, at four servers, and access tokens
//! of another server that live for a few seconds.
//!
//! `EXPIRIES=1000` makes it longer than some ten seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everfresh_testkit::contract::Me;
use futures::future::join_all;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::process::{Running, Workplace};
use crate::tabs::Tabs;

/// How many servers there are.
pub const SERVERS: usize = 4;

/// The lifetime of the other server's access tokens.
pub const LIFETIME: Duration = Duration::from_secs(4);

/// A client that comes this late after an expiry meets the next one. A refresh token that is
/// replaced sooner is waste.
pub const EARLIEST: Duration = Duration::from_secs(2);

const TASKS: usize = 64;

/// How many sessions have a token that expires at the same time.
const AT_ONCE: usize = 4;

/// How many expiries a test causes at the least.
pub fn expiries() -> usize {
    std::env::var("EXPIRIES").map_or(40, |number| number.parse().expect("a whole number"))
}

/// Four processes with one store and one secret.
pub struct Cluster {
    /// The addresses of the processes.
    pub addresses: Vec<SocketAddr>,
    _servers: Vec<Running>,
}

impl Cluster {
    /// Starts the processes in this folder. `serve`: the program of a contract server. `upstream`:
    /// its settings that name the other server.
    pub fn start(workplace: &Workplace, serve: &str, upstream: &[(&str, String)]) -> Self {
        let program = workplace.program(Path::new(serve)).expect("a program");
        let (mut servers, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..SERVERS {
            let mut command = workplace.command(&program);
            command.envs([
                ("PORT", "0"),
                ("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA"),
                ("STORE", "sqlite:sessions.db"),
                ("REFRESH", "upstream"),
            ]);
            command.envs(upstream.iter().map(|(name, value)| (*name, value)));
            let mut server = Running::start(command).expect("a process");
            addresses.push(server.wait_for("listening on http://").parse().expect("an address"));
            servers.push(server);
        }
        Self { addresses, _servers: servers }
    }

    /// Runs herds until so many tokens have expired. Each session begins with what `sign_in` returns
    /// for its user: a body of `POST /adopt`.
    ///
    /// # Panics
    /// Panics if a request is not answered with 200, or as another user's.
    pub async fn run(&self, wanted: usize, sign_in: impl AsyncFn(&str) -> Value) -> Herds {
        let sessions = (wanted / 10).clamp(8, 100);
        let rounds = wanted.div_ceil(sessions);
        let few = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = Vec::new();
        for n in 0..sessions {
            let (tabs, sub) = (Tabs::new(), format!("user-{n}"));
            let url = format!("http://{}/adopt", self.addresses[n % SERVERS]);
            let answer = tabs.post_json(&url, &sign_in(&sub).await).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{:?}", answer.body());
            let servers = self.addresses.clone();
            running.push(tokio::spawn(refresh_rounds(tabs, sub, servers, rounds, few.clone())));
        }
        let (mut answers, mut lost) = (BTreeMap::new(), 0);
        for result in join_all(running).await {
            let result = result.expect("no panic");
            lost += usize::from(!result.is_alive);
            for (status, count) in result.answers {
                *answers.entry(status).or_insert(0) += count;
            }
        }
        eprintln!(
            "{TASKS} clients on each of {sessions} sessions, {SERVERS} servers: {lost} sessions \
             lost; answers {answers:?}"
        );
        assert_eq!(lost, 0);
        assert_eq!(answers.keys().collect::<Vec<_>>(), [&200]);
        Herds { least: (sessions * rounds) as u64 }
    }
}

/// What herds caused.
#[derive(Clone, Copy, Debug)]
pub struct Herds {
    /// The fewest expiries that they can have met.
    least: u64,
}

impl Herds {
    /// Checks that each expiry was one request to the other server. `expiries`: the refresh tokens
    /// of [`EARLIEST`] or more that it replaced. `heads`: the requests for tokens whose head came.
    ///
    /// # Panics
    /// Panics if there were more requests than expiries, or fewer expiries than the herds met.
    pub fn check(self, expiries: u64, calls: u64, heads: u64) {
        let per_expiry = calls as f64 / expiries as f64;
        eprintln!(
            "{expiries} expiries, {per_expiry:.3} upstream calls per expiry, {heads} heads of \
             requests"
        );
        assert!(expiries >= self.least, "{expiries} of {}", self.least);
        assert_eq!(calls, expiries, "one call for each expiry");
        assert_eq!(heads, expiries, "no request breaks off after its head");
    }
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
        // By then the other server's tokens have expired, and so have the servers' own.
        tokio::time::sleep(LIFETIME).await;
        let _turn = few.acquire().await.expect("never closed");
        let herd = (0..TASKS).map(|n| {
            let (tabs, server) = (tabs.clone(), servers[n % servers.len()]);
            tokio::spawn(async move { me(&tabs, server).await })
        });
        result.is_alive = false;
        for answer in join_all(herd).await {
            let (status, me) = answer.expect("no panic");
            *result.answers.entry(status.as_u16()).or_default() += 1;
            if let Some(me) = me {
                assert_eq!(me.sub, sub);
                result.is_alive = true;
            }
        }
    }
    result
}
