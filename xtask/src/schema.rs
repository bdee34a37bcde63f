//! `dialects/schema.json`: the JSON Schema of a dialect's file, as the types of the core have it.

use std::path::Path;
use std::process::{ExitCode, Stdio};

use crate::test::cargo;

/// `cargo xtask schema`.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--package", "everfresh", "--features", "schema"]);
    command.args(["--example", "dialect-schema"]).stderr(Stdio::inherit());
    let printed = match command.output() {
        Ok(output) if output.status.success() => output.stdout,
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: can't run cargo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let file = root.join("dialects/schema.json");
    match std::fs::write(&file, printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}
