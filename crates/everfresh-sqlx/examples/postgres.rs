//! The cost of a session in PostgreSQL, and the cost of a rotation compared with a minimal
//! compare-and-set: `UPDATE t SET n = n + 1 WHERE id = $1 AND n = $2`, over the same connections.
//!
//! Run with, on a database that has no sessions: `cargo run --release -p everfresh-sqlx --features
//! postgres --example postgres -- \ postgres://user@127.0.0.1/database`

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::error::Error;
use std::time::Instant;

use everfresh::SessionId;
use everfresh::store::{Rotation, SessionStore as _};
use everfresh_sqlx::PostgresStore;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgPoolOptions};

const SESSIONS: i64 = 100_000;
const TASKS: usize = 10;
const ROTATIONS: usize = 500;
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).ok_or("want: postgres://..")?;
    let pool = PgPoolOptions::new()
        .max_connections(TASKS as u32)
        .test_before_acquire(false)
        .connect(&url)
        .await?;
    let store = PostgresStore::open(&url).await?;
    let sids = filled(&pool).await?;

    // Both take turns, so that other load on the machine affects both. The fastest round of each
    // counts.
    let mut best = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].max(per_second(|task| bare(pool.clone(), task as i64)).await?);
        best[1] = best[1].max(per_second(|task| rotations(store.clone(), sids[task])).await?);
    }
    let [bare, ours] = best;
    println!("{ours:.0} rotations a second by {TASKS} tasks; {bare:.0} bare compare-and-sets");
    println!("ratio {:.2}", ours / bare);
    let row = sqlx::query(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
         WHERE relid = 'everfresh_sessions'::regclass",
    );
    let row = row.fetch_one(&pool).await?;
    println!("{} of {} updates HOT", row.get::<i64, _>(1), row.get::<i64, _>(0));
    Ok(())
}

/// Creates enough sessions, and returns the ids of some.
async fn filled(pool: &PgPool) -> Outcome<Vec<SessionId>> {
    let there: i64 =
        sqlx::query_scalar("SELECT count(*) FROM everfresh_sessions").fetch_one(pool).await?;
    if there > 0 {
        return Err("the database has sessions; give one that has none".into());
    }
    sqlx::query(
        "INSERT INTO everfresh_sessions (sid, subject, generation, key_id, confirmed, rotated_at, \
         created_at, idle_expires, look_at, absolute_expires, idle_lifetime, persistent, claims, \
         attributes, salt) \
         SELECT decode(md5(n::text), 'hex'), convert_to('user ' || n, 'UTF8'), 0, 1, false, now, \
         now, now + 86400000, now + 86400000, now + 864000000, 86400000, true, \
         '{\"name\":\"Ada Lovelace\"}', '{\"device\":\"Firefox on Linux\"}', decode(md5(n::text), 'hex') \
         FROM generate_series(1, $1) AS n, \
         (SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS now) AS clock",
    )
    .bind(SESSIONS)
    .execute(pool)
    .await?;
    let sizes = sqlx::query(
        "SELECT pg_table_size('everfresh_sessions'), pg_indexes_size('everfresh_sessions')",
    );
    let sizes = sizes.fetch_one(pool).await?;
    let [table, indexes] = [0, 1].map(|at| sizes.get::<i64, _>(at) / SESSIONS);
    println!("{table} bytes a session in the table, {indexes} in its indexes, among {SESSIONS}");
    for statement in [
        "DROP TABLE IF EXISTS bare",
        "CREATE TABLE bare (id bigint PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 80)",
        "INSERT INTO bare SELECT n, 0 FROM generate_series(0, 99999) AS n",
        "VACUUM ANALYZE bare",
        "VACUUM ANALYZE everfresh_sessions",
    ] {
        sqlx::raw_sql(statement).execute(pool).await?;
    }
    let rows = sqlx::query("SELECT sid FROM everfresh_sessions LIMIT $1");
    let rows = rows.bind(TASKS as i64).fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let sid: Vec<u8> = row.try_get("sid")?;
            Ok(SessionId::from_bytes(sid.try_into().map_err(|_| "16 bytes")?))
        })
        .collect()
}

async fn per_second<F: Future<Output = Outcome<()>> + Send + 'static>(
    work: impl Fn(usize) -> F,
) -> Outcome<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(work(task))).collect();
    for task in tasks {
        task.await??;
    }
    Ok((TASKS * ROTATIONS) as f64 / began.elapsed().as_secs_f64())
}

async fn bare(pool: PgPool, id: i64) -> Outcome<()> {
    sqlx::query("UPDATE bare SET n = 0 WHERE id = $1").bind(id).execute(&pool).await?;
    for n in 0..ROTATIONS as i64 {
        let changed = sqlx::query("UPDATE bare SET n = n + 1 WHERE id = $1 AND n = $2");
        let changed = changed.bind(id).bind(n).execute(&pool).await?;
        assert_eq!(changed.rows_affected(), 1, "no other client writes");
    }
    Ok(())
}

async fn rotations(store: PostgresStore, sid: SessionId) -> Outcome<()> {
    let from = store.load(sid).await?.ok_or("a live session")?.record.generation;
    for from in from..from + ROTATIONS as u64 {
        let mut rotation = Rotation::new(sid, from, from + 1, 1);
        rotation.user_activity = true;
        assert!(store.rotate(rotation).await?, "no other client writes");
    }
    Ok(())
}
