//! The cost of a rotation in SQLite, among a thousand sessions and among a million.
//!
//! Run with: `cargo run --release -p everfresh-sqlx --example growth`

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use everfresh::SessionId;
use everfresh::store::{Rotation, SessionStore as _};
use everfresh_sqlx::SqliteStore;
use sqlx::{Connection as _, Row as _, SqliteConnection};

const SAMPLES: usize = 2000;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (small, large) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let small = filled(&small.path().join("sessions.db"), 1000).await?;
    let large = filled(&large.path().join("sessions.db"), 1_000_000).await?;
    // Both take turns, so that other load on the machine affects both. The fastest round of each
    // counts.
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        for (best, (store, sids)) in best.iter_mut().zip([&small, &large]) {
            *best = best.min(rotate_all(store, sids).await?);
        }
    }
    let [small, large] = best;
    println!(
        "a load and a rotation, durable: {small:.1} us among 1,000 sessions, {large:.1} us among 1,000,000"
    );
    println!("ratio {:.2}", large / small);
    Ok(())
}

/// A file with the given number of sessions, and the ids of some of them.
async fn filled(
    path: &Path,
    sessions: u64,
) -> Result<(SqliteStore, Vec<SessionId>), Box<dyn Error>> {
    let store = SqliteStore::open(path).await?;
    let mut connection = SqliteConnection::connect(&path.to_string_lossy()).await?;
    sqlx::query(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) \
         INSERT INTO everfresh_sessions (sid, subject, generation, key_id, confirmed, rotated_at, \
         created_at, idle_expires, absolute_expires, idle_lifetime, persistent, claims, \
         attributes, salt) SELECT randomblob(16), 'user ' || x, 0, 1, 1, \
         unixepoch() * 1000, unixepoch() * 1000, unixepoch() * 1000 + 86400000, \
         unixepoch() * 1000 + 864000000, 86400000, 1, '{\"name\":\"Ada Lovelace\"}', \
         '{\"device\":\"Firefox on Linux\"}', randomblob(16) FROM n",
    )
    .bind(i64::try_from(sessions)?)
    .execute(&mut connection)
    .await?;
    // Moves the rows from the write-ahead log into the file.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    let rows = sqlx::query("SELECT sid FROM everfresh_sessions ORDER BY random() LIMIT ?")
        .bind(i64::try_from(SAMPLES)?)
        .fetch_all(&mut connection)
        .await?;
    let mut sids = Vec::new();
    for row in rows {
        let sid: Vec<u8> = row.try_get("sid")?;
        sids.push(SessionId::from_bytes(sid.try_into().map_err(|_| "16 bytes")?));
    }
    let size = std::fs::metadata(path)?.len();
    println!("{sessions} sessions: {} bytes each in the file", size / sessions);
    Ok((store, sids))
}

/// Microseconds for one.
async fn rotate_all(store: &SqliteStore, sids: &[SessionId]) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    for sid in sids {
        let record = store.load(*sid).await?.ok_or("a live session")?.record;
        let from = record.generation;
        let mut rotation = Rotation::new(*sid, from, from + 1, record.key_id);
        (rotation.claims, rotation.user_activity) = (Some(record.claims), true);
        assert!(store.rotate(rotation).await?, "no other client writes");
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / sids.len() as f64)
}
