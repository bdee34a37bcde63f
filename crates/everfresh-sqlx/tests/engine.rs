//! The engine over SQLite: concurrent requests, and a file that stays locked.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use everfresh::store::SessionStore as _;
use everfresh::{Engine, Keys, ManualClock, Rotate, Session, Timestamp};
use everfresh_sqlx::SqliteStore;
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use tempfile::TempDir;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

struct Fixture {
    store: SqliteStore,
    auth: Engine<()>,
    clock: ManualClock,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let store = SqliteStore::open(folder.path().join("sessions.db")).await.unwrap();
        let store = store.clock(clock.clone());
        let auth = Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
            .issuer("i")
            .audience("a")
            .leeway(Duration::ZERO)
            .clock(clock.clone())
            .refresh_with(Rotate::new(store.clone()))
            .build()
            .unwrap();
        Self { store, auth, clock, folder }
    }

    /// Signs in on the path for it. Otherwise answers 200, or the status that the session implies.
    async fn send(&self, path: &str, cookies: &str) -> Response<Vec<u8>> {
        let inner = service_fn(|request: Request<()>| async move {
            let session: Session<()> = request.extensions().get::<Session<()>>().unwrap().clone();
            if request.uri().path() == "/login"
                && let Err(error) = session.sign_in("alice", ()).await
            {
                return Ok(everfresh::Rejection::from(error).into_response());
            }
            let answer = session.require().err().map(everfresh::Rejection::into_response);
            Ok::<_, Infallible>(answer.unwrap_or_else(|| Response::new(Vec::new())))
        });
        let service = ServiceBuilder::new().layer(self.auth.layer()).service(inner);
        let request = Request::builder().uri(path).header(COOKIE, cookies).body(()).unwrap();
        service.oneshot(request).await.unwrap()
    }
}

fn jar(response: &Response<Vec<u8>>) -> String {
    let set = response.headers().get_all(SET_COOKIE).iter();
    let pairs = set.map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned());
    pairs.collect::<Vec<_>>().join("; ")
}

// Rows: F01.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racers_rotate_once() {
    let fixture = std::sync::Arc::new(Fixture::new().await);
    let cookies = jar(&fixture.send("/login", "").await);
    fixture.clock.advance(Duration::from_secs(900));
    let racers: Vec<_> = (0..1000)
        .map(|_| {
            let (fixture, cookies) = (fixture.clone(), cookies.clone());
            tokio::spawn(async move { fixture.send("/", &cookies).await })
        })
        .collect();
    let mut successors = BTreeSet::new();
    for racer in racers {
        let response = racer.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        successors.insert(jar(&response).split("; ").last().unwrap().to_owned());
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(fixture.store.list("alice").await.unwrap()[0].generation, 1);
}

// Rows: S54, R30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_stays_locked_is_503_and_signs_no_user_out() {
    use sqlx::Connection as _;

    let fixture = Fixture::new().await;
    let cookies = jar(&fixture.send("/login", "").await);
    let path = fixture.folder.path().join("sessions.db");
    let mut other = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    assert_eq!(fixture.send("/", &cookies).await.status(), StatusCode::OK, "a good token goes on");
    fixture.clock.advance(Duration::from_secs(900));
    let response = fixture.send("/", &cookies).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(jar(&response).is_empty());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    fixture.auth.shutdown().await;
    let row = fixture.store.list("alice").await.unwrap().remove(0);
    assert!(row.generation <= 1, "the flight went on without its request, or gave up");
}
