//! `tests/COVERAGE.md`: which tests show which row of the project's two lists.
//!
//! A test that shows a row begins its name with it: `f02_..` for what goes wrong in the field,
//! `s11_..` for what must hold. A test of several rows begins with all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::test;

/// The rows of what goes wrong in the field.
const FIELD: [std::ops::RangeInclusive<u16>; 11] = [
    1..=22,
    30..=39,
    40..=53,
    55..=57,
    60..=67,
    70..=77,
    80..=86,
    90..=96,
    100..=101,
    110..=115,
    120..=121,
];

/// The rows of what must hold.
const HOLDS: std::ops::RangeInclusive<u16> = 1..=85;

/// Rows that no test shows, and why.
const REASONS: &[(&str, &str)] = &[
    ("f04", "there is no lease to run out: a rotation is one compare-and-set"),
    ("f06", "a waiter's limit never clears a cookie: shown by f70 and by the adapter suite"),
    ("f45", "no cookie is made for an attempt to sign in"),
    ("f47", "no cookie of ours is bound to another one"),
    ("f48", "no token is bound to the Host"),
    ("f51", "shown by s77 and s78: Max-Age, and Expires only to delete"),
    ("f56", "nothing is redirected: requests get 401 problem+json"),
    ("f64", "no id_token is kept"),
    (
        "f67",
        "a token is minted to live; one that is already over is `Failure::Rejected` (`MintProblem::Over`)",
    ),
    ("f81", "shown by f82"),
    ("f85", "there is no index of sessions by another party's ids"),
    ("f91", "one statement per step: there is no transaction to deadlock"),
    ("f92", "no lock is waited for: a rotation is one conditional statement"),
    (
        "f94",
        "the node's set of ended sessions is the only thing it remembers: `an_ended_session_is_refused_while_its_access_token_is_good`",
    ),
    (
        "f93",
        "what a request with a good token does is read nothing and write nothing; a refresh writes, whatever its method, to the one store that it reads",
    ),
    ("f95", "columns, not a blob: a rotation writes what it rotates and nothing else"),
    (
        "s33",
        "tags and HMACs are compared by aws-lc's constant-time functions; tokens that are known are found by a keyed hash",
    ),
    (
        "s67",
        "nothing is introspected: a token that a request brings is a JWT of ours, and an opaque one of another server is taken from its own answer alone",
    ),
    (
        "s85",
        "held by the build: `unsafe_code = \"forbid\"` in the workspace's lints, `rust-version` in each crate, `cargo deny` and the lints as steps of CI",
    ),
];

/// The file as it should be, and what it says.
pub(crate) struct Coverage {
    /// The text of `tests/COVERAGE.md`.
    pub(crate) text: String,
    /// How many rows a test shows.
    pub(crate) shown: usize,
    /// How many have a reason in place of a test.
    pub(crate) reasoned: usize,
    /// Those with neither.
    pub(crate) open: Vec<String>,
}

/// `cargo xtask coverage`: writes the file, and fails if a row is open.
pub(crate) fn run(root: &Path) -> ExitCode {
    let coverage = generate(root);
    if let Err(error) = std::fs::write(test::coverage_file(), &coverage.text) {
        eprintln!("xtask: {}: {error}", test::coverage_file().display());
        return ExitCode::FAILURE;
    }
    match coverage.open.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("xtask: neither a test nor a reason: {}", coverage.open.join(", "));
            ExitCode::FAILURE
        }
    }
}

/// What the tests in these folders show.
pub(crate) fn generate(root: &Path) -> Coverage {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in ["crates", "tests", "examples", "schedules"] {
        visit(&root.join(folder), &mut |path, text| {
            let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
            for name in test_names(text) {
                for row in rows(name) {
                    shown.entry(row).or_default().insert(format!("`{name}` ({file})"));
                }
            }
        });
    }
    tell(&shown, REASONS)
}

