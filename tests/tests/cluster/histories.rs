//! Checks that the answers of four nodes to many clients match one session in one place.
//!
//! `CALLS=100000` makes it longer than some seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everfresh_tests::cluster::{
    Answer, Backend, Call, Client, Cluster, History, Operation, Outcome, Tokens, figure,
};
use futures::future::join_all;
use tokio::time::Instant;

use crate::SERVE;

const NODES: usize = 4;

/// The calls on each session.
const CLIENTS: usize = 6;
const CALLS_EACH: usize = 21;

/// The number of sessions at a time.
const SESSIONS: usize = 40;

/// The tokens of each generation, shared by the clients of one session.
type Shared = Arc<Mutex<BTreeMap<u64, Tokens>>>;

pub(crate) async fn are_linearizable(backend: Backend) {
    let wanted = figure("CALLS", 10_000);
    let settings = [("REUSE_INTERVAL", "1"), ("ACCESS_TTL", "900")];
    let cluster = Cluster::of(NODES, SERVE, backend, &settings);
    let (client, nodes) = (Client::new(), cluster.addresses());
    let clock = Instant::now();
    let (mut calls, mut sessions, mut violations) = (0, 0, 0);
    let (mut rotations, mut ends, mut unanswered) = (0, 0, 0);
    while calls < wanted {
        let running = (0..SESSIONS).map(|n| {
            let (client, nodes) = (client.clone(), nodes.clone());
            tokio::spawn(async move { play(client, nodes, n, clock).await })
        });
        for played in join_all(running.collect::<Vec<_>>()).await {
            let (seen, generations) = played.unwrap();
            (calls, sessions) = (calls + seen.len(), sessions + 1);
            rotations += generations;
            ends += usize::from(seen.iter().any(|call| call.outcome == Outcome::Over));
            unanswered += seen.iter().filter(|call| call.outcome == Outcome::Nothing).count();
            let history = History::new(seen);
            if !history.is_linearizable() {
                violations += 1;
                eprintln!("no order explains this:\n{history:#?}");
            }
        }
    }
    eprintln!(
        "{calls} calls of {CLIENTS} clients on each of {sessions} sessions, {NODES} nodes: \
         {rotations} rotations, {ends} sessions ended, {unanswered} calls without an answer, \
         {violations} violations"
    );
    assert_eq!(violations, 0);
    assert!(rotations > sessions && ends > sessions / 4, "something happens in them");
    // Calls without an answer explain almost any history, so they must be few.
    assert!(unanswered * 20 < calls, "{unanswered}");
}

/// Plays one session. Returns the answers of its clients, and the number of rotations.
async fn play(
    client: Client,
    nodes: Vec<SocketAddr>,
    n: usize,
    clock: Instant,
) -> (Vec<Call>, usize) {
    let first = client.sign_in(nodes[n % NODES], &format!("user-{n}")).await;
    let shared: Shared = Arc::new(Mutex::new(BTreeMap::from([(0, first)])));
    let clients = (0..CLIENTS).map(|c| {
        let (client, nodes, shared) = (client.clone(), nodes.clone(), shared.clone());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..CALLS_EACH {
                let node = (c + fastrand::usize(..NODES)) % NODES;
                let began = clock.elapsed();
                let (operation, answer) = call(&client, nodes[node], &shared).await;
                let (ended, outcome) = (clock.elapsed(), understand(operation, answer, &shared));
                seen.push(Call { node, operation, began, ended, outcome });
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
            }
            seen
        })
    });
    let seen = join_all(clients.collect::<Vec<_>>()).await;
    let generations = shared.lock().unwrap().keys().max().copied().unwrap_or(0);
    (seen.into_iter().flat_map(|seen| seen.unwrap()).collect(), generations as usize)
}

/// Presents mostly the newest refresh token, sometimes the previous one or an access token, or
/// signs out.
async fn call(client: &Client, node: SocketAddr, shared: &Shared) -> (Operation, Option<Answer>) {
    let held = {
        let held = shared.lock().unwrap();
        let back = usize::from(fastrand::u8(..25) == 0);
        held.iter().rev().nth(back).or(held.iter().next()).map(|(g, t)| (*g, t.clone()))
    };
    let (generation, tokens) = held.unwrap();
    match fastrand::u8(..200) {
        0 => (Operation::Revoke, client.sign_out(node, &tokens).await),
        1..=70 => (Operation::Verify, client.me(node, &tokens.access_alone()).await),
        _ => (Operation::Refresh(generation), client.me(node, &tokens.expired()).await),
    }
}

fn understand(operation: Operation, answer: Option<Answer>, shared: &Shared) -> Outcome {
    let Some(answer) = answer else { return Outcome::Nothing };
    match (answer.status, answer.me) {
        (200, Some(me)) => {
            let mut shared = shared.lock().unwrap();
            let held = shared.entry(me.generation).or_default();
            // A rotation returns both tokens. A client that keeps its refresh token gets an access
            // token.
            if let (Some(before), Some(now)) = (&held.refresh, &answer.tokens.refresh) {
                assert_eq!(before, now, "two successors of one generation");
            }
            held.take(answer.tokens);
            Outcome::Alive(me.generation)
        }
        (204, _) if operation == Operation::Revoke => Outcome::Ended,
        (401, _) => Outcome::Over,
        (503, _) => Outcome::Nothing,
        (status, _) => panic!("{operation:?}: {status}"),
    }
}
