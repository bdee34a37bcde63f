//! Disables each rule of rotation, and of upstream tokens, one at a time, and expects the models to
//! find a violation.
//!
//! The task changes a copy of the core, the testkit and `everfresh-upstream` in one place, builds
//! it, and runs a search. A search without a violation means that the rule is not needed, or that
//! the search does not reach it.

mod upstream;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools;

/// A rule, and the change that disables it.
struct Rule {
    name: &'static str,
    file: &'static str,
    with: &'static str,
    without: &'static str,
    search: Search,
}

/// The search that finds the violation.
#[derive(Clone, Copy)]
enum Search {
    /// The search of the table: enough requests in transit and ticks to find the violation.
    Rotation([&'static str; 2]),
    /// The simulation of upstream tokens, with this kind of server.
    Upstream(&'static str),
    /// The same from this schedule on, for a violation in one of a hundred thousand schedules. If
    /// the violation is no longer found, the search itself has changed; find a new start with a
    /// large number of schedules.
    UpstreamFrom(&'static str, &'static str),
}

impl Search {
    /// The number of random schedules, always with the same seeds. It is more than enough.
    const SCHEDULES: &str = "60000";

    fn words(self) -> (&'static str, Vec<&'static str>) {
        let random = ["random", Self::SCHEDULES];
        match self {
            Self::Rotation(bounds) => ("search", bounds.to_vec()),
            Self::Upstream(server) => ("upstream", [&random[..], &[server]].concat()),
            Self::UpstreamFrom(server, seed) => {
                ("upstream", [&random[..], &[server, seed]].concat())
            }
        }
    }

    /// The program's output without and with a violation.
    fn outcomes(self) -> [&'static str; 2] {
        match self {
            Self::Rotation(_) => {
                ["0 honest browsers signed out", "an honest browser was signed out:"]
            }
            Self::Upstream(_) | Self::UpstreamFrom(..) => {
                ["no promise broken:", "a promise was broken:"]
            }
        }
    }
}

const TABLE: &str = "crates/everfresh/src/refresh/rotation_rules.rs";
const ROTATE: &str = "crates/everfresh/src/refresh/rotate/attempt.rs";
const MEMORY: &str = "crates/everfresh/src/store/memory/mod.rs";
const LATE: &str = "crates/everfresh/src/flow/late.rs";

const RULES: &[Rule] = &[
    Rule {
        name: "the same successor within the reuse_interval",
        file: TABLE,
        with: "(age <= reuse_interval || !row.confirmed)",
        without: "!row.confirmed",
        search: Search::Rotation(["2", "14"]),
    },
    Rule {
        name: "the same successor while no client has presented it",
        file: TABLE,
        with: "(age <= reuse_interval || !row.confirmed)",
        without: "age <= reuse_interval",
        search: Search::Rotation(["2", "14"]),
    },
    Rule {
        name: "a successor that is issued again restarts the interval",
        file: TABLE,
        with: "reanchor: !row.confirmed && age >= reuse_interval / 2",
        without: "reanchor: false",
        search: Search::Rotation(["3", "14"]),
    },
    Rule {
        name: "no rotation sooner than the reuse_interval",
        file: TABLE,
        with: "if age < reuse_interval { Answer::Keep }",
        without: "if false { Answer::Keep }",
        search: Search::Rotation(["2", "14"]),
    },
    Rule {
        name: "a token ahead of the store is no reuse",
        file: TABLE,
        with: "Answer::AheadOfStore\n",
        without: "Answer::Reuse\n",
        search: Search::Rotation(["2", "14"]),
    },
    Rule {
        name: "what is ahead of the store is not rotated at once",
        file: ROTATE,
        with: "next.generation = credential.generation;",
        without: "next.generation = credential.generation + 1;",
        search: Search::Rotation(["2", "14"]),
    },
    Rule {
        name: "only what a client shows confirms",
        file: MEMORY,
        with: "row.confirmed &= again;",
        without: "row.confirmed = true;",
        search: Search::Rotation(["2", "14"]),
    },
    Rule {
        name: "a late response asks again",
        file: LATE,
        with: "self.0.core.settings.clock.monotonic() >= *at",
        without: "self.0.core.settings.clock.monotonic() >= *at && false",
        search: Search::Rotation(["3", "14"]),
    },
    Rule {
        name: "late begins at half the reuse_interval",
        file: ROTATE,
        with: "Some(cx.after(self.reuse_interval / 2))",
        without: "Some(cx.after(self.reuse_interval))",
        search: Search::Rotation(["3", "14"]),
    },
];

/// The members of the copy, without those that they don't need.
const COPIED: [&str; 5] = [
    "crates/everfresh",
    "crates/everfresh-testkit",
    "crates/everfresh-upstream",
    "tests/error-texts",
    "tests/model",
];

/// Reports for each rule whether the search missed it, as soon as that is known. The error is the
/// operation that failed.
pub(crate) fn run(root: &Path, mut say: impl FnMut(&'static str, bool)) -> Result<(), String> {
    let copy = tools::target(root).join("rules");
    copy_members(root, &copy, &COPIED)?;
    let servers = ["strict", "grace", "lenient", "fixed"].map(Search::Upstream);
    for whole in servers.into_iter().chain([Search::Rotation(["2", "14"])]) {
        let none_signed_out = search(&copy, whole)?;
        none_signed_out.then_some(()).ok_or("a client is signed out with every rule in place")?;
    }
    let mut rules = RULES.iter().chain(upstream::RULES);
    rules.try_for_each(|rule| missed(root, &copy, rule).map(|missed| say(rule.name, missed)))
}

fn missed(root: &Path, copy: &Path, rule: &Rule) -> Result<bool, String> {
    let text = read(&root.join(rule.file))?;
    if text.matches(rule.with).count() != 1 {
        return Err(format!("{}: `{}` is not there once", rule.file, rule.with.trim()));
    }
    write(&copy.join(rule.file), &text.replace(rule.with, rule.without))?;
    let found = search(copy, rule.search);
    write(&copy.join(rule.file), &text)?;
    found.map(|holds| !holds)
}

/// Whether the search found no violation.
fn search(copy: &Path, search: Search) -> Result<bool, String> {
    let (example, words) = search.words();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(copy)
        .args(["run", "--quiet", "--release", "-p", "everfresh-model", "--example", example])
        .arg("--")
        .args(words)
        // Hides warnings about code that is unused without the rule.
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        // Each rule changes one function, so the rest is not built again.
        .env("CARGO_INCREMENTAL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256")
        .env("CARGO_TARGET_DIR", copy.join("target"));
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let outcome =
        search.outcomes().map(|outcome| said.lines().any(|line| line.starts_with(outcome)));
    match (outcome, output.status.code()) {
        ([true, false], Some(0)) => Ok(true),
        ([false, true], Some(1)) => Ok(false),
        _ => Err(format!("the search did not run:\n{said}\n{}", stderr(&output.stderr))),
    }
}

fn stderr(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().take(40).collect::<Vec<_>>().join("\n")
}

/// A copy of the workspace with only these members, and with the lock file.
pub(crate) fn copy_members(root: &Path, copy: &Path, members: &[&str]) -> Result<(), String> {
    for name in members.iter().chain(&["Cargo.lock"]) {
        let _ = std::fs::remove_dir_all(copy.join(name));
        copy_tree(&root.join(name), &copy.join(name))?;
    }
    let manifest = read(&root.join("Cargo.toml"))?;
    let (before, rest) = manifest.split_once("members = [").ok_or("Cargo.toml: no members")?;
    let (_, after) = rest.split_once(']').ok_or("Cargo.toml: members don't end")?;
    write(&copy.join("Cargo.toml"), &format!("{before}members = {members:?}{after}"))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), String> {
    if from.is_dir() {
        let entries = std::fs::read_dir(from).map_err(|error| problem(from, &error))?;
        let entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        return entries
            .iter()
            .filter_map(|entry| Some((entry, entry.file_name()?)))
            .try_for_each(|(entry, name)| copy_tree(entry, &to.join(name)));
    }
    let bytes = std::fs::read(from).map_err(|error| problem(from, &error))?;
    write_bytes(to, &bytes)
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| problem(path, &error))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    write_bytes(path, text.as_bytes())
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(|error| problem(folder, &error))?;
    std::fs::write(path, bytes).map_err(|error| problem(path, &error))
}

fn problem(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
