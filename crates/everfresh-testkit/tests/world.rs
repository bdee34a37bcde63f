//! The exhaustive search, as far as a test's time goes. `examples/search.rs` goes further.

use everfresh_testkit::world::{Bounds, Server, search};

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
