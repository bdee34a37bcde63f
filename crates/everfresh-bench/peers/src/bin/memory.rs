//! Memory use: bytes per cached token beyond the token itself, and bytes per session in each store.

use allocation_counter::measure;
use everfresh::{Engine, EngineBuilder, MemoryStore, Reissue, Rotate, Session};
use everfresh_peers::record::{Kept, write};
use everfresh_peers::{Alg, Material, NAME, User, strangers};
use everfresh_redis::RedisStore;
use everfresh_sqlx::{PostgresStore, SqliteStore};
use everfresh_tests::database::Database;
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, Service, service_fn};

const COUNT: usize = 10_000;
/// For stores that grow by pages.
const MANY: usize = 100_000;

fn main() {
    let mut rows: Vec<Kept> = Alg::ALL.into_iter().map(tokens).collect();
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        rows.push(in_memory(count));
    }
    rows.extend(in_servers_and_files());
    write("memory.csv", &rows);
}

fn builder(material: &Material) -> EngineBuilder<User> {
    Engine::builder(material.keys()).issuer("https://app.example").audience("app")
}

/// Signs a user in and returns the response.
fn sign_in(auth: &Engine<User>, n: usize) -> Response<()> {
    let mut service = auth.layer().layer(service_fn(move |request: Request<()>| async move {
        let session = request.extensions().get::<Session<User>>().expect("in a layer").clone();
        let user = User { name: NAME.into() };
        session.sign_in(format!("user-{n}"), user).await.expect("signed in");
        Ok::<_, std::convert::Infallible>(Response::new(()))
    }));
    let served = service.call(Request::new(())).now_or_never();
    served.expect("at once").expect("infallible")
}

fn tokens(alg: Alg) -> Kept {
    let material = Material::new(alg);
    let builder = builder(&material).transports([everfresh::Transport::headers()]);
    let auth = builder.token_cache(2 * COUNT).refresh_with(Reissue::new()).build();
    let auth = auth.expect("a good configuration");
    let requests: Vec<Request<()>> = (0..COUNT)
        .map(|n| {
            let response = sign_in(&auth, n);
            let mut request = Request::new(());
            let value = response.headers()[AUTHORIZATION].clone();
            request.headers_mut().insert(AUTHORIZATION, value);
            request
        })
        .collect();
    let length = requests.iter().map(|request| request.headers()[AUTHORIZATION].len() - 7);
    let tokens: usize = length.sum();
    let inner = service_fn(|_: Request<()>| std::future::ready(Ok::<_, ()>(Response::new(()))));
    let mut service = auth.layer().layer(inner);
    let copy = |request: &Request<()>| {
        let mut copy = Request::new(());
        *copy.headers_mut() = request.headers().clone();
        copy
    };
    service.call(copy(&requests[0])).now_or_never();
    let counted = measure(|| {
        for request in &requests[1..] {
            drop(service.call(copy(request)).now_or_never());
        }
    });
    let bytes = counted.bytes_current as f64 - tokens as f64;
    Kept { what: format!("token, {}", alg.name()), count: COUNT, bytes: bytes / COUNT as f64 }
}

fn in_memory(count: usize) -> Kept {
    let store = MemoryStore::new().capacity(2 * count);
    let auth = builder(&Material::new(Alg::HS256)).refresh_with(Rotate::new(store.clone()));
    let auth = auth.build().expect("a good configuration");
    sign_in(&auth, count);
    let counted = measure(|| {
        for n in 0..count {
            assert!(sign_in(&auth, n).headers().contains_key(SET_COOKIE));
        }
    });
    assert_eq!(store.len(), count + 1);
    let bytes = counted.bytes_current as f64 / count as f64;
    Kept { what: "session in memory".into(), count, bytes }
}

fn in_servers_and_files() -> Vec<Kept> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sessions.db");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let [sqlite, redis, postgres] = runtime.block_on(async {
        let now_ms = 1_800_000_000_000;
        SqliteStore::open(&path).await.expect("a store");
        let sqlite = strangers::in_sqlite(&path, MANY, now_ms).await;
        let (redis, postgres) = (Database::redis(), Database::postgres());
        let store = RedisStore::open(&redis.url()).await.expect("a store");
        let before = used(&redis.url()).await;
        strangers::in_any(&store, MANY).await;
        let in_redis = used(&redis.url()).await - before;
        PostgresStore::open(&postgres.url()).await.expect("a store");
        [sqlite, in_redis, strangers::in_postgres(&postgres.url(), MANY, now_ms).await]
    });
    let kept = |(what, bytes): (&str, u64)| Kept {
        what: format!("session in {what}"),
        count: MANY,
        bytes: bytes as f64 / MANY as f64,
    };
    [("SQLite, on disk", sqlite), ("Redis", redis), ("PostgreSQL, on disk", postgres)]
        .map(kept)
        .into()
}

/// Redis's report of its memory.
async fn used(url: &str) -> u64 {
    let client = redis::Client::open(url).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a server");
    let info: String =
        redis::cmd("INFO").arg("memory").query_async(&mut connection).await.expect("an answer");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.expect("a figure").trim().parse().expect("a number")
}
