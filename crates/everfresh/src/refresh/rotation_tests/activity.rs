//! User activity, clients that keep no cookies, and clocks that differ.

use super::*;
use crate::store::{Rotation, SessionRecord, SessionStore, StoreError};
use crate::{ManualClock, Timestamp};

async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

fn at(path: &str, pair: &Pair) -> http::Request<()> {
    http::Request::builder().uri(path).header("cookie", pair.header()).body(()).unwrap()
}

/// One request to this path, by a browser that stores the cookies.
async fn go(fixture: &Fixture, path: &str, pair: &mut Pair) -> StatusCode {
    let response = fixture.me(at(path, pair)).await;
    settle().await;
    pair.keep(&response);
    response.status()
}

// Rows: F86.
#[tokio::test]
async fn polling_extends_no_session_and_user_activity_does() {
    const HOUR: Duration = Duration::from_secs(3600);
    let build = || {
        let clock = ManualClock::starting_at(START);
        let store = MemoryStore::new().clock(clock.clone());
        let rotate = Rotate::new(store).idle_lifetime(HOUR);
        let mut fixture = Fixture::with(|b| {
            b.clock(clock.clone())
                .refresh_with(rotate)
                .background_requests(|method, path| method == "GET" && path == "/poll")
        });
        fixture.clock = clock;
        fixture
    };
    // A page that polls every 20 s, without a user.
    let fixture = build();
    let mut pair = fixture.sign_in_pair("alice").await;
    let (mut rotations, mut polls) = (0, 0);
    while go(&fixture, "/poll?x=/me", &mut pair).await == StatusCode::OK {
        fixture.pass(20);
        polls += 1;
        let before = pair.refresh.clone();
        rotations += u32::from(
            go(&fixture, "/poll", &mut pair).await.is_success() && pair.refresh != before,
        );
        assert!(polls < 1000, "kept alive for {} s", polls * 20);
    }
    assert!(rotations >= 3, "it was refreshed all the while");
    let idle = fixture.clock.now().since(START);
    // The last access token outlives the session by less than its own lifetime.
    assert!((HOUR..HOUR + Duration::from_secs(960)).contains(&idle), "{idle:?}");

    // The same page, with a user who clicks every 20 minutes, always between two rotations.
    let fixture = build();
    let mut pair = fixture.sign_in_pair("alice").await;
    for step in 1..=1000 {
        fixture.pass(20);
        let path = if step % 60 == 0 { "/me" } else { "/poll" };
        assert_eq!(go(&fixture, path, &mut pair).await, StatusCode::OK, "{step}");
    }
}

// Rows: F22, F121.
#[tokio::test]
async fn a_client_that_keeps_no_cookies_is_reported_once() {
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let _ = fixture.events();
    for _ in 0..20 {
        assert_eq!(fixture.me(pair.refresh_only()).await.body(), "alice");
        fixture.pass(10);
    }
    assert_eq!(saw(&fixture, "CookieNotSticking"), 1);

    // Two responses are lost and the third is kept, which is not reported.
    let mut pair = fixture.sign_in_pair("bob").await;
    for _ in 0..4 {
        expire(&fixture, &pair);
        for _ in 0..2 {
            fixture.me(pair.refresh_only()).await;
            fixture.pass(20);
        }
        visit(&fixture, &mut pair).await;
        fixture.pass(31);
    }
    assert_eq!(saw(&fixture, "CookieNotSticking"), 0);
}

// Rows: F62.
#[tokio::test]
async fn clocks_an_hour_apart_sign_no_user_out_and_cause_no_storm() {
    let (home, store) = Fixture::rotating();
    let skewed = |by: i64| {
        let now = home.clock.now().as_secs().saturating_add_signed(by);
        Fixture::node(&ManualClock::starting_at(Timestamp::from_secs(now)), &store, |b| b)
    };
    let nodes = [skewed(3600), skewed(-3600), skewed(0)];
    let mut pair = home.sign_in_pair("alice").await;
    for round in 0..400 {
        for fixture in nodes.iter().chain([&home]) {
            fixture.pass(60);
        }
        assert_eq!(go(&nodes[round % 3], "/", &mut pair).await, StatusCode::OK, "{round}");
    }
    // With an hour's skew, tokens of 15 minutes look expired to at most a third of the requests. No
    // request causes two rotations.
    let generation = store.list("alice").await.unwrap()[0].generation;
    assert!((400 / 90..=134).contains(&generation), "{generation}");
}

/// A store whose writes fail for a while.
#[derive(Clone)]
struct Failing(MemoryStore, Arc<AtomicUsize>);

impl SessionStore for Failing {
    async fn create(&self, new: crate::store::NewSession) -> Result<(), StoreError> {
        self.0.create(new).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<crate::store::Loaded>, StoreError> {
        self.0.load(sid).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let left = self.1.load(Ordering::SeqCst);
        if left > 0 {
            self.1.store(left - 1, Ordering::SeqCst);
            if left.is_multiple_of(2) {
                // The rotation takes effect, and its answer is lost.
                self.0.rotate(rotation).await?;
            }
            return Err(StoreError::new("down"));
        }
        self.0.rotate(rotation).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        at: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.0.confirm(sid, at, user_activity).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.0.revoke(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.0.revoke_subject(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.0.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.sweep(limit).await
    }
}

// Rows: F19, S54.
#[tokio::test]
async fn a_store_that_fails_while_it_is_written_loses_no_session() {
    for failures in [1, 2, 3, 8] {
        let clock = ManualClock::starting_at(START);
        let store = MemoryStore::new().clock(clock.clone());
        let failing = Failing(store.clone(), Arc::new(AtomicUsize::new(0)));
        let count = failing.1.clone();
        let rotate = Rotate::new(failing);
        let mut fixture =
            Fixture::with(|b| b.leeway(Duration::ZERO).clock(clock.clone()).refresh_with(rotate));
        fixture.clock = clock;
        let mut pair = fixture.sign_in_pair("alice").await;
        expire(&fixture, &pair);
        count.store(failures, Ordering::SeqCst);
        let response = fixture.me(pair.request()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(set_cookies(&response).is_empty(), "nothing is served that is not in the row");
        for _ in 0..40 {
            fixture.pass(60);
            let _ = fixture.me(pair.request()).await;
        }
        visit(&fixture, &mut pair).await;
        assert!(store.list("alice").await.unwrap()[0].generation <= 1, "{failures}");
        assert_eq!(saw(&fixture, "ReuseDetected"), 0);
    }
}
