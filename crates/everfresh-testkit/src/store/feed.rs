//! Cases for a store's feed of sessions that end. [`feed_suite!`](crate::feed_suite) makes a test
//! of each.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{FeedEvent, RevocationSink, SessionStore as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Harness, id, next, session};

const HOUR: Duration = Duration::from_secs(3600);

/// Longer than any feed takes.
const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// A watcher of the feed, until dropped.
struct Follower {
    received: watch::Receiver<(bool, HashSet<SessionId>)>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Starts to watch and waits until the watcher has caught up.
    async fn new<H: Harness>(harness: &H, back: Duration) -> Self {
        let (tell, received) = watch::channel((false, HashSet::new()));
        let tell = Arc::new(Mutex::new(tell));
        let sink = RevocationSink::new(back, move |received| {
            let tell = tell.lock().expect("no panic");
            match received {
                FeedEvent::Ended(sids) => tell.send_modify(|(_, ended)| ended.extend(sids)),
                FeedEvent::Live => tell.send_modify(|(live, _)| *live = true),
                _ => {}
            }
            !tell.is_closed()
        });
        let store = harness.store().clone();
        let task = tokio::spawn(async move {
            let followed = store.watch_revocations(sink).await;
            assert!(followed.is_ok(), "{followed:?}");
        });
        let follower = Self { received, task };
        follower.until(|(live, _)| *live).await;
        follower
    }

    async fn until(&self, there: impl FnMut(&(bool, HashSet<SessionId>)) -> bool) {
        let mut received = self.received.clone();
        let waited = tokio::time::timeout(WAIT_LIMIT, received.wait_for(there)).await;
        assert!(waited.is_ok_and(|waited| waited.is_ok()), "heard: {:?}", self.received());
    }

    async fn receives(&self, n: u8) {
        self.until(|(_, ended)| ended.contains(&id(n))).await;
    }

    fn received(&self) -> HashSet<SessionId> {
        self.received.borrow().1.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn open<H: Harness>(sessions: u8) -> H {
    let harness = H::open().await;
    for n in 1..=sessions {
        harness.store().create(session(n, "alice")).await.expect("created");
    }
    harness
}

/// Sessions end by `revoke` and by `revoke_subject`, through this handle of the store or another.
/// Live sessions are not reported.
pub async fn a_watcher_gets_every_end_of_a_session<H: Harness>() {
    let harness: H = open(6).await;
    let first = Follower::new(&harness, HOUR).await;
    let second = Follower::new(&harness, HOUR).await;
    let store = harness.store();
    assert!(store.revoke(id(1)).await.expect("no error"));
    for follower in [&first, &second] {
        follower.receives(1).await;
    }
    let mut gone = store.revoke_subject("alice", Some(id(5))).await.expect("no error");
    gone.sort();
    assert_eq!(gone, [2, 3, 4, 6].map(id));
    for follower in [&first, &second] {
        for n in [2, 3, 4, 6] {
            follower.receives(n).await;
        }
        assert!(!follower.received().contains(&id(5)), "it goes on");
    }
}

/// A node that was disconnected gets all missed ends before the report that it has caught up.
pub async fn a_late_watcher_gets_the_earlier_ends<H: Harness>() {
    let harness: H = open(3).await;
    assert!(harness.store().revoke(id(1)).await.expect("no error"));
    harness.pass(Duration::from_secs(1)).await;
    assert!(harness.store().revoke(id(2)).await.expect("no error"));
    let follower = Follower::new(&harness, HOUR).await;
    assert_eq!(follower.received(), HashSet::from([id(1), id(2)]));
    drop(follower);
    assert!(harness.store().revoke(id(3)).await.expect("no error"));
    let follower = Follower::new(&harness, HOUR).await;
    assert!(follower.received().contains(&id(3)));
}

/// Ends that can't matter any more are dropped at some time.
pub async fn ends_of_long_ago_are_not_reported<H: Harness>() {
    let harness: H = open(2).await;
    assert!(harness.store().revoke(id(1)).await.expect("no error"));
    harness.pass(2 * HOUR).await;
    // The second session has expired by itself, which is not reported.
    harness.store().sweep(1000).await.expect("no error");
    let follower = Follower::new(&harness, HOUR).await;
    assert_eq!(follower.received(), HashSet::new());
}

/// The feed reports no rotation, confirmation or sign-in. A store may report the revocation of a
/// missing session, because an earlier attempt may have ended it without a report.
pub async fn only_ends_of_sessions_are_published<H: Harness>() {
    let harness: H = open(2).await;
    let follower = Follower::new(&harness, HOUR).await;
    let store = harness.store();
    let loaded = store.load(id(1)).await.expect("no error").expect("there");
    assert!(store.rotate(next(&loaded.record)).await.expect("no error"));
    store.confirm(id(1), 1, true).await.expect("no error");
    store.create(session(3, "bob")).await.expect("created");
    assert!(!store.revoke(id(9)).await.expect("no error"));
    assert!(store.revoke(id(2)).await.expect("no error"));
    follower.receives(2).await;
    let received = follower.received();
    assert!(received.is_subset(&HashSet::from([id(2), id(9)])), "{received:?}");
}

/// Many tasks end sessions at once, and the feed reports every end.
pub async fn of_many_ends_at_once_none_is_missed<H: Harness>() {
    let harness: H = open(200).await;
    let follower = Follower::new(&harness, HOUR).await;
    let tasks: Vec<_> = (1..=200)
        .map(|n| {
            let store = harness.store().clone();
            tokio::spawn(async move { store.revoke(id(n)).await.expect("no error") })
        })
        .collect();
    for task in tasks {
        assert!(task.await.expect("no panic"));
    }
    follower.until(|(_, ended)| ended.len() == 200).await;
}

/// Defines one test for each case, for a [`Harness`] whose store has a feed.
#[macro_export]
macro_rules! feed_suite {
    ($harness:ty) => {
        $crate::store_suite!($harness; feed:
            a_watcher_gets_every_end_of_a_session
            a_late_watcher_gets_the_earlier_ends
            ends_of_long_ago_are_not_reported
            only_ends_of_sessions_are_published
            of_many_ends_at_once_none_is_missed
        );
    };
}
