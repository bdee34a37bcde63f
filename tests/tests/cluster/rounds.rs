//! 300 concurrent requests on three nodes, with one session whose token has expired.
//!
//! `ROUNDS=1000` makes it longer than some seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everfresh_tests::cluster::{Backend, Client, Cluster, figure, percentile, sid};
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::time::Instant;

use crate::SERVE;

const NODES: usize = 3;
const REQUESTS: usize = 300;

/// Longer than the lifetime of access tokens. After it a session must rotate again.
const REUSE_INTERVAL: Duration = Duration::from_secs(3);

pub(crate) async fn one_rotation_a_round(backend: Backend) {
    let rounds = figure("ROUNDS", 20);
    let settings = [("ACCESS_TTL", "2"), ("REUSE_INTERVAL", "3"), ("SESSION_TTL", "86400")];
    let cluster = Cluster::of(NODES, SERVE, backend, &settings);
    let (client, nodes) = (Client::new(), cluster.addresses());
    let sign_ins = (0..rounds).map(|n| {
        let (client, node) = (client.clone(), nodes[n % NODES]);
        async move { client.sign_in(node, &format!("user-{n}")).await }
    });
    let sessions: Vec<_> = futures::stream::iter(sign_ins).buffer_unordered(16).collect().await;
    tokio::time::sleep(REUSE_INTERVAL).await;

    let (mut sids, mut rotations, mut failures) = (Vec::new(), 0, BTreeMap::new());
    let mut latencies = Vec::new();
    let began = Instant::now();
    for session in &sessions {
        let requests = (0..REQUESTS).map(|n| {
            let (client, node, session) = (client.clone(), nodes[n % NODES], session.clone());
            tokio::spawn(async move {
                let sent = Instant::now();
                (client.me(node, &session).await, sent.elapsed())
            })
        });
        let (mut seen, mut successors) = (BTreeSet::new(), BTreeSet::new());
        for answer in join_all(requests).await {
            let (answer, took) = answer.unwrap();
            latencies.push(took);
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            match answer.and_then(|answer| answer.me.zip(answer.tokens.refresh)) {
                Some((me, successor)) => {
                    seen.insert((me.sid, me.generation));
                    successors.insert(successor);
                }
                None => *failures.entry(status).or_insert(0) += 1,
            }
        }
        assert_eq!(successors.len(), 1, "every client has the same successor, byte for byte");
        rotations += seen.len();
        let (named, generation) = seen.pop_first().unwrap();
        assert_eq!((generation, seen.len()), (1, 0));
        sids.push(sid(&named));
    }
    let took = began.elapsed();
    let rows = cluster.rows(&sids).await;
    let in_store: u64 = rows.iter().flatten().map(|row| row.generation).sum();
    latencies.sort();
    eprintln!(
        "{rounds} rounds of {REQUESTS} requests on {NODES} nodes: {rotations} rotations by the answers, \
         {in_store} by the store, failures {failures:?}; {:.0} requests a second, median {:.0?}, \
         p99 {:.0?}",
        (rounds * REQUESTS) as f64 / took.as_secs_f64(),
        percentile(&latencies, 50),
        percentile(&latencies, 99),
    );
    assert_eq!((rotations, in_store), (rounds, rounds as u64));
    assert!(failures.is_empty());
}
