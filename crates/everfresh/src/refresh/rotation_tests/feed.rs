//! Sessions that end on another node are refused here from then on, without a store call.

use tokio::sync::watch;

use super::*;
use crate::RevocationFeed;
use crate::store::{RevocationSink, StoreError};

/// Runs the spawned tasks until they are idle.
pub(super) async fn calm() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_session_that_ends_on_one_node_is_refused_on_all_at_once() {
    let (fixture, store) = Fixture::rotating();
    let other = Fixture::with(|b| b.refresh_with(Rotate::new(store.clone())));
    calm().await;
    let mut pair = fixture.sign_in_pair("alice").await;
    let second = fixture.sign_in_pair("alice").await;
    assert_eq!(
        (fixture.auth.feed(), other.auth.feed()),
        (RevocationFeed::Live, RevocationFeed::Live)
    );
    assert_eq!(other.me(pair.request()).await.status(), StatusCode::OK);
    let sid = SessionId::parse(&store.list("alice").await.unwrap()[1].sid.to_string()).unwrap();
    assert!(store.revoke(sid).await.unwrap());
    calm().await;
    let mut refused = 0;
    for one in [&pair, &second] {
        for node in [&fixture, &other] {
            refused += u32::from(node.me(one.request()).await.status() == StatusCode::UNAUTHORIZED);
        }
    }
    assert_eq!(refused, 2, "one of the two sessions, on both nodes, with good access tokens");
    pair = fixture.sign_in_pair("alice").await;
    assert_eq!(other.me(pair.request()).await.status(), StatusCode::OK, "a new one is fine");
}

#[tokio::test]
async fn a_node_that_starts_learns_of_sessions_that_ended_before() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    assert_eq!(store.revoke_subject("alice", None).await.unwrap().len(), 1);
    let late = Fixture::with(|b| b.refresh_with(Rotate::new(store.clone())));
    calm().await;
    assert_eq!(late.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
}

// Rows: M9.
#[tokio::test]
async fn many_ends_at_once_are_learnt_page_by_page() {
    let (fixture, store) = Fixture::rotating();
    let sids: Vec<_> = (0..2_500_u128).map(|n| SessionId::from_bytes(n.to_be_bytes())).collect();
    for sid in &sids {
        let new = crate::store::NewSession {
            sid: *sid,
            subject: "alice".into(),
            key_id: 7,
            idle_lifetime: Duration::from_secs(3600),
            absolute_lifetime: Duration::from_secs(3600),
            persistent: true,
            claims: "{}".into(),
            attributes: Default::default(),
            salt: [0; 16],
            upstream: None,
        };
        store.create(new).await.unwrap();
    }
    calm().await;
    assert_eq!(store.revoke_subject("alice", None).await.unwrap().len(), sids.len());
    calm().await;
    let known = |sid: &&SessionId| {
        fixture.auth.core.revoked.contains(&sid.to_string(), fixture.clock.now())
    };
    assert_eq!(sids.iter().filter(known).count(), sids.len());
}

/// A store whose feed a test cuts.
#[derive(Clone)]
struct Cut {
    store: MemoryStore,
    up: watch::Sender<bool>,
}

impl crate::store::SessionStore for Cut {
    async fn create(&self, new: crate::store::NewSession) -> Result<(), StoreError> {
        self.store.create(new).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<crate::store::Loaded>, StoreError> {
        self.store.load(sid).await
    }

    async fn rotate(&self, rotation: crate::store::Rotation) -> Result<bool, StoreError> {
        self.store.rotate(rotation).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.store.confirm(sid, generation, user_activity).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.store.revoke(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.store.revoke_subject(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<crate::store::SessionRecord>, StoreError> {
        self.store.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.sweep(limit).await
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        let mut up = self.up.subscribe();
        if !*up.borrow_and_update() {
            return Err(StoreError::new("it is cut"));
        }
        tokio::select! {
            done = self.store.watch_revocations(sink) => done,
            _ = up.wait_for(|up| !up) => Err(StoreError::new("it is cut")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_the_feed_says_so_and_catches_up() {
    let (memory, up) = (MemoryStore::new(), watch::Sender::new(true));
    let store = Cut { store: memory.clone(), up: up.clone() };
    let fixture = Fixture::with(|b| b.refresh_with(Rotate::new(store)));
    calm().await;
    let pair = fixture.sign_in_pair("alice").await;
    assert_eq!(fixture.auth.feed(), RevocationFeed::Live);
    up.send_replace(false);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(matches!(fixture.auth.feed(), RevocationFeed::Lost { .. }));
    assert_eq!(saw(&fixture, "FeedLost"), 1, "said once, however often it is tried");
    memory.revoke_subject("alice", None).await.unwrap();
    calm().await;
    assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::OK, "the node was not told");
    up.send_replace(true);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((fixture.auth.feed(), saw(&fixture, "FeedLive")), (RevocationFeed::Live, 1));
    assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_stops_when_the_engine_is_dropped() {
    let (fixture, store) = Fixture::rotating();
    calm().await;
    drop(fixture);
    let before = store.followers();
    assert_eq!(before, 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(store.followers(), 0);
}
