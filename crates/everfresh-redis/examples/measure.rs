//! The cost of a session in Redis, and the cost of a rotation compared with a minimal
//! compare-and-set: a script that reads a small value, compares it and writes it.
//!
//! Run with, on a server whose database is empty: `cargo run --release -p everfresh-redis --example
//! measure -- redis://127.0.0.1:6379`

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use everfresh::SessionId;
use everfresh::store::{NewSession, Rotation, SessionStore as _};
use everfresh_redis::RedisStore;
use futures::future::try_join_all;
use redis::Script;
use redis::aio::MultiplexedConnection;

const SESSIONS: u32 = 100_000;
const TASKS: u32 = 64;
const ROTATIONS: u32 = 1000;
const ROUNDS: usize = 5;

const BARE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                    redis.call('SET', KEYS[1], ARGV[2]) return 1";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::args().nth(1).unwrap_or("redis://127.0.0.1".into());
    let mut connection = redis::Client::open(&*url)?.get_multiplexed_async_connection().await?;
    let size: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await?;
    if size > 0 {
        return Err("the database is not empty; give an address of one that is".into());
    }
    let store = RedisStore::open(&url).await?;

    let before = memory(&mut connection).await?;
    for some in (0..SESSIONS).collect::<Vec<_>>().chunks(512) {
        try_join_all(some.iter().map(|n| store.create(session(*n)))).await?;
    }
    let both = (memory(&mut connection).await? - before) / u64::from(SESSIONS);
    let key = format!("everfresh:{{{}}}", sid(0));
    let one: u64 = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut connection).await?;
    println!("{both} bytes a session among {SESSIONS}, its person's index included; {one} its key");

    // Both take turns, so that other load on the machine affects both. The fastest round of each
    // counts.
    let mut best = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].max(per_second(|task| bare(connection.clone(), task)).await?);
        best[1] = best[1].max(per_second(|task| rotations(store.clone(), task)).await?);
    }
    let [bare, ours] = best;
    println!("{ours:.0} rotations a second by {TASKS} tasks; {bare:.0} bare compare-and-sets");
    println!("ratio {:.2}", ours / bare);
    Ok(())
}

async fn per_second<F: Future<Output = Outcome<()>> + Send + 'static>(
    work: impl Fn(u32) -> F,
) -> Outcome<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(work(task))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(f64::from(TASKS * ROTATIONS) / began.elapsed().as_secs_f64())
}

async fn bare(mut connection: MultiplexedConnection, task: u32) -> Outcome<()> {
    let script = Script::new(BARE);
    let key = format!("bare:{task}");
    let () = redis::cmd("SET").arg(&key).arg(0).query_async(&mut connection).await?;
    for n in 0..ROTATIONS {
        let changed: bool =
            script.key(&key).arg(n).arg(n + 1).invoke_async(&mut connection).await?;
        assert!(changed, "no other client writes");
    }
    Ok(())
}

async fn rotations(store: RedisStore, task: u32) -> Outcome<()> {
    let sid = sid(task);
    let from = store.load(sid).await?.ok_or("a live session")?.record.generation;
    for from in from..from + u64::from(ROTATIONS) {
        let mut rotation = Rotation::new(sid, from, from + 1, 1);
        rotation.user_activity = true;
        assert!(store.rotate(rotation).await?, "no other client writes");
    }
    Ok(())
}

async fn memory(connection: &mut MultiplexedConnection) -> Outcome<u64> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.ok_or("no used_memory")?.trim().parse()?)
}

fn sid(n: u32) -> SessionId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn session(n: u32) -> NewSession {
    let day = Duration::from_secs(86_400);
    let mut new = NewSession::new(sid(n), format!("user {n}"), day, 10 * day);
    (new.key_id, new.salt) = (1, [n as u8; 16]);
    new.claims = r#"{"name":"Ada Lovelace"}"#.into();
    new.attributes = BTreeMap::from([("device".into(), "Firefox on Linux".into())]);
    new
}
