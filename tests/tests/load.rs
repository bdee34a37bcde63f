//! The short form of `cargo xtask load`: each contract server for a few seconds, with stores that
//! need no server.

use std::path::Path;
use std::time::Duration;

use everfresh_tests::load::{Plan, StoreKind, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_session_is_lost_and_nothing_leaks() {
    let pairs = [
        ("axum", env!("CARGO_BIN_EXE_serve-axum"), StoreKind::Memory),
        ("actix", env!("CARGO_BIN_EXE_serve-actix"), StoreKind::Sqlite),
        ("warp", env!("CARGO_BIN_EXE_serve-warp"), StoreKind::Memory),
        ("tower", env!("CARGO_BIN_EXE_serve-tower"), StoreKind::Sqlite),
    ];
    let pairs =
        pairs.map(|(name, program, store)| (name.to_owned(), Path::new(program).to_owned(), store));
    let plan = Plan {
        pairs: pairs.into(),
        time: Duration::from_secs(20),
        people: 16,
        access: 2,
        reuse_interval: 3,
        // In such a short time buffers and caches still fill.
        growth: 32 * 1024,
        seed: 1,
    };
    let outcomes = run(&plan, |_| {}).await;
    for outcome in outcomes {
        eprintln!("{} with {}: {}", outcome.server, outcome.store, outcome.tally);
        assert!(
            outcome.broken.is_empty(),
            "{} with {}: {:#?}",
            outcome.server,
            outcome.store,
            outcome.broken
        );
    }
}
