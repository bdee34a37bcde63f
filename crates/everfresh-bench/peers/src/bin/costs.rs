//! The cost of signing in and refreshing, in whole requests, for each algorithm and store, and its
//! growth with the number of sessions.

use std::time::{Duration, Instant};

use everfresh::{
    Engine, EngineBuilder, KeyRing, ManualClock, MemoryStore, Reissue, Rotate, Session, Timestamp,
};
use everfresh_peers::record::{Cost, median, write};
use everfresh_peers::{Alg, Material, NAME, User, strangers};
use everfresh_redis::RedisStore;
use everfresh_sqlx::{PostgresStore, SqliteStore};
use everfresh_tests::database::Database;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, Service};

/// The number of requests behind each median.
const MEASURED: usize = 400;
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const STORES: [&str; 5] = ["reissue", "memory", "sqlite", "redis", "postgres"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rows = Vec::new();
    for alg in Alg::ALL {
        let material = Material::new(alg);
        for store in STORES {
            let path = folder.path().join(format!("{}-{store}.db", alg.name()));
            rows.push(cost(&material, store, &path, MEASURED).await);
        }
    }
    write("costs.csv", &rows);

    let material = Material::new(Alg::HS256);
    let mut rows = Vec::new();
    for store in STORES {
        for sessions in [1_000, 10_000, 100_000, 1_000_000] {
            if store != "reissue" || sessions == 1_000 {
                let path = folder.path().join(format!("{sessions}.db"));
                rows.push(cost(&material, store, &path, sessions).await);
            }
        }
    }
    write("growth.csv", &rows);
}

async fn cost(material: &Material, store: &str, path: &std::path::Path, sessions: usize) -> Cost {
    let clock = ManualClock::starting_at(START);
    let builder = Engine::<User>::builder(material.keys())
        .issuer("https://app.example")
        .audience("app")
        .clock(clock.clone());
    // The server stops when this is dropped.
    let server = match store {
        "redis" => Some(Database::redis()),
        "postgres" => Some(Database::postgres()),
        _ => None,
    };
    let url = server.as_ref().map(Database::url).unwrap_or_default();
    let (strangers, now_ms) = (sessions - MEASURED, START.as_secs() * 1000);
    let builder: EngineBuilder<User> = match store {
        "reissue" => builder.refresh_with(Reissue::new()),
        "memory" => {
            let store = MemoryStore::new().clock(clock.clone()).capacity(2_000_000);
            strangers::in_any(&store, strangers).await;
            builder.refresh_with(Rotate::new(store).key_ring(ring()))
        }
        "redis" => {
            let store = RedisStore::open(&url).await;
            let store = store.expect("a store").clock(clock.clone());
            strangers::in_any(&store, strangers).await;
            builder.refresh_with(Rotate::new(store).key_ring(ring()))
        }
        "postgres" => {
            let store = PostgresStore::open(&url).await.expect("a store");
            strangers::in_postgres(&url, strangers, now_ms).await;
            builder.refresh_with(Rotate::new(store.clock(clock.clone())).key_ring(ring()))
        }
        _ => {
            let store = SqliteStore::open(path).await.expect("a store");
            strangers::in_sqlite(path, strangers, now_ms).await;
            builder.refresh_with(Rotate::new(store.clock(clock.clone())).key_ring(ring()))
        }
    };
    let auth = builder.build().expect("a good configuration");
    let mut service = auth.layer().layer(App);

    // Ids are random, so these rows are spread over the store.
    let (mut signing_in, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..MEASURED {
        let request = Request::builder().method("POST").body(()).expect("a request");
        let began = Instant::now();
        let response = service.call(request).await.expect("infallible");
        signing_in.push(began.elapsed().as_nanos() as f64 / 1000.0);
        kept.push(cookies(&response));
    }
    clock.advance(Duration::from_secs(15 * 60));
    let mut refreshing = Vec::new();
    for cookies in &kept {
        let mut request = Request::new(());
        request.headers_mut().insert(COOKIE, cookies.parse().expect("a value"));
        let began = Instant::now();
        let response = service.call(request).await.expect("infallible");
        refreshing.push(began.elapsed().as_nanos() as f64 / 1000.0);
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key(SET_COOKIE), "it was refreshed");
    }
    println!("{} {store}, {sessions} sessions", material.alg.name());
    Cost {
        algorithm: material.alg.name().into(),
        store: store.into(),
        sessions,
        sign_in_us: median(signing_in),
        refresh_us: median(refreshing),
    }
}

/// A public key can't derive refresh tokens, so the ring has a secret of its own.
fn ring() -> KeyRing {
    KeyRing::new(b"a ring of its own, of 32 bytes or more").expect("a good secret")
}

fn cookies(response: &Response<()>) -> String {
    let set = response.headers().get_all(SET_COOKIE).iter();
    let pairs = set.map(|value| value.to_str().expect("text").split(';').next().expect("a pair"));
    pairs.collect::<Vec<_>>().join("; ")
}

/// Signs in by POST, and reports by GET whether the client is signed in.
#[derive(Clone)]
struct App;

impl Service<Request<()>> for App {
    type Response = Response<()>;
    type Error = std::convert::Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Response<()>, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(async move {
            let session = request.extensions().get::<Session<User>>().expect("in a layer");
            let mut response = Response::new(());
            if request.method() == "POST" {
                let user = User { name: NAME.into() };
                session.sign_in("user-4711", user).await.expect("signed in");
            } else if session.claims().is_err() {
                *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            }
            Ok(response)
        })
    }
}
