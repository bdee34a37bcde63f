//! The cases of a subject with many sessions. [`store_suite!`](crate::store_suite) makes a test of
//! each.

use std::collections::HashSet;
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{NewSession, SessionStore};

use super::{Harness, id, next, session, with};

/// More sessions than any store ends or lists at once.
const MANY: u32 = 1100;

/// How many are created at once.
const AT_A_TIME: usize = 50;

fn numbered(n: u32, subject: &str) -> NewSession {
    let mut bytes = [0xff; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    with(session(0, subject), |new| new.sid = SessionId::from_bytes(bytes))
}

/// Signs a subject in the given number of times.
async fn sign_in<H: Harness>(harness: &H, subject: &str, times: u32) -> HashSet<SessionId> {
    let all: Vec<_> = (0..times).map(|n| numbered(n, subject)).collect();
    for some in all.chunks(AT_A_TIME) {
        let each = some.iter().map(|new| {
            let (store, new) = (harness.store().clone(), new.clone());
            tokio::spawn(async move { store.create(new).await.expect("kept") })
        });
        for created in each.collect::<Vec<_>>() {
            created.await.expect("no panic");
        }
    }
    all.into_iter().map(|new| new.sid).collect()
}

/// Ordered by start time, regardless of later use, and no more than requested.
// Rows: M6.
pub async fn the_newest_sessions_are_the_ones_that_began_last<H: Harness>() {
    let harness = H::open().await;
    let newest = async |limit| harness.store().newest("alice", limit).await.expect("no error");
    assert!(newest(10).await.is_empty());
    for n in 1..=5 {
        harness.store().create(session(n, "alice")).await.expect("kept");
        harness.pass(Duration::from_secs(2)).await;
    }
    harness.store().create(session(9, "alice ")).await.expect("kept");
    let first = harness.store().load(id(1)).await.expect("no error").expect("there");
    assert!(harness.store().rotate(next(&first.record)).await.expect("no error"));
    assert_eq!(newest(10).await, [5, 4, 3, 2, 1].map(id));
    assert_eq!(newest(3).await, [5, 4, 3].map(id));
    assert!(newest(0).await.is_empty());
    assert!(harness.store().revoke(id(4)).await.expect("no error"));
    assert_eq!(newest(3).await, [5, 3, 2].map(id));
}

/// An expired session does not count against a limit.
// Rows: M6.
pub async fn the_newest_sessions_are_not_over<H: Harness>() {
    let harness = H::open().await;
    for n in 1..=6 {
        let mut new = session(n, "alice");
        if n.is_multiple_of(2) {
            new.idle_lifetime = Duration::from_secs(30);
        }
        harness.store().create(new).await.expect("kept");
        harness.pass(Duration::from_secs(2)).await;
    }
    harness.pass(Duration::from_secs(40)).await;
    let newest = harness.store().newest("alice", 2).await.expect("no error");
    assert_eq!(newest, [5, 3].map(id));
}

/// All sessions of the subject, of any number, and no other subject's.
// Rows: M6.
pub async fn every_one_of_many_sessions_is_ended_but_one<H: Harness>() {
    let harness = H::open().await;
    let mut all = sign_in(&harness, "alice", MANY).await;
    harness.store().create(session(1, "bob")).await.expect("kept");
    let kept = *all.iter().next().expect("many");
    let revoked = harness.store().revoke_subject("alice", Some(kept)).await.expect("no error");
    all.remove(&kept);
    assert_eq!(revoked.len(), all.len(), "each once");
    assert_eq!(revoked.into_iter().collect::<HashSet<_>>(), all);
    let left = harness.store().list("alice").await.expect("no error");
    assert_eq!(left.iter().map(|row| row.sid).collect::<Vec<_>>(), [kept]);
    let revoked = harness.store().revoke_subject("alice", None).await.expect("no error");
    assert_eq!(revoked, [kept]);
    assert!(harness.store().load(id(1)).await.expect("no error").is_some(), "bob's");
}

/// A list has a maximum length, and so has a request for the newest sessions.
// Rows: M6.
pub async fn of_many_sessions_a_thousand_are_listed<H: Harness>() {
    let harness = H::open().await;
    let all = sign_in(&harness, "alice", MANY).await;
    let listed = harness.store().list("alice").await.expect("no error");
    let listed: HashSet<_> = listed.into_iter().map(|row| row.sid).collect();
    assert!(listed.len() == 1000 && listed.is_subset(&all));
    let newest = harness.store().newest("alice", 300).await.expect("no error");
    let newest: HashSet<_> = newest.into_iter().collect();
    assert!(newest.len() == 300 && newest.is_subset(&all));
}