fn tell(shown: &BTreeMap<String, BTreeSet<String>>, reasons: &[(&str, &str)]) -> Coverage {
    let mut text = String::from(
        "# Which tests show what\n\nMade by `cargo xtask coverage`; a test whose name begins with a \
         row shows it. F: what goes wrong in the field. S: what must hold.\n\n| row | shown by |\n\
         |---|---|\n",
    );
    let field = FIELD.into_iter().flatten().map(|row| format!("f{row:02}"));
    let (mut with_test, mut reasoned, mut open) = (0, 0, Vec::new());
    for row in field.chain(HOLDS.map(|row| format!("s{row:02}"))) {
        let reason = reasons.iter().find(|(other, _)| *other == row).map(|(_, reason)| *reason);
        let tests =
            shown.get(&row).map(|tests| tests.iter().cloned().collect::<Vec<_>>().join(", "));
        let upper = row.to_uppercase();
        let cell = match (tests, reason) {
            (Some(tests), _) => {
                with_test += 1;
                tests
            }
            (None, Some(reason)) => {
                reasoned += 1;
                reason.to_owned()
            }
            (None, None) => {
                open.push(upper.clone());
                "open".to_owned()
            }
        };
        let _ = writeln!(text, "| {upper} | {cell} |");
    }
    let _ = writeln!(text, "\n{} rows are open.", open.len());
    Coverage { text, shown: with_test, reasoned, open }
}

/// Names of functions that could be tests.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let lines =
        text.lines().filter_map(|line| line.trim_start().split_once("fn ").map(|(_, rest)| rest));
    lines.filter_map(|rest| rest.split(['(', '<']).next())
}

/// `s03_f44_shadow_cookies` shows `s03` and `f44`.
fn rows(name: &str) -> impl Iterator<Item = String> {
    name.split('_').map_while(|part| {
        let digits = part.strip_prefix(['f', 's'])?;
        let is_row = (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_row.then(|| part.to_owned())
    })
}

fn visit(folder: &Path, read: &mut impl FnMut(&Path, &str)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.ends_with("target") {
            visit(&path, read);
        } else if path.extension().is_some_and(|end| end == "rs")
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            read(&path, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_rows() {
        let of = |name| rows(name).collect::<Vec<_>>();
        assert_eq!(of("s03_f44_shadow_cookies"), ["s03", "f44"]);
        assert_eq!(of("f110_a_strangers"), ["f110"]);
        assert!(of("four_processes").is_empty() && of("f_x").is_empty() && of("s3_x").is_empty());
        let text = "    async fn f02_late() {\n    fn plain<T>() {\n";
        assert_eq!(test_names(text).collect::<Vec<_>>(), ["f02_late", "plain"]);
    }

    #[test]
    fn a_row_with_neither_a_test_nor_a_reason_is_open() {
        let of = |row: &str| (row.to_owned(), BTreeSet::from(["`a_test` (a file)".to_owned()]));
        let mut shown: BTreeMap<_, _> =
            FIELD.into_iter().flatten().map(|n| of(&format!("f{n:02}"))).collect();
        shown.extend(HOLDS.map(|n| of(&format!("s{n:02}"))));
        let all = tell(&shown, &[]);
        assert!(all.open.is_empty() && all.reasoned == 0);
        assert!(all.text.ends_with("\n0 rows are open.\n"));
        shown.remove("f07");
        shown.remove("s85");
        let told = tell(&shown, &[("s85", "held by the build")]);
        assert_eq!(
            (told.open, told.reasoned, told.shown),
            (vec!["F07".to_owned()], 1, all.shown - 2)
        );
        assert!(told.text.contains("| F07 | open |\n| F08 | "), "{}", told.text);
        assert!(told.text.contains("| S85 | held by the build |\n"));
    }

    #[test]
    fn no_row_is_open() {
        let open = generate(&test::root()).open;
        assert!(open.is_empty(), "neither a test nor a reason: {}", open.join(", "));
    }

    #[test]
    fn every_test_that_the_threat_model_names_is_there() {
        let root = test::root();
        let mut there = BTreeSet::new();
        for folder in ["crates", "tests"] {
            visit(&root.join(folder), &mut |_, text| {
                there.extend(test_names(text).map(str::to_owned));
            });
        }
        let page = std::fs::read_to_string(root.join("THREAT_MODEL.md")).expect("the page");
        let is_test =
            |word: &&str| word.matches('_').count() > 3 && !word.contains(['(', ':', ' ']);
        let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
        assert!(named.len() > 40, "{} tests are named", named.len());
        let missing: Vec<_> = named.iter().filter(|name| !there.contains(**name)).collect();
        assert!(missing.is_empty(), "THREAT_MODEL.md names tests that are not there: {missing:?}");
    }
}
