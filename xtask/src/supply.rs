//! Checks of the dependencies: licences, sources, advisories, and a build with the oldest versions
//! that the manifests allow.

use std::path::Path;
use std::process::ExitCode;

use crate::rules::copy_members;
use crate::test::{cargo, succeeds};
use crate::tools::{self, Missing};

pub(crate) const UNREACHABLE: &str =
    "advisories were not looked at: the advisory database can't be fetched";

/// The published crates.
pub(crate) const PUBLISHED: [&str; 9] = [
    "crates/everfresh",
    "crates/everfresh-actix",
    "crates/everfresh-axum",
    "crates/everfresh-openapi",
    "crates/everfresh-redis",
    "crates/everfresh-sqlx",
    "crates/everfresh-testkit",
    "crates/everfresh-upstream",
    "crates/everfresh-warp",
];

/// Each part of `deny.toml`, and whether it passes; `None` if this machine can't check it.
pub(crate) fn deny(root: &Path) -> Result<Vec<(&'static str, Option<bool>)>, Missing> {
    tools::subcommand("deny", "0.20.2")?;
    let check = |part| succeeds(cargo(root).args(["deny", "--locked", "check", part]));
    let fetched = succeeds(cargo(root).args(["deny", "--locked", "fetch", "db"]));
    let parts = ["licenses", "bans", "sources"].map(|part| (part, Some(check(part))));
    let advisories = ("advisories", fetched.then(|| check("advisories")));
    Ok(parts.into_iter().chain([advisories]).collect())
}

/// `cargo xtask deny`.
pub(crate) fn deny_alone(root: &Path) -> ExitCode {
    let parts = match deny(root) {
        Ok(parts) => parts,
        Err(missing) => {
            println!("{missing}");
            return ExitCode::FAILURE;
        }
    };
    for (part, held) in &parts {
        match held {
            Some(true) => println!("{part}: ok"),
            Some(false) => println!("{part}: NOT OK"),
            None => println!("{UNREACHABLE}"),
        }
    }
    let bad = parts.iter().any(|(_, held)| *held == Some(false));
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `cargo xtask minimal`: in a copy, because it needs another lock file.
pub(crate) fn minimal(root: &Path) -> ExitCode {
    let copy = tools::target(root).join("minimal");
    if let Err(problem) = copy_members(root, &copy, &PUBLISHED) {
        println!("{problem}");
        return ExitCode::FAILURE;
    }
    let _ = std::fs::remove_file(copy.join("Cargo.lock"));
    // Nightly options, which any toolchain accepts with `RUSTC_BOOTSTRAP`.
    let steps: [&[&str]; 2] = [
        &["generate-lockfile", "-Z", "direct-minimal-versions"],
        &["check", "--workspace", "--all-features", "--locked"],
    ];
    for step in steps {
        let mut command = cargo(&copy);
        command.args(step).env("RUSTC_BOOTSTRAP", "1");
        if !succeeds(command.env("CARGO_TARGET_DIR", copy.join("target"))) {
            println!("the oldest versions that the manifests allow: NOT OK");
            return ExitCode::FAILURE;
        }
    }
    println!("the oldest versions that the manifests allow: ok");
    ExitCode::SUCCESS
}
