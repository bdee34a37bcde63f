//! `cargo xtask memory`: runs the core's tests under `AddressSanitizer` and, if the toolchain has
//! it, under Miri. The sanitizer detects invalid memory accesses and leaks, also in the C code that
//! signs. Miri detects undefined behaviour.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::test::{cargo, said};
use crate::tools;

/// Tests without signatures, for parsing, decisions and storage.
const WITHOUT_KEYS: [&str; 9] = [
    "backoff::",
    "cache::",
    "clock::",
    "cookie::",
    "decide::",
    "extract::",
    "node::",
    "origin::",
    "secret::",
];

/// The result of one run: its name, and the number of passed tests or the reason why none ran.
pub(crate) struct Outcome {
    pub(crate) what: &'static str,
    pub(crate) figure: String,
    /// `None` if the tool is not available.
    pub(crate) kept: Option<bool>,
}

pub(crate) fn run(root: &Path) -> ExitCode {
    let mut kept = true;
    for outcome in each(root) {
        println!("{}: {}", outcome.what, outcome.figure);
        kept &= outcome.kept != Some(false);
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(crate) fn each(root: &Path) -> [Outcome; 2] {
    [sanitized(root), interpreted(root)]
}

fn sanitized(root: &Path) -> Outcome {
    const WHAT: &str = "The core's tests under AddressSanitizer";
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    if !cfg!(target_os = "linux") {
        return Outcome { what: WHAT, figure: "Linux alone".into(), kept: None };
    }
    let mut command = cargo(root);
    command.args(["test", "--package", "everfresh", "--lib", "--target", &target]);
    command.arg("--target-dir").arg(tools::target(root).join("sanitized"));
    // Sanitizers are unstable in Rust, but the stable toolchain contains them.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    let (lines, succeeded) = said(&mut command);
    outcome(WHAT, &lines, succeeded, "no error, no leak")
}

fn interpreted(root: &Path) -> Outcome {
    const WHAT: &str = "The core's tests under Miri";
    // Through rustup, because the cargo that runs this task only knows its own toolchain.
    let nightly = || {
        let mut command = Command::new("cargo");
        command.current_dir(root).arg("+nightly");
        command
    };
    let there = nightly().args(["miri", "--version"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        let figure = "no nightly toolchain with miri (`rustup +nightly component add miri`)";
        return Outcome { what: WHAT, figure: figure.into(), kept: None };
    }
    // Miri runs no C code, and so no signatures.
    let mut command = nightly();
    command.args(["miri", "test", "--package", "everfresh", "--lib"]);
    command.args(["--no-default-features", "--features", "tower", "--"]).args(WITHOUT_KEYS);
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    let (lines, succeeded) = said(&mut command);
    outcome(WHAT, &lines, succeeded, "nothing undefined")
}

fn outcome(what: &'static str, lines: &[String], succeeded: bool, good: &str) -> Outcome {
    let passed = lines.iter().find_map(|line| {
        line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok()
    });
    let kept = succeeded && passed.is_some_and(|passed| passed > 0);
    let figure = match passed {
        Some(passed) if kept => format!("{passed} passed, {good}"),
        _ => "FAILED".into(),
    };
    Outcome { what, figure, kept: Some(kept) }
}
