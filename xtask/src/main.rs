//! The project's tasks. `cargo xtask` lists them.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod assure;
mod bench;
mod coverage;
mod former;
mod fuzz;
mod load;
mod memory;
mod mutants;
mod package;
mod report;
mod rules;
mod schedules;
mod schema;
mod semver;
mod supply;
mod test;
mod tools;
mod vectors;

use std::process::ExitCode;

const HELP: &str = "\
Test:
cargo xtask test     every test; installs or starts what they need
                     (with CI=true a skipped test is a failure)
cargo xtask former   nodes of the former release beside nodes of this one, on one database
cargo xtask budget   counts instructions of the fresh path, and holds them against their budget
cargo xtask vectors  published test vectors: how many passed of how many
cargo xtask coverage writes tests/COVERAGE.md: which tests show what
cargo xtask schema   writes dialects/schema.json: the JSON Schema of a dialect's file

Prove:
cargo xtask rules    takes each rule of rotation back; the search must then find an honest browser
                     that is signed out
cargo xtask schedules  the full orders of threads and tasks, and a fault at every step; also breaks
                     the single flight, and the models must notice
cargo xtask fuzz [--seconds N] [TARGET ..]
                     runs each fuzz target for N seconds (60)
cargo xtask load [--seconds N]
                     saturates every server and store, N seconds in all (600), with outages; draws
                     memory into docs/images
cargo xtask mutants [NAME ..]
                     changes the code in one place at a time; tests must notice (an hour)
cargo xtask memory   the core's tests under AddressSanitizer, and under Miri where there is one
cargo xtask assure [--full] [PART ..]
                     one table of what all of this found, into docs/assurance.md; fails on a gap

Release:
cargo xtask bench    measures everfresh beside its peers, and draws what BENCHMARKS.md shows
cargo xtask deny     licences, sources and advisories of all dependencies
cargo xtask minimal  builds with the oldest versions that the manifests allow
cargo xtask semver [COMMIT]
                     whether each crate's version fits its changes since its release, or since COMMIT
cargo xtask package  whether each crate could be published, and whether the app of
                     docs/first-app.md builds
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test::run(),
        ["former"] => test::former(),
        ["rules"] => test::rules(),
        ["schedules"] => schedules::run(&test::root()),
        ["budget"] => test::budget(),
        ["bench"] => bench::run(),
        ["vectors"] => vectors::run(&test::root()),
        ["fuzz", ref rest @ ..] => fuzz::run(&test::root(), rest),
        ["mutants", ref rest @ ..] => mutants::run(&test::root(), rest),
        ["memory"] => memory::run(&test::root()),
        ["assure", ref rest @ ..] => assure::run(&test::root(), rest),
        ["load", ref rest @ ..] => load::run(&test::root(), rest),
        ["deny"] => supply::deny_alone(&test::root()),
        ["minimal"] => supply::minimal(&test::root()),
        ["semver", ref since @ ..] if since.len() < 2 => {
            semver::run(&test::root(), since.first().copied())
        }
        ["package"] => package::alone(),
        ["schema"] => schema::run(&test::root()),
        ["coverage"] => coverage::run(&test::root()),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("xtask: unknown chore {arguments:?}\n{HELP}");
            ExitCode::from(2)
        }
    }
}
