//! `cargo xtask assure`: runs every kind of check and prints the results as one table, which is
//! also in `docs/assurance.md`.

mod page;

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::test::{cargo, coverage_file, said};
use crate::{coverage, load, memory, mutants};

/// One line of the table: the result, and whether it is as it should be. `None`: this machine can't
/// run the check, which is neither a pass nor a failure.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    what: String,
    figure: String,
    kept: Option<bool>,
}

impl Row {
    fn new(what: &str, figure: impl Into<String>, kept: impl Into<Option<bool>>) -> Self {
        Self { what: what.into(), figure: figure.into(), kept: kept.into() }
    }
}

/// A part, by name, with the check that it runs.
struct Part {
    name: &'static str,
    run: fn(&Path, bool) -> Vec<Row>,
}

const PARTS: [Part; 9] = [
    Part { name: "coverage", run: rows },
    Part { name: "vectors", run: vectors },
    Part { name: "fuzz", run: fuzz },
    Part { name: "schedules", run: schedules },
    Part { name: "model", run: model },
    Part { name: "turmoil", run: turmoil },
    Part { name: "mutants", run: broken },
    Part { name: "memory", run: memory },
    Part { name: "load", run: loaded },
];

/// `cargo xtask assure [--full] [PART ..]`.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> ExitCode {
    let (full, wanted) = match arguments {
        ["--full", wanted @ ..] => (true, wanted),
        wanted => (false, wanted),
    };
    let names = PARTS.map(|part| part.name);
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        eprintln!("xtask: no part {unknown:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut found = Vec::new();
    for part in PARTS.iter().filter(|part| wanted.is_empty() || wanted.contains(&part.name)) {
        println!("\n== {}", part.name);
        found.push((part.name, (part.run)(root, full)));
    }
    println!("\n| what | figure | |\n|---|---|---|");
    let mut gaps = 0;
    for row in found.iter().flat_map(|(_, rows)| rows) {
        gaps += usize::from(row.kept == Some(false));
        println!("| {} | {} | {} |", row.what, row.figure, page::verdict(row.kept));
    }
    if let Err(problem) = page::write(root, &names, &found, full) {
        eprintln!("xtask: {problem}");
        return ExitCode::FAILURE;
    }
    println!("\n{gaps} gaps");
    if gaps == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Another task of this program.
fn chore(root: &Path, words: &[&str]) -> (Vec<String>, bool) {
    let own = std::env::current_exe().unwrap_or_else(|_| "xtask".into());
    said(Command::new(own).current_dir(root).args(words))
}

fn rows(root: &Path, _: bool) -> Vec<Row> {
    let coverage = coverage::generate(root);
    let written = std::fs::read_to_string(coverage_file()).unwrap_or_default();
    let mut figure = format!(
        "{} shown by tests, {} with a reason in place of one, {} open",
        coverage.shown,
        coverage.reasoned,
        coverage.open.len()
    );
    if written != coverage.text {
        figure += "; tests/COVERAGE.md is out of date";
    }
    let kept = coverage.open.is_empty() && written == coverage.text;
    vec![Row::new("Rows of what goes wrong in the field and of what must hold", figure, kept)]
}

fn vectors(root: &Path, _: bool) -> Vec<Row> {
    let (lines, succeeded) = chore(root, &["vectors"]);
    let total = lines.iter().rev().find(|line| line.ends_with(" passed"));
    let figure = total
        .map_or("none ran".into(), |total| format!("{total}; the rest has a reason beside each"));
    vec![Row::new("Test vectors of others", figure, succeeded && total.is_some())]
}

fn fuzz(root: &Path, full: bool) -> Vec<Row> {
    let seconds = if full { "600" } else { "5" };
    let (lines, succeeded) = chore(root, &["fuzz", "--seconds", seconds]);
    let targets: Vec<_> = lines.iter().filter_map(|line| target(line)).collect();
    let mut rows: Vec<Row> = targets
        .iter()
        .map(|(name, executions, held)| {
            let what = format!("Fuzz target `{name}`");
            let found = if *held { "nothing found" } else { "FOUND" };
            let figure = format!("{} executions in {seconds} s, {found}", grouped(*executions));
            Row::new(&what, figure, *held && *executions > 0)
        })
        .collect();
    let all: u64 = targets.iter().map(|(_, executions, _)| executions).sum();
    let figure = format!("{} executions of {} targets", grouped(all), targets.len());
    rows.push(Row::new("Fuzz targets together", figure, succeeded && !targets.is_empty()));
    rows
}

/// ``| `token` | 8041 | nothing found |``
fn target(line: &str) -> Option<(&str, u64, bool)> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    let name = cells.next()?.strip_suffix('`')?;
    let executions = cells.next()?.parse().ok()?;
    Some((name, executions, cells.next()? == "nothing found |"))
}

fn schedules(root: &Path, _: bool) -> Vec<Row> {
    const WHAT: &str = "Orders of threads and tasks, and faults at every step";
    let (lines, succeeded) = chore(root, &["schedules"]);
    // The last lines are the totals.
    let sums: Vec<&str> = lines
        .iter()
        .rev()
        .take_while(|line| !line.is_empty())
        .map(String::as_str)
        .filter(|line| line.contains(": "))
        .collect();
    let figure: Vec<&str> = sums.into_iter().rev().collect();
    vec![Row::new(WHAT, figure.join("; "), succeeded && !figure.is_empty())]
}

