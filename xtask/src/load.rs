//! `cargo xtask load`: saturating traffic on every contract server with every store.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::test::{cargo, succeeds};
use crate::tools;

/// The folder of its pictures and samples.
pub(crate) const OUT: &str = "docs/images";

/// `cargo xtask load [--seconds N]`.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> ExitCode {
    let seconds = match arguments {
        [] => 600,
        ["--seconds", seconds] => match seconds.parse::<u32>() {
            Ok(seconds @ 1..) => seconds,
            _ => {
                eprintln!("xtask: --seconds {seconds:?}; wanted is a number from 1 up");
                return ExitCode::from(2);
            }
        },
        unknown => {
            eprintln!("xtask: load {unknown:?}; wanted is `--seconds N` or nothing");
            return ExitCode::from(2);
        }
    };
    let Ok(mut command) = prepared(root, seconds, true) else { return ExitCode::FAILURE };
    command.args(["--out", OUT]);
    if succeeds(&mut command) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds the program with all servers, if the servers of the stores are installed. Errors are
/// already printed. A debug build checks more and builds faster.
pub(crate) fn prepared(root: &Path, seconds: u32, release: bool) -> Result<Command, ()> {
    if let Err(missing) = tools::redis().and_then(|()| tools::postgres()) {
        eprintln!("xtask: {missing}");
        return Err(());
    }
    let profile = if release { "release" } else { "dev" };
    let tests = ["--profile", profile, "--package", "everfresh-tests"];
    if !succeeds(cargo(root).arg("build").args(tests).arg("--bins")) {
        return Err(());
    }
    let mut command = cargo(root);
    command.arg("run").args(tests).args(["--bin", "load", "--"]);
    command.args(["--seconds", &seconds.to_string()]);
    Ok(command)
}
