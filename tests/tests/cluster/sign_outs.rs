//! How long a sign-out takes from one node to all nodes.
//!
//! `SIGN_OUTS=300` makes it longer than some seconds.

use std::time::Duration;

use everfresh_tests::cluster::{Backend, Client, Cluster, figure, percentile};
use futures::future::join_all;
use tokio::time::Instant;

use crate::SERVE;

const NODES: usize = 3;

/// Longer than any feed takes.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn reach_three_nodes(backend: Backend) {
    let sign_outs = figure("SIGN_OUTS", 30);
    let cluster = Cluster::of(NODES, SERVE, backend, &[]);
    let (client, nodes) = (Client::new(), cluster.addresses());
    let mut reached = Vec::new();
    for n in 0..sign_outs {
        let session = client.sign_in(nodes[n % NODES], &format!("user-{n}")).await;
        let alone = session.access_alone();
        for node in &nodes {
            assert_eq!(client.me(*node, &alone).await.unwrap().status, 200);
        }
        // From the request to sign out until the last node has refused the session.
        let began = Instant::now();
        let refused = nodes.iter().map(|node| {
            let (client, node, alone) = (client.clone(), *node, alone.clone());
            tokio::spawn(async move {
                while client.me(node, &alone).await.unwrap().status != 401 {
                    assert!(began.elapsed() < LIMIT, "it never came here");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                began.elapsed()
            })
        });
        let refused: Vec<_> = refused.collect();
        let signed_out = client.sign_out(nodes[(n + 1) % NODES], &session).await;
        assert_eq!(signed_out.unwrap().status, 204);
        let each = join_all(refused).await;
        reached.push(each.into_iter().map(|took| took.unwrap()).max().unwrap());
    }
    reached.sort();
    let (median, p99) = (percentile(&reached, 50), percentile(&reached, 99));
    eprintln!("{sign_outs} sign-outs, all of {NODES} nodes: median {median:.1?}, p99 {p99:.1?}");
    assert!(median < Duration::from_millis(100), "{median:?}");
}
