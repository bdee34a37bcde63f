//! `cargo xtask semver [COMMIT]`: whether the version of each published crate fits its API changes
//! since the latest release, or since a commit.

use std::path::Path;
use std::process::ExitCode;

use crate::supply::PUBLISHED;
use crate::test::{cargo, succeeds};
use crate::tools;

pub(crate) fn run(root: &Path, since: Option<&str>) -> ExitCode {
    if let Err(missing) = tools::subcommand("semver-checks", "0.51.0") {
        println!("{missing}");
        return ExitCode::FAILURE;
    }
    let mut command = cargo(root);
    command.args(["semver-checks", "--all-features"]);
    command.args(since.iter().flat_map(|commit| ["--baseline-rev", commit]));
    for folder in PUBLISHED {
        command.args(["--package", folder.trim_start_matches("crates/")]);
    }
    if succeeds(&mut command) {
        return ExitCode::SUCCESS;
    }
    if since.is_none() {
        println!("where nothing was released yet, name a commit to compare with");
    }
    ExitCode::FAILURE
}
