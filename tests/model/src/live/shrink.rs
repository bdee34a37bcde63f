//! Shortens a schedule that breaks a promise.

use tokio::runtime::Runtime;

use super::check::Violation;
use super::event::{Event, EventKind, Pick};
use super::go;
use super::setup::Setup;

/// Leaves out every event that is not needed to break the same promise, and simplifies the others.
pub(super) fn shrink(
    runtime: &Runtime,
    setup: Setup,
    events: Vec<Event>,
    wrong: Violation,
) -> Vec<Event> {
    // The events up to the violation, each with the request that it applies to; `None` if no
    // promise is broken.
    let breaks = |events: &[Event]| {
        let (simulation, broken) = runtime.block_on(go(setup, events, false));
        (broken?.wrong == wrong).then_some(simulation.did)
    };
    let Some(mut events) = breaks(&events) else { return events };
    loop {
        let before = events.len();
        leave_out(&mut events, &breaks);
        simplify(&mut events, &breaks);
        if events.len() == before {
            return events;
        }
    }
}

/// Leaves out ever shorter stretches of events.
fn leave_out(events: &mut Vec<Event>, breaks: &impl Fn(&[Event]) -> Option<Vec<Event>>) {
    let mut size = events.len();
    while size > 0 {
        let mut at = 0;
        while at < events.len() {
            let mut fewer = events.clone();
            fewer.drain(at..(at + size).min(events.len()));
            match breaks(&fewer) {
                Some(fewer) => *events = fewer,
                None => at += size,
            }
        }
        size /= 2;
    }
}

/// Simplifies events: a short wait may replace a night's sleep with its requests from every tab,
/// and the simplest pick may do as well.
fn simplify(events: &mut [Event], breaks: &impl Fn(&[Event]) -> Option<Vec<Event>>) {
    for at in 0..events.len() {
        let kept = events[at];
        let what = if kept.what == EventKind::Sleep { EventKind::Tick } else { kept.what };
        for pick in [Pick(0), Pick(1), Pick(u32::MAX)] {
            events[at] = Event { what, pick, ..kept };
            if breaks(events).is_some() {
                break;
            }
            events[at] = kept;
        }
    }
}
