//! Searches every order of events around a rotating session, with the real engine.
//!
//! Run with: `cargo run --release -p everfresh-model --example search -- 3 14`
//! (requests in flight, ticks)

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::process::ExitCode;

use everfresh_model::{Bounds, Oracle, search};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse());
    let (Ok(in_flight), Ok(ticks)) =
        (numbers.next().unwrap_or(Ok(3)), numbers.next().unwrap_or(Ok(14)))
    else {
        eprintln!(
            "search: want two whole numbers: requests in flight (1 to 3) and ticks (1 to 120)"
        );
        return ExitCode::from(2);
    };
    let bounds = Bounds {
        in_flight: usize::from(in_flight).clamp(1, 3),
        ticks: ticks.clamp(1, 120),
        states: 60_000_000,
    };
    let found = search(&mut Oracle::new(), bounds);
    let what = if found.complete { "all of them" } else { "and then stopped" };
    println!(
        "{bounds:?}: {} states, {what}; {} questions to the engine",
        found.states, found.asked
    );
    match found.trace {
        None => {
            println!("0 honest browsers signed out");
            ExitCode::SUCCESS
        }
        Some(trace) => {
            println!("an honest browser was signed out:\n{}", trace.join("\n"));
            ExitCode::FAILURE
        }
    }
}
