//! Runs each fuzz target in turn, from the seeds in the repository.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use crate::test::cargo;
use crate::tools;

/// Coverage feedback without sanitizers, because the project has no `unsafe` code.
const BUILD: [&str; 4] = ["--fuzz-dir", "fuzz", "--sanitizer", "none"];

/// The longest input, in bytes: slightly longer than the longest allowed cookie or token.
const LONGEST: &str = "-max_len=20000";

/// `cargo xtask fuzz [--seconds N] [TARGET ..]`.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> ExitCode {
    let (seconds, wanted) = match arguments {
        ["--seconds", seconds, wanted @ ..] => match seconds.parse::<u32>() {
            Ok(seconds @ 1..) => (seconds, wanted),
            _ => {
                eprintln!("xtask: --seconds {seconds:?}; wanted is a number from 1 up");
                return ExitCode::from(2);
            }
        },
        wanted => (60, wanted),
    };
    let all = targets(root);
    if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|one| one == *name)) {
        eprintln!("xtask: no target {unknown:?}; there are {}", all.join(", "));
        return ExitCode::from(2);
    }
    if let Err(missing) = tools::subcommand("fuzz", "0.13.2") {
        println!("{missing}");
        return ExitCode::FAILURE;
    }
    let chosen = all.iter().filter(|name| wanted.is_empty() || wanted.contains(&name.as_str()));
    let mut bad = false;
    let mut table = Vec::new();
    for name in chosen {
        println!("== {name}, {seconds} s");
        let (executions, held) = fuzz(root, name, seconds);
        bad |= !held || executions == 0;
        let verdict = if held { "nothing found" } else { "FOUND" };
        table.push(format!("| `{name}` | {executions} | {verdict} |"));
    }
    println!("\n| target | executions in {seconds} s | |\n|---|---|---|\n{}", table.join("\n"));
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("fuzz/fuzz_targets")).into_iter().flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<String> =
        paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// Runs one target. Returns the number of runs, and whether it passed.
fn fuzz(root: &Path, name: &str, seconds: u32) -> (u64, bool) {
    let corpus = root.join("fuzz/corpus").join(name);
    if let Err(error) = std::fs::create_dir_all(&corpus) {
        println!("{}: {error}", corpus.display());
        return (0, false);
    }
    let mut command = cargo(root);
    command.args(["fuzz", "run"]).args(BUILD).arg(name);
    // The first folder receives new inputs. The seeds stay unchanged.
    command.arg(corpus).arg(root.join("fuzz/seeds").join(name));
    command.args(["--", LONGEST, "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}"));
    // These flags otherwise need a nightly toolchain.
    command.env("RUSTC_BOOTSTRAP", "1").stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("can't run cargo: {error}");
            return (0, false);
        }
    };
    let mut executions = 0;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            executions = executed(&line).unwrap_or(executions);
            if !is_progress(&line) {
                println!("{line}");
            }
        }
    }
    (executions, child.wait().is_ok_and(|status| status.success()))
}

/// `stat::number_of_executed_units: 12345`
fn executed(line: &str) -> Option<u64> {
    line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok()
}

/// `#1024 NEW cov: ..`, a line that occurs thousands of times.
fn is_progress(line: &str) -> bool {
    line.starts_with('#') && line.contains("cov: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read() {
        assert_eq!(executed("stat::number_of_executed_units: 8041"), Some(8041));
        assert_eq!(executed("stat::peak_rss_mb: 44"), None);
        assert!(is_progress("#8\tNEW    cov: 12 ft: 13 corp: 2/3b") && !is_progress("# a heading"));
    }

    #[test]
    fn each_target_has_seeds() {
        let root = crate::test::root();
        let names = targets(&root);
        assert!(names.len() >= 10, "{names:?}");
        for name in names {
            let seeds = std::fs::read_dir(root.join("fuzz/seeds").join(&name));
            assert!(seeds.is_ok_and(|mut seeds| seeds.next().is_some()), "{name} has no seeds");
        }
    }
}