fn model(root: &Path, full: bool) -> Vec<Row> {
    let [search, live, upstream] = match full {
        true => [["3", "14"], ["10000", "1"], ["random", "60000"]],
        false => [["2", "12"], ["300", "1"], ["random", "500"]],
    };
    let run = |example: &str, words: [&str; 2]| {
        let mut command = cargo(root);
        command.args(["run", "--release", "--package", "everfresh-model", "--example", example]);
        said(command.arg("--").args(words))
    };
    let (lines, succeeded) = run("search", search);
    let states = lines.iter().find(|line| line.contains(" states, "));
    let figure = states.and_then(|line| line.split_once("}: ")).map_or("none", |(_, said)| said);
    let searched = Row::new(
        "Orders of events around a rotating session, all of them",
        format!("{figure}, 0 honest browsers signed out"),
        succeeded && figure.contains("all of them"),
    );
    let (_, succeeded) = run("schedules", live);
    let figure = format!("{0} without a thief, {0} with one", live[0]);
    let played = Row::new("Random schedules of three nodes", figure, succeeded);
    let (lines, succeeded) = run("upstream", upstream);
    let models = lines.iter().filter(|line| line.starts_with("no promise broken:")).count();
    let figure = format!("{} schedules with each of {models} kinds of server", upstream[1]);
    let kept = succeeded && models == 4;
    let sent = Row::new("Random schedules of another server's tokens", figure, kept);
    vec![searched, played, sent]
}

fn turmoil(root: &Path, full: bool) -> Vec<Row> {
    let mut command = cargo(root);
    command.args(["test", "--package", "everfresh-tests", "--test", "turmoil"]);
    if full {
        command.arg("--release");
    }
    command.args(["--", "--nocapture", "--test-threads=2"]);
    command.env("SEEDS", if full { "10000" } else { "100" }).env_remove("SEED");
    let (lines, succeeded) = said(&mut command);
    // After the name of its test, on the same line.
    let said = lines.iter().filter_map(|line| line.split_once("turmoil, ")).map(|(_, said)| said);
    let figures: Vec<String> = said.filter_map(simulated).collect();
    let kept = succeeded && figures.len() == 2;
    vec![Row::new("Seeds of a simulated network that fails", figures.join("; "), kept)]
}

/// `rotate: 100 seeds, Tally { requests: 9, .., faults: 7, .. }`
fn simulated(said: &str) -> Option<String> {
    let (seeds, sums) = said.split_once(", Tally")?;
    let sum = |name: &str| -> Option<u64> {
        let (_, rest) = sums.split_once(&format!(" {name}: "))?;
        rest.split([',', ' ']).next()?.parse().ok()
    };
    let (requests, faults) = (grouped(sum("requests")?), grouped(sum("faults")?));
    Some(format!("{seeds}, {requests} requests, {faults} faults"))
}

/// The last result of `cargo xtask mutants`, which takes an hour.
fn broken(root: &Path, _: bool) -> Vec<Row> {
    const WHAT: &str = "Mutants of the code, killed by tests";
    let mutants::Found { killed, missed, unviable } = mutants::found(root);
    let (killed, missed, unviable) = (killed.len(), missed.len(), unviable.len());
    if killed == 0 {
        return vec![Row::new(WHAT, "none: run `cargo xtask mutants` first", false)];
    }
    let all = killed + missed;
    let figure = format!("{killed} of {all}; {missed} missed; {unviable} that do not build");
    vec![Row::new(WHAT, figure, missed == 0)]
}

fn memory(root: &Path, _: bool) -> Vec<Row> {
    let rows = memory::each(root).into_iter();
    rows.map(|found| Row::new(found.what, found.figure, found.kept)).collect()
}

fn loaded(root: &Path, full: bool) -> Vec<Row> {
    const WHAT: &str = "Load at saturation on four servers, each with four stores";
    let seconds = if full { 600 } else { 120 };
    let Ok(mut command) = load::prepared(root, seconds, full) else {
        return vec![Row::new(WHAT, "could not run", false)];
    };
    if full {
        command.args(["--out", load::OUT]);
    }
    let (lines, succeeded) = said(&mut command);
    let find = |mark: &str| lines.iter().rev().find_map(|line| line.strip_prefix(mark));
    let figure = format!(
        "{seconds} s: {}; {}",
        find("all: ").unwrap_or("nothing"),
        find("load: ").unwrap_or("no verdict")
    );
    vec![Row::new(WHAT, figure, succeeded)]
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        assert_eq!(target("| `token` | 8041 | nothing found |"), Some(("token", 8041, true)));
        assert_eq!(target("| `token` | 8041 | FOUND |"), Some(("token", 8041, false)));
        assert_eq!(target("| target | executions in 5 s | |"), None);
        let said = "rotate: 9 seeds, Tally { requests: 1234, served: 3, faults: 55, lost: 0 }";
        assert_eq!(simulated(said).as_deref(), Some("rotate: 9 seeds, 1,234 requests, 55 faults"));
        assert_eq!((grouped(0), grouped(999)), ("0".into(), "999".into()));
        assert_eq!((grouped(1000), grouped(12_345_678)), ("1,000".into(), "12,345,678".into()));
    }

    #[test]
    fn a_section_is_named_once() {
        let mut names = PARTS.map(|part| part.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
