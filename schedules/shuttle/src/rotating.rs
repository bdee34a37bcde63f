//! Sessions that rotate: one rotation for each expiry, and an answer for every request that waits.

use std::collections::BTreeSet;
use std::time::Duration;

use everfresh::store::SessionStore as _;
use http::StatusCode;
use shuttle::future::spawn;

use crate::simulation::{Handler, Pair, Simulation, answer, explore};

/// Two requests that wait, two that are dropped, and one afterwards.
fn tabs(nodes: usize) {
    let simulation = Simulation::rotating(nodes);
    let old = simulation.expired();
    let turns = simulation.turns.clone();
    turns.play(async {
        let staying = [0, 1].map(|n| simulation.visit(n % nodes, &old));
        let hasty = [0, 1].map(|n| simulation.hasty(n % nodes, &old));
        let mut successors = BTreeSet::new();
        for visit in staying {
            let answer = answer(visit).await;
            assert_eq!(answer.status, StatusCode::OK);
            successors.insert(answer.pair.refresh);
        }
        for task in hasty.into_iter().flatten() {
            task.await.unwrap();
        }
        let late = answer(simulation.visit(0, &old)).await;
        assert_eq!(late.status, StatusCode::OK, "the next one of this browser");
        successors.insert(late.pair.refresh);
        assert_eq!(successors.len(), 1, "one successor for all clients");
        assert!(!successors.contains(&old.refresh));
        assert_eq!(simulation.store.rotations(), 1, "one rotation for one expiry");
        simulation.end().await;
    });
}

// Rows: F01, F16, S56.
#[test]
fn tabs_that_hang_up_on_one_node() {
    explore("Rotate: four tabs on a node, two of which hang up", || tabs(1));
}

// Rows: F05, F16.
#[test]
fn tabs_that_hang_up_on_two_nodes() {
    explore("Rotate: four tabs on two nodes, two of which hang up", || tabs(2));
}

// Rows: F16.
#[test]
fn when_every_client_hangs_up_the_next_request_is_served() {
    explore("Rotate: three tabs that all hang up", || {
        let simulation = Simulation::rotating(1);
        let old = simulation.expired();
        let turns = simulation.turns.clone();
        turns.play(async {
            let hasty = [0; 3].map(|node| simulation.hasty(node, &old));
            for task in hasty.into_iter().flatten() {
                task.await.unwrap();
            }
            let next = answer(simulation.visit(0, &old)).await;
            assert_eq!(next.status, StatusCode::OK);
            assert_ne!(next.pair.refresh, old.refresh);
            assert_eq!(simulation.store.rotations(), 1);
            simulation.end().await;
        });
    });
}

// Rows: S47.
#[test]
fn a_sign_out_among_refreshes_leaves_nothing_that_is_good() {
    explore("Rotate: a sign-out while others refresh, on two nodes", || {
        let simulation = Simulation::rotating(2);
        let old = simulation.expired();
        let turns = simulation.turns.clone();
        turns.play(async {
            let visits = [0, 1].map(|node| simulation.visit(node, &old));
            let (sign_out, _line) = simulation.send(0, &old, Handler::SignOut);
            let mut pairs = vec![old.clone()];
            for visit in visits {
                let answer = answer(visit).await;
                let expected = [StatusCode::OK, StatusCode::UNAUTHORIZED];
                assert!(expected.contains(&answer.status), "{}", answer.status);
                pairs.push(answer.pair);
            }
            assert_eq!(answer(sign_out).await.status, StatusCode::OK);
            assert!(simulation.store.memory.is_empty(), "the row is gone");
            assert!(simulation.store.rotations() <= 1);
            for pair in pairs {
                let refresh_only = Pair { access: String::new(), ..pair };
                for node in [0, 1] {
                    let answer = answer(simulation.visit(node, &refresh_only)).await;
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
                    assert_eq!(answer.pair, refresh_only, "and no cookie for it");
                }
            }
            simulation.end().await;
        });
    });
}

// Rows: F17.
#[test]
fn a_shutdown_waits_for_the_refreshes_that_have_started() {
    explore("Rotate: a shutdown while others refresh", || {
        let simulation = Simulation::rotating(1);
        let old = simulation.expired();
        let turns = simulation.turns.clone();
        turns.play(async {
            let visits = [0; 3].map(|node| simulation.visit(node, &old));
            let (auth, store) = (simulation.nodes[0].clone(), simulation.store.clone());
            let shutdown = spawn(async move {
                let left = auth.shutdown().await;
                (left, store.rotations())
            });
            let mut served = 0;
            for visit in visits {
                let answer = answer(visit).await;
                let expected = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
                assert!(expected.contains(&answer.status), "{}", answer.status);
                served += usize::from(answer.status == StatusCode::OK);
            }
            let (left, rotations) = shutdown.await.unwrap();
            assert_eq!(left, 0);
            assert_eq!(simulation.store.rotations(), rotations, "none comes after it");
            assert_eq!(rotations, served.min(1), "the request that started the flight was served");
            simulation.end().await;
        });
    });
}

// Rows: F18.
#[test]
fn a_request_that_waited_long_enough_gets_503_and_the_next_one_is_served() {
    explore("Rotate: time runs out for waiting requests", || {
        let simulation = Simulation::rotating(1);
        let old = simulation.expired();
        let turns = simulation.turns.clone();
        turns.play(async {
            let visits = [0; 2].map(|node| simulation.visit(node, &old));
            let (turns, clock) = (simulation.turns.clone(), simulation.clock.clone());
            let time = spawn(async move { turns.pass(&clock, Duration::from_secs(3)) });
            for visit in visits {
                let answer = answer(visit).await;
                match answer.status {
                    StatusCode::OK => assert_ne!(answer.pair.refresh, old.refresh),
                    StatusCode::SERVICE_UNAVAILABLE => assert_eq!(answer.pair, old),
                    other => panic!("{other}"),
                }
            }
            time.await.unwrap();
            let next = answer(simulation.visit(0, &old)).await;
            assert_eq!(next.status, StatusCode::OK);
            assert_eq!(simulation.store.rotations(), 1);
            let row = simulation.store.memory.list("ada").await.unwrap().remove(0);
            assert_eq!(row.generation, 1);
            simulation.end().await;
        });
    });
}
