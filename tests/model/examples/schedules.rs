//! Plays random schedules of a live simulation, without and with a thief.
//!
//! Run with: `cargo run --release -p everfresh-model --example schedules -- 10000`. The arguments
//! are the number of schedules and the first seed; a single schedule is printed line by line.
//! Options after them: `refreshing` (handlers request refreshes themselves) and `strict` (known
//! violations, which are otherwise only counted, fail the run).

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::process::ExitCode;

use everfresh_model::live::{Plan, play, trace};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (options, numbers): (Vec<_>, Vec<_>) =
        words.iter().map(String::as_str).partition(|word| ["refreshing", "strict"].contains(word));
    let [refreshing, strict] = ["refreshing", "strict"].map(|option| options.contains(&option));
    let mut numbers = numbers.into_iter().map(str::parse::<u32>);
    let (Ok(schedules), Ok(seed), None) =
        (numbers.next().unwrap_or(Ok(10_000)), numbers.next().unwrap_or(Ok(1)), numbers.next())
    else {
        eprintln!("schedules: want whole numbers: how many schedules, and the first one's seed");
        return ExitCode::from(2);
    };
    let mut exit = ExitCode::SUCCESS;
    for thief in [false, true] {
        let plan = Plan { refreshing, strict, ..Plan::new(seed.into(), schedules, thief) };
        if schedules == 1 {
            println!("{}\n", trace(plan).join("\n"));
        }
        let played = play(plan);
        println!("{}: {:#?}", if thief { "with a thief" } else { "honest" }, played.tally);
        if let Some(failed) = played.failed {
            println!("{failed}");
            exit = ExitCode::FAILURE;
        }
    }
    exit
}
