//! The simulation of upstream tokens, within the time of a test. `examples/upstream.rs` goes further.

use everfresh_model::upstream::{Explored, Plan, ProviderKind, Violation, explore, wander};

const PROVIDERS: [ProviderKind; 4] =
    [ProviderKind::Strict, ProviderKind::Grace, ProviderKind::Lenient, ProviderKind::Fixed];

fn kept(explored: Explored) -> Explored {
    if let Some(failed) = &explored.failed {
        panic!("after {} schedules: {failed}", explored.tally.schedules);
    }
    explored
}

// Rows: S57.
#[test]
fn no_order_of_events_sends_a_token_twice_or_loses_one() {
    for kind in PROVIDERS {
        let plan = Plan { asks: 1, faults: 1, passes: 1, steps: 12, ..Plan::narrow(kind) };
        let explored = kept(explore(plan, 100_000));
        assert!(explored.complete, "{kind:?}: {explored:?}");
        assert!(explored.tally.schedules > 100, "{kind:?}: {explored:?}");
    }
}

// Rows: S57.
#[test]
fn no_long_schedule_by_chance_sends_a_token_twice_or_loses_one() {
    for kind in PROVIDERS {
        let tally = kept(wander(Plan::wide(kind), 1, 300)).tally;
        assert_eq!(tally.schedules, 300);
        assert!(tally.published > 100 && tally.served > 200 && tally.signed_out > 10, "{tally:?}");
        let doubts = if kind == ProviderKind::Fixed { 0 } else { 10 };
        assert!(tally.in_doubt >= doubts, "{tally:?}");
    }
}

/// The documented limit: a server that processes a refresh and answers 500 loses the session.
#[test]
fn work_done_and_answered_with_500_is_reported() {
    let plan = Plan { broken: true, sign_out: false, ..Plan::wide(ProviderKind::Strict) };
    let tally = kept(wander(plan, 1, 300)).tally;
    assert!(tally.lost > 10, "{tally:?}");
}

#[test]
fn a_schedule_that_breaks_a_promise_is_printed_in_short_form() {
    // A server that accepts each token once, configured as if its tokens did not rotate.
    let plan = Plan { sign_out: false, ..Plan::narrow(ProviderKind::Mistaken) };
    let failed = explore(plan, 1_000_000).failed.expect("a token is sent twice");
    assert_eq!(failed.wrong, Violation::Reused);
    assert!(failed.trace.len() < 20, "{failed}");
    assert!(failed.to_string().contains("A's refresh 1 reaches the other server"), "{failed}");
}
