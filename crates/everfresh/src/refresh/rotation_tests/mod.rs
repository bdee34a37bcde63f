//! Rotation as seen by browsers, thieves and several nodes: groups A, B, C, F and H of the failures
//! from the field, group D of the requirements.

mod activity;
mod beside;
mod cancelled;
mod delivery;
mod endings;
mod feed;
mod forged;
mod late;
mod lifetimes;
mod limit;
mod once;
mod sign_outs;
mod strangers;
mod upstream;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use tower::ServiceExt as _;

use crate::store::SessionStore as _;
use crate::testing::*;
use crate::{
    Algorithm, ConfigError, Engine, Key, KeyRing, Keys, MemoryStore, Revalidated, Rotate,
    SessionErrorKind, SessionId, SignIn,
};

fn empty() -> Response<String> {
    Response::new(String::new())
}

async fn generation(store: &MemoryStore, fixture: &Fixture, pair: &Pair) -> Option<u64> {
    let sid = fixture.send(pair.request(), |session, _| async move {
        Response::new(session.sid().unwrap_or_default())
    });
    let sid = SessionId::parse(sid.await.body())?;
    store.load(sid).await.unwrap().map(|loaded| loaded.record.generation)
}

/// Advances the clock until the access token has expired, well after any reuse interval.
fn expire(fixture: &Fixture, pair: &Pair) {
    fixture.pass_until_left(&pair.access, 0);
}

/// One visit of an honest browser; it must be served.
async fn visit(fixture: &Fixture, pair: &mut Pair) -> Response<String> {
    let response = fixture.me(pair.request()).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", response.body());
    pair.keep(&response);
    response
}

fn saw(fixture: &Fixture, event: &str) -> usize {
    fixture.events().iter().filter(|one| one.starts_with(event)).count()
}

// Rows: F90, S45.
#[tokio::test]
async fn a_session_rotates_at_each_expiry_and_only_then() {
    let (fixture, store) = Fixture::rotating();
    let mut pair = fixture.sign_in_pair("alice").await;
    assert!(!pair.access.is_empty() && !pair.refresh.is_empty());
    for expected in 1..=5 {
        for _ in 0..10 {
            let quiet = visit(&fixture, &mut pair).await;
            assert!(set_cookies(&quiet).is_empty(), "F53");
        }
        expire(&fixture, &pair);
        let before = pair.refresh.clone();
        let response = visit(&fixture, &mut pair).await;
        assert_eq!(set_cookies(&response).len(), 2);
        assert_ne!(pair.refresh, before);
        assert_eq!(generation(&store, &fixture, &pair).await, Some(expected));
    }
    assert_eq!(store.len(), 1, "F90: one row, however often");
}

// Rows: S42, F96.
#[tokio::test]
async fn nothing_in_the_store_can_be_presented() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    let records = store.list("alice").await.unwrap();
    let dump = format!("{:?} {:?} {:?}", records[0].salt, records[0].claims, records);
    for secret in [&pair.refresh, &pair.access] {
        assert!(!dump.contains(&**secret) && !dump.contains(&secret[..20]));
    }
}

// Rows: F02, S50.
#[tokio::test]
async fn a_request_with_the_old_tokens_gets_the_same_successor_within_the_reuse_interval() {
    let (fixture, store) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    expire(&fixture, &old);
    let new = old.after(&fixture.me(old.request()).await);
    for wait in [0, 5, 24] {
        fixture.pass(wait);
        let late = fixture.me(old.request()).await;
        assert_eq!(late.body(), "alice");
        assert_eq!(old.after(&late).refresh, new.refresh, "byte for byte");
    }
    assert_eq!(generation(&store, &fixture, &new).await, Some(1));
    assert_eq!(saw(&fixture, "ReuseDetected"), 0);
}

// Rows: F15.
#[tokio::test]
async fn a_lost_response_is_recovered_an_hour_later() {
    let (fixture, store) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    expire(&fixture, &old);
    let lost = old.after(&fixture.me(old.request()).await);
    fixture.pass(3600);
    let again = fixture.me(old.request()).await;
    assert_eq!(again.body(), "alice");
    assert_eq!(old.after(&again).refresh, lost.refresh);
    assert_eq!(generation(&store, &fixture, &lost).await, Some(1));
}

