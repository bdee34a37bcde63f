//! Injects a fault at each step of a refresh in turn: into the store, the app's revalidation, the
//! client's connection, the clock. The browser's next request must be served.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::convert::Infallible;
use std::time::Duration;

use everfresh::store::SessionStore;
use everfresh::{Engine, Keys, ManualClock, MemoryStore, Revalidated, Rotate, Session, Timestamp};
use everfresh_model::points::{Aim, Fault, PointStore, Points, at_each_step};
use everfresh_sqlx::SqliteStore;
use http::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{Request, Response, StatusCode};
use tempfile::TempDir;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

struct Fixture<S> {
    store: S,
    auth: Engine<()>,
    clock: ManualClock,
    points: Points,
}

/// Access and refresh cookie, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Jar([String; 2]);

const NAMES: [&str; 2] = ["__Host-access_token", "__Host-refresh_token"];

fn clock() -> ManualClock {
    ManualClock::starting_at(Timestamp::from_secs(1_800_000_000))
}

impl<S: SessionStore + Clone> Fixture<S> {
    fn new(clock: ManualClock, store: S) -> Self {
        let points = Points::with_clock(clock.clone());
        let asked = points.clone();
        let revalidate = move |_| {
            let points = asked.clone();
            async move { points.step("revalidate", async { Ok(Revalidated::Keep) }, |lost| lost).await }
        };
        let auth = Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
            .issuer("i")
            .audience("a")
            .leeway(Duration::ZERO)
            .clock(clock.clone())
            .revalidate_with(revalidate)
            .refresh_with(Rotate::new(PointStore::new(store.clone(), points.clone())))
            .build()
            .unwrap();
        Self { store, auth, clock, points }
    }

    /// Signs in on the path for it. Otherwise answers 200, or the status that the session implies.
    async fn send(&self, path: &str, jar: &Jar) -> Response<Vec<u8>> {
        let inner = service_fn(|request: Request<()>| async move {
            let session: Session<()> = request.extensions().get::<Session<()>>().unwrap().clone();
            if request.uri().path() == "/login" {
                session.sign_in("ada", ()).await.unwrap();
            }
            let answer = session.require().err().map(everfresh::Rejection::into_response);
            Ok::<_, Infallible>(answer.unwrap_or_else(|| Response::new(Vec::new())))
        });
        let service = ServiceBuilder::new().layer(self.auth.layer()).service(inner);
        let request = Request::builder().uri(path).header(COOKIE, jar.header());
        service.oneshot(request.body(()).unwrap()).await.unwrap()
    }

    /// A client whose access token has expired.
    async fn expired(&self) -> Jar {
        let jar = Jar::default().after(&self.send("/login", &Jar::default()).await);
        self.clock.advance(Duration::from_secs(900));
        jar
    }

    /// Sends a request with this fault, and then the browser's next requests.
    async fn survive(&self, aim: Aim, fault: Fault) {
        let old = self.expired().await;
        self.points.arm(aim);
        let first = self.points.request(self.send("/", &old)).await;
        self.points.disarm();
        let hit = self.points.hit();
        let case = format!("{aim:?}");

        let mut jar = old.clone();
        if let Some(answer) = &first {
            let late = hit.is_some() && answer.status() == StatusCode::SERVICE_UNAVAILABLE;
            assert!(answer.status() == StatusCode::OK || late, "{case}: {}", answer.status());
            jar = jar.after(answer);
            if late {
                assert_eq!(jar, old, "{case}: no cookie is touched");
                let wait = answer.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
                self.clock.advance(Duration::from_secs(wait));
            }
        }
        let next = self.send("/", &jar).await;
        assert_eq!(next.status(), StatusCode::OK, "{case}: the next request of this browser");
        let next = jar.after(&next);
        // A request with the old cookies that arrives last, within the reuse interval.
        if fault != Fault::Stall {
            let late = self.send("/", &old).await;
            assert_eq!(late.status(), StatusCode::OK, "{case}: a late tab");
            assert_eq!(old.after(&late).0[1], next.0[1], "{case}: one successor");
        }
        assert_ne!(next.0[1], old.0[1], "{case}");
        assert_eq!(self.auth.shutdown().await, 0, "{case}");
        let row = self.store.list("ada").await.unwrap().remove(0);
        assert_eq!(row.generation, 1, "{case}: one rotation");
    }
}

impl Jar {
    fn header(&self) -> String {
        let Self([access, refresh]) = self;
        format!("{}={access}; {}={refresh}", NAMES[0], NAMES[1])
    }

    fn after(&self, response: &Response<Vec<u8>>) -> Self {
        let mut jar = self.clone();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let which = NAMES.iter().position(|one| *one == name).expect("a cookie of ours");
            jar.0[which] = rest.split(';').next().unwrap().to_owned();
        }
        jar
    }
}

/// Each of these faults at each step.
#[expect(clippy::print_stdout, reason = "what `cargo xtask schedules` adds up")]
async fn each(name: &str, faults: &[Fault], run: impl AsyncFn(Aim, Fault) -> Points) {
    for fault in faults {
        let hits = at_each_step(*fault, async |aim| (run(aim, *fault).await, ())).await;
        let hits: Vec<_> = hits.into_iter().map(|(hit, ())| hit).collect();
        for step in ["load", "revalidate", "rotate"] {
            assert!(hits.contains(&step), "{step} is a step: {hits:?}");
        }
        let injected = hits.len();
        println!(
            "fail points: {injected} injected, {injected} survived: {name}, {fault:?}: {}",
            hits.join(" ")
        );
    }
}

// Rows: F16, S56.
#[tokio::test(start_paused = true)]
async fn a_failure_at_any_step_in_memory_lets_the_next_request_be_served() {
    use Fault::{HangUp, HangUpAfter, Hold, Mute, Refuse, Stall};
    let faults = [Refuse, Mute, HangUp, HangUpAfter, Stall, Hold];
    each("Rotate in memory", &faults, async |aim, fault| {
        let clock = clock();
        let fixture = Fixture::new(clock.clone(), MemoryStore::new().clock(clock));
        fixture.survive(aim, fault).await;
        fixture.points
    })
    .await;
}

// Rows: F16, S56.
#[tokio::test]
async fn a_failure_at_any_step_in_a_file_lets_the_next_request_be_served() {
    use Fault::{HangUp, HangUpAfter, Mute, Refuse, Stall};
    let faults = [Refuse, Mute, HangUp, HangUpAfter, Stall];
    each("Rotate in SQLite", &faults, async |aim, fault| {
        let (clock, folder) = (clock(), TempDir::new().unwrap());
        let store = SqliteStore::open(folder.path().join("sessions.db")).await.unwrap();
        let fixture = Fixture::new(clock.clone(), store.clock(clock));
        fixture.survive(aim, fault).await;
        fixture.points
    })
    .await;
}
