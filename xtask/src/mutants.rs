//! `cargo xtask mutants`: changes the code that identifies clients in one place at a time. Tests
//! must fail. `.cargo/mutants.toml` sets which code is changed, and which changes need no failing
//! test, with the reason.
//!
//! Only the core's own tests run, which takes seconds per change. An interrupted run continues. The
//! results are in `target/mutants`; without that folder a run starts over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::test::cargo;
use crate::tools;

/// Slow tests that don't cover the changed code.
const SLOW: [&str; 3] = [
    "a_revoked_session_is_refused_until",
    "a_watch_on_the_machines_clock",
    "observe::tests::documents",
];

/// The time limit of a test, in seconds. A test that hangs counts as failed.
const HANGS: &str = "20";

/// The results so far, by the mutants' names.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) killed: BTreeSet<String>,
    pub(crate) missed: BTreeSet<String>,
    /// Mutants that don't compile.
    pub(crate) unviable: BTreeSet<String>,
}

/// `cargo xtask mutants [NAME ..]`: only mutants whose names match. A name starts with the path of
/// the file.
pub(crate) fn run(root: &Path, wanted: &[&str]) -> ExitCode {
    if let Err(missing) = tools::subcommand("mutants", "27.1.0") {
        println!("{missing}");
        return ExitCode::FAILURE;
    }
    // The results of an interrupted run.
    if let Err(problem) = note(root) {
        println!("{problem}");
        return ExitCode::FAILURE;
    }
    let mut command = mutants(root);
    command.args(wanted.iter().flat_map(|name| ["--re", name]));
    command.args(["--", "--"]).args(SLOW.iter().flat_map(|name| ["--skip", name]));
    // 2 means that mutants were missed, 3 that tests hang.
    match command.status().map(|status| status.code()) {
        Ok(Some(0 | 2 | 3)) => {}
        other => {
            println!("cargo mutants did not run to its end: {other:?}");
            return ExitCode::FAILURE;
        }
    }
    if let Err(problem) = note(root) {
        println!("{problem}");
        return ExitCode::FAILURE;
    }
    let Found { killed, missed, unviable } = found(root);
    missed.iter().for_each(|name| println!("MISSED {name}"));
    let of = killed.len() + missed.len();
    println!("{} of {of} killed; {} don't build", killed.len(), unviable.len());
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutants(root: &Path) -> Command {
    let mut command = cargo(root);
    command.args(["mutants", "--package", "everfresh", "--iterate", "--no-shuffle"]);
    // A cargo argument, so that only the tests of the library are built.
    command.arg("--cargo-arg=--lib");
    command.args(["--timeout", HANGS, "--jobs", "2", "--output"]).arg(folder(root));
    // These builds need no debug information.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    command
}

fn folder(root: &Path) -> PathBuf {
    tools::target(root).join("mutants")
}

/// The names in a file of the folder; empty if the file doesn't exist.
fn names(root: &Path, file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder(root).join(file)).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Adds the results of the last run, because each run reports only its own.
fn note(root: &Path) -> Result<(), String> {
    let last = |name: &str| names(root, &format!("mutants.out/{name}.txt"));
    let path = folder(root);
    std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut all = found(root);
    all.killed.extend(last("caught").into_iter().chain(last("timeout")));
    all.unviable.extend(last("unviable"));
    all.missed.extend(last("missed"));
    // Mutants of code that no longer exists are dropped.
    let mut list = cargo(root);
    list.args(["mutants", "--package", "everfresh", "--list"]);
    let listed = list.output().map_err(|error| format!("cargo mutants --list: {error}"))?;
    if !listed.status.success() {
        return Err(String::from_utf8_lossy(&listed.stderr).into_owned());
    }
    let listed = String::from_utf8_lossy(&listed.stdout);
    let there: BTreeSet<&str> = listed.lines().collect();
    for names in [&mut all.killed, &mut all.missed, &mut all.unviable] {
        names.retain(|name| there.contains(&**name));
    }
    all.missed.retain(|name| !all.killed.contains(name));
    for (name, lines) in
        [("killed", all.killed), ("missed", all.missed), ("unviable", all.unviable)]
    {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        let path = folder(root).join(name).with_extension("txt");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The results of all runs.
pub(crate) fn found(root: &Path) -> Found {
    Found {
        killed: names(root, "killed.txt"),
        missed: names(root, "missed.txt"),
        unviable: names(root, "unviable.txt"),
    }
}
