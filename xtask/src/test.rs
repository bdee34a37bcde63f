//! Runs every test of the project, one step after the other, and prints one line with the totals.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::report::Report;
use crate::tools::{self, Missing};
use crate::{coverage, former, package, rules, schedules, supply};

pub(crate) fn run() -> ExitCode {
    let root = root();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let mut report = Report::default();

    report.begin("build what the tests drive");
    // Built together with the tests, so that shared dependencies are not built again with other
    // features.
    if !succeeds(cargo(&root).args(["build", "--workspace", "--bins", "--tests"])) {
        report.check("build what the tests drive", false);
        report.end(ci);
        return ExitCode::FAILURE;
    }

    report.step("the workspace", cargo(&root).args(["test", "--workspace", "--no-fail-fast"]));
    each_alone(&root, &mut report);

    report.begin("tests/COVERAGE.md is as `cargo xtask coverage` writes it");
    let written = std::fs::read_to_string(coverage_file()).unwrap_or_default();
    let wanted = coverage::generate(&root);
    report.check("tests/COVERAGE.md is not what `cargo xtask coverage` writes", {
        written == wanted.text
    });
    let name = format!("rows with neither a test nor a reason: {}", wanted.open.join(", "));
    report.check(&name, wanted.open.is_empty());

    what_the_tree_holds(&root, &mut report);
    package::package(&root, &mut report);

    report.begin("each rule of rotation, taken back alone");
    each_rule(&root, &mut report);

    // The models themselves are tests of the workspace. `cargo xtask schedules` runs them at
    // length.
    report.begin("the single flight, broken on purpose");
    let broken = schedules::each_break(&root, |name, shown| {
        println!("{}: {name}", if shown { "found" } else { "NOT FOUND" });
        report.check(&format!("no model shows it: {name}"), shown);
    });
    if let Err(problem) = broken {
        println!("{problem}");
        report.check("the single flight, broken on purpose", false);
    }

    // The last one covers other crates of an app that enable any feature of `serde_json`.
    for features in ["aws_lc_rs", "rust_crypto", "aws_lc_rs,rust_crypto", "aws_lc_rs,json"] {
        let mut command = cargo(&root.join("tests/beside"));
        command.args(["test", "--locked", "--features", features, "--target-dir"]);
        command.arg(tools::target(&root));
        report.step(&format!("beside jsonwebtoken with {features}"), &mut command);
    }
    for package in ["everfresh", "everfresh-upstream"] {
        let mut command = cargo(&root);
        command.args(["test", "--package", package, "--lib", "--features", JSON_FEATURES]);
        report.step(&format!("{package} with every feature of serde_json"), &mut command);
    }

    report.begin("instructions of the fresh path, within their budget");
    match instructions(&root) {
        Ok(kept) => report.check("instructions beyond their budget", kept),
        Err(missing) => report.skip(&missing, 1),
    }

    report.begin("the fuzz targets build");
    let mut check = cargo(&root.join("fuzz"));
    check
        .args(["check", "--locked", "--bins", "--target-dir"])
        .arg(tools::target(&root).join("fuzz"));
    report.run("the fuzz targets", check.env("RUSTFLAGS", "--cfg fuzzing -D warnings"));

    browsers(&root, &mut report);
    servers(&root, &mut report);

    if report.end(ci) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The features of `serde_json` that change how it parses or stores values.
const JSON_FEATURES: &str = "serde_json/arbitrary_precision,serde_json/float_roundtrip,\
                             serde_json/preserve_order,serde_json/raw_value,\
                             serde_json/unbounded_depth";

/// Builds parts of the workspace without the features that other parts enable.
fn each_alone(root: &Path, report: &mut Report) {
    report.begin("crates with less than their default features");
    for (package, features) in [
        ("everfresh", ""),
        ("everfresh", "tower"),
        ("everfresh-upstream", ""),
        ("everfresh-sqlx", "sqlite"),
        ("everfresh-sqlx", "postgres"),
    ] {
        let alone =
            ["check", "--package", package, "--no-default-features", "--features", features];
        report.run(&format!("{package} with `{features}` alone"), cargo(root).args(alone));
    }
    // The workspace enables the cryptographic back end, so this test is empty there.
    let no_backend =
        ["test", "--package", "everfresh", "--no-default-features", "--test", "no_backend"];
    report.run("everfresh without a cryptographic back end", cargo(root).args(no_backend));
}

fn what_the_tree_holds(root: &Path, report: &mut Report) {
    report.begin("what the tree holds");
    match supply::deny(root) {
        Ok(parts) => {
            for (part, held) in parts {
                match held {
                    Some(held) => report.check(&format!("cargo deny: {part}"), held),
                    // Caused neither by a missing program nor by this tree.
                    None => report.note(supply::UNREACHABLE.to_owned()),
                }
            }
        }
        Err(missing) => report.skip(&missing.to_string(), 1),
    }
}

/// The quickstart and the client in a browser, and the client in Node.
fn browsers(root: &Path, report: &mut Report) {
    let client = tools::browser_client(root);
    match &client {
        Ok(()) => {
            report.begin("the browser's client: types, module, package");
            for script in [
                &["run", "check"][..],
                &["run", "build"],
                &["pack", "--dry-run", "--ignore-scripts"],
            ] {
                report.run(&format!("npm {}", script.join(" ")), npm(root).args(script));
            }
            report.step("the browser's client", npm(root).arg("test"));
        }
        Err(missing) => report.skip(&missing.to_string(), 1),
    }

    for (name, test, found) in [
        ("a browser on the quickstart", "browser", tools::browser()),
        ("the client in a browser", "browser_client", client.and_then(|()| tools::browser())),
    ] {
        let mut command = cargo(root);
        if found.is_ok() {
            command.env("QUICKSTART", tools::quickstart(root).unwrap_or_default());
        }
        command.env("CLIENT", root.join("js/everfresh-client/dist/index.js"));
        gated(root, report, name, test, found, &mut command);
    }
}

/// Tests that need a database server, an identity provider, clients of vendors, or vectors from npm.
fn servers(root: &Path, report: &mut Report) {
    for (name, test, found) in [
        ("sessions in Redis", "redis", tools::redis()),
        ("sessions in PostgreSQL", "postgres", tools::postgres()),
        ("an identity provider", "idp", tools::identity_provider(root)),
    ] {
        gated(root, report, name, test, found, &mut cargo(root));
    }
    let mut command = cargo(root);
    let suite = tools::json_suite(root).map(|suite| {
        command.env(tools::JSON_SUITE, suite);
    });
    gated(root, report, "JSONTestSuite", "json_suite", suite, &mut command);
    let mut command = cargo(root);
    let python = tools::python_sdks(root).map(|python| {
        command.env(tools::SDK_PYTHON, python);
    });
    gated(root, report, "clients that vendors publish", "sdk", python, &mut command);
    let engines = tools::redis().and_then(|()| tools::postgres());
    gated(root, report, "many nodes", "cluster", engines, &mut cargo(root));
    beside_former(root, report);
}

/// `cargo xtask former`.
pub(crate) fn former() -> ExitCode {
    let mut report = Report::default();
    beside_former(&root(), &mut report);
    if report.end(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nodes of the former release beside nodes of this one.
fn beside_former(root: &Path, report: &mut Report) {
    let found = tools::redis().and_then(|()| tools::postgres());
    let mut command = cargo(root);
    // Most of the time they wait, for seconds to pass and for nodes.
    command.env("RUST_TEST_THREADS", "6");
    if found.is_ok() {
        match former::program(root) {
            Ok(program) => drop(command.env(former::PROGRAM, program)),
            Err(problem) => {
                println!("{problem}");
                return report.check(&format!("the former release: {problem}"), false);
            }
        }
    }
    gated(root, report, "beside the former release", "former", found, &mut command);
}

/// The features of tests with requirements. All are enabled at once for the whole workspace, so
/// that nothing is built in two ways.
const GATES: &str = "everfresh-tests/browser,everfresh-tests/cluster,everfresh-tests/former,\
                     everfresh-tests/idp,everfresh-tests/json_suite,everfresh-tests/postgres,\
                     everfresh-tests/redis,everfresh-tests/sdk";

/// Tests behind a feature, because their requirements are not available everywhere.
fn gated(
    root: &Path,
    report: &mut Report,
    name: &str,
    test: &str,
    found: Result<(), Missing>,
    command: &mut Command,
) {
    let tests = ["test", "--workspace", "--features", GATES, "--test", test];
    match found {
        Ok(()) => report.step(name, command.args(tests)),
        Err(missing) => {
            let list = ["--", "--list", "--format=terse"];
            let list = cargo(root).args(tests).args(list).output();
            let count = list.map_or(0, |list| {
                let lines = String::from_utf8_lossy(&list.stdout);
                lines.lines().filter(|line| line.ends_with(": test")).count()
            });
            report.skip(&missing.to_string(), count);
        }
    }
}

/// `cargo xtask rules`.
pub(crate) fn rules() -> ExitCode {
    let mut report = Report::default();
    each_rule(&root(), &mut report);
    if report.end(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// Whether each request stays within its instruction budget. `Err`: this machine can't count
/// instructions.
fn instructions(root: &Path) -> Result<bool, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("the budgets are instructions of x86-64; count them there".into());
    }
    let runner = tools::gungraun(root).map_err(|missing| missing.to_string())?;
    let mut command = cargo(root);
    command.args(["bench", "--package", "everfresh-bench", "--bench", "instructions"]);
    Ok(succeeds(command.env("GUNGRAUN_RUNNER", runner)))
}

fn each_rule(root: &Path, report: &mut Report) {
    #[expect(clippy::disallowed_methods, reason = "the time of each rule is printed")]
    let mut began = Instant::now();
    let ran = rules::run(root, |rule, missed| {
        let word = if missed { "missed" } else { "NOT MISSED" };
        println!("{word}: {rule} ({:.0?})", began.elapsed());
        report.check(&format!("not missed: {rule}"), missed);
        #[expect(clippy::disallowed_methods, reason = "the time of each rule is printed")]
        let now = Instant::now();
        began = now;
    });
    if let Err(problem) = ran {
        println!("{problem}");
        report.check("each rule, taken back alone", false);
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

/// Runs a command and also shows its standard output. Returns the output, and whether the command
/// succeeded.
pub(crate) fn said(command: &mut Command) -> (Vec<String>, bool) {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("can't run {}: {error}", command.get_program().display());
            return (Vec::new(), false);
        }
    };
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            lines.push(line);
        }
    }
    (lines, child.wait().is_ok_and(|status| status.success()))
}

/// npm, for the browser client.
fn npm(root: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(root.join("js/everfresh-client"));
    command
}

pub(crate) fn root() -> PathBuf {
    // As cargo says when it runs this program: where it was built may be another checkout, if two
    // share a target directory.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = own.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    own.parent().unwrap_or(&own).to_owned()
}

pub(crate) fn coverage_file() -> PathBuf {
    root().join("tests/COVERAGE.md")
}
