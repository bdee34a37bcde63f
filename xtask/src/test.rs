//! Every test of the project, one step after the other, and one line that counts them all.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::tools::{self, Missing};
use crate::{coverage, rules, supply};

/// The tests of one step, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

pub(crate) fn run() -> ExitCode {
    let root = root();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let mut total = Tally::default();
    let mut notes: Vec<String> = Vec::new();

    println!("== build what the tests drive");
    if !succeeds(cargo(&root).args(["build", "--workspace", "--bins"])) {
        println!("0 passed, 1 failed");
        return ExitCode::FAILURE;
    }

    step("the workspace", &mut total, cargo(&root).args(["test", "--workspace", "--no-fail-fast"]));

    println!("\n== the core without its default features");
    let bare = ["check", "--package", "everfresh", "--no-default-features"];
    total.add(counted(succeeds(cargo(&root).args(bare))));
    let tower = [&bare[..], &["--features", "tower"]].concat();
    total.add(counted(succeeds(cargo(&root).args(tower))));

    println!("\n== everfresh-upstream without its own client");
    let bare = ["check", "--package", "everfresh-upstream", "--no-default-features"];
    total.add(counted(succeeds(cargo(&root).args(bare))));

    println!("\n== tests/COVERAGE.md is as `cargo xtask coverage` writes it");
    let written = std::fs::read_to_string(coverage_file()).unwrap_or_default();
    total.add(counted(written == coverage::generate(&root)));

    println!("\n== what the tree holds");
    match supply::deny(&root) {
        Ok(parts) => {
            for (_, held) in parts {
                match held {
                    Some(held) => total.add(counted(held)),
                    // Not for want of a program, and nothing that this tree could change.
                    None => notes.push(supply::UNREACHABLE.to_owned()),
                }
            }
        }
        Err(missing) => {
            total.skipped += 1;
            notes.push(missing.to_string());
        }
    }

    println!("\n== each rule of rotation, taken back alone");
    total.add(each_rule(&root));

    for backends in ["aws_lc_rs", "rust_crypto", "aws_lc_rs,rust_crypto"] {
        let mut command = cargo(&root.join("tests/beside"));
        command.args(["test", "--locked", "--features", backends, "--target-dir"]);
        command.arg(root.join("target/beside"));
        step(&format!("beside jsonwebtoken with {backends}"), &mut total, &mut command);
    }

    println!("\n== everfresh-sqlx with either database alone");
    for database in ["sqlite", "postgres"] {
        let alone = [
            "check",
            "--package",
            "everfresh-sqlx",
            "--no-default-features",
            "--features",
            database,
        ];
        total.add(counted(succeeds(cargo(&root).args(alone))));
    }

    println!("\n== instructions of the fresh path, within their budget");
    match instructions(&root) {
        Ok(kept) => total.add(counted(kept)),
        Err(missing) => {
            println!("skipped: {missing}");
            total.skipped += 1;
            notes.push(missing);
        }
    }

    println!("\n== the fuzz targets build");
    let mut check = cargo(&root.join("fuzz"));
    check.args(["check", "--locked", "--bins", "--target-dir"]).arg(root.join("target/fuzz"));
    total.add(counted(succeeds(check.env("RUSTFLAGS", "--cfg fuzzing -D warnings"))));

    let client = tools::browser_client(&root);
    match &client {
        Ok(()) => {
            println!("\n== the browser's client: types, module, package");
            for script in [
                &["run", "check"][..],
                &["run", "build"],
                &["pack", "--dry-run", "--ignore-scripts"],
            ] {
                total.add(counted(succeeds(npm(&root).args(script))));
            }
            step("the browser's client", &mut total, npm(&root).arg("test"));
        }
        Err(missing) => {
            println!("\n== skipped: {missing}");
            total.skipped += 1;
            notes.push(missing.to_string());
        }
    }

    for (name, test, found) in [
        ("a browser on the quickstart", "browser", tools::browser()),
        ("the client in a browser", "browser_client", client.and_then(|()| tools::browser())),
    ] {
        let tests = ["--package", "everfresh-tests", "--features", "browser", "--test", test];
        match found {
            Ok(()) => {
                let mut command = cargo(&root);
                command.arg("test").args(tests);
                command.env("QUICKSTART", root.join("target/debug/quickstart"));
                command.env("CLIENT", root.join("js/everfresh-client/dist/index.js"));
                step(name, &mut total, &mut command);
            }
            Err(missing) => skip(&root, &tests, &missing, &mut total, &mut notes),
        }
    }

    for (name, engine, found) in [
        ("sessions in Redis", "redis", tools::redis()),
        ("sessions in PostgreSQL", "postgres", tools::postgres()),
    ] {
        let tests = ["--package", "everfresh-tests", "--features", engine, "--test", engine];
        match found {
            Ok(()) => step(name, &mut total, cargo(&root).arg("test").args(tests)),
            Err(missing) => skip(&root, &tests, &missing, &mut total, &mut notes),
        }
    }

    let idp = ["--package", "everfresh-tests", "--features", "idp", "--test", "idp"];
    match tools::identity_provider(&root) {
        Ok(()) => step("an identity provider", &mut total, cargo(&root).arg("test").args(idp)),
        Err(missing) => skip(&root, &idp, &missing, &mut total, &mut notes),
    }

    println!();
    for note in &notes {
        println!("skipped: {note}");
    }
    let Tally { passed, failed, skipped } = total;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    let bad = failed > 0 || (ci && skipped > 0);
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `cargo xtask rules`.
pub(crate) fn rules() -> ExitCode {
    match each_rule(&root()).failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// `cargo xtask budget`.
pub(crate) fn budget() -> ExitCode {
    match instructions(&root()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(missing) => {
            eprintln!("xtask: {missing}");
            ExitCode::FAILURE
        }
    }
}

/// Whether each request stays within its budget of instructions. `Err`: nobody can count here.
fn instructions(root: &Path) -> Result<bool, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("the budgets are instructions of x86-64; count them there".into());
    }
    let runner = tools::gungraun(root).map_err(|missing| missing.to_string())?;
    let mut command = cargo(root);
    command.args(["bench", "--package", "everfresh-bench", "--bench", "instructions"]);
    Ok(succeeds(command.env("GUNGRAUN_RUNNER", runner)))
}

