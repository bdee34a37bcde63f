//! The store suite on SQLite, and tests that need a real file.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use everfresh::store::{FeedEvent, RevocationSink, SessionStore as _};
use everfresh::{ManualClock, SessionId, Timestamp};
use everfresh_sqlx::SqliteStore;
use everfresh_testkit::store::{Harness, id, next, session};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::sync::watch;

struct Sqlite {
    store: SqliteStore,
    clock: ManualClock,
    folder: TempDir,
}

impl Sqlite {
    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = open(&self.folder, &self.clock).await;
    }
}

async fn open(folder: &TempDir, clock: &ManualClock) -> SqliteStore {
    let store = SqliteStore::open(folder.path().join("sessions.db")).await;
    store.expect("a file that can be written").clock(clock.clone())
}

impl Harness for Sqlite {
    type Store = SqliteStore;

    async fn open() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let folder = tempfile::tempdir().expect("a folder");
        Self { store: open(&folder, &clock).await, clock, folder }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

everfresh_testkit::store_suite!(Sqlite);
everfresh_testkit::upstream_suite!(Sqlite);
everfresh_testkit::feed_suite!(Sqlite);

/// All events that a node gets from the start of its feed until it has caught up.
async fn caught_up(store: impl everfresh::store::SessionStore) -> HashSet<SessionId> {
    let (tell, mut received) = watch::channel((false, HashSet::new()));
    let tell = Mutex::new(tell);
    let sink = RevocationSink::new(Duration::from_secs(3600), move |received| {
        let tell = tell.lock().expect("no panic");
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
    waited.expect("in time").expect("told").1.clone()
}

// Rows: M9.
#[tokio::test]
async fn a_node_that_was_away_reads_every_page_of_ends() {
    let sqlite = Sqlite::open().await;
    let options = SqliteConnectOptions::new().filename(sqlite.folder.path().join("sessions.db"));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(
        "WITH RECURSIVE counted(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < \
         3500) INSERT INTO everfresh_ended (ended_at, sid) SELECT 1800000000000, \
         CAST(printf('%016d', n) AS BLOB) FROM counted",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(caught_up(sqlite.store.clone()).await.len(), 3500);
}

// Rows: S46.
#[tokio::test]
async fn acknowledged_writes_survive_a_restart() {
    let mut sqlite = Sqlite::open().await;
    for n in 1..=2 {
        sqlite.store.create(session(n, "alice")).await.unwrap();
    }
    let loaded = sqlite.store.load(id(1)).await.unwrap().unwrap();
    assert!(sqlite.store.rotate(next(&loaded.record)).await.unwrap());
    assert!(sqlite.store.revoke(id(2)).await.unwrap());
    sqlite.reopen().await;
    assert_eq!(sqlite.store.load(id(1)).await.unwrap().unwrap().record.generation, 1);
    assert!(sqlite.store.load(id(2)).await.unwrap().is_none(), "nothing is resurrected");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

    let mut sqlite = Sqlite::open().await;
    sqlite.store.close().await;
    // SQLite reports a full disk once the file has this many pages.
    let options = SqliteConnectOptions::new()
        .filename(sqlite.folder.path().join("sessions.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("max_page_count", "24");
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let full = SqliteStore::with_pool(pool).await.unwrap().clock(sqlite.clock.clone());
    let mut kept = 0;
    let problem = loop {
        let mut new = session(kept + 1, "alice");
        new.claims = format!("{{\"text\":\"{}\"}}", "x".repeat(3000));
        match full.create(new).await {
            Ok(()) => kept += 1,
            Err(problem) => break problem.to_string(),
        }
    };
    assert!(problem.contains("disk is full"), "{problem}");
    assert!((2..24).contains(&kept), "{kept}");
    let first = full.load(id(1)).await.unwrap().expect("still read").record;
    let mut larger = next(&first);
    larger.claims = Some(format!("{{\"text\":\"{}\"}}", "x".repeat(20_000)));
    assert!(full.rotate(larger.clone()).await.is_err(), "an error, and no answer made up");
    assert_eq!(full.load(id(1)).await.unwrap().unwrap().record, first, "and nothing changed");
    assert!(full.revoke(id(2)).await.unwrap(), "a session can still be ended");
    full.close().await;
    sqlite.reopen().await;
    assert_eq!(sqlite.store.list("alice").await.unwrap().len(), usize::from(kept) - 1);
    assert!(sqlite.store.rotate(larger).await.unwrap(), "there is room again");
}

#[tokio::test]
async fn two_stores_on_one_file_are_one_store() {
    let sqlite = Sqlite::open().await;
    let other = open(&sqlite.folder, &sqlite.clock).await;
    sqlite.store.create(session(1, "alice")).await.unwrap();
    let loaded = other.load(id(1)).await.unwrap().unwrap();
    assert!(other.rotate(next(&loaded.record)).await.unwrap());
    assert!(!sqlite.store.rotate(next(&loaded.record)).await.unwrap());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let problem = SqliteStore::open(&path).await.unwrap_err().to_string();
    assert!(problem.contains("not a database"), "{problem}");
    let problem = SqliteStore::open(folder.path().join("no/such/folder.db")).await.unwrap_err();
    assert!(problem.to_string().contains("unable to open"), "{problem}");
}

// Rows: S42, F96.
#[tokio::test]
async fn no_refresh_token_is_in_the_file() {
    use everfresh::adapter::Progress;
    use everfresh::{Engine, Keys, Rotate};

    let sqlite = Sqlite::open().await;
    let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap();
    let auth = Engine::<()>::builder(keys)
        .issuer("i")
        .audience("a")
        .refresh_with(Rotate::new(sqlite.store.clone()))
        .build()
        .unwrap();
    let Progress::Pass(session) = auth.begin(&http::Request::new(())) else {
        panic!("nothing to await")
    };
    session.sign_in("alice", ()).await.unwrap();
    let in_flight = auth.attach(session, &mut http::Request::new(()));
    let response = in_flight.finish(http::Response::new(())).await;
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    sqlite.store.close().await;
    for file in std::fs::read_dir(sqlite.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for cookie in &cookies {
            let value = cookie.to_str().unwrap().split(['=', ';']).nth(1).unwrap();
            assert!(!text.contains(&value[40..80]));
        }
    }
}

#[tokio::test]
async fn migrations_stand_beside_the_apps_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(APPS_OWN).execute(&pool).await.unwrap();
    let store = SqliteStore::with_pool(pool.clone()).await.unwrap();
    store.create(session(1, "alice")).await.unwrap();
    SqliteStore::with_pool(pool.clone()).await.unwrap();
    // If the store's table is missing, the store does not use the app's table instead.
    sqlx::raw_sql("DROP TABLE everfresh_migrations").execute(&pool).await.unwrap();
    SqliteStore::with_pool(pool.clone()).await.unwrap_err();
    let own = sqlx::query_scalar::<_, i64>("SELECT version FROM _sqlx_migrations");
    assert_eq!(own.fetch_all(&pool).await.unwrap(), [20_260_101]);
}

/// A file of an earlier version, whose migrations are in a table without everfresh's name.
#[tokio::test]
async fn a_file_with_unmarked_migrations_is_still_opened() {
    let mut sqlite = Sqlite::open().await;
    sqlite.store.create(session(1, "alice")).await.unwrap();
    let options = SqliteConnectOptions::new().filename(sqlite.folder.path().join("sessions.db"));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let before = "ALTER TABLE everfresh_migrations RENAME TO _sqlx_migrations";
    sqlx::raw_sql(before).execute(&pool).await.unwrap();
    pool.close().await;
    sqlite.reopen().await;
    assert!(sqlite.store.load(id(1)).await.unwrap().is_some());
}

/// sqlx's record of an app's migrations.
const APPS_OWN: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT \
     NOT NULL, installed_on TIMESTAMP NOT NULL, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
     execution_time BIGINT NOT NULL); INSERT INTO _sqlx_migrations VALUES (20260101, 'own', 0, 1, x'', 0)";