// Rows: F31, F34, F35, S44.
#[tokio::test]
async fn an_old_token_after_its_successor_was_presented_ends_this_session_alone() {
    for shown_by_access_token_alone in [false, true] {
        let (fixture, store) = Fixture::rotating();
        let thief = fixture.sign_in_pair("alice").await;
        let elsewhere = fixture.sign_in_pair("alice").await;
        expire(&fixture, &thief);
        let mut victim = thief.after(&fixture.me(thief.request()).await);
        // The successor is presented: by its access token in a fresh request, or by the refresh
        // token.
        if shown_by_access_token_alone {
            visit(&fixture, &mut victim).await;
            tokio::task::yield_now().await;
        } else {
            assert_eq!(fixture.me(victim.refresh_only()).await.body(), "alice");
        }
        fixture.pass(31);
        let stolen = fixture.me(thief.refresh_only()).await;
        assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);
        assert!(set_cookies(&stolen).is_empty(), "not a navigation: nothing is cleared");
        assert_eq!(saw(&fixture, "ReuseDetected"), 1);
        assert_eq!(fixture.me(victim.request()).await.status(), StatusCode::UNAUTHORIZED, "F35");
        assert_eq!(fixture.me(victim.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
        let mut elsewhere = elsewhere;
        visit(&fixture, &mut elsewhere).await;
        assert_eq!(store.len(), 1, "F34: the other session lives");
    }
}

// Rows: F32.
#[tokio::test]
async fn a_token_two_generations_old_is_reuse_even_within_the_reuse_interval() {
    let (fixture, _) = Fixture::rotating();
    let first = fixture.sign_in_pair("alice").await;
    expire(&fixture, &first);
    let second = first.after(&fixture.me(first.request()).await);
    expire(&fixture, &second);
    let third = second.after(&fixture.me(second.request()).await);
    assert_ne!(second.refresh, third.refresh);
    assert_eq!(fixture.me(first.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(saw(&fixture, "ReuseDetected"), 1);
}

// Rows: F33, S47.
#[tokio::test]
async fn after_a_sign_out_no_token_gets_an_answer() {
    let (fixture, store) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    expire(&fixture, &old);
    let new = old.after(&fixture.me(old.request()).await);
    let response = fixture
        .send(new.request(), |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        })
        .await;
    assert_eq!(new.after(&response), Pair::default(), "both cookies are deleted");
    fixture.pass(1);
    for request in [old.request(), new.request(), old.refresh_only(), new.refresh_only()] {
        let response = fixture.me(request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(set_cookies(&response).is_empty());
    }
    assert!(store.is_empty());
    assert_eq!(saw(&fixture, "ReuseDetected"), 0, "a sign-out is no reuse");
}

// Rows: F37.
#[tokio::test]
async fn tokens_ahead_of_a_restored_store_sign_no_user_out() {
    let (fixture, store) = Fixture::rotating();
    let mut pair = fixture.sign_in_pair("alice").await;
    let backup = store.list("alice").await.unwrap().remove(0);
    for _ in 0..3 {
        expire(&fixture, &pair);
        visit(&fixture, &mut pair).await;
    }
    // The backup is restored, and the client is three generations ahead.
    let row = store.load(backup.sid).await.unwrap().unwrap().record;
    store.restore(crate::store::SessionRecord { idle_expires: row.idle_expires, ..backup });
    expire(&fixture, &pair);
    visit(&fixture, &mut pair).await;
    assert_eq!(saw(&fixture, "AheadOfStore"), 1);
    assert_eq!(generation(&store, &fixture, &pair).await, Some(3), "the client's");
    expire(&fixture, &pair);
    visit(&fixture, &mut pair).await;
    assert_eq!(saw(&fixture, "ReuseDetected"), 0);
}

// Rows: F37.
#[tokio::test]
async fn a_failover_that_loses_a_rotation_hurts_no_race() {
    let (fixture, store) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    let before = store.list("alice").await.unwrap().remove(0);
    expire(&fixture, &old);
    let new = old.after(&fixture.me(old.request()).await);
    store.restore(before);
    // The tab with the successor arrives first, and an earlier request arrives late.
    let ahead = fixture.me(new.refresh_only()).await;
    assert_eq!(ahead.body(), "alice");
    assert_eq!(new.after(&ahead).refresh, new.refresh, "it keeps what it has");
    let late = fixture.me(old.request()).await;
    assert_eq!(late.body(), "alice");
    assert_eq!(old.after(&late).refresh, new.refresh, "the very same");
    assert_eq!(
        (saw(&fixture, "ReuseDetected"), generation(&store, &fixture, &new).await),
        (0, Some(1))
    );
}

// Rows: F01, F09.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_racers_get_one_successor() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let service = fixture.service(|session, _| async move { show_user(&session) });
    let racers: Vec<_> =
        (0..1000).map(|_| tokio::spawn(service.clone().oneshot(pair.request()))).collect();
    let mut successors = BTreeSet::new();
    for racer in racers {
        let response = racer.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK, "F07: no response may be a 401");
        successors.insert(pair.after(&response).refresh);
    }
    assert_eq!(successors.len(), 1, "whichever arrives last, the jar holds the same");
    assert_eq!(store.list("alice").await.unwrap()[0].generation, 1);
}

// Rows: F03.
#[tokio::test]
async fn three_nodes_with_skewed_clocks_rotate_once() {
    let (first, store) = Fixture::rotating();
    let skewed = |by: i64| {
        let now = first.clock.now().as_secs().saturating_add_signed(by);
        let clock = crate::ManualClock::starting_at(crate::Timestamp::from_secs(now));
        Fixture::node(&clock, &store, |b| b)
    };
    let (ahead, behind) = (skewed(20), skewed(-20));
    let pair = first.sign_in_pair("alice").await;
    for fixture in [&first, &ahead, &behind] {
        fixture.pass(900);
    }
    let mut successors = BTreeSet::new();
    for _ in 0..3 {
        for fixture in [&first, &ahead, &behind] {
            let response = fixture.me(pair.refresh_only()).await;
            assert_eq!(response.body(), "alice");
            successors.insert(pair.after(&response).refresh);
        }
    }
    assert_eq!(successors.len(), 1);
}

// Rows: F05, F20.
#[tokio::test]
async fn a_rotation_that_loses_derives_the_winners_bytes() {
    // Both nodes have read the row before either of them writes, because the gate holds them in the
    // hook.
    let store_clock = crate::ManualClock::starting_at(START);
    let store = MemoryStore::new().clock(store_clock.clone());
    let (open, gate) = tokio::sync::watch::channel(0_u32);
    let node = || {
        let gate = gate.clone();
        Fixture::node(&store_clock, &store, |b| {
            b.revalidate_with(move |_| {
                let mut gate = gate.clone();
                async move {
                    gate.wait_for(|open| *open > 0).await.map_err(|_| "gone")?;
                    Ok::<_, &str>(Revalidated::Keep)
                }
            })
        })
    };
    let (one, other) = (node(), node());
    let pair = one.sign_in_pair("alice").await;
    expire(&one, &pair);
    let (a, b, ()) = tokio::join!(one.me(pair.request()), other.me(pair.request()), async {
        tokio::task::yield_now().await;
        open.send(1).unwrap();
    });
    assert_eq!((a.status(), b.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(pair.after(&a).refresh, pair.after(&b).refresh);
    assert_eq!(store.list("alice").await.unwrap()[0].generation, 1);
}

// Rows: F22.
#[tokio::test]
async fn cookies_that_never_stick_cost_one_generation() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    for _ in 0..200 {
        fixture.pass(60);
        let response = fixture.me(pair.request()).await;
        assert_eq!(response.body(), "alice");
    }
    assert_eq!(store.list("alice").await.unwrap()[0].generation, 1);
}

// Rows: F36.
#[tokio::test]
async fn an_access_token_outlives_its_rotation() {
    let (fixture, _) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    fixture.pass_until_left(&old.access, 100);
    let response = fixture
        .send(old.request(), |session, _| async move {
            session.refresh().await.unwrap();
            empty()
        })
        .await;
    assert_ne!(old.after(&response).refresh, old.refresh);
    assert_eq!(fixture.me(cookie(&old.access)).await.body(), "alice", "a request under way");
}

#[tokio::test]
async fn within_the_reuse_interval_only_the_access_token_is_new() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    let response = fixture
        .send(pair.request(), |session, _| async move {
            session.refresh().await.unwrap();
            empty()
        })
        .await;
    let after = pair.after(&response);
    assert_eq!(after.refresh, pair.refresh);
    assert_ne!(after.access, pair.access);
    assert_eq!(generation(&store, &fixture, &after).await, Some(0));
}

// Rows: S11.
#[tokio::test]
async fn a_refresh_token_alone_keeps_a_user_signed_in() {
    let (fixture, _) = Fixture::rotating();
    for access in ["", "x", "a.b.c"] {
        let mut pair = fixture.sign_in_pair("alice").await;
        expire(&fixture, &pair);
        pair.access = access.into();
        visit(&fixture, &mut pair).await;
        assert!(pair.access.len() > 100, "a retired signing key signs no user out");
    }
}

// Rows: S55.
#[tokio::test]
async fn an_access_token_alone_never_yields_a_refresh_token() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    assert_eq!(fixture.me(cookie(&pair.access)).await.body(), "alice");
    expire(&fixture, &pair);
    fixture.pass(30);
    let response = fixture.me(cookie(&pair.access)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().get("set-cookie").is_none());
    assert_eq!(store.list("alice").await.unwrap()[0].generation, 0);
}