fn each_rule(root: &Path) -> Tally {
    let mut tally = Tally::default();
    match rules::run(root) {
        Ok(found) => {
            for (rule, missed) in found {
                println!("{}: {rule}", if missed { "missed" } else { "NOT MISSED" });
                tally.add(counted(missed));
            }
        }
        Err(problem) => {
            println!("{problem}");
            tally.failed += 1;
        }
    }
    tally
}

/// Runs `cargo test` or `npm test`, and adds up what they say.
fn step(name: &str, total: &mut Tally, command: &mut Command) {
    println!("\n== {name}");
    #[expect(clippy::disallowed_methods, reason = "shown to whoever waits")]
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("can't run {}: {error}", command.get_program().display());
            total.failed += 1;
            return;
        }
    };
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            tally.add(parse_result(&line).or_else(|| parse_node(&line)).unwrap_or_default());
        }
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    if !succeeded && tally.failed == 0 {
        // It did not compile, or a test binary died: nothing was counted, and something failed.
        tally.failed += 1;
    }
    println!(
        "-- {name}: {} passed, {} failed, {:.0?}",
        tally.passed,
        tally.failed,
        began.elapsed()
    );
    total.add(tally);
}

/// Counts the tests of a step that can't run here, and says why.
fn skip(
    root: &Path,
    tests: &[&str],
    missing: &Missing,
    total: &mut Tally,
    notes: &mut Vec<String>,
) {
    println!("\n== skipped: {missing}");
    let list =
        cargo(root).arg("test").args(tests).args(["--", "--list", "--format=terse"]).output();
    let count = list.map_or(0, |list| {
        String::from_utf8_lossy(&list.stdout)
            .lines()
            .filter(|line| line.ends_with(": test"))
            .count()
    });
    // At least one, so that what is missing is never invisible.
    total.skipped += u32::try_from(count).unwrap_or(u32::MAX).max(1);
    notes.push(missing.to_string());
}

/// `test result: ok. 4 passed; 0 failed; 1 ignored; ..`
fn parse_result(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<u32> {
        let part = counts.split([';', '.']).find(|part| part.trim_end().ends_with(word))?;
        part.trim().split(' ').next()?.parse().ok()
    };
    Some(Tally {
        passed: count(" passed")?,
        failed: count(" failed")?,
        skipped: count(" ignored")?,
    })
}

/// One of the lines at the end of Node's test runner: `# pass 4`, or `ℹ pass 4` for people.
fn parse_node(line: &str) -> Option<Tally> {
    let (word, count) = line.strip_prefix("# ").or(line.strip_prefix("ℹ "))?.split_once(' ')?;
    let count = count.parse().ok()?;
    match word {
        "pass" => Some(Tally { passed: count, ..Tally::default() }),
        "fail" | "cancelled" => Some(Tally { failed: count, ..Tally::default() }),
        "skipped" | "todo" => Some(Tally { skipped: count, ..Tally::default() }),
        _ => None,
    }
}

fn counted(succeeded: bool) -> Tally {
    match succeeded {
        true => Tally { passed: 1, ..Tally::default() },
        false => Tally { failed: 1, ..Tally::default() },
    }
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(folder);
    command
}

/// npm, for the browser's client.
fn npm(root: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(root.join("js/everfresh-client"));
    command
}

pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

pub(crate) fn coverage_file() -> PathBuf {
    root().join("tests/COVERAGE.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        let expected = Tally { passed: 12, failed: 3, skipped: 1 };
        assert_eq!(parse_result(line), Some(expected));
        assert_eq!(parse_result("test verify::tests::x ... ok"), None);
    }

    #[test]
    fn the_lines_of_nodes_runner_are_added_up() {
        let mut tally = Tally::default();
        let lines = ["# tests 7", "# pass 3", "ℹ fail 2", "# cancelled 1", "# skipped 1", "# pass"];
        for line in lines.into_iter().filter_map(parse_node) {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 3, failed: 3, skipped: 1 });
        assert_eq!(parse_node("# Subtest: pass 4"), None);
    }
}
