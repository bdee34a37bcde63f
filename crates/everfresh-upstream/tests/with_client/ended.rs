//! Sessions that ended, here or at the other server, and late requests.

use std::time::Duration;

use everfresh::{Keys, ManualClock, SessionStatus, TrustedIssuer};
use everfresh_upstream::Replay;

use crate::fixture::*;

// Rows: H1.
#[tokio::test]
async fn a_spent_cookie_is_worth_what_the_other_server_says_and_no_more() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    let first = fixture.sealed();
    fixture.pass(LIFE);
    assert_eq!(fixture.look().await.status, SessionStatus::Present);
    assert_ne!(fixture.sealed(), first);
    fixture.sign_out().await;
    for hours in [2, 22, 240, 360] {
        let calls = issuer.calls();
        fixture.clock.advance(Duration::from_secs(hours * 3600));
        let visit = fixture.thief(&first).look().await;
        assert_eq!(visit.status, SessionStatus::Rejected, "{hours} h later");
        assert!(visit.set.is_empty(), "no token comes of it");
        assert_eq!(issuer.calls(), calls + 1, "the other server is asked, and says no");
    }
}

// Rows: H1.
#[tokio::test]
async fn a_disabled_account_is_refused_at_the_next_expiry_with_every_copy_of_the_cookie() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    let first = fixture.sealed();
    fixture.pass(LIFE);
    assert_eq!(fixture.look().await.status, SessionStatus::Present);
    fixture.pass(31);
    issuer.good.lock().unwrap().clear();
    // With a used copy and with the latest one, on a node that was started afterwards.
    let fresh = Fixture::new(issuer.sealed(), &clock);
    for (node, sealed) in [(&fixture, &first), (&fresh, &fixture.sealed())] {
        node.pass(LIFE);
        let visit = node.thief(sealed).look().await;
        assert_eq!((visit.status, visit.set.len()), (SessionStatus::Rejected, 0));
    }
}

// Rows: L4.
#[tokio::test]
async fn a_sign_out_counts_at_once_for_every_cookie_of_the_session() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    let first = fixture.sealed();
    fixture.pass(LIFE);
    assert_eq!(fixture.look().await.status, SessionStatus::Present);
    let latest = fixture.sealed();
    // The tokens stay valid at the other server, so only this node refuses the session.
    issuer.revoked.lock().unwrap().clear();
    fixture.sign_out().await;
    issuer.good.lock().unwrap().push("r1".into());
    issuer.good.lock().unwrap().push("r0".into());
    let calls = issuer.calls();
    for sealed in [&first, &latest] {
        for _ in 0..3 {
            let visit = fixture.thief(sealed).look().await;
            assert_eq!((visit.status, visit.set.len()), (SessionStatus::Rejected, 0));
            fixture.pass(LIFE);
        }
    }
    assert_eq!(issuer.calls(), calls, "and no call is made for them");
}

// Rows: L4.
#[tokio::test]
async fn a_session_that_the_other_server_ended_is_not_refreshed_again() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut fixture = Fixture::new(issuer.sealed(), &clock);
    fixture.sign_in().await;
    fixture.pass(LIFE);
    issuer.good.lock().unwrap().clear();
    for _ in 0..20 {
        assert_eq!(fixture.look().await.status, SessionStatus::Rejected);
        fixture.pass(60);
    }
    assert_eq!(issuer.calls(), 1);
}

// Rows: H4.
#[tokio::test]
async fn an_access_token_that_comes_too_late_forces_no_sign_in() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let keys = Keys::hs256(OTHER_SECRET).unwrap();
    let read = TrustedIssuer::new(keys, "https://id.example", "app");
    let upstream = issuer.upstream().replay(Replay::Always).access_tokens_by(read);
    let mut fixture = Fixture::new(upstream.sealed_in_cookies(), &clock);
    fixture.sign_in().await;
    issuer.fails(Fault::Late);
    fixture.pass(LIFE + LEEWAY);
    let visit = fixture.look().await;
    assert!(matches!(visit.status, SessionStatus::Unavailable { .. }), "{:?}", visit.status);
    assert!(visit.set.is_empty());
    issuer.fails(Fault::Nothing);
    fixture.pass(60);
    assert_eq!(fixture.look().await.status, SessionStatus::Present, "nothing was lost by it");
}
