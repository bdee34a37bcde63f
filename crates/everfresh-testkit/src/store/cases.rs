//! The cases. [`store_suite!`](crate::store_suite) makes a test of each.

use std::time::Duration;

use everfresh::store::{Loaded, Rotation, SessionRecord, SessionStore};

use super::{Harness, id, next, session, with};

async fn row<H: Harness>(harness: &H, n: u8) -> Option<SessionRecord> {
    harness.store().load(id(n)).await.expect("a store that works").map(|loaded| loaded.record)
}

async fn loaded<H: Harness>(harness: &H, n: u8) -> Loaded {
    harness.store().load(id(n)).await.expect("a store that works").expect("a live session")
}

async fn rotate<H: Harness>(harness: &H, rotation: Rotation) -> bool {
    harness.store().rotate(rotation).await.expect("a store that works")
}

async fn create<H: Harness>(harness: &H, n: u8, subject: &str) {
    harness.store().create(session(n, subject)).await.expect("kept");
}

/// A sweep removes the given number of sessions, or none if the engine has removed them already.
async fn sweeps<H: Harness>(harness: &H, limit: usize, found: usize) {
    let swept = harness.store().sweep(limit).await.expect("no error");
    assert_eq!(swept, if H::KEEPS_ENDED_SESSIONS { found } else { 0 });
}

/// Checks every field.
pub async fn kept_entries_are_returned_unchanged<H: Harness>() {
    let harness = H::open().await;
    for n in 1..=2 {
        create(&harness, n, "alice").await;
        let Loaded { record, now, .. } = loaded(&harness, n).await;
        let expected = session(n, "alice").into_record(record.created_at);
        assert_eq!(record, expected);
        assert_eq!(record.rotated_at, record.created_at);
        assert!(!record.confirmed && record.generation == 0);
        assert!(now >= record.created_at && now.since(record.created_at) < Duration::from_secs(60));
    }
}

/// Quotes, NUL, line ends, other scripts, an empty text, and a long one.
// Rows: R27.
pub async fn text_of_any_kind_comes_back_whole<H: Harness>() {
    let harness = H::open().await;
    let large = "x".repeat(64 * 1024);
    for (n, text) in ["", "'; DROP TABLE sessions; --", "a\0b\r\n\u{1f600}\u{0}", "%_\\", &large]
        .into_iter()
        .enumerate()
    {
        let n = n as u8 + 1;
        let mut new = session(n, text);
        new.claims = format!("{{\"t\":{text:?}}}");
        new.attributes = [(text.to_owned(), text.to_owned())].into();
        harness.store().create(new.clone()).await.expect("kept");
        let record = loaded(&harness, n).await.record;
        assert_eq!(record, new.into_record(record.created_at));
        let listed = harness.store().list(text).await.expect("listed");
        assert_eq!(listed, [record]);
    }
}

/// Two users never share a session.
pub async fn an_id_is_taken_once<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    assert!(harness.store().create(session(1, "mallory")).await.is_err());
    assert_eq!(loaded(&harness, 1).await.record.subject, "alice");
}

/// Every operation on it fails or has no effect.
pub async fn an_unknown_session_is_none<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    assert_eq!(row(&harness, 9).await, None);
    assert!(!rotate(&harness, with(next(&record), |next| next.sid = id(9))).await);
    harness.store().confirm(id(9), 0, false).await.expect("no error");
    assert!(!harness.store().revoke(id(9)).await.expect("no error"));
    assert!(harness.store().list("mallory").await.expect("no error").is_empty());
    assert!(harness.store().revoke_subject("mallory", None).await.expect("no error").is_empty());
}

/// Checks generation, key, times and claims. A new generation is not confirmed.
pub async fn a_rotation_changes_only_the_generation_it_has_read<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    harness.store().confirm(id(1), 0, false).await.expect("confirmed");
    harness.pass(Duration::from_secs(2)).await;
    let Loaded { record, now, .. } = loaded(&harness, 1).await;
    assert!(record.confirmed);
    let claims = r#"{"n":"changed"}"#.to_owned();
    let rotation = with(next(&record), |next| next.claims = Some(claims.clone()));
    assert!(rotate(&harness, rotation).await);
    let mut expected = record.clone();
    (expected.generation, expected.key_id, expected.confirmed) = (1, 8, false);
    (expected.rotated_at, expected.idle_expires) = (now, now.plus(record.idle_lifetime));
    expected.claims = claims;
    assert_eq!(row(&harness, 1).await, Some(expected.clone()));
    assert!(rotate(&harness, with(next(&expected), |next| next.claims = None)).await);
    assert_eq!(row(&harness, 1).await.map(|row| row.claims), Some(expected.claims), "as they were");
}

/// F30: there is one successor.
pub async fn a_rotation_from_another_generation_changes_nothing<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    assert!(rotate(&harness, next(&record)).await);
    let after = row(&harness, 1).await;
    assert!(!rotate(&harness, next(&record)).await);
    assert!(!rotate(&harness, with(next(&record), |next| (next.from, next.to) = (2, 3))).await);
    assert_eq!(row(&harness, 1).await, after);
}

