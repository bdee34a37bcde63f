//! `cargo xtask schedules`: every order of threads, random orders of tasks, and a fault at every
//! step. It also checks that the first two find a single flight that is broken on purpose.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::rules::{copy_members, read, write};
use crate::test::cargo;
use crate::tools;

const SINGLE_FLIGHT: &str = "crates/everfresh/src/refresh/single_flight.rs";
const BACKOFF: &str = "crates/everfresh/src/refresh/backoff.rs";
const FAILURE: &str = "crates/everfresh/src/error/failure.rs";
const MODELS: &str = "schedules/loom";

/// A way to break the single flight, which some order must detect.
struct Break {
    name: &'static str,
    with: &'static str,
    without: &'static str,
}

const BREAKS: &[Break] = &[
    Break {
        name: "looked for and entered under one lock",
        with: "        let (sender, outcome) = watch::channel(None);\n",
        without: "        drop(flights);\n        let (sender, outcome) = watch::channel(None);\n        \
                  let mut flights = self.lock();\n",
    },
    Break {
        name: "a flight is removed and its result kept under one lock",
        with: "        if let Ok(tokens) = &result\n",
        without: "        drop(flights);\n        let mut flights = self.flights.lock();\n        \
                  if let Ok(tokens) = &result\n",
    },
    Break {
        name: "a flight removes no other flight",
        with: "flights.running.get(&self.key).is_some_and(ours)",
        without: "flights.running.get(&self.key).map(ours).is_some()",
    },
    Break {
        name: "a forgotten result is not kept",
        with: "            return Err(Failure::Rejected);\n",
        without: "",
    },
    Break {
        name: "a flight that is dropped is removed",
        with: "        self.leave(&mut self.flights.lock());\n",
        without: "",
    },
    Break {
        name: "a result is published",
        with: "self.sender.send_replace(Some(result));",
        without: "let _ = result;",
    },
    Break {
        name: "no flight starts once it is closed",
        with: "        flights.closed = true;\n",
        without: "",
    },
    Break {
        name: "a session whose refresh failed is left alone",
        with: "            return Entry::BackedOff(Failure::Unavailable { retry_after });\n",
        without: "            let _ = retry_after;\n",
    },
];

/// The sums over the runs of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    runs: u64,
    schedules: u64,
    injected: u64,
    survived: u64,
    in_doubt: u64,
}

