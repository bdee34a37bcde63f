//! A node fails in the middle of a flight, at each step of it, and the other nodes continue.
//!
//! The steps of a flight are the messages between its node and other servers: each message to and
//! from the store's server, and, for sessions backed by another server, the call to it. A gate
//! holds one message, and the fault strikes while the node waits. The held message arrives
//! afterwards. SQLite has no messages, so its file is locked to make a write wait. Faults between
//! steps are timed.
//!
//! `STOP_SECONDS=33` stops nodes for longer than any flight may take, `STRIKES=3` repeats
//! everything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use everfresh_tests::cluster::{Answer, Client, Cluster, Gate, Ground, Issuer, Step, Tokens};
use everfresh_tests::cluster::{Way, figure, sid};
use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::SERVE;

/// The fault of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    Kill,
    Stop,
}

/// The source of a session's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rests {
    OnItself,
    /// Tokens of another server, which accepts each one once.
    OnAnother,
}

/// The moment of the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
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
const PATIENCE: Duration = Duration::from_secs(40);

/// How long a client tries while a stopped node may hold SQLite's lock.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// The number of flights for which a node may have opened connections.
const WARM: usize = 4;

/// More messages in each direction than a flight has.
const MESSAGES: usize = 10;

struct Victim {
    name: String,
    node: usize,
    gate: Option<Gate>,
    moment: Moment,
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

pub(crate) async fn strike(ground: Ground, blow: Blow, rests: Rests) {
    let issuer = Issuer::start().await;
    let mut settings = vec![("REUSE_INTERVAL", "1".to_owned()), ("ACCESS_TTL", "900".to_owned())];
    if rests == Rests::OnAnother {
        settings.extend(issuer.settings(CALL_LIMIT));
    }
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let moments = moments(&ground, rests);
    let mut cluster = Cluster::of(2, SERVE, ground, &settings);
    let client = Client::new();
    for round in 0..figure("STRIKES", 1) {
        let mut victims = Vec::new();
        for (n, moment) in moments.iter().enumerate() {
            let name = format!("user-{round}-{n}");
            victims.push(victim(&mut cluster, &client, &issuer, rests, name, *moment).await);
        }
        // The access tokens have expired by then, here and at the other server.
        tokio::time::sleep(REUSE_INTERVAL + Duration::from_millis(200)).await;
        let course = Course { client: &client, issuer: &issuer, blow, rests };
        course.run(&mut cluster, victims).await;
    }
}

/// Every step of a flight, and moments between steps.
fn moments(ground: &Ground, rests: Rests) -> Vec<Moment> {
    let mut moments = Vec::new();
    match ground {
        Ground::Sqlite => moments.push(Moment::Locked),
        Ground::Server(_) => {
            let ways = |n| [Moment::Message(Way::Asked, n), Moment::Message(Way::Answered, n)];
            moments.extend((0..MESSAGES).flat_map(ways));
        }
    }
    if rests == Rests::OnAnother {
        moments.extend([Moment::Call(Step::Received), Moment::Call(Step::Issued)]);
    }
    moments.extend((0..8).map(|n| Moment::After(Duration::from_micros(700 * n))));
    moments
}

/// A node that will fail, and a session for it.
async fn victim(
    cluster: &mut Cluster,
    client: &Client,
    issuer: &Issuer,
    rests: Rests,
    name: String,
    moment: Moment,
) -> Victim {
    let gate = match &cluster.ground {
        Ground::Sqlite => None,
        Ground::Server(database) => Some(Gate::start(database.address()).await),
    };
    let node = cluster.add(gate.as_ref().map(Gate::address));
    let begin = async |node, name: &str| match rests {
        Rests::OnItself => client.sign_in(node, name).await,
        Rests::OnAnother => client.adopt(node, name, &issuer.sign_in(name)).await,
    };
    // Its first flights open connections and prepare statements. The fault strikes a later one.
    for other in 0..WARM {
        let mut other = begin(cluster.node(0), &format!("{name}-other-{other}")).await;
        let began = Instant::now();
        loop {
            let warm = client.me(cluster.node(node), &other.expired()).await.unwrap();
            other.take(warm.tokens);
            // A database that is busy with the tests beside this one may miss the node's limit.
            if warm.status != 503 || began.elapsed() > PATIENCE {
                assert_eq!(warm.status, 200, "it is warm after {:?}", began.elapsed());
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let tokens = begin(cluster.node(0), &name).await;
    let me = client.me(cluster.node(0), &tokens.access_alone()).await.unwrap().me.unwrap();
    Victim { name, node, gate, moment, tokens, id: me.sid, request: None }
}

struct Course<'c> {
    client: &'c Client,
    issuer: &'c Issuer,
    blow: Blow,
    rests: Rests,
}

impl Course<'_> {
    async fn run(&self, cluster: &mut Cluster, mut victims: Vec<Victim>) {
        for victim in &mut victims {
            self.blow_falls(cluster, victim).await;
        }
        let stopped = Instant::now();
        let ids: Vec<_> = victims.iter().map(|victim| sid(&victim.id)).collect();
        let rows = cluster.rows(&ids).await;
        let moved = rows.iter().flatten().filter(|row| row.generation > 0).count();
        let claimed = rows.iter().flatten().filter(|row| claim_stands(row)).count();

        // Their browsers switch to the other nodes, at once and again after an expiry.
        let mut successors = Successors::default();
        let others = [cluster.node(0), cluster.node(1)];
        for due in [Duration::ZERO, REUSE_INTERVAL + Duration::from_millis(100)] {
            tokio::time::sleep(due).await;
            let patience = match self.blow {
                Blow::Kill => PATIENCE,
                Blow::Stop => SHORT_PATIENCE,
            };
            let ask = |victim: &Victim| self.ask(others, victim.tokens.clone(), patience, false);
            let turns = join_all(victims.iter().map(ask)).await;
            for (victim, (answers, tokens)) in victims.iter_mut().zip(turns) {
                answers.iter().for_each(|answer| successors.note(answer));
                victim.tokens = tokens;
                // The held message of the node arrives when the others have moved on.
                if let Some(gate) = &victim.gate {
                    gate.open();
                }
                self.issuer.release(&victim.name);
            }
        }
        if self.blow == Blow::Stop {
            let least = Duration::from_secs(figure("STOP_SECONDS", 4) as u64);
            tokio::time::sleep_until(stopped + least).await;
            victims.iter().for_each(|victim| cluster.go_on(victim.node));
        }
        for victim in &mut victims {
            let Some(request) = victim.request.take() else { continue };
            // A late answer must carry no other successor and must not end the session.
            if let Some(answer) = request.await.unwrap() {
                successors.note(&answer);
            }
        }
        // Tokens in doubt become usable when the continued node publishes the answer that it
        // received.
        let revives = self.blow == Blow::Stop;
        let ask = |victim: &Victim| self.ask(others, victim.tokens.clone(), PATIENCE, revives);
        let turns = join_all(victims.iter().map(ask)).await;
        let mut lost = Vec::new();
        for (victim, (answers, _)) in victims.iter().zip(turns) {
            answers.iter().for_each(|answer| successors.note(answer));
            if !answers.iter().any(|answer| answer.status == 200) {
                lost.push(victim);
            }
        }
        let rows = cluster.rows(&ids).await;
        eprintln!(
            "{:?}, resting {:?}: {} nodes struck, {moved} after the rotation, {claimed} after a \
             claim; {} sessions lost: {:?}",
            self.blow,
            self.rests,
            victims.len(),
            lost.len(),
            lost.iter().map(|victim| victim.moment).collect::<Vec<_>>(),
        );
        self.judge(&victims, &lost, &rows, &successors);
        // Some flights must be struck before the change in the store and some after it. Otherwise
        // the moments are wrong. A stopped process that holds SQLite's file stops all nodes.
        if self.blow == Blow::Kill || victims[0].gate.is_some() {
            assert!((1..victims.len()).contains(&(moved + claimed)), "{moved} {claimed}");
        }
        victims.iter().for_each(|victim| cluster.kill(victim.node));
    }

    /// Sends the victim's request to its node and waits for the moment.
    async fn blow_falls(&self, cluster: &mut Cluster, victim: &mut Victim) {
        let mut lock = None;
        match (victim.moment, &victim.gate) {
            (Moment::Message(way, after), Some(gate)) => gate.close_after(way, after),
            (Moment::Locked, _) => lock = Some(locked(cluster).await),
            (Moment::Call(step), _) => self.issuer.hold(&victim.name, step),
            _ => {}
        }
        let (client, node, tokens) =
            (self.client.clone(), cluster.node(victim.node), victim.tokens.expired());
        let before = client.waits(node).await;
        let mut request = tokio::spawn(async move { client.me(node, &tokens).await });
        let moment = async {
            match (victim.moment, &victim.gate) {
                (Moment::Message(..), Some(gate)) => gate.closed().await,
                (Moment::Call(_), _) => self.issuer.held(&victim.name).await,
                (Moment::After(time), _) => tokio::time::sleep(time).await,
                // No signal shows that the node waits for the file. It waits for five seconds.
                _ => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        };
        tokio::select! {
            () = moment => victim.request = Some(request),
            // The flight has no such step. Its answer is dropped.
            answer = &mut request => drop(answer),
        }
        match self.blow {
            Blow::Kill => cluster.kill(victim.node),
            Blow::Stop => {
                // If the continued node reads the token after the others have moved on, the token
                // counts as a reused one, rightly.
                let reading = async { while self.client.waits(node).await == before {} };
                tokio::time::timeout(PATIENCE, reading).await.expect("it reads what it is sent");
                cluster.pause(victim.node);
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
        patience: Duration,
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
                if !waits || began.elapsed() > patience {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        (answers, held)
    }

    fn judge(
        &self,
        victims: &[Victim],
        lost: &[&Victim],
        rows: &[Option<everfresh::store::SessionRecord>],
        successors: &Successors,
    ) {
        for (victim, row) in victims.iter().zip(rows) {
            let row = row.as_ref().expect("no session was ended");
            let newest = successors.0.range((victim.id.clone(), 0)..=(victim.id.clone(), u64::MAX));
            let newest = newest.last().map_or(0, |((_, generation), _)| *generation);
            assert!(row.generation >= newest, "{}: it went back", victim.name);
            let is_lost = lost.iter().any(|lost| lost.name == victim.name);
            if self.rests == Rests::OnAnother {
                assert!(!self.issuer.is_reused(&victim.name), "{:?}: sent twice", victim.moment);
                assert!(self.issuer.calls(&victim.name) <= 1);
                // A reservation was made, and its answer reached no node that could publish it.
                assert_eq!(is_lost, claim_stands(row), "{:?}", victim.moment);
            }
            if is_lost {
                assert_eq!((self.blow, self.rests), (Blow::Kill, Rests::OnAnother));
            }
        }
        if (self.blow, self.rests) == (Blow::Kill, Rests::OnAnother) {
            let held = |victim: &&Victim| matches!(victim.moment, Moment::Call(_));
            assert_eq!(lost.iter().copied().filter(held).count(), 2, "the answer died with it");
        }
    }
}

/// A node sent the token, and the row has no result.
fn claim_stands(row: &everfresh::store::SessionRecord) -> bool {
    row.upstream.as_deref().is_some_and(|upstream| upstream.tries > 0)
}

/// A writer that holds SQLite's lock.
async fn locked(cluster: &Cluster) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(cluster.file());
    let mut connection = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}
