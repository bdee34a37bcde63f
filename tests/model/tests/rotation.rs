//! The exhaustive search and the live simulation, within the time of a test. `examples/search.rs` and
//! `examples/schedules.rs` go further.

use everfresh_model::live::{Plan, Played, Tally, Violation, play, trace};
use everfresh_model::{Bounds, Oracle, search};

// Rows: F09, F15.
#[test]
fn no_order_of_events_signs_an_honest_browser_out() {
    let bounds = Bounds { in_flight: 2, ticks: 14, states: 3_000_000 };
    let found = search(&mut Oracle::new(), bounds);
    if let Some(trace) = &found.trace {
        panic!("signed out after {} states:\n{}", found.states, trace.join("\n"));
    }
    assert!(found.complete, "{found:?}");
    assert!(found.states > 100_000, "{found:?}");
    assert!(found.asked > 100, "the engine was asked: {found:?}");
}

/// Plays, and keeps every promise.
fn kept(plan: Plan) -> Tally {
    let Played { tally, failed } = play(plan);
    if let Some(failed) = failed {
        panic!("{tally:?}\n{failed}");
    }
    assert_eq!((tally.schedules, tally.broken), (plan.schedules, 0));
    tally
}

// Rows: F02, F03, F08, F12, F15, F33, F37, F49, F62, F80, S54.
#[test]
fn no_honest_client_is_signed_out() {
    let tally = kept(Plan { strict: true, refreshing: true, ..Plan::new(1, 450, false) });
    eprintln!("{tally:#?}");
    assert!(tally.rotations <= tally.expiries, "one generation per expiry at the most");
    let Tally { crashes, outages, unavailable, key_switches, restores, ahead_of_store, .. } = tally;
    for happened in [crashes, outages, unavailable, key_switches, restores, ahead_of_store] {
        assert!(happened > 50, "{tally:#?}");
    }
    assert!(tally.rotations > 3_000 && tally.lost > 3_000, "{tally:#?}");
    assert_eq!(tally.noticed + tally.unnoticed() + tally.worthless, 0, "there is no thief");
}

// Rows: F31, F32, F34, F35, S44.
#[test]
fn a_thief_is_noticed_at_once_and_the_other_device_stays_signed_in() {
    let tally = kept(Plan { refreshing: true, ..Plan::new(1, 450, true) });
    eprintln!("{tally:#?}");
    let unnoticed = tally.unnoticed() + tally.worthless;
    assert_eq!(tally.noticed + unnoticed, tally.schedules, "every theft is accounted for");
    for happened in [tally.noticed, tally.lock_step, tally.took_over, tally.let_go] {
        assert!(happened > 20, "{tally:#?}");
    }
}

#[test]
fn a_network_too_slow_for_the_rules_is_shown_by_the_shortest_schedule() {
    // Three reuse intervals on the way.
    let plan = Plan { quarters: 12, ..Plan::new(1, 50, false) };
    let Played { tally, failed } = play(plan);
    let failed = failed.expect("a client is signed out");
    assert!(tally.signed_out > 0 && failed.wrong == Violation::SignedOut, "{tally:?}");
    let whole = trace(Plan { seed: failed.seed, ..plan });
    assert!(failed.trace.len() < whole.len() / 2, "it is short:\n{failed}");
    assert!(failed.to_string().starts_with(&format!("seed {}: SignedOut", failed.seed)));
}

#[test]
fn a_schedule_is_the_same_each_time() {
    for seed in 1..20 {
        for thief in [false, true] {
            let plan = Plan::new(seed, 1, thief);
            let told = trace(plan);
            assert!(told.len() > 100);
            assert_eq!(told, trace(plan));
        }
    }
    assert_ne!(trace(Plan::new(1, 1, false))[1..], trace(Plan::new(2, 1, false))[1..]);
}
