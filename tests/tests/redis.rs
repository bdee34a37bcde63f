//! The store suite on a real Redis, standalone and as a node of a cluster, and tests that need a
//! real server.
//!
//! Needs `redis-server`, which `cargo xtask test` provides. `REDIS_SERVER=valkey-server` tests
//! Valkey.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everfresh::store::{FeedEvent, RevocationSink, SessionStore, UpstreamTokenStore};
use everfresh::{ManualClock, SessionId, Timestamp};
use everfresh_redis::{RedisStore, RedisStoreBuilder};
use everfresh_testkit::fault::Cable;
use everfresh_testkit::store::{Harness, id, next, session};
use everfresh_tests::database::Database;
use redis::aio::MultiplexedConnection;

struct Redis {
    store: RedisStore,
    clock: ManualClock,
    prefix: String,
}

/// Settings with a prefix for one test, and a clock that the test controls.
fn apart() -> (RedisStoreBuilder, ManualClock, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test-{}:", COUNT.fetch_add(1, Ordering::Relaxed));
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    (RedisStore::builder().prefix(&*prefix), clock, prefix)
}

impl Harness for Redis {
    type Store = RedisStore;

    const KEEPS_ENDED_SESSIONS: bool = false;

    async fn open() -> Self {
        let (builder, clock, prefix) = apart();
        let store = builder.open(&Database::shared_redis().url()).await.expect("a server");
        Self { store: store.clock(clock.clone()), clock, prefix }
    }

    fn store(&self) -> &RedisStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

everfresh_testkit::store_suite!(Redis);
everfresh_testkit::upstream_suite!(Redis);
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

    static SHARED: OnceLock<Database> = OnceLock::new();

    struct Cluster {
        store: RedisStore<ClusterConnection>,
        clock: ManualClock,
    }

    impl Harness for Cluster {
        type Store = RedisStore<ClusterConnection>;

        const KEEPS_ENDED_SESSIONS: bool = false;

        async fn open() -> Self {
            let url = SHARED.get_or_init(Database::redis_cluster).url();
            let connection = ClusterClient::new([url]).unwrap().get_async_connection().await;
            let (builder, clock, _) = super::apart();
            let store = builder.with_connection(connection.unwrap()).unwrap();
            Self { store: store.clock(clock.clone()), clock }
        }

        fn store(&self) -> &Self::Store {
            &self.store
        }

        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
        }
    }

    // Rows: L7.
    #[tokio::test]
    async fn an_unpublished_end_is_published_by_the_next_attempt() {
        let cluster = SHARED.get_or_init(Database::redis_cluster);
        let connection = ClusterClient::new([cluster.url()]).unwrap().get_async_connection().await;
        let (builder, clock, prefix) = super::apart();
        let store = builder.with_connection(connection.unwrap()).unwrap().clock(clock);
        super::check_untold(&store, cluster, &prefix).await;
    }

    everfresh_testkit::store_suite!(Cluster);
    everfresh_testkit::upstream_suite!(Cluster);
    everfresh_testkit::feed_suite!(Cluster);
}

