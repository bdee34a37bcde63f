//! Drives the protocol of upstream tokens, with real engines: every schedule within bounds, or many
//! random ones.
//!
//! Run with: `cargo run --release -p everfresh-model --example upstream -- exhaustive 2` (faults
//! per schedule), or `.. -- random 10000` (schedules). Further options, in any order: `nodes=3`,
//! `requests=3`, `passes=2`, `steps=24`, `seed=1`, `most=1000000` schedules, and one kind of
//! server: `strict`, `grace`, `lenient` or `fixed`. All four run unless one is named. With `broken`
//! the server does the work and then answers 500, which is a limit of the protocol.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::process::ExitCode;

use everfresh_model::upstream::{Plan, ProviderKind, explore, wander};

const PROVIDERS: [(&str, ProviderKind); 4] = [
    ("strict", ProviderKind::Strict),
    ("grace", ProviderKind::Grace),
    ("lenient", ProviderKind::Lenient),
    ("fixed", ProviderKind::Fixed),
];

/// The options of the command line.
struct Arguments {
    exhaustive: bool,
    providers: Vec<(&'static str, ProviderKind)>,
    number: Option<usize>,
    options: Vec<(String, usize)>,
    broken: bool,
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let Some(arguments) = read(&words) else {
        eprintln!(
            "upstream: want `exhaustive MISHAPS` or `random SCHEDULES`, and options as NAME=NUMBER"
        );
        return ExitCode::from(2);
    };
    let option =
        |name: &str| arguments.options.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    let mut exit = ExitCode::SUCCESS;
    for (name, kind) in &arguments.providers {
        let mut plan = if arguments.exhaustive { Plan::narrow(*kind) } else { Plan::wide(*kind) };
        plan.broken = arguments.broken;
        plan.nodes = option("nodes").unwrap_or(plan.nodes).clamp(1, 3);
        plan.asks = option("requests").unwrap_or(plan.asks);
        plan.passes = option("passes").unwrap_or(plan.passes);
        plan.steps = option("steps").unwrap_or(plan.steps);
        let explored = if arguments.exhaustive {
            plan.faults = arguments.number.unwrap_or(plan.faults);
            explore(plan, option("most").map_or(u64::MAX, |most| most as u64))
        } else {
            let seed = option("seed").unwrap_or(1) as u64;
            wander(plan, seed, arguments.number.unwrap_or(10_000) as u64)
        };
        let all = if explored.complete { ", all of them" } else { "" };
        println!("{name}: {} schedules{all}", explored.tally.schedules);
        println!("{:#?}", explored.tally);
        match explored.failed {
            None => println!("no promise broken: 0 tokens reused, 0 sessions lost"),
            Some(failed) => {
                println!("a promise was broken: {failed}");
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}

fn read(words: &[String]) -> Option<Arguments> {
    let (first, rest) = words.split_first()?;
    let exhaustive = match first.as_str() {
        "exhaustive" => true,
        "random" => false,
        _ => return None,
    };
    let mut arguments = Arguments {
        exhaustive,
        providers: Vec::new(),
        number: None,
        options: Vec::new(),
        broken: false,
    };
    for word in rest {
        if let Some(kind) = PROVIDERS.iter().find(|(name, _)| name == word) {
            arguments.providers.push(*kind);
        } else if word == "broken" {
            arguments.broken = true;
        } else if let Some((name, value)) = word.split_once('=') {
            arguments.options.push((name.to_owned(), value.parse().ok()?));
        } else {
            arguments.number = Some(word.parse().ok()?);
        }
    }
    if arguments.providers.is_empty() {
        arguments.providers.extend(PROVIDERS);
    }
    Some(arguments)
}
