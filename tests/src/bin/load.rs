//! Loads every contract server with every store; `cargo xtask load` runs it.
//!
//! Arguments: `--seconds N` for all servers together (600), `--people N` (48), `--seed N` (1),
//! `--out FOLDER` for pictures and samples (none), `--without STORE` any number of times, `--only
//! SERVER` as well.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::path::PathBuf;
use std::time::Duration;

use everfresh_tests::load::{Plan, StoreKind, Tally, csv, draw, run};
use everfresh_tests::settings::exit;

const SERVERS: [&str; 4] = ["axum", "actix", "warp", "tower"];

/// By how many KiB memory may grow from the first third of a load to the last.
const GROWTH: u64 = 8 * 1024;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut seconds, mut people, mut seed, mut out) = (600, 48, 1, None);
    let (mut without, mut only) = (Vec::new(), Vec::new());
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { exit(&format!("{} wants a value", pair[0])) };
        let number = || {
            let number = value.parse().ok().filter(|number| *number > 0);
            number
                .unwrap_or_else(|| exit(&format!("{name} {value:?}: wanted is a number from 1 up")))
        };
        match &**name {
            "--seconds" => seconds = number(),
            "--people" => people = number(),
            "--seed" => seed = number(),
            "--out" => out = Some(PathBuf::from(value)),
            "--without" => match StoreKind::ALL.into_iter().find(|kept| kept.is_named(value)) {
                Some(store) => without.push(store),
                None => exit(&format!("--without {value:?}: there is no such store")),
            },
            "--only" if SERVERS.contains(&&**value) => only.push(value.clone()),
            _ => exit(&format!("unknown: {name} {value}")),
        }
    }
    let own = std::env::current_exe().unwrap_or_else(|error| exit(&error.to_string()));
    let mut pairs = Vec::new();
    for store in StoreKind::ALL {
        for server in SERVERS {
            let program = own.with_file_name(format!("serve-{server}"));
            if !program.is_file() {
                exit(&format!("{} is missing: build all bins first", program.display()));
            }
            if !without.contains(&store)
                && (only.is_empty() || only.iter().any(|one| one == server))
            {
                pairs.push((server.to_owned(), program, store));
            }
        }
    }
    let time = Duration::from_secs(seconds);
    let people = usize::try_from(people).unwrap_or(usize::MAX);
    let plan = Plan { pairs, time, people, access: 3, reuse_interval: 10, growth: GROWTH, seed };
    let outcomes = run(&plan, |outcome| {
        println!("{} with {}: {}", outcome.server, outcome.store, outcome.tally);
        outcome.broken.iter().for_each(|broken| println!("  BROKEN: {broken}"));
    })
    .await;

    println!(
        "\n| server | store | requests | refreshed | 503 while away | memory, MiB | descriptors | tasks |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for outcome in &outcomes {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let ((first, last), (before, after)) = (outcome.memory, outcome.rest);
        println!(
            "| {} | {} | {} | {} | {} in {} outages | {:.1}, {:.1} | {}, {} | {}, {} |",
            outcome.server,
            outcome.store,
            outcome.tally.requests,
            outcome.tally.refreshed,
            outcome.tally.away,
            outcome.faults,
            mib(first),
            mib(last),
            before.descriptors,
            after.descriptors,
            before.tasks,
            after.tasks,
        );
    }
    if let Some(folder) = out {
        let written = draw(&outcomes, &folder);
        let written = written.and_then(|()| {
            std::fs::write(folder.join("load.csv"), csv(&outcomes)).map_err(|e| e.to_string())
        });
        written.unwrap_or_else(|problem| exit(&problem));
    }
    let all = outcomes.iter().fold(Tally::default(), |sum, outcome| sum.and(&outcome.tally));
    let kept = outcomes.iter().filter(|outcome| outcome.broken.is_empty()).count();
    println!("\nall: {all}");
    println!("load: {kept} of {} kept every promise", outcomes.len());
    if kept < outcomes.len() || outcomes.is_empty() {
        std::process::exit(1);
    }
}