async fn connect(database: &Database) -> MultiplexedConnection {
    let client = redis::Client::open(database.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn size(connection: &mut MultiplexedConnection) -> usize {
    redis::cmd("DBSIZE").query_async(connection).await.unwrap()
}

/// The events that a node gets at the start of its feed.
async fn received<S: SessionStore>(store: &S) -> HashSet<SessionId> {
    let received = Arc::new(Mutex::new((HashSet::new(), false)));
    let listening = received.clone();
    let sink = RevocationSink::new(Duration::from_secs(3600), move |received| {
        let mut listening = listening.lock().unwrap();
        match received {
            FeedEvent::Ended(sids) => listening.0.extend(sids.iter().copied()),
            FeedEvent::Live => listening.1 = true,
            _ => {}
        }
        !listening.1
    });
    store.watch_revocations(sink).await.unwrap();
    let received = received.lock().unwrap();
    received.0.clone()
}

/// Each way to end a session, when the row can be deleted and the stream can't be written.
async fn check_untold<S: SessionStore + UpstreamTokenStore>(
    store: &S,
    database: &Database,
    prefix: &str,
) {
    let mut connection = connect(database).await;
    let stream = format!("{prefix}ended");
    for n in 1..=3 {
        store.create(session(n, "alice")).await.unwrap();
        let end = async || match n {
            1 => store.revoke(id(n)).await.map(drop),
            2 => store.end(id(n)).await.map(drop),
            _ => store.revoke_subject("alice", None).await.map(drop),
        };
        let set = redis::cmd("SET").arg(&stream).arg("no stream").clone();
        let () = set.query_async(&mut connection).await.unwrap();
        assert!(end().await.is_err(), "{n}: not acknowledged");
        let delete = redis::cmd("DEL").arg(&stream).clone();
        let () = delete.query_async(&mut connection).await.unwrap();
        end().await.unwrap();
        assert!(store.load(id(n)).await.unwrap().is_none());
        assert!(received(store).await.contains(&id(n)), "{n}: acknowledged, and told");
    }
}

// Rows: L7.
#[tokio::test]
async fn an_unpublished_end_is_published_by_the_next_attempt() {
    let redis = Redis::open().await;
    check_untold(&redis.store, Database::shared_redis(), &redis.prefix).await;
}

/// A list reads a thousand rows. A sign-in reads few more rows than its limit.
// Rows: M6.
#[tokio::test]
async fn no_call_looks_at_all_of_many_sessions() {
    let database = Database::redis();
    let store = RedisStore::open(&database.url()).await.unwrap();
    let mut connection = connect(&database).await;
    for n in 0..2000u32 {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let sid = SessionId::from_bytes(bytes);
        let mut new = session(1, "alice");
        new.sid = sid;
        store.create(new).await.unwrap();
    }
    let mut scripts = async || {
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
        let calls = line.split("calls=").nth(1).unwrap().split(',').next().unwrap();
        calls.parse::<usize>().unwrap()
    };
    // The first calls load the scripts into the server.
    store.newest("alice", 1).await.unwrap();
    store.load(id(1)).await.unwrap();
    let before = scripts().await;
    assert_eq!(store.newest("alice", 200).await.unwrap().len(), 200);
    let after = scripts().await;
    assert!(after - before <= 257, "{} for 200", after - before);
    assert_eq!(store.list("alice").await.unwrap().len(), 1000);
    let listed = scripts().await - after;
    assert!(listed <= 1025, "{listed} for a list");
}

/// After a failover by address: the store's current server has become a replica, and its address
/// leads to another server.
// Rows: R1.
#[tokio::test]
async fn a_server_that_became_a_replica_is_given_up() {
    let [old, new] = [Database::redis(), Database::redis()];
    let cable = Cable::start(old.address()).await;
    let store = RedisStore::open(&new.url_by(cable.address())).await.unwrap();
    store.create(session(1, "alice")).await.unwrap();
    let primary = new.address();
    let mut demote = redis::cmd("REPLICAOF");
    demote.arg(primary.ip().to_string()).arg(primary.port());
    let () = demote.query_async(&mut connect(&old).await).await.unwrap();
    cable.lead_to(primary);
    let problem = store.create(session(2, "alice")).await.unwrap_err().to_string();
    assert!(problem.contains("read only replica"), "{problem}");
    store.create(session(3, "alice")).await.expect("the next caller connects anew");
    assert!(size(&mut connect(&new).await).await > 0);
}

/// By the server's own clock, without a sweep.
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

/// The next call that finds an entry whose session is gone removes it.
#[tokio::test]
async fn a_stale_index_does_no_harm_and_is_pruned() {
    let redis = Redis::open().await;
    let mut connection = connect(Database::shared_redis()).await;
    let index = format!("{}subject:alice", redis.prefix);
    for n in 1..=4 {
        redis.store.create(session(n, "alice")).await.unwrap();
    }
    redis.store.create(session(9, "mallory")).await.unwrap();
    // A session disappeared without an event, and another user's session has an entry.
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

/// Repeated sign-ins with unused sessions: their entries don't accumulate.
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

// Rows: S46.
#[tokio::test]
async fn acknowledged_writes_survive_a_crash_of_the_server() {
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
    // The first call may fail on the old connection. It opens the new one for later calls.
    let _ = store.load(id(1)).await;
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().record.generation, 1);
    assert!(store.load(id(2)).await.unwrap().is_none(), "nothing is resurrected");
}

mod hammered {
    everfresh_tests::hammer_suite!(Database::redis, everfresh_redis::RedisStore::open);
}
