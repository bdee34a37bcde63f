//! The cases of a store that keeps tokens of another server in its rows.
//! [`upstream_suite!`](crate::upstream_suite) makes a test of each.

use std::time::Duration;

use everfresh::Timestamp;
use everfresh::store::{
    NewUpstreamTokens, Publication, Reservation, SessionRecord, SessionStore as _,
    StoredUpstreamTokens, UpstreamTokenStore,
};

use super::{Harness, id, next, session, with};

const HOUR: Duration = Duration::from_secs(3600);

const THEN: Timestamp = Timestamp::from_secs(1_000_000_000);

fn tokens(n: u8) -> NewUpstreamTokens {
    NewUpstreamTokens::new(vec![n, 0, 255, n], HOUR / 2)
}

/// A session backed by upstream tokens.
async fn open<H: Harness<Store: UpstreamTokenStore>>() -> H {
    let harness = H::open().await;
    let new = with(session(1, "alice"), |new| new.upstream = Some(tokens(1)));
    harness.store().create(new).await.expect("kept");
    harness
}

async fn record<H: Harness>(harness: &H) -> SessionRecord {
    harness.store().load(id(1)).await.expect("no error").expect("there").record
}

async fn upstream<H: Harness>(harness: &H) -> StoredUpstreamTokens {
    *record(harness).await.upstream.expect("upstream tokens")
}

/// A reservation. The one that it replaces, if any, was made in the year 2001.
fn reservation(seq: u64, n: u8, replaces: Option<u8>) -> Reservation {
    let replaces = replaces.map(|n| ([n; 16], THEN));
    with(Reservation::new(id(1), seq, [n; 16]), |new| new.replaces = replaces)
}

fn publication(seq: u64, n: u8) -> Publication {
    let claims = (n < 10).then(|| format!(r#"{{"n":{n}}}"#));
    with(Publication::new(id(1), seq, tokens(n)), |new| new.claims = claims)
}

async fn claims<H: Harness<Store: UpstreamTokenStore>>(
    harness: &H,
    reservation: Reservation,
) -> bool {
    harness.store().reserve(reservation).await.expect("no error")
}

async fn releases<H: Harness<Store: UpstreamTokenStore>>(
    harness: &H,
    reservation: Reservation,
) -> bool {
    harness.store().release(reservation).await.expect("no error")
}

async fn publishes<H: Harness<Store: UpstreamTokenStore>>(harness: &H, seq: u64, n: u8) -> bool {
    harness.store().publish(publication(seq, n)).await.expect("no error")
}

/// Unchanged, with times of the store's clock.
pub async fn upstream_tokens_are_returned_unchanged<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    let record = record(&harness).await;
    let upstream = *record.upstream.clone().expect("upstream tokens");
    assert_eq!(upstream, tokens(1).into_stored(record.created_at));
    assert_eq!(harness.store().list("alice").await.expect("no error"), [record]);
    harness.store().create(session(2, "alice")).await.expect("kept");
    let plain = harness.store().load(id(2)).await.expect("no error").expect("there");
    assert_eq!(plain.record.upstream, None);
}

/// Only one of several nodes sends a token.
pub async fn a_token_is_reserved_once<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    harness.pass(Duration::from_secs(2)).await;
    assert!(!claims(&harness, reservation(1, 7, None)).await, "other tokens");
    assert!(claims(&harness, reservation(0, 7, None)).await);
    let after = upstream(&harness).await;
    assert_eq!((after.reservation, after.tries, after.seq), (Some([7; 16]), 1, 0));
    assert!(after.reserved_at > record(&harness).await.created_at, "by the store's clock");
    assert!(!claims(&harness, reservation(0, 8, None)).await);
    assert!(!claims(&harness, reservation(0, 7, None)).await, "not even by the same one");
    assert!(!claims(&harness, reservation(0, 8, Some(9))).await, "over a claim that is not there");
    assert_eq!(upstream(&harness).await, after, "and nothing changed");
    assert!(claims(&harness, reservation(0, 8, Some(7))).await, "over the claim that was seen");
    assert!(!claims(&harness, reservation(0, 9, Some(7))).await, "once");
    assert_eq!(upstream(&harness).await.tries, 2);
}

/// Only the owner of a reservation can release it.
pub async fn a_reservation_is_released_by_its_owner_alone<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    assert!(!releases(&harness, reservation(0, 7, None)).await, "there is none");
    assert!(claims(&harness, reservation(0, 7, None)).await);
    assert!(!releases(&harness, reservation(0, 8, None)).await);
    assert!(!releases(&harness, reservation(1, 7, None)).await);
    assert!(releases(&harness, reservation(0, 7, None)).await);
    let free = upstream(&harness).await;
    assert_eq!((free.tries, free.reservation), (0, None));
    assert!(!releases(&harness, reservation(0, 7, None)).await, "once");
    // A released second attempt leaves the first one in doubt.
    assert!(
        claims(&harness, reservation(0, 7, None)).await
            && claims(&harness, reservation(0, 8, Some(7))).await
    );
    assert!(!releases(&harness, reservation(0, 7, None)).await);
    assert!(releases(&harness, reservation(0, 8, Some(7))).await);
    let first = upstream(&harness).await;
    assert_eq!((first.tries, first.reservation), (1, Some([7; 16])));
    assert_eq!(first.reserved_at, THEN, "as old as it was, since a grace counts from there");
    assert!(!claims(&harness, reservation(0, 9, None)).await, "it was sent once, all the same");
}