/// Re-anchoring.
pub async fn the_same_generation_is_returned_again_only_while_unconfirmed<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    harness.pass(Duration::from_secs(2)).await;
    let Loaded { record, now, .. } = loaded(&harness, 1).await;
    let again = with(next(&record), |next| {
        (next.to, next.key_id) = (record.generation, record.key_id);
    });
    assert!(rotate(&harness, again.clone()).await);
    let after = loaded(&harness, 1).await.record;
    assert_eq!(after, with(record, |record| record.rotated_at = now));
    harness.store().confirm(id(1), 0, false).await.expect("confirmed");
    assert!(!rotate(&harness, again).await);
    let last = loaded(&harness, 1).await.record;
    assert_eq!(last, with(after, |after| after.confirmed = true));
}

/// A late confirmation has no effect.
pub async fn only_the_current_generation_is_confirmed<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    assert!(rotate(&harness, next(&record)).await);
    for other in [0, 2] {
        harness.store().confirm(id(1), other, false).await.expect("no error");
        assert!(!loaded(&harness, 1).await.record.confirmed);
    }
    harness.store().confirm(id(1), 1, false).await.expect("no error");
    assert!(loaded(&harness, 1).await.record.confirmed);
}

/// F33, F80.
pub async fn a_revoked_session_is_missing_for_every_call<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    create(&harness, 2, "alice").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    assert!(harness.store().revoke(id(1)).await.expect("no error"));
    assert!(!harness.store().revoke(id(1)).await.expect("no error"), "once");
    assert_eq!(row(&harness, 1).await, None);
    assert!(!rotate(&harness, next(&record)).await);
    harness.store().confirm(id(1), 0, false).await.expect("no error");
    assert_eq!(row(&harness, 1).await, None);
    let left = harness.store().list("alice").await.expect("no error");
    assert_eq!(left.iter().map(|row| row.sid).collect::<Vec<_>>(), [id(2)]);
}

/// Row S52 of `tests/COVERAGE.md`.
pub async fn a_subject_is_revoked_but_for_one_session<H: Harness>() {
    let harness = H::open().await;
    for n in 1..=3 {
        create(&harness, n, "alice").await;
    }
    create(&harness, 4, "Alice").await;
    let mut revoked = harness.store().revoke_subject("alice", Some(id(2))).await.expect("no error");
    revoked.sort();
    assert_eq!(revoked, [id(1), id(3)]);
    assert!(row(&harness, 2).await.is_some() && row(&harness, 4).await.is_some());
    assert_eq!(harness.store().revoke_subject("alice", None).await.expect("no error"), [id(2)]);
    assert!(row(&harness, 4).await.is_some());
}

/// The list that a user sees.
pub async fn a_list_holds_the_live_sessions_of_one_subject_latest_first<H: Harness>() {
    let harness = H::open().await;
    for n in 1..=3 {
        create(&harness, n, "alice").await;
        harness.pass(Duration::from_secs(2)).await;
    }
    create(&harness, 4, "alice ").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    assert!(rotate(&harness, next(&record)).await);
    let listed = harness.store().list("alice").await.expect("no error");
    assert_eq!(listed.iter().map(|row| row.sid).collect::<Vec<_>>(), [id(1), id(3), id(2)]);
}

/// By the store's clock, and for every step.
pub async fn a_session_ends_when_idle<H: Harness>() {
    let harness = H::open().await;
    let mut short = session(1, "alice");
    short.idle_lifetime = Duration::from_secs(3);
    harness.store().create(short).await.expect("kept");
    create(&harness, 2, "alice").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    harness.pass(Duration::from_secs(4)).await;
    assert_eq!(row(&harness, 1).await, None);
    assert!(!rotate(&harness, next(&record)).await, "over is over");
    let listed = harness.store().list("alice").await.expect("no error");
    assert_eq!(listed.iter().map(|row| row.sid).collect::<Vec<_>>(), [id(2)]);
}

/// Row S48 of `tests/COVERAGE.md`.
pub async fn a_rotation_moves_the_idle_end_and_not_the_absolute_one<H: Harness>() {
    let harness = H::open().await;
    let mut short = session(1, "alice");
    short.absolute_lifetime = Duration::from_secs(6);
    short.idle_lifetime = Duration::from_secs(4);
    harness.store().create(short).await.expect("kept");
    let first = loaded(&harness, 1).await.record;
    harness.pass(Duration::from_secs(3)).await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    assert!(rotate(&harness, next(&record)).await);
    let second = loaded(&harness, 1).await.record;
    assert_eq!(second.absolute_expires, first.absolute_expires);
    assert_eq!(second.idle_expires, first.absolute_expires, "never past the absolute end");
    harness.pass(Duration::from_secs(4)).await;
    assert_eq!(row(&harness, 1).await, None);
}

