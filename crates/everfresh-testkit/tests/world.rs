//! The exhaustive search, as far as a test's time goes. `examples/search.rs` goes further.

use everfresh_testkit::world::{Bounds, Server, random, search};

#[test]
fn f09_f15_no_order_of_events_signs_an_honest_browser_out() {
    let bounds = Bounds { in_flight: 2, ticks: 14, states: 3_000_000 };
    let found = search(&mut Server::new(), bounds);
    if let Some(trace) = &found.trace {
        panic!("signed out after {} states:\n{}", found.states, trace.join("\n"));
    }
    assert!(found.complete, "{found:?}");
    assert!(found.states > 100_000, "{found:?}");
    assert!(found.asked > 100, "the engine was asked: {found:?}");
}

#[test]
fn f12_f31_ten_thousand_random_schedules_with_and_without_a_thief() {
    let mut server = Server::new();
    let honest = random(&mut server, 1, 10_000, 300, false);
    assert_eq!((honest.schedules, honest.signed_out), (10_000, 0), "{honest:?}");
    assert!(honest.rotations > 10_000, "{honest:?}");
    assert!(
        honest.rotations <= honest.expiries,
        "one generation per overlap at the most: {honest:?}"
    );
    let robbed = random(&mut server, 1, 10_000, 300, true);
    eprintln!("honest: {honest:?}\nrobbed: {robbed:?}");
    assert!(robbed.noticed > 9_000, "{robbed:?}");
}
