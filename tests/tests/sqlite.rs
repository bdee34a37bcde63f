//! Several processes on one SQLite file, some of them killed. F03, F30, rows S43 and S46.
//!
//! `HAMMER_SECONDS` makes it longer than a few seconds.

use everfresh_sqlx::SqliteStore;
use everfresh_tests::hammer::{Hammer, check, fill, seconds};

async fn prepared() -> Hammer {
    let hammer = Hammer::new(env!("CARGO_BIN_EXE_hammer"), "sqlite:sessions.db");
    let store = open(&hammer).await;
    fill(&store).await;
    store.close().await;
    hammer.workplace.share(&hammer.workplace.path().join("sessions.db")).expect("shared");
    hammer
}

async fn open(hammer: &Hammer) -> SqliteStore {
    SqliteStore::open(hammer.workplace.path().join("sessions.db")).await.expect("a file")
}

// Rows: S43, F30.
#[tokio::test(flavor = "multi_thread")]
async fn four_processes_on_one_file_make_one_successor_a_generation() {
    let hammer = prepared().await;
    let said = hammer.four();
    let rotations = check(&open(&hammer).await, &said).await;
    assert!(rotations > 100, "{rotations} rotations");
    eprintln!("{rotations} rotations in {} s by 64 tasks in 4 processes", seconds());
}

// Rows: S46.
#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_nothing_that_was_acknowledged() {
    let hammer = prepared().await;
    let kills = seconds() * 3;
    let said = hammer.kill(kills).await;
    let rotations = check(&open(&hammer).await, &said).await;
    assert!(rotations > 100, "{rotations} rotations");
    eprintln!("{rotations} rotations through {kills} kills");
}
