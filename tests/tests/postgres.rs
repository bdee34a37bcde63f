//! The store suite on a real PostgreSQL, and tests that need a real server.
//!
//! Needs PostgreSQL's programs, which `cargo xtask test` provides.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use everfresh::store::{FeedEvent, RevocationSink, SessionStore as _};
use everfresh::{ManualClock, SessionId, Timestamp};
use everfresh_sqlx::PostgresStore;
use everfresh_testkit::store::{Harness, id, next, session};
use everfresh_tests::database::Database;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::watch;

struct Postgres {
    store: PostgresStore,
    clock: ManualClock,
    url: String,
}

/// A schema for one test.
async fn apart() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let schema = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let url = Database::shared_postgres().url();
    let mut connection = PgConnection::connect(&url).await.expect("a server");
    let create = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.expect("a schema");
    format!("{url}?options=-csearch_path%3D{schema}")
}

impl Harness for Postgres {
    type Store = PostgresStore;

    async fn open() -> Self {
        let url = apart().await;
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let store = PostgresStore::open(&url).await.expect("a server").clock(clock.clone());
        Self { store, clock, url }
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

everfresh_testkit::store_suite!(Postgres);
everfresh_testkit::upstream_suite!(Postgres);
everfresh_testkit::feed_suite!(Postgres);

/// All events that a node gets from the start of its feed until it has caught up.
async fn caught_up(store: impl everfresh::store::SessionStore) -> HashSet<SessionId> {
    let (tell, mut received) = watch::channel((false, HashSet::new()));
    let tell = Mutex::new(tell);
    let sink = RevocationSink::new(Duration::from_secs(3600), move |received| {
        let tell = tell.lock().unwrap();
        match received {
            FeedEvent::Ended(sids) => tell.send_modify(|(_, ended)| ended.extend(sids)),
            FeedEvent::Live => tell.send_modify(|(live, _)| *live = true),
            _ => {}
        }
        true
    });
    let task = tokio::spawn(async move { store.watch_revocations(sink).await });
    let limit = Duration::from_secs(60);
    let waited = tokio::time::timeout(limit, received.wait_for(|(live, _)| *live)).await;
    task.abort();
    waited.expect("in time").unwrap().1.clone()
}

/// Ends with the same time span several pages, too.
// Rows: M9.
#[tokio::test]
async fn a_node_that_was_away_reads_every_page_of_ends() {
    let postgres = Postgres::open().await;
    let mut connection = PgConnection::connect(&postgres.url).await.unwrap();
    let ends = "INSERT INTO everfresh_ended SELECT 1800000000000 + n / 9000, decode(md5(n::text), \
                'hex') FROM generate_series(1, 20000) n";
    sqlx::query(ends).execute(&mut connection).await.unwrap();
    assert_eq!(caught_up(postgres.store.clone()).await.len(), 20_000);
}

#[tokio::test]
async fn time_is_the_servers() {
    let postgres = Postgres::open().await;
    let store = PostgresStore::open(&postgres.url).await.unwrap();
    let mut short = session(1, "alice");
    short.idle_lifetime = Duration::from_millis(1500);
    store.create(short).await.unwrap();
    let loaded = store.load(id(1)).await.unwrap().unwrap();
    assert!(loaded.now >= loaded.record.created_at);
    assert!(loaded.now.since(Timestamp::from_secs(1_700_000_000)) > Duration::ZERO);
    assert_eq!(store.sweep(10).await.unwrap(), 0);
    while store.load(id(1)).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!store.rotate(next(&loaded.record)).await.unwrap(), "over is over");
    assert_eq!(store.sweep(10).await.unwrap(), 1);
}

#[tokio::test]
async fn limits_are_set_on_every_connection() {
    let postgres = Postgres::open().await;
    // The settings of the store's own connections, read from the server.
    let mut connection = PgConnection::connect(&postgres.url).await.unwrap();
    let lock = "BEGIN; LOCK TABLE everfresh_sessions";
    sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
    let problem = postgres.store.load(id(1)).await.unwrap_err().to_string();
    assert!(problem.contains("statement timeout"), "{problem}");
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
    assert!(postgres.store.load(id(1)).await.unwrap().is_none(), "it goes on");
}

/// The loser of a race gets a result instead of an error, with any default isolation level.
#[tokio::test]
async fn a_stricter_default_isolation_makes_no_errors() {
    let postgres = Postgres::open().await;
    let url = postgres
        .url
        .replace("?options=", "?options=-cdefault_transaction_isolation%3Dserializable%20");
    let store = PostgresStore::open(&url).await.unwrap();
    store.create(session(1, "alice")).await.unwrap();
    for _ in 0..20 {
        let record = store.load(id(1)).await.unwrap().unwrap().record;
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (store, rotation) = (store.clone(), next(&record));
                tokio::spawn(async move { store.rotate(rotation).await.unwrap() })
            })
            .collect();
        let mut won = 0;
        for racer in racers {
            won += u32::from(racer.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

/// Each statement is short, independent of the number of sessions.
// Rows: M6.
#[tokio::test]
async fn no_statement_ends_more_than_a_thousand_sessions() {
    let postgres = Postgres::open().await;
    let mut connection = PgConnection::connect(&postgres.url).await.unwrap();
    let rows = "INSERT INTO everfresh_sessions (generation, key_id, rotated_at, created_at, \
                idle_expires, look_at, absolute_expires, idle_lifetime, confirmed, persistent, \
                sid, salt, subject, claims, attributes) \
                SELECT 0, 7, 0, n, 4e12, 4e12, 4e12, 1, false, true, decode(md5(n::text), 'hex'), \
                decode(md5(n::text), 'hex'), 'alice', '{}', '{}' FROM generate_series(1, 2500) AS n; \
                CREATE FUNCTION count_ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF (SELECT count(*) FROM gone) > 1000 THEN RAISE EXCEPTION 'a long statement'; \
                END IF; RETURN NULL; END $$; \
                CREATE TRIGGER count_ended AFTER DELETE ON everfresh_sessions \
                REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_ended()";
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    let newest = postgres.store.newest("alice", 1).await.unwrap();
    let revoked = postgres.store.revoke_subject("alice", newest.first().copied()).await.unwrap();
    assert_eq!(revoked.len(), 2499);
    assert_eq!(postgres.store.newest("alice", 9).await.unwrap(), newest);
}

/// Connections to a server that became a standby stay open. They remain read-only when the server
/// is writable again, because a session keeps the `default_transaction_read_only` that it started
/// with.
// Rows: R2.
#[tokio::test]
async fn a_connection_to_a_read_only_server_is_given_up() {
    let database = Database::postgres();
    let store = PostgresStore::open(&database.url()).await.unwrap();
    let mut admin = PgConnection::connect(&database.url()).await.unwrap();
    let mut say = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    };
    say("ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = 'postgres' AND pid <> pg_backend_pid()")
    .await;
    // All connections that the pool may have. Each of them is read-only.
    let refused = async || {
        let loads = (0..10).map(|_| store.load(id(1)));
        futures::future::join_all(loads).await;
        store.create(session(1, "alice")).await.err().map(|problem| problem.to_string())
    };
    let problem = loop {
        match refused().await {
            Some(problem) if problem.contains("read-only") => break problem,
            // A terminated connection causes one more error.
            found => assert!(found.is_some_and(|found| !found.is_empty()), "it is read-only"),
        }
    };
    assert!(problem.contains("cannot execute INSERT"), "{problem}");
    say("ALTER DATABASE postgres RESET default_transaction_read_only").await;
    let (mut failed, mut last) = (0, 0);
    for n in 1..=20 {
        let tries: Vec<_> = (0..5).map(|m| store.create(session(n * 5 + m, "alice"))).collect();
        let tries = futures::future::join_all(tries).await;
        last = tries.iter().filter(|made| made.is_err()).count();
        failed += last;
    }
    assert!(failed <= 10 && last == 0, "{failed} of 100, {last} of the last: each connection once");
}

#[tokio::test]
async fn migrations_stand_beside_the_apps_own() {
    let url = apart().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let own = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT \
               NULL, installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, \
               checksum bytea NOT NULL, execution_time bigint NOT NULL); \
               INSERT INTO _sqlx_migrations VALUES (20260101, 'own', now(), true, '', 0)";
    sqlx::raw_sql(own).execute(&mut connection).await.unwrap();
    // This also holds for many nodes that start at once.
    let opened = futures::future::join_all((0..4).map(|_| PostgresStore::open(&url))).await;
    for store in opened {
        store.unwrap().create(session(1, "alice")).await.ok();
    }
}

/// A rotation writes no index entry (HOT update) while the page has room.
#[tokio::test]
async fn rotations_leave_the_indexes_alone() {
    // On a server of its own, because a transaction of another test would keep old versions alive.
    let database = Database::postgres();
    let store = PostgresStore::open(&database.url()).await.unwrap();
    for n in 1..=100 {
        store.create(session(n, "alice")).await.unwrap();
    }
    for _ in 0..10 {
        for n in 1..=100 {
            let record = store.load(id(n)).await.unwrap().unwrap().record;
            assert!(store.rotate(next(&record)).await.unwrap());
        }
    }
    store.close().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
                  WHERE relid = 'everfresh_sessions'::regclass";
    // The server updates these statistics with a delay.
    let (all, hot) = loop {
        let row = sqlx::query(counts).fetch_one(&mut connection).await.unwrap();
        let (all, hot): (i64, i64) = (row.get(0), row.get(1));
        if all >= 1000 {
            break (all, hot);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(hot * 100 >= all * 90, "{hot} of {all}");
}

/// A sweep does not stop at sessions that were used after their sweep day was set.
#[tokio::test]
async fn a_sweep_finds_ended_sessions_behind_live_ones() {
    let postgres = Postgres::open().await;
    for n in 1..=20 {
        postgres.store.create(session(n, "alice")).await.unwrap();
    }
    postgres.pass(Duration::from_secs(3000)).await;
    for n in 1..=15 {
        postgres.store.confirm(id(n), 0, true).await.unwrap();
    }
    postgres.pass(Duration::from_secs(3000)).await;
    assert_eq!(postgres.store.sweep(3).await.unwrap(), 3);
    assert_eq!(postgres.store.sweep(100).await.unwrap(), 2);
    assert_eq!(postgres.store.list("alice").await.unwrap().len(), 15);
    let mut connection = PgConnection::connect(&postgres.url).await.unwrap();
    let early = "SELECT count(*) FROM everfresh_sessions WHERE look_at < idle_expires";
    let early: i64 = sqlx::query_scalar(early).fetch_one(&mut connection).await.unwrap();
    assert_eq!(early, 0, "what was seen is not seen again before its end");
    postgres.pass(Duration::from_secs(3000)).await;
    assert_eq!(postgres.store.sweep(100).await.unwrap(), 15, "looked at again");
}

// Rows: S46.
#[tokio::test]
async fn acknowledged_writes_survive_a_crash_of_the_server() {
    let mut database = Database::postgres();
    let store = PostgresStore::open(&database.url()).await.unwrap();
    for n in 1..=2 {
        store.create(session(n, "alice")).await.unwrap();
    }
    let loaded = store.load(id(1)).await.unwrap().unwrap();
    assert!(store.rotate(next(&loaded.record)).await.unwrap());
    assert!(store.revoke(id(2)).await.unwrap());
    database.kill();
    assert!(store.load(id(1)).await.is_err(), "an error, and no answer made up");
    database.restart();
    // Each old connection may cause one more error.
    let loaded = loop {
        if let Ok(loaded) = store.load(id(1)).await {
            break loaded;
        }
    };
    assert_eq!(loaded.unwrap().record.generation, 1);
    assert!(store.load(id(2)).await.unwrap().is_none(), "nothing is resurrected");
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    for url in ["postgres://u:hunter2@127.0.0.1:1/d", "postgres://u:hunter2@h:none/d", "hunter2"] {
        let problem = PostgresStore::open(url).await.unwrap_err();
        assert!(!format!("{problem} {problem:?}").contains("hunter2"), "{problem:?}");
    }
}

mod hammered {
    everfresh_tests::hammer_suite!(Database::postgres, everfresh_sqlx::PostgresStore::open);
}
