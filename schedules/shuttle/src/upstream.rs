//! Sessions backed by a provider's single-use tokens: each token is sent once per expiry,
//! regardless of the number of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everfresh::SignIn;
use everfresh::dialect::ClientAuthentication;
use everfresh_upstream::Upstream;
use http::StatusCode;
use shuttle::future::{spawn, yield_now};

use crate::provider::Provider;
use crate::simulation::{Simulation, answer, explore};

/// The step of time. A node reads a row that another node is renewing every 25 ms or more.
const TICK: Duration = Duration::from_millis(10);

/// Two requests that wait, one that is dropped, and one afterwards.
fn tabs(nodes: usize) {
    let sign_in = SignIn::new("ada", ()).backed_by(Provider::first());
    let provider = std::cell::OnceCell::new();
    let simulation = Simulation::new(nodes, sign_in, |builder, store, turns| {
        let provider = provider.get_or_init(|| Provider::new(turns.clone()));
        let at = |path: &str| format!("https://id.example/{path}").parse().unwrap();
        let upstream = Upstream::oauth2(&provider.client(), at("token"))
            .client(ClientAuthentication::None { id: "app".into() })
            .revoke_at(at("revoke"));
        builder.refresh_with(upstream.kept_in(store))
    });
    let provider = provider.into_inner().unwrap();
    let old = simulation.expired();
    let turns = simulation.turns.clone();
    turns.play(async {
        let over = Arc::new(AtomicBool::new(false));
        let (turns, clock, stop) =
            (simulation.turns.clone(), simulation.clock.clone(), over.clone());
        let time = spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                turns.pass(&clock, TICK);
                yield_now().await;
            }
        });
        let staying = [0, 1].map(|n| simulation.visit(n % nodes, &old));
        let hasty = simulation.hasty(0, &old);
        for visit in staying {
            let answer = answer(visit).await;
            // A waiting request may time out.
            let expected = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
            assert!(expected.contains(&answer.status), "{}", answer.status);
        }
        for task in hasty {
            task.await.unwrap();
        }
        let mut next = answer(simulation.visit(0, &old)).await;
        while next.status == StatusCode::SERVICE_UNAVAILABLE {
            next = answer(simulation.visit(0, &old)).await;
        }
        assert_eq!(next.status, StatusCode::OK, "the next one of this browser");
        assert_ne!(next.pair.refresh, old.refresh);
        let (taken, reuses) = {
            let ledger = provider.ledger();
            (ledger.taken, ledger.reuses)
        };
        assert_eq!((taken, reuses), (1, 0), "sent once for one expiry");
        assert_eq!(simulation.store.rotations(), 1);
        simulation.end().await;
        over.store(true, Ordering::SeqCst);
        time.await.unwrap();
    });
}

// Rows: F01, F16.
#[test]
fn tabs_that_hang_up_on_one_node_send_once() {
    explore("Upstream: three tabs on a node, one of which hangs up", || tabs(1));
}

// Rows: F03, F16.
#[test]
fn tabs_that_hang_up_on_two_nodes_send_once() {
    explore("Upstream: three tabs on two nodes, one of which hangs up", || tabs(2));
}