/// Only the caller that ends a session gets its tokens.
pub async fn the_end_of_a_session_gives_its_row<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    assert!(publishes(&harness, 0, 2).await);
    let before = record(&harness).await;
    let (once, twice) = (harness.store().end(id(1)).await, harness.store().end(id(1)).await);
    let rows = [once.expect("no error"), twice.expect("no error")];
    assert_eq!(rows.iter().flatten().collect::<Vec<_>>(), [&before], "once, and as it was");
    assert!(harness.store().load(id(1)).await.expect("no error").is_none());
    assert!(!publishes(&harness, 1, 3).await);
    assert_eq!(harness.store().list("alice").await.expect("no error"), []);
}

/// A late answer counts, and it counts once.
pub async fn a_publication_counts_without_the_reservation<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    let before = record(&harness).await;
    assert!(claims(&harness, reservation(0, 7, None)).await);
    assert!(claims(&harness, reservation(0, 8, Some(7))).await);
    harness.pass(Duration::from_secs(2)).await;
    assert!(publishes(&harness, 0, 2).await, "no fence but the sequence");
    let now = harness.store().load(id(1)).await.expect("no error").expect("there").now;
    let expected = with(tokens(2).into_stored(now), |tokens| tokens.seq = 1);
    assert_eq!(upstream(&harness).await, expected);
    let after = record(&harness).await;
    assert_eq!(after.claims, r#"{"n":2}"#);
    assert_eq!((after.generation, after.rotated_at), (before.generation, before.rotated_at));
    assert!(!publishes(&harness, 0, 3).await, "once");
    assert!(!releases(&harness, reservation(0, 8, None)).await);
    assert!(claims(&harness, reservation(1, 9, None)).await, "the new ones are free");
    assert_eq!(upstream(&harness).await.sealed, tokens(2).sealed);
    assert!(publishes(&harness, 1, 10).await);
    assert_eq!(record(&harness).await.claims, r#"{"n":2}"#, "as they were");
}

/// A rotation of the handle and a change of the tokens don't disturb each other.
pub async fn a_rotation_keeps_the_upstream_tokens<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    assert!(claims(&harness, reservation(0, 7, None)).await);
    let before = upstream(&harness).await;
    let rotation = next(&record(&harness).await);
    assert!(harness.store().rotate(rotation).await.expect("no error"));
    harness.store().confirm(id(1), 1, true).await.expect("no error");
    assert_eq!(upstream(&harness).await, before);
    assert!(publishes(&harness, 0, 2).await);
    assert_eq!(record(&harness).await.generation, 1);
}

/// Every operation fails for a session that is signed out, expired, unknown, or without tokens.
pub async fn without_tokens_nothing_is_reserved<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = H::open().await;
    assert!(!claims(&harness, reservation(0, 7, None)).await);
    harness.store().create(session(1, "alice")).await.expect("kept");
    assert!(!claims(&harness, reservation(0, 7, None)).await);
    assert!(!publishes(&harness, 0, 2).await);
    assert_eq!(record(&harness).await.upstream, None);

    let harness = open::<H>().await;
    assert!(claims(&harness, reservation(0, 7, None)).await);
    assert!(harness.store().revoke(id(1)).await.expect("no error"));
    assert!(!publishes(&harness, 0, 2).await, "signed out meanwhile");
    assert!(!releases(&harness, reservation(0, 7, None)).await);

    let harness = open::<H>().await;
    harness.pass(HOUR * 2).await;
    assert!(!claims(&harness, reservation(0, 7, None)).await, "idle for too long");
    assert!(!publishes(&harness, 0, 2).await);
}

/// 32 racers, 20 rounds.
pub async fn of_many_concurrent_reservations_one_succeeds<H: Harness<Store: UpstreamTokenStore>>() {
    let harness = open::<H>().await;
    for round in 0..20 {
        let racers: Vec<_> = (0..32)
            .map(|n| {
                let (store, reservation) =
                    (harness.store().clone(), reservation(round, n + 1, None));
                tokio::spawn(async move { store.reserve(reservation).await.expect("no error") })
            })
            .collect();
        let mut won = 0;
        for racer in racers {
            won += u32::from(racer.await.expect("no panic"));
        }
        assert_eq!(won, 1, "round {round}");
        let racers: Vec<_> = (0..8)
            .map(|n| {
                let (store, new) = (harness.store().clone(), publication(round, n));
                tokio::spawn(async move { store.publish(new).await.expect("no error") })
            })
            .collect();
        let mut published = 0;
        for racer in racers {
            published += u32::from(racer.await.expect("no panic"));
        }
        assert_eq!(published, 1, "round {round}");
        assert_eq!(upstream(&harness).await.seq, round + 1);
    }
}

/// Defines one test for each case, for a [`Harness`] whose store is a [`UpstreamTokenStore`].
#[macro_export]
macro_rules! upstream_suite {
    ($harness:ty) => {
        $crate::store_suite!($harness; upstream:
            upstream_tokens_are_returned_unchanged
            a_token_is_reserved_once
            a_reservation_is_released_by_its_owner_alone
            the_end_of_a_session_gives_its_row
            a_publication_counts_without_the_reservation
            a_rotation_keeps_the_upstream_tokens
            without_tokens_nothing_is_reserved
            of_many_concurrent_reservations_one_succeeds
        );
    };
}
