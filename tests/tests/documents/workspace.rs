//! The names that commands may use: packages, their targets and features, xtask commands, scripts,
//! tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use serde::Deserialize;

use crate::command::Command;

/// The workspace, from its manifests.
pub(crate) struct Workspace {
    root: PathBuf,
    packages: Vec<Package>,
    /// The output of `cargo xtask`.
    help: String,
    /// The scripts of the browser client.
    scripts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    features: BTreeMap<String, Vec<String>>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Scripts {
    scripts: BTreeMap<String, String>,
}

/// Cargo options without a value.
const FLAGS: [&str; 8] = [
    "--all-features",
    "--lib",
    "--locked",
    "--no-deps",
    "--no-verify",
    "--open",
    "--release",
    "--workspace",
];

/// Options whose value is checked, with the kind of target.
const TARGETS: [(&str, &str); 4] =
    [("--example", "example"), ("--bin", "bin"), ("--test", "test"), ("--bench", "bench")];

/// Cargo subcommands that documents may use.
const CARGO: [&str; 12] = [
    "bench",
    "build",
    "check",
    "clippy",
    "deny",
    "doc",
    "fmt",
    "new",
    "package",
    "run",
    "semver-checks",
    "test",
];

type Checked = Result<(), String>;

impl Workspace {
    pub(crate) fn read(root: &Path) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let metadata = Process::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(root)
            .output()
            .unwrap();
        let Metadata { packages } = serde_json::from_slice(&metadata.stdout).unwrap();
        let chores = std::fs::read_to_string(root.join("xtask/src/main.rs")).unwrap();
        let (_, help) = chores.split_once("const HELP: &str = \"").unwrap();
        let client = std::fs::read(root.join("js/everfresh-client/package.json")).unwrap();
        let Scripts { scripts } = serde_json::from_slice(&client).unwrap();
        Self {
            root: root.into(),
            packages,
            help: help.split_once("\";").unwrap().0.to_owned(),
            scripts,
        }
    }

    /// Whether everything that a command names exists.
    pub(crate) fn check(&self, command: &Command) -> Checked {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        match words[..] {
            ["cargo", "xtask", ref rest @ ..] => self.check_chore(rest),
            ["cargo", subcommand, ..] if CARGO.contains(&subcommand) => self.check_cargo(command),
            ["npm", "ci" | "test" | "install", ..] => Ok(()),
            ["npm", "run", script, ..] if self.scripts.contains_key(script) => Ok(()),
            _ => Err("unknown command".into()),
        }
    }

    fn check_chore(&self, words: &[&str]) -> Checked {
        let Some((chore, rest)) = words.split_first() else { return Ok(()) };
        let line = format!("cargo xtask {chore} ");
        let known = self.help.lines().any(|one| one.starts_with(&line));
        let strange =
            rest.iter().find(|word| word.starts_with("--") && !self.help.contains(**word));
        match (known, strange) {
            (false, _) => Err(format!("there is no chore {chore:?}")),
            (_, Some(option)) => Err(format!("no chore has the option {option}")),
            _ => Ok(()),
        }
    }

    fn check_cargo(&self, command: &Command) -> Checked {
        let package = command.option(&["-p", "--package"]).filter(|name| !is_placeholder(name));
        let package = match package {
            None => None,
            Some(name) => Some(
                self.packages
                    .iter()
                    .find(|package| package.name == name)
                    .ok_or_else(|| format!("there is no package {name:?}"))?,
            ),
        };
        for (option, kind) in TARGETS {
            let Some(name) = command.option(&[option]) else { continue };
            let mut of = self
                .packages
                .iter()
                .filter(|one| package.is_none_or(|package| package.name == one.name));
            let has = |one: &Package| {
                one.targets.iter().any(|at| at.name == name && at.kind.iter().any(|k| k == kind))
            };
            if !of.any(has) {
                return Err(format!("there is no {kind} {name:?}"));
            }
        }
        let features = command.option(&["--features", "-F"]).unwrap_or_default();
        for feature in features.split(',').filter(|feature| !feature.is_empty()) {
            let has = |one: &Package| one.features.contains_key(feature);
            if !package.is_some_and(has) {
                return Err(format!("there is no feature {feature:?} in the package"));
            }
        }
        self.check_words(command, package)
    }

    /// Checks for unknown options, and for tests selected by a part of their name.
    fn check_words(&self, command: &Command, package: Option<&Package>) -> Checked {
        let valued =
            ["-p", "--package", "--features", "-F", "--manifest-path", "--baseline-version"];
        let own = command.words.iter().skip(2).take_while(|word| *word != "--");
        let mut own = own.map(String::as_str);
        let mut filters = Vec::new();
        while let Some(word) = own.next() {
            if valued.contains(&word) || TARGETS.iter().any(|(option, _)| *option == word) {
                own.next();
            } else if !word.starts_with('-') {
                filters.push(word);
            } else if !FLAGS.contains(&word) {
                return Err(format!("unknown option {word}"));
            }
        }
        if command.words.get(1).is_none_or(|subcommand| subcommand != "test") {
            return Ok(());
        }
        let behind =
            command.rest().iter().map(String::as_str).filter(|word| !word.starts_with('-'));
        for filter in filters.into_iter().chain(behind) {
            let folder = package.and_then(|package| package.manifest_path.parent());
            if !names_a_function(folder.unwrap_or(&self.root), filter) {
                return Err(format!("no test has {filter:?} in its name"));
            }
        }
        Ok(())
    }
}

/// `NAME` or `..`, which the reader replaces.
fn is_placeholder(name: &str) -> bool {
    name == ".." || name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn names_a_function(folder: &Path, part: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().any(|path| {
        if path.is_dir() {
            return !path.ends_with("target") && names_a_function(&path, part);
        }
        let source = path.extension().is_some_and(|kind| kind == "rs");
        source
            && std::fs::read_to_string(&path).unwrap().lines().any(|line| {
                let name = line.split_once("fn ").map_or("", |(_, rest)| rest);
                name.split(['(', '<']).next().is_some_and(|name| name.contains(part))
            })
    })
}
