//! A node fails in the middle of a flight, at each step of it, and the other nodes continue.
//!
//! The steps of a flight are the messages between its node and other servers: each message to and
//! from the store's server, and, for sessions backed by another server, the call to it. A gate
//! holds one message, and the fault happens while the node waits. The held message arrives
//! afterwards. SQLite has no messages, so its file is locked to make a write wait. Faults between
//! steps are timed.
//!
//! `STOP_SECONDS=33` stops nodes for longer than any flight may take, `FAULT_ROUNDS=3` repeats
//! everything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use everfresh_tests::cluster::{Answer, Backend, Client, Cluster, Gate, Provider, Step, Tokens};
use everfresh_tests::cluster::{Way, figure, sid};
use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::SERVE;

/// The fault of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeFault {
    Kill,
    Stop,
}

/// What backs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    Store,
    /// Tokens of another server, which accepts each one once.
    Provider,
}

/// The point of a flight at which the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultPoint {
    /// At the message after the given number of messages.
    Message(Way, usize),
    /// While a write waits for the file.
    Locked,
    /// While the other server holds the token, or an answer that it has not sent.
    Call(Step),
    /// The given time after the request.
    After(Duration),
}

/// The smallest setting. A session must rotate again after it.
const REUSE_INTERVAL: Duration = Duration::from_secs(1);

/// The time limit of a call to the other server, in seconds.
const CALL_LIMIT: u64 = 2;

/// Longer than any flight on a running node.
const RETRY_LIMIT: Duration = Duration::from_secs(40);

/// How long a client tries while a stopped node may hold SQLite's lock.
const SHORT_RETRY_LIMIT: Duration = Duration::from_secs(3);

/// The number of flights for which a node may have opened connections.
const WARM: usize = 4;

/// More messages in each direction than a flight has.
const MESSAGES: usize = 10;

struct Trial {
    name: String,
    node: usize,
    gate: Option<Gate>,
    point: FaultPoint,
    tokens: Tokens,
    id: String,
    request: Option<JoinHandle<Option<Answer>>>,
}

/// All refresh tokens that any client got, by session and generation.
#[derive(Default)]
struct Successors(BTreeMap<(String, u64), String>);

impl Successors {
    fn note(&mut self, answer: &Answer) {
        let Some((me, token)) = answer.me.clone().zip(answer.tokens.refresh.clone()) else {
            return;
        };
        let before = self.0.insert((me.sid, me.generation), token.clone());
        assert!(before.is_none_or(|before| before == token), "two successors of one generation");
    }
}

pub(crate) async fn at_each_step(backend: Backend, fault: NodeFault, backing: Backing) {
    let provider = Provider::start().await;
    let mut settings = vec![("REUSE_INTERVAL", "1".to_owned()), ("ACCESS_TTL", "900".to_owned())];
    if backing == Backing::Provider {
        settings.extend(provider.settings(CALL_LIMIT));
    }
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let points = points(&backend, backing);
    let mut cluster = Cluster::of(2, SERVE, backend, &settings);
    let client = Client::new();
    for round in 0..figure("FAULT_ROUNDS", 1) {
        let mut trials = Vec::new();
        for (n, point) in points.iter().enumerate() {
            let name = format!("user-{round}-{n}");
            trials.push(trial(&mut cluster, &client, &provider, backing, name, *point).await);
        }
        // The access tokens have expired by then, here and at the other server.
        tokio::time::sleep(REUSE_INTERVAL + Duration::from_millis(200)).await;
        let run = Run { client: &client, provider: &provider, fault, backing };
        run.all(&mut cluster, trials).await;
    }
}

/// Every step of a flight, and points between steps.
fn points(backend: &Backend, backing: Backing) -> Vec<FaultPoint> {
    let mut points = Vec::new();
    match backend {
        Backend::Sqlite => points.push(FaultPoint::Locked),
        Backend::Server(_) => {
            let ways =
                |n| [FaultPoint::Message(Way::Asked, n), FaultPoint::Message(Way::Answered, n)];
            points.extend((0..MESSAGES).flat_map(ways));
        }
    }
    if backing == Backing::Provider {
        points.extend([FaultPoint::Call(Step::Received), FaultPoint::Call(Step::Issued)]);
    }
    points.extend((0..8).map(|n| FaultPoint::After(Duration::from_micros(700 * n))));
    points
}

