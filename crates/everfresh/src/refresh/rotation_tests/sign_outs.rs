//! Sign-outs while the store fails.

use super::*;
use crate::store::{Loaded, NewSession, Rotation, SessionRecord, SessionStore, StoreError};

/// A store whose next calls fail, except for those that create and load.
#[derive(Clone)]
struct Broken(MemoryStore, Arc<AtomicUsize>);

impl Broken {
    fn works(&self) -> Result<(), StoreError> {
        let left = self.1.load(Ordering::SeqCst);
        self.1.store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 0 { Err(StoreError::new("down")) } else { Ok(()) }
    }
}

impl SessionStore for Broken {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.0.create(new).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        self.0.load(sid).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
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
        self.works()?;
        self.0.revoke(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.works()?;
        self.0.revoke_subject(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.works()?;
        self.0.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.sweep(limit).await
    }
}

fn broken() -> (Fixture, Broken) {
    let clock = crate::ManualClock::starting_at(START);
    let store = Broken(MemoryStore::new().clock(clock.clone()), Arc::default());
    let rotate = Rotate::new(store.clone());
    let mut fixture = Fixture::with(|b| b.clock(clock.clone()).refresh_with(rotate));
    fixture.clock = clock;
    (fixture, store)
}

/// The given number of calls fail from now on.
fn fail(store: &Broken, calls: usize) {
    store.1.store(calls, Ordering::SeqCst);
}

/// Runs the tasks of this runtime for the given time, by its paused clock.
async fn wait(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

async fn sign_out(fixture: &Fixture, pair: &Pair) -> Response<String> {
    let signed_out = fixture.send(pair.request(), |session, _| async move {
        let error = session.sign_out().await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Unavailable);
        empty()
    });
    signed_out.await
}

async fn sign_out_others(fixture: &Fixture, pair: &Pair) -> Option<usize> {
    let signed_out = fixture.send(pair.request(), |session, _| async move {
        Response::new(
            session
                .sign_out_others()
                .await
                .map_or_else(|error| format!("{:?}", error.kind()), |count| count.to_string()),
        )
    });
    signed_out.await.body().parse().ok()
}

// Rows: L6.
#[tokio::test(start_paused = true)]
async fn a_sign_out_that_the_store_did_not_take_is_tried_until_it_does() {
    let (fixture, store) = broken();
    let pair = fixture.sign_in_pair("alice").await;
    fail(&store, 7);
    let response = sign_out(&fixture, &pair).await;
    assert_eq!(set_cookies(&response).len(), 2, "the cookies are cleared all the same");
    assert_eq!(store.0.len(), 1);
    assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    wait(60).await;
    assert!(store.0.is_empty());
    let events = fixture.events();
    let count = |name: &str| events.iter().filter(|event| event.starts_with(name)).count();
    assert_eq!((count("SignedOut"), count("StoreFailed"), count("RevokeFailed")), (1, 7, 0));
    assert_eq!(fixture.auth.shutdown().await, 0);
}

// Rows: L6.
#[tokio::test(start_paused = true)]
async fn a_sign_out_of_all_others_is_tried_until_the_store_takes_it() {
    let (fixture, store) = broken();
    let here = fixture.sign_in_pair("alice").await;
    let there = fixture.sign_in_pair("alice").await;
    fail(&store, 4);
    assert_eq!(sign_out_others(&fixture, &here).await, None, "not now");
    assert_eq!(fixture.me(there.request()).await.status(), StatusCode::OK);
    wait(60).await;
    assert_eq!(store.0.len(), 1);
    assert_eq!(fixture.me(there.request()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(fixture.me(here.request()).await.status(), StatusCode::OK);
}

/// A sign-out that keeps failing does not delay others.
// Rows: L6.
#[tokio::test(start_paused = true)]
async fn sign_outs_that_wait_take_turns() {
    let (fixture, store) = broken();
    let pairs = [fixture.sign_in_pair("alice").await, fixture.sign_in_pair("bob").await];
    fail(&store, 3);
    for pair in &pairs {
        sign_out(&fixture, pair).await;
    }
    wait(60).await;
    assert!(store.0.is_empty());
}

// Rows: L6.
#[tokio::test(start_paused = true)]
async fn a_sign_in_comes_after_a_sign_out_of_all_that_waits() {
    let (fixture, store) = broken();
    let here = fixture.sign_in_pair("alice").await;
    let there = fixture.sign_in_pair("alice").await;
    fail(&store, 1);
    assert_eq!(sign_out_others(&fixture, &here).await, None);
    let new = fixture.sign_in_pair("alice").await;
    assert_eq!(fixture.me(there.request()).await.status(), StatusCode::UNAUTHORIZED, "at once");
    wait(60).await;
    assert_eq!(fixture.me(new.request()).await.status(), StatusCode::OK, "it was not meant");
    assert_eq!(store.0.len(), 2);
}

// Rows: L6.
#[tokio::test(start_paused = true)]
async fn sign_outs_that_wait_at_shutdown_are_tried_once_more_and_counted() {
    for (calls, left) in [(2, 0), (usize::MAX, 2)] {
        let (fixture, store) = broken();
        let pairs = [fixture.sign_in_pair("alice").await, fixture.sign_in_pair("bob").await];
        fail(&store, calls);
        for pair in &pairs {
            sign_out(&fixture, pair).await;
        }
        assert_eq!(fixture.auth.shutdown().await, left);
        assert_eq!((store.0.len(), saw(&fixture, "RevokeFailed")), (left, left));
        wait(60).await;
        assert_eq!(fixture.auth.shutdown().await, 0, "nothing is tried any more");
    }
}

// Rows: L6.
#[tokio::test(start_paused = true)]
async fn a_sign_out_of_a_session_that_has_expired_is_retried_no_more() {
    let (fixture, store) = broken();
    let pair = fixture.sign_in_pair("alice").await;
    fail(&store, usize::MAX);
    sign_out(&fixture, &pair).await;
    fixture.pass(31 * 86_400);
    wait(60).await;
    assert_eq!(fixture.auth.shutdown().await, 0);
    assert_eq!(saw(&fixture, "RevokeFailed"), 0);
}

// Rows: L6.
#[tokio::test]
async fn no_more_than_4096_sign_outs_wait() {
    let (fixture, store) = broken();
    fail(&store, usize::MAX);
    for n in 0..4100u32 {
        let mut sid = [0; 16];
        sid[..4].copy_from_slice(&n.to_be_bytes());
        let sid = SessionId::from_bytes(sid).to_string();
        // Twice, because a pending sign-out is queued only once.
        for _ in 0..=u32::from(n < 10) {
            assert!(
                fixture.auth.core.sign_out(crate::refresher::Closing::of(&*sid)).await.is_err()
            );
        }
    }
    assert_eq!(saw(&fixture, "RevokeFailed"), 4);
}

/// If the store can't list a user's sessions, the limit can't be checked and the sign-in fails.
// Rows: M6.
#[tokio::test(start_paused = true)]
async fn if_the_limit_cant_be_checked_no_user_is_signed_in() {
    let (fixture, store) = broken();
    fail(&store, 1);
    let response = fixture.send(get(&[]), |session, _| async move {
        let error = session.sign_in("alice", user("alice")).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Unavailable);
        empty()
    });
    assert!(set_cookies(&response.await).is_empty());
    assert!(store.0.is_empty(), "taken back");
}
