//! Several nodes over one store, as contract servers. Concurrent requests cause one rotation, and
//! no client is signed out when nodes or servers are killed or stopped, or a connection is cut.
//! F01, F03, F30, rows S43, S46 and S57.
//!
//! Each database has a module. SQLite needs no server. The features `redis` and `postgres` need
//! servers, which `cargo xtask test` provides. By default a short form runs. The published figures
//! come from
//!
//! ```sh
//! ROUNDS=1000 STOP_SECONDS=33 FAULT_ROUNDS=3 OUTAGES=60 CALLS=100000 SIGN_OUTS=300 \
//!     cargo test -p everfresh-tests --features cluster,redis,postgres --test cluster -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod faults;
mod histories;
mod outages;
mod rounds;
mod sign_outs;

use tokio::sync::{Mutex, MutexGuard};

const SERVE: &str = env!("CARGO_BIN_EXE_serve-axum");

/// A machine has room for only one test with several servers and hundreds of clients at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    ONE_AT_A_TIME.lock().await
}

/// The figures over one engine.
macro_rules! figures {
    ($backend:expr) => {
        use everfresh_tests::cluster::Backend;

        use crate::faults::{Backing, NodeFault};
        use crate::{alone, faults, histories, outages, rounds, sign_outs};

        // Rows: F01, F03.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_herd_on_three_nodes_makes_one_rotation() {
            let _alone = alone().await;
            rounds::one_rotation_a_round($backend).await;
        }

        // Rows: S46.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_node_killed_at_any_step_signs_no_user_out() {
            let _alone = alone().await;
            faults::at_each_step($backend, NodeFault::Kill, Backing::Store).await;
        }

        // Rows: S46.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_node_stopped_at_any_step_signs_no_user_out() {
            let _alone = alone().await;
            faults::at_each_step($backend, NodeFault::Stop, Backing::Store).await;
        }

        // Rows: S57.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_killed_node_sends_no_token_twice_and_loses_only_its_unstored_answers() {
            let _alone = alone().await;
            faults::at_each_step($backend, NodeFault::Kill, Backing::Provider).await;
        }

        // Rows: S57.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_stopped_node_sends_no_token_twice_and_loses_nothing() {
            let _alone = alone().await;
            faults::at_each_step($backend, NodeFault::Stop, Backing::Provider).await;
        }

        // Rows: S43.
        #[tokio::test(flavor = "multi_thread")]
        async fn four_nodes_answer_as_one_server_would() {
            let _alone = alone().await;
            histories::are_linearizable($backend).await;
        }

        // Rows: S48.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_sign_out_counts_on_every_node_soon() {
            let _alone = alone().await;
            sign_outs::reach_three_nodes($backend).await;
        }

        // Rows: S46.
        #[tokio::test(flavor = "multi_thread")]
        async fn outages_sign_no_user_out_and_lose_no_acknowledged_write() {
            let _alone = alone().await;
            outages::are_survived($backend).await;
        }
    };
}

mod sqlite {
    figures!(Backend::Sqlite);
}

#[cfg(feature = "redis")]
mod redis {
    use everfresh_tests::database::Database;

    figures!(Backend::Server(Database::redis()));
}

#[cfg(feature = "postgres")]
mod postgres {
    use everfresh_tests::database::Database;

    figures!(Backend::Server(Database::postgres()));
}
