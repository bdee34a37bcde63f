//! The store suite on a real Redis, alone and as a node of a cluster, and what only a server can
//! show.
//!
//! Needs `redis-server`; `cargo xtask test` sees to it. `REDIS_SERVER=valkey-server` tests Valkey.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use everfresh::{ManualClock, SessionStore as _, Timestamp};
use everfresh_redis::{Builder, RedisStore};
use everfresh_testkit::store::{Harness, id, next, session};
use everfresh_tests::database::Database;
use redis::aio::MultiplexedConnection;

struct Redis {
    store: RedisStore,
    clock: ManualClock,
    prefix: String,
}

/// Settings under a prefix that no other test has, by a clock that a test moves.
fn apart() -> (Builder, ManualClock, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test-{}:", COUNT.fetch_add(1, Ordering::Relaxed));
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    (RedisStore::builder().prefix(&*prefix).clock(clock.clone()), clock, prefix)
}

impl Harness for Redis {
    type Store = RedisStore;

    const KEEPS_WHAT_IS_OVER: bool = false;

    async fn open() -> Self {
        let (builder, clock, prefix) = apart();
        let store = builder.open(&Database::shared_redis().url()).await.expect("a server");
        Self { store, clock, prefix }
    }

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

everfresh_testkit::store_suite!(Redis);
everfresh_testkit::custody_suite!(Redis);
everfresh_testkit::feed_suite!(Redis);

mod cluster {
    use std::sync::OnceLock;
    use std::time::Duration;

    use everfresh::ManualClock;
    use everfresh_redis::RedisStore;
    use everfresh_testkit::store::Harness;
    use everfresh_tests::database::Database;
    use redis::cluster::ClusterClient;
    use redis::cluster_async::ClusterConnection;

    struct Cluster {
        store: RedisStore<ClusterConnection>,
        clock: ManualClock,
    }

    impl Harness for Cluster {
        type Store = RedisStore<ClusterConnection>;

        const KEEPS_WHAT_IS_OVER: bool = false;

        async fn open() -> Self {
            static SHARED: OnceLock<Database> = OnceLock::new();
            let url = SHARED.get_or_init(Database::redis_cluster).url();
            let connection = ClusterClient::new([url]).unwrap().get_async_connection().await;
            let (builder, clock, _) = super::apart();
            Self { store: builder.with_connection(connection.unwrap()).unwrap(), clock }
        }

        fn store(&self) -> &Self::Store {
            &self.store
        }

        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
        }
    }

    everfresh_testkit::store_suite!(Cluster);
    everfresh_testkit::custody_suite!(Cluster);
    everfresh_testkit::feed_suite!(Cluster);
}

