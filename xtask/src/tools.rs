//! Programs that tests need and this machine may lack.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What could not be had, and how to get it.
#[derive(Debug)]
pub(crate) struct Missing {
    what: String,
    remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} missing; {}", self.what, self.remedy)
    }
}

/// Chromium and its driver, on the path.
pub(crate) fn browser() -> Result<(), Missing> {
    need(&[("chromium", "chromium"), ("chromedriver", "chromium-driver")])
}

/// Redis, on the path.
pub(crate) fn redis() -> Result<(), Missing> {
    need(&[("redis-server", "redis-server")])
}

/// Node.js, npm, and the identity provider that `tests/idp` names.
pub(crate) fn identity_provider(root: &Path) -> Result<(), Missing> {
    npm_packages(root, "tests/idp", "oidc-provider")
}

/// Node.js, npm, and what builds `js/everfresh-client`.
pub(crate) fn browser_client(root: &Path) -> Result<(), Missing> {
    npm_packages(root, "js/everfresh-client", "typescript and esbuild")
}

/// Installs the packages that a folder's lock file names.
fn npm_packages(root: &Path, folder: &str, what: &str) -> Result<(), Missing> {
    const OLDEST: u32 = 20;
    need(&[("node", "nodejs"), ("npm", "npm")])?;
    let said = Command::new("node").arg("--version").output();
    let version = said.map_or_else(
        |error| error.to_string(),
        |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
    );
    let major = version.strip_prefix('v').and_then(|rest| rest.split('.').next());
    if major.and_then(|major| major.parse().ok()).is_none_or(|major: u32| major < OLDEST) {
        return Err(Missing {
            what: format!("Node.js {OLDEST} or newer"),
            remedy: format!("found {version}"),
        });
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(root.join(folder));
    match npm.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => {
            Err(Missing { what: what.into(), remedy: format!("`npm ci` in {folder} must succeed") })
        }
    }
}

/// PostgreSQL, on the path or where Debian has it.
pub(crate) fn postgres() -> Result<(), Missing> {
    need(&[("initdb", "postgresql"), ("postgres", "postgresql")])
}

/// valgrind, on the path, and the program that reads its counts, which is built here if need be:
/// it must have the version of the crate in `Cargo.lock`.
pub(crate) fn gungraun(root: &Path) -> Result<PathBuf, Missing> {
    const VERSION: &str = "0.20.0";
    need(&[("valgrind", "valgrind")])?;
    let folder = root.join("target/tools").join(format!("gungraun-{VERSION}"));
    let runner = folder.join("bin/gungraun-runner");
    if !runner.is_file() {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(["install", "gungraun-runner", "--locked", "--version", VERSION, "--root"]);
        command.arg(&folder).arg("--target-dir").arg(root.join("target/tools/build"));
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(Missing {
                what: "gungraun-runner".into(),
                remedy: format!("install with: cargo install gungraun-runner --version {VERSION}"),
            });
        }
    }
    Ok(runner)
}

/// A load generator, and what pins it and the server to processors of their own.
pub(crate) fn load() -> Result<(), Missing> {
    need(&[("wrk", "wrk"), ("taskset", "util-linux")])
}

/// A subcommand of cargo's; this version is built and installed if there is none.
pub(crate) fn subcommand(name: &str, version: &str) -> Result<(), Missing> {
    let runs = || quietly(["cargo", name, "--version"]);
    if runs() {
        return Ok(());
    }
    let package = format!("cargo-{name}@{version}");
    println!("installing {package}");
    let install = ["cargo", "install", "--quiet", "--locked", "--debug", &package];
    if quietly(install) && runs() {
        return Ok(());
    }
    Err(Missing {
        what: format!("cargo-{name}"),
        remedy: format!("install with: cargo install --locked {package}"),
    })
}

/// Sees to programs, given as `(program, Debian package)`; installs what is missing if it may.
fn need(programs: &[(&str, &str)]) -> Result<(), Missing> {
    let lacking = |(program, _): &&(&str, &str)| !is_there(program);
    let mut packages: Vec<&str> =
        programs.iter().filter(lacking).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    if let Some(apt) = apt_get() {
        println!("installing {}", packages.join(" "));
        let run =
            |arguments: &[&str]| quietly(apt.iter().copied().chain(arguments.iter().copied()));
        run(&["update"]);
        run(&[&["install", "--yes", "--no-install-recommends"], &packages[..]].concat());
    }
    let still: Vec<&str> = programs.iter().filter(lacking).map(|(program, _)| *program).collect();
    if still.is_empty() {
        return Ok(());
    }
    Err(Missing {
        what: still.join(", "),
        remedy: format!("install with: apt-get install {}", packages.join(" ")),
    })
}

/// How to call apt-get with the right to install, if there is one.
fn apt_get() -> Option<Vec<&'static str>> {
    if !is_there("apt-get") {
        return None;
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if is_root {
        return Some(vec!["apt-get", "-qq"]);
    }
    quietly(["sudo", "-n", "true"]).then(|| vec!["sudo", "-n", "apt-get", "-qq"])
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps the servers of several versions apart, and none on the path.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let servers = versions.map(|version| version.path().join("bin"));
    std::env::split_paths(&path).chain(servers).any(|folder| folder.join(program).is_file())
}

fn quietly<'a>(words: impl IntoIterator<Item = &'a str>) -> bool {
    let mut words = words.into_iter();
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.status().is_ok_and(|status| status.success())
}