/// A node that will fail, and a session for it.
async fn trial(
    cluster: &mut Cluster,
    client: &Client,
    provider: &Provider,
    backing: Backing,
    name: String,
    point: FaultPoint,
) -> Trial {
    let gate = match &cluster.backend {
        Backend::Sqlite => None,
        Backend::Server(database) => Some(Gate::start(database.address()).await),
    };
    let node = cluster.add(gate.as_ref().map(Gate::address));
    let begin = async |node, name: &str| match backing {
        Backing::Store => client.sign_in(node, name).await,
        Backing::Provider => client.adopt(node, name, &provider.sign_in(name)).await,
    };
    // Its first flights open connections and prepare statements. The fault hits a later one.
    for other in 0..WARM {
        let mut other = begin(cluster.node(0), &format!("{name}-other-{other}")).await;
        let began = Instant::now();
        loop {
            let warm = client.me(cluster.node(node), &other.expired()).await.unwrap();
            other.take(warm.tokens);
            // A database that is busy with the tests beside this one may miss the node's limit.
            if warm.status != 503 || began.elapsed() > RETRY_LIMIT {
                assert_eq!(warm.status, 200, "it is warm after {:?}", began.elapsed());
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let tokens = begin(cluster.node(0), &name).await;
    let me = client.me(cluster.node(0), &tokens.access_alone()).await.unwrap().me.unwrap();
    Trial { name, node, gate, point, tokens, id: me.sid, request: None }
}

struct Run<'c> {
    client: &'c Client,
    provider: &'c Provider,
    fault: NodeFault,
    backing: Backing,
}

impl Run<'_> {
    async fn all(&self, cluster: &mut Cluster, mut trials: Vec<Trial>) {
        for trial in &mut trials {
            self.inject(cluster, trial).await;
        }
        let stopped = Instant::now();
        let ids: Vec<_> = trials.iter().map(|trial| sid(&trial.id)).collect();
        let rows = cluster.rows(&ids).await;
        let moved = rows.iter().flatten().filter(|row| row.generation > 0).count();
        let reserved = rows.iter().flatten().filter(|row| is_reserved(row)).count();

        // Their browsers switch to the other nodes, at once and again after an expiry.
        let mut successors = Successors::default();
        let others = [cluster.node(0), cluster.node(1)];
        for due in [Duration::ZERO, REUSE_INTERVAL + Duration::from_millis(100)] {
            tokio::time::sleep(due).await;
            let limit = match self.fault {
                NodeFault::Kill => RETRY_LIMIT,
                NodeFault::Stop => SHORT_RETRY_LIMIT,
            };
            let ask = |trial: &Trial| self.ask(others, trial.tokens.clone(), limit, false);
            let turns = join_all(trials.iter().map(ask)).await;
            for (trial, (answers, tokens)) in trials.iter_mut().zip(turns) {
                answers.iter().for_each(|answer| successors.note(answer));
                trial.tokens = tokens;
                // The held message of the node arrives when the others have moved on.
                if let Some(gate) = &trial.gate {
                    gate.open();
                }
                self.provider.release(&trial.name);
            }
        }
        if self.fault == NodeFault::Stop {
            let least = Duration::from_secs(figure("STOP_SECONDS", 4) as u64);
            tokio::time::sleep_until(stopped + least).await;
            trials.iter().for_each(|trial| cluster.go_on(trial.node));
        }
        for trial in &mut trials {
            let Some(request) = trial.request.take() else { continue };
            // A late answer must carry no other successor and must not end the session.
            if let Some(answer) = request.await.unwrap() {
                successors.note(&answer);
            }
        }
        // Tokens in doubt become usable when the continued node publishes the answer that it
        // received.
        let revives = self.fault == NodeFault::Stop;
        let ask = |trial: &Trial| self.ask(others, trial.tokens.clone(), RETRY_LIMIT, revives);
        let turns = join_all(trials.iter().map(ask)).await;
        let mut lost = Vec::new();
        for (trial, (answers, _)) in trials.iter().zip(turns) {
            answers.iter().for_each(|answer| successors.note(answer));
            if !answers.iter().any(|answer| answer.status == 200) {
                lost.push(trial);
            }
        }
        let rows = cluster.rows(&ids).await;
        eprintln!(
            "{:?}, backed by {:?}: {} nodes hit, {moved} after the rotation, {reserved} after a \
             reservation; {} sessions lost: {:?}",
            self.fault,
            self.backing,
            trials.len(),
            lost.len(),
            lost.iter().map(|trial| trial.point).collect::<Vec<_>>(),
        );
        self.check(&trials, &lost, &rows, &successors);
        // The fault must hit some flights before the change in the store and some after it. Otherwise
        // the points are wrong. A stopped process that holds SQLite's file stops all nodes.
        if self.fault == NodeFault::Kill || trials[0].gate.is_some() {
            assert!((1..trials.len()).contains(&(moved + reserved)), "{moved} {reserved}");
        }
        trials.iter().for_each(|trial| cluster.kill(trial.node));
    }

    /// Sends the trial's request to its node and waits for the point.
    async fn inject(&self, cluster: &mut Cluster, trial: &mut Trial) {
        let mut lock = None;
        match (trial.point, &trial.gate) {
            (FaultPoint::Message(way, after), Some(gate)) => gate.close_after(way, after),
            (FaultPoint::Locked, _) => lock = Some(locked(cluster).await),
            (FaultPoint::Call(step), _) => self.provider.hold(&trial.name, step),
            _ => {}
        }
        let (client, node, tokens) =
            (self.client.clone(), cluster.node(trial.node), trial.tokens.expired());
        let before = client.waits(node).await;
        let mut request = tokio::spawn(async move { client.me(node, &tokens).await });
        let point = async {
            match (trial.point, &trial.gate) {
                (FaultPoint::Message(..), Some(gate)) => gate.closed().await,
                (FaultPoint::Call(_), _) => self.provider.held(&trial.name).await,
                (FaultPoint::After(time), _) => tokio::time::sleep(time).await,
                // No signal shows that the node waits for the file. It waits for five seconds.
                _ => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        };
        tokio::select! {
            () = point => trial.request = Some(request),
            // The flight has no such step. Its answer is dropped.
            answer = &mut request => drop(answer),
        }
        match self.fault {
            NodeFault::Kill => cluster.kill(trial.node),
            NodeFault::Stop => {
                // If the continued node reads the token after the others have moved on, the token
                // counts as a reused one, rightly.
                let reading = async { while self.client.waits(node).await == before {} };
                tokio::time::timeout(RETRY_LIMIT, reading).await.expect("it reads what it is sent");
                cluster.pause(trial.node);
            }
        }
        if let Some(lock) = lock {
            lock.close().await.unwrap();
        }
    }

    /// Presents a session to each of these nodes until the outcome is known, or for the given time.
    /// `revives`: retries even after a 401.
    async fn ask(
        &self,
        nodes: [SocketAddr; 2],
        mut held: Tokens,
        limit: Duration,
        revives: bool,
    ) -> (Vec<Answer>, Tokens) {
        let (mut answers, began) = (Vec::new(), Instant::now());
        for node in nodes {
            loop {
                let answer = self.client.me(node, &held.expired()).await.expect("it runs");
                held.take(answer.tokens.clone());
                let status = answer.status;
                assert!(matches!(status, 200 | 401 | 503), "{status}");
                answers.push(answer);
                let waits = status == 503 || (status == 401 && revives);
                if !waits || began.elapsed() > limit {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        (answers, held)
    }

    fn check(
        &self,
        trials: &[Trial],
        lost: &[&Trial],
        rows: &[Option<everfresh::store::SessionRecord>],
        successors: &Successors,
    ) {
        for (trial, row) in trials.iter().zip(rows) {
            let row = row.as_ref().expect("no session was ended");
            let newest = successors.0.range((trial.id.clone(), 0)..=(trial.id.clone(), u64::MAX));
            let newest = newest.last().map_or(0, |((_, generation), _)| *generation);
            assert!(row.generation >= newest, "{}: it went back", trial.name);
            let is_lost = lost.iter().any(|lost| lost.name == trial.name);
            if self.backing == Backing::Provider {
                assert!(!self.provider.is_reused(&trial.name), "{:?}: sent twice", trial.point);
                assert!(self.provider.calls(&trial.name) <= 1);
                // A reservation was made, and its answer reached no node that could publish it.
                assert_eq!(is_lost, is_reserved(row), "{:?}", trial.point);
            }
            if is_lost {
                assert_eq!((self.fault, self.backing), (NodeFault::Kill, Backing::Provider));
            }
        }
        if (self.fault, self.backing) == (NodeFault::Kill, Backing::Provider) {
            let held = |trial: &&Trial| matches!(trial.point, FaultPoint::Call(_));
            assert_eq!(lost.iter().copied().filter(held).count(), 2, "the answer died with it");
        }
    }
}

/// A node sent the token, and the row has no result.
fn is_reserved(row: &everfresh::store::SessionRecord) -> bool {
    row.upstream.as_deref().is_some_and(|upstream| upstream.tries > 0)
}

/// A writer that holds SQLite's lock.
async fn locked(cluster: &Cluster) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(cluster.file());
    let mut connection = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}