/// F86: a rotation without user activity keeps the idle expiry. A confirmation with user activity
/// moves it.
// Rows: F86.
pub async fn only_user_activity_moves_the_idle_end<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    let first = loaded(&harness, 1).await.record;
    harness.pass(Duration::from_secs(2)).await;
    assert!(rotate(&harness, with(next(&first), |next| next.user_activity = false)).await);
    let rotated = loaded(&harness, 1).await.record;
    assert_eq!((rotated.generation, rotated.idle_expires), (1, first.idle_expires));
    harness.store().confirm(id(1), 1, false).await.expect("confirmed");
    assert_eq!(loaded(&harness, 1).await.record.idle_expires, first.idle_expires);
    harness.store().confirm(id(1), 0, true).await.expect("no error");
    assert_eq!(loaded(&harness, 1).await.record.idle_expires, first.idle_expires, "an old sight");
    harness.store().confirm(id(1), 1, true).await.expect("confirmed again");
    let Loaded { record, now, .. } = loaded(&harness, 1).await;
    let expected = now.plus(first.idle_lifetime);
    assert!(record.idle_expires > first.idle_expires && record.idle_expires <= expected);
    assert!(record.confirmed && record.rotated_at == rotated.rotated_at);
}

/// User activity never moves the idle expiry past the absolute one, and never revives an ended
/// session.
pub async fn user_activity_extends_no_session_beyond_its_limit<H: Harness>() {
    let harness = H::open().await;
    let mut short = session(1, "alice");
    short.absolute_lifetime = Duration::from_secs(6);
    short.idle_lifetime = Duration::from_secs(4);
    harness.store().create(short).await.expect("kept");
    let first = loaded(&harness, 1).await.record;
    harness.pass(Duration::from_secs(3)).await;
    harness.store().confirm(id(1), 0, true).await.expect("confirmed");
    assert_eq!(loaded(&harness, 1).await.record.idle_expires, first.absolute_expires);
    harness.pass(Duration::from_secs(4)).await;
    harness.store().confirm(id(1), 0, true).await.expect("no error");
    assert_eq!(row(&harness, 1).await, None);
    sweeps(&harness, 10, 1).await;
}

/// Row S53 of `tests/COVERAGE.md`.
// Rows: S53.
pub async fn a_sweep_is_bounded_and_removes_only_ended_sessions<H: Harness>() {
    let harness = H::open().await;
    for n in 1..=10 {
        let mut new = session(n, "alice");
        if n <= 6 {
            new.idle_lifetime = Duration::from_secs(3);
        }
        harness.store().create(new).await.expect("kept");
    }
    sweeps(&harness, 100, 0).await;
    harness.pass(Duration::from_secs(4)).await;
    sweeps(&harness, 4, 4).await;
    sweeps(&harness, 100, 2).await;
    sweeps(&harness, 100, 0).await;
    assert_eq!(harness.store().list("alice").await.expect("no error").len(), 4);
}

/// More than 32 bits.
pub async fn generations_may_be_large<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    let Loaded { record, .. } = loaded(&harness, 1).await;
    let large = 1 << 62;
    assert!(
        rotate(&harness, with(next(&record), |next| (next.to, next.key_id) = (large, u32::MAX)))
            .await
    );
    let record = loaded(&harness, 1).await.record;
    assert_eq!((record.generation, record.key_id), (large, u32::MAX));
    harness.store().confirm(id(1), large, false).await.expect("no error");
    assert!(loaded(&harness, 1).await.record.confirmed);
}

/// F30, row S43 of `tests/COVERAGE.md`: 32 concurrent rotations, 20 rounds.
pub async fn of_many_rotations_at_once_one_succeeds<H: Harness>() {
    let harness = H::open().await;
    create(&harness, 1, "alice").await;
    for round in 0..20 {
        let Loaded { record, .. } = loaded(&harness, 1).await;
        assert_eq!(record.generation, round);
        let racers: Vec<_> = (0..32)
            .map(|_| {
                let (store, rotation) = (harness.store().clone(), next(&record));
                tokio::spawn(async move { store.rotate(rotation).await.expect("no error") })
            })
            .collect();
        let mut won = 0;
        for racer in racers {
            won += u32::from(racer.await.expect("no panic"));
        }
        assert_eq!(won, 1, "round {round}");
    }
}

/// F80, row S47 of `tests/COVERAGE.md`.
pub async fn after_a_revocation_was_acknowledged_nothing_succeeds<H: Harness>() {
    let harness = H::open().await;
    for round in 1..=20 {
        create(&harness, round, "alice").await;
        let Loaded { record, .. } = loaded(&harness, round).await;
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (store, rotation) = (harness.store().clone(), next(&record));
                tokio::spawn(async move { store.rotate(rotation).await.expect("no error") })
            })
            .collect();
        assert!(harness.store().revoke(id(round)).await.expect("no error"));
        // The session is gone, in any order of the operations.
        assert_eq!(row(&harness, round).await, None);
        for racer in racers {
            racer.await.expect("no panic");
        }
        assert_eq!(row(&harness, round).await, None);
        assert!(!rotate(&harness, next(&record)).await);
    }
}
