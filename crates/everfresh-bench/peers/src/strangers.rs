//! Other users' sessions, to fill a store: rows that are inserted without a sign-in and a commit
//! for each.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{NewSession, SessionStore};
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many rows are inserted concurrently, for a store that takes them one by one.
const AT_ONCE: usize = 512;

/// Fills a SQLite file, with rows of this time. Returns the size of the file in bytes.
pub async fn in_sqlite(path: &Path, count: usize, now_ms: u64) -> u64 {
    let path = path.to_string_lossy();
    let mut connection = SqliteConnection::connect(&path).await.expect("a file");
    sqlx::query(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?1) \
         INSERT INTO everfresh_sessions (sid, subject, generation, key_id, confirmed, rotated_at, \
         created_at, idle_expires, absolute_expires, idle_lifetime, persistent, claims, \
         attributes, salt) SELECT randomblob(16), 'user ' || x, 0, 1, 1, ?2, ?2, ?2 + 86400000, \
         ?2 + 864000000, 86400000, 1, '{\"name\":\"Ada Lovelace\"}', '{}', randomblob(16) FROM n",
    )
    .bind(count as i64)
    .bind(now_ms as i64)
    .execute(&mut connection)
    .await
    .expect("rows");
    // Moves the rows from the write-ahead log into the file.
    let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
    emptied.expect("a checkpoint");
    std::fs::metadata(&*path).expect("a file").len()
}

/// Fills PostgreSQL, with rows of this time. Returns the size of the table and its indexes in
/// bytes.
pub async fn in_postgres(url: &str, count: usize, now_ms: u64) -> u64 {
    let mut connection = PgConnection::connect(url).await.expect("a server");
    sqlx::query(
        "INSERT INTO everfresh_sessions (sid, subject, generation, key_id, confirmed, rotated_at, \
         created_at, idle_expires, look_at, absolute_expires, idle_lifetime, persistent, claims, \
         attributes, salt) SELECT decode(md5(n::text), 'hex'), convert_to('user ' || n, 'UTF8'), \
         0, 1, true, $2, $2, $2 + 86400000, $2 + 86400000, $2 + 864000000, 86400000, true, \
         '{\"name\":\"Ada Lovelace\"}', '{}', decode(md5(n::text), 'hex') \
         FROM generate_series(1, $1) AS n",
    )
    .bind(count as i64)
    .bind(now_ms as i64)
    .execute(&mut connection)
    .await
    .expect("rows");
    sqlx::raw_sql("VACUUM ANALYZE everfresh_sessions")
        .execute(&mut connection)
        .await
        .expect("done");
    let size = "SELECT pg_total_relation_size('everfresh_sessions')";
    let row = sqlx::query(size).fetch_one(&mut connection).await.expect("a size");
    row.get::<i64, _>(0) as u64
}

/// Fills any store, one row at a time.
pub async fn in_any(store: &impl SessionStore, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let made = futures::future::try_join_all(some.iter().map(|n| store.create(session(*n))));
        made.await.expect("a store");
    }
}

fn session(n: usize) -> NewSession {
    let mut sid = [7; 16];
    sid[..8].copy_from_slice(&n.to_be_bytes());
    let mut new =
        NewSession::new(SessionId::from_bytes(sid), format!("user {n}"), DAY, 10 * DAY);
    (new.key_id, new.salt) = (1, [n as u8; 16]);
    new.claims = r#"{"name":"Ada Lovelace"}"#.into();
    new
}
