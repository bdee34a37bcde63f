//! Browsers send requests to three nodes while nodes are killed, the database restarts and its
//! connection is cut.
//!
//! `OUTAGES=60` makes it longer than some seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everfresh_testkit::fault::Cable;
use everfresh_tests::cluster::{Backend, Client, Cluster, Tokens, figure, sid};
use futures::future::join_all;
use tokio::time::Instant;

use crate::SERVE;

const NODES: usize = 3;
const BROWSERS: usize = 24;

/// The interval at which each browser sends requests to two nodes at once.
const EVERY: Duration = Duration::from_millis(200);

/// The time between two outages: longer than a recovery takes.
const CALM: Duration = Duration::from_secs(1);

/// The state shared by all browsers.
struct Shared {
    client: Client,
    /// The addresses change when a node is killed.
    nodes: Mutex<Vec<SocketAddr>>,
    /// The one refresh token of each session and generation.
    successors: Mutex<BTreeMap<(String, u64), String>>,
    over: AtomicBool,
}

/// The result of one browser.
#[derive(Default)]
struct ClientResult {
    served: usize,
    unavailable: usize,
    signed_out: usize,
    id: String,
    generation: u64,
}

pub(crate) async fn are_survived(backend: Backend) {
    let outages = figure("OUTAGES", 4);
    let cable = match &backend {
        Backend::Sqlite => None,
        Backend::Server(database) => Some(Cable::start(database.address()).await),
    };
    let settings = [("REUSE_INTERVAL", "1"), ("ACCESS_TTL", "900")];
    let mut cluster = Cluster::new(SERVE, backend, &settings);
    // The first node reaches the database through a cable.
    cluster.add(cable.as_ref().map(Cable::address));
    for _ in 1..NODES {
        cluster.add(None);
    }
    let shared = Arc::new(Shared {
        client: Client::new(),
        nodes: Mutex::new(cluster.addresses()),
        successors: Mutex::default(),
        over: AtomicBool::new(false),
    });
    let mut browsers = Vec::new();
    for n in 0..BROWSERS {
        let tokens = shared.client.sign_in(shared.node(n), &format!("user-{n}")).await;
        browsers.push(tokio::spawn(browse(shared.clone(), tokens)));
    }
    let signing_in = tokio::spawn(sign_in_again_and_again(shared.clone()));
    let began = Instant::now();
    let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
    for n in 0..outages {
        tokio::time::sleep(CALM).await;
        let what = outage(&mut cluster, cable.as_ref(), &shared, n).await;
        *happened.entry(what).or_default() += 1;
    }
    tokio::time::sleep(2 * CALM).await;
    let lasted = began.elapsed();
    shared.over.store(true, Ordering::Release);
    let results: Vec<_> = join_all(browsers).await.into_iter().map(Result::unwrap).collect();
    let acknowledged = signing_in.await.unwrap();
    check(&cluster, &results, &acknowledged, &happened, lasted).await;
}

/// One after the other.
async fn outage(
    cluster: &mut Cluster,
    cable: Option<&Cable>,
    shared: &Shared,
    n: usize,
) -> &'static str {
    match (n % 3, cable) {
        (0, _) | (_, None) => {
            let node = n % NODES;
            cluster.restart(node);
            shared.nodes.lock().unwrap()[node] = cluster.node(node);
            "nodes killed"
        }
        (1, Some(_)) => {
            if let Backend::Server(database) = &mut cluster.backend {
                database.restart();
            }
            "engines killed"
        }
        (_, Some(cable)) => {
            cable.cut();
            tokio::time::sleep(CALM).await;
            cable.mend();
            "cables cut"
        }
    }
}

impl Shared {
    fn node(&self, n: usize) -> SocketAddr {
        self.nodes.lock().unwrap()[n % NODES]
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Two tabs that send requests at the same time to different nodes, and share their cookies.
async fn browse(shared: Arc<Shared>, mut tokens: Tokens) -> ClientResult {
    let mut result = ClientResult::default();
    while !shared.is_over() {
        let first = fastrand::usize(..NODES);
        let shown = tokens.expired();
        let tabs = [first, first + 1].map(|n| shared.client.me(shared.node(n), &shown));
        for answer in join_all(tabs).await {
            // No answer: the node was killed.
            let status = answer.as_ref().map_or(503, |answer| answer.status);
            match status {
                200 => result.served += 1,
                503 => result.unavailable += 1,
                401 => result.signed_out += 1,
                status => panic!("{status}"),
            }
            let Some((me, new)) = answer.and_then(|answer| Some((answer.me?, answer.tokens)))
            else {
                continue;
            };
            if let Some(token) = &new.refresh {
                let key = (me.sid.clone(), me.generation);
                let mut successors = shared.successors.lock().unwrap();
                let before = successors.insert(key, token.clone());
                assert!(before.is_none_or(|before| before == *token), "two successors");
            }
            if me.generation >= result.generation {
                (result.id, result.generation) = (me.sid, me.generation);
                tokens.take(new);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    result
}

/// Returns the sessions whose sign-in was answered.
async fn sign_in_again_and_again(shared: Arc<Shared>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !shared.is_over() {
        let node = shared.node(acknowledged.len());
        // One session per user, because a sign-in beyond `Rotate::max_sessions` ends the user's
        // oldest session.
        let user = format!("late-{}", acknowledged.len());
        if let Some(tokens) = shared.client.try_sign_in(node, &user).await
            && let Some(answer) = shared.client.me(node, &tokens.access_alone()).await
            && let Some(me) = answer.me
        {
            acknowledged.push(me.sid);
        }
        tokio::time::sleep(EVERY / 10).await;
    }
    acknowledged
}

async fn check(
    cluster: &Cluster,
    results: &[ClientResult],
    acknowledged: &[String],
    happened: &BTreeMap<&str, usize>,
    lasted: Duration,
) {
    let ids: Vec<_> = results.iter().map(|result| sid(&result.id)).collect();
    let rows = cluster.rows(&ids).await;
    for (result, row) in results.iter().zip(&rows) {
        let row = row.as_ref().expect("a session was lost");
        assert!(row.generation >= result.generation, "a rotation was lost");
    }
    let ids: Vec<_> = acknowledged.iter().map(|id| sid(id)).collect();
    let lost = cluster.rows(&ids).await.iter().filter(|row| row.is_none()).count();
    let sum = |count: fn(&ClientResult) -> usize| results.iter().map(count).sum::<usize>();
    let (served, unavailable) = (sum(|result| result.served), sum(|result| result.unavailable));
    let signed_out = sum(|result| result.signed_out);
    let rotations: u64 = rows.iter().flatten().map(|row| row.generation).sum();
    eprintln!(
        "{lasted:.0?} with {happened:?}: {served} answers to {BROWSERS} browsers, {rotations} \
         rotations, {unavailable} times 503 or nothing, {signed_out} times 401; {} sign-ins, {lost} of \
         them lost",
        acknowledged.len(),
    );
    assert_eq!((signed_out, lost), (0, 0));
    assert!(rotations as usize > BROWSERS && !acknowledged.is_empty(), "it went on");
}