async fn connect(database: &Database) -> MultiplexedConnection {
    let client = redis::Client::open(database.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn size(connection: &mut MultiplexedConnection) -> usize {
    redis::cmd("DBSIZE").query_async(connection).await.unwrap()
}

/// By the server's own time: nobody has to sweep.
#[tokio::test]
async fn keys_go_with_their_sessions_by_the_servers_time() {
    let database = Database::redis();
    let store = RedisStore::open(&database.url()).await.unwrap();
    let mut short = session(1, "alice");
    short.idle_lifetime = Duration::from_millis(1500);
    store.create(short).await.unwrap();
    store.create(session(2, "alice")).await.unwrap();
    let mut connection = connect(&database).await;
    assert_eq!(size(&mut connection).await, 3, "two sessions and their index");
    let loaded = store.load(id(1)).await.unwrap().unwrap();
    assert!(loaded.now.since(Timestamp::from_secs(1_700_000_000)) > Duration::ZERO);
    assert!(store.rotate(next(&loaded.record)).await.unwrap());
    let again = store.load(id(1)).await.unwrap().unwrap().record;
    assert!(again.idle_expires > loaded.record.idle_expires, "it slid");
    let key = format!("everfresh:{{{}}}", id(1));
    let ends: u64 = redis::cmd("PEXPIRETIME").arg(key).query_async(&mut connection).await.unwrap();
    let idle_expires = again.idle_expires.since(Timestamp::default()).as_millis();
    assert_eq!(u128::from(ends), idle_expires, "and the key with it");
    while size(&mut connection).await > 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.load(id(1)).await.unwrap().is_none());
    assert_eq!(store.list("alice").await.unwrap().len(), 1);
}

/// An entry whose session is gone is taken out by whoever comes across it.
#[tokio::test]
async fn a_stale_index_does_no_harm_and_is_pruned() {
    let redis = Redis::open().await;
    let mut connection = connect(Database::shared_redis()).await;
    let index = format!("{}subject:alice", redis.prefix);
    for n in 1..=4 {
        redis.store.create(session(n, "alice")).await.unwrap();
    }
    redis.store.create(session(9, "mallory")).await.unwrap();
    // A session went without a word, and somebody else's is entered.
    let gone = format!("{}{{{}}}", redis.prefix, id(1));
    let () = redis::cmd("DEL").arg(gone).query_async(&mut connection).await.unwrap();
    let foreign = redis::cmd("ZADD").arg(&index).arg(2e15).arg(&id(9).as_bytes()[..]).clone();
    let () = foreign.query_async(&mut connection).await.unwrap();
    let count = redis::cmd("ZCARD").arg(&index).clone();

    let listed = redis.store.list("alice").await.unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(count.query_async::<u32>(&mut connection).await.unwrap(), 3, "pruned");
    assert!(redis.store.revoke(id(2)).await.unwrap());
    assert_eq!(count.query_async::<u32>(&mut connection).await.unwrap(), 2);
    let () = foreign.query_async(&mut connection).await.unwrap();
    let mut revoked = redis.store.revoke_subject("alice", None).await.unwrap();
    revoked.sort();
    assert_eq!(revoked, [id(3), id(4)]);
    assert!(redis.store.load(id(9)).await.unwrap().is_some(), "the row says whose it is");
    assert_eq!(count.query_async::<u32>(&mut connection).await.unwrap(), 0);
}

/// Sign-ins without end, none of them used: their entries don't pile up.
#[tokio::test]
async fn an_index_is_pruned_as_it_grows() {
    let redis = Redis::open().await;
    let mut connection = connect(Database::shared_redis()).await;
    let index = format!("{}subject:robot", redis.prefix);
    for n in 0..200 {
        redis.store.create(session(n, "robot")).await.unwrap();
        let key = format!("{}{{{}}}", redis.prefix, id(n));
        let () = redis::cmd("DEL").arg(key).query_async(&mut connection).await.unwrap();
    }
    let count: u32 = redis::cmd("ZCARD").arg(index).query_async(&mut connection).await.unwrap();
    assert!(count < 60, "{count} of 200");
}

#[tokio::test]
async fn a_full_server_loses_nothing_that_was_acknowledged() {
    let database = Database::redis();
    let store = RedisStore::open(&database.url()).await.unwrap();
    let mut connection = connect(&database).await;
    for n in 1..=2 {
        store.create(session(n, "alice")).await.unwrap();
    }
    let first = store.load(id(1)).await.unwrap().unwrap().record;
    let mut limit = redis::cmd("CONFIG").arg("SET").arg("maxmemory").clone();
    let () = limit.clone().arg(1).query_async(&mut connection).await.unwrap();
    let problem = store.create(session(3, "alice")).await.unwrap_err().to_string();
    assert!(problem.contains("OOM"), "{problem}");
    assert!(store.rotate(next(&first)).await.is_err(), "an error, and no answer made up");
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().record, first, "and nothing changed");
    assert!(store.revoke(id(2)).await.unwrap(), "a session can still be ended");
    let () = limit.arg(0).query_async(&mut connection).await.unwrap();
    assert!(store.rotate(next(&first)).await.unwrap(), "there is room again");
    assert_eq!(store.list("alice").await.unwrap().len(), 1);
}

#[tokio::test]
async fn s46_what_was_acknowledged_is_there_after_a_crash_of_the_server() {
    let mut database = Database::redis();
    let store = RedisStore::open(&database.url()).await.unwrap();
    for n in 1..=2 {
        store.create(session(n, "alice")).await.unwrap();
    }
    let loaded = store.load(id(1)).await.unwrap().unwrap();
    assert!(store.rotate(next(&loaded.record)).await.unwrap());
    assert!(store.revoke(id(2)).await.unwrap());
    database.kill();
    assert!(store.load(id(1)).await.is_err(), "an error, and no answer made up");
    database.restart();
    // The first one may hear of the old connection; it tries the new one for those who come.
    let _ = store.load(id(1)).await;
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().record.generation, 1);
    assert!(store.load(id(2)).await.unwrap().is_none(), "nothing is resurrected");
}

mod hammered {
    everfresh_tests::hammer_suite!(Database::redis, everfresh_redis::RedisStore::open);
}