/// Runs everything, which takes some minutes.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut held = true;
    let mut lines = Vec::new();
    for (kind, commands) in [
        ("loom", vec![test(root, "everfresh-loom", &["--release"])]),
        ("shuttle", vec![test(root, "everfresh-shuttle", &["--release"])]),
        (
            "fail points",
            vec![
                test(root, "everfresh-sqlx", &["--test", "points"]),
                test(root, "everfresh-upstream", &["--test", "upstream", "points::"]),
            ],
        ),
    ] {
        let mut figures = Figures::default();
        for mut command in commands {
            held &= count(&mut command, kind, &mut figures);
        }
        held &= figures.runs > 0;
        lines.push(figures.line(kind));
    }
    let mut found = 0;
    let broken = each_break(root, |name, shown| {
        println!("{}: {name}", if shown { "found" } else { "NOT FOUND" });
        found += usize::from(shown);
        held &= shown;
    });
    if let Err(problem) = broken {
        println!("{problem}");
        held = false;
    }
    lines.push(format!("loom: the single flight broken in {} ways, {found} found", BREAKS.len()));
    println!("\n{}", lines.join("\n"));
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Breaks the single flight in one way at a time, and returns whether some order detected it. The
/// error is the operation that failed.
pub(crate) fn each_break(
    root: &Path,
    mut say: impl FnMut(&'static str, bool),
) -> Result<(), String> {
    let copy = tools::target(root).join("schedules");
    copy_members(root, &copy, &[MODELS])?;
    for file in [BACKOFF, FAILURE] {
        write(&copy.join(file), &read(&root.join(file))?)?;
    }
    let whole = read(&root.join(SINGLE_FLIGHT))?;
    let shows = |text: &str| {
        write(&copy.join(SINGLE_FLIGHT), text)?;
        shown(&copy)
    };
    if shows(&whole)? {
        return Err("a model fails with the single flight as it is".into());
    }
    for Break { name, with, without } in BREAKS {
        if whole.matches(with).count() != 1 {
            return Err(format!("{SINGLE_FLIGHT}: `{}` is not there once", with.trim()));
        }
        say(name, shows(&whole.replace(with, without))?);
    }
    Ok(())
}

/// Whether a model of this copy fails.
fn shown(copy: &Path) -> Result<bool, String> {
    let mut command = cargo(copy);
    command
        .args(["test", "--quiet", "-p", "everfresh-loom", "models::"])
        // In the checkout's target directory, cargo would take the copy's build for the checkout's.
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .env_remove("SCHEDULES");
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match (output.status.success(), said.contains("panicked at")) {
        (true, false) => Ok(false),
        (false, true) => Ok(true),
        _ => Err(format!("the models did not run:\n{said}")),
    }
}

/// The tests of a package with their output. `filter` may end with parts of their names.
fn test(root: &Path, package: &str, filter: &[&str]) -> Command {
    let mut command = cargo(root);
    command
        .args(["test", "--package", package])
        .args(filter)
        .args(["--", "--nocapture", "--test-threads=1"])
        .env("SCHEDULES", "long")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    command
}

/// Adds up the numbers in the output of the tests. Returns whether they passed.
fn count(command: &mut Command, kind: &str, figures: &mut Figures) -> bool {
    let output = match command.stderr(std::process::Stdio::inherit()).output() {
        Ok(output) => output,
        Err(error) => {
            println!("cargo: {error}");
            return false;
        }
    };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("{line}");
        figures.add(kind, line);
    }
    output.status.success()
}

impl Figures {
    /// `loom: 12 schedules: ..` or `fail points: 7 injected, 6 survived, 1 in doubt: ..`, anywhere
    /// in a line.
    fn add(&mut self, kind: &str, line: &str) {
        let Some((_, said)) = line.split_once(&format!("{kind}: ")) else { return };
        let Some((counts, _)) = said.split_once(": ") else { return };
        let mut known = false;
        for count in counts.split(", ") {
            let Some((n, what)) = count.split_once(' ') else { return };
            let Ok(n) = n.parse::<u64>() else { return };
            match what {
                "schedules" => self.schedules += n,
                "injected" => self.injected += n,
                "survived" => self.survived += n,
                "in doubt" => self.in_doubt += n,
                _ => return,
            }
            known = true;
        }
        self.runs += u64::from(known);
    }

    fn line(&self, kind: &str) -> String {
        let Self { runs, schedules, injected, survived, in_doubt } = self;
        match injected {
            0 => format!("{kind}: {schedules} schedules of {runs} scenes"),
            _ => format!(
                "{kind}: {injected} faults injected, {survived} survived, {in_doubt} in doubt, in \
                 {runs} runs"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_counts_are_added_up() {
        let mut figures = Figures::default();
        for line in [
            "test models::f01 ... loom: 120 schedules: three ask at once",
            "loom: 3 schedules: another",
            "loom: no figures",
            "test result: ok. 4 passed",
        ] {
            figures.add("loom", line);
        }
        assert_eq!(figures, Figures { runs: 2, schedules: 123, ..Figures::default() });
        let mut figures = Figures::default();
        figures.add("fail points", "fail points: 7 injected, 5 survived, 2 in doubt: a, b: c d");
        figures.add("fail points", "fail points: 2 injected, 2 survived: a");
        let expected =
            Figures { runs: 2, injected: 9, survived: 7, in_doubt: 2, ..Figures::default() };
        assert_eq!(figures, expected);
    }
}
