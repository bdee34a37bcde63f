//! `tests/COVERAGE.md`: which tests cover which row of the project's lists.
//!
//! A test that covers rows has the comment `// Rows: F02, S11.` right above its attributes. `F` is
//! a failure from the field, `S` a requirement. Other letters are rows of [`FINDINGS`].

mod field;
mod findings;
mod holds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::test;
use field::FIELD;
use findings::FINDINGS;
use holds::HOLDS;

/// Rows without a test, with the reason.
const REASONS: &[(&str, &str)] = &[
    ("f04", "there is no lease to run out: a rotation is one compare-and-set"),
    ("f06", "a refresh timeout never clears a cookie: shown by f70 and by the adapter suite"),
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
    (
        "h3",
        "no mode sends a refresh token that a client holds as it came: `dangerously_plain` is gone, and a sealed one is bound to its session",
    ),
    (
        "l5",
        "held by the types: what holds such a token is `Zeroizing`, and no map keeps one; the request's body in the HTTP client is not wiped",
    ),
    ("r11", "said by crates/everfresh/docs/testing.md, rules 3 and 5"),
    (
        "r17",
        "said by crates/everfresh/docs/scaling.md and by `PostgresStore::open`; the tests have no PgBouncer",
    ),
    (
        "n4",
        "said by the documentation of everfresh-upstream, and shown by the tests in tests/idp/keys.rs",
    ),
    (
        "n8",
        "tokio tells of a missing timer by a panic alone, which is caught: the error is returned, and the panic's text is printed before it; with `panic = \"abort\"` nothing is probed",
    ),
];

/// The generated file, and its findings.
#[derive(Default)]
pub(crate) struct Coverage {
    /// The text of `tests/COVERAGE.md`.
    pub(crate) text: String,
    /// How many rows have a test.
    pub(crate) shown: usize,
    /// How many have a reason instead of a test.
    pub(crate) reasoned: usize,
    /// Rows with neither a test nor a reason.
    pub(crate) open: Vec<String>,
    /// Comments that can't be parsed, or that name an unknown row.
    pub(crate) wrong: Vec<String>,
}

/// `cargo xtask coverage`: writes the file, and fails if a row is open.
pub(crate) fn run(root: &Path) -> ExitCode {
    let coverage = generate(root);
    if let Err(error) = std::fs::write(test::coverage_file(), &coverage.text) {
        eprintln!("xtask: {}: {error}", test::coverage_file().display());
        return ExitCode::FAILURE;
    }
    for wrong in &coverage.wrong {
        eprintln!("xtask: {wrong}");
    }
    if !coverage.open.is_empty() {
        eprintln!("xtask: neither a test nor a reason: {}", coverage.open.join(", "));
    }
    match coverage.open.is_empty() && coverage.wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The coverage of the tests in these folders.
pub(crate) fn generate(root: &Path) -> Coverage {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for folder in ["crates", "tests", "examples", "schedules"] {
        visit(&root.join(folder), &mut |path, text| {
            let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
            let listed = match tests_with_rows(text) {
                Ok(listed) => listed,
                Err(line) => return wrong.push(format!("{file}: rows of no test: {line}")),
            };
            for (name, row) in listed {
                match all().any(|(known, _)| known.eq_ignore_ascii_case(row)) {
                    true => shown
                        .entry(row.to_lowercase())
                        .or_default()
                        .insert(format!("`{name}` ({file})")),
                    false => return wrong.push(format!("{file}: no row {row:?}")),
                };
            }
        });
    }
    Coverage { wrong, ..tell(&shown, REASONS) }
}

/// Every row, and its requirement.
fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    FIELD.iter().chain(HOLDS).chain(FINDINGS)
}

fn tell(shown: &BTreeMap<String, BTreeSet<String>>, reasons: &[(&str, &str)]) -> Coverage {
    let mut told = Coverage::default();
    let mut cell = |row: &str| {
        let reason = reasons.iter().find(|(other, _)| *other == row).map(|(_, reason)| *reason);
        match (shown.get(row), reason) {
            (Some(tests), _) => {
                told.shown += 1;
                tests.iter().cloned().collect::<Vec<_>>().join(", ")
            }
            (None, Some(reason)) => {
                told.reasoned += 1;
                reason.to_owned()
            }
            (None, None) => {
                told.open.push(row.to_uppercase());
                "open".to_owned()
            }
        }
    };
    let mut text = String::from(
        "# Which tests show what\n\nMade by `cargo xtask coverage` from the comments `// Rows: ..` above \
         tests. F: what goes wrong in the field. S: what a standard or a published \
         vulnerability demands. H, M, L: a security review, by severity. R: reports of users of \
         other projects. N: a newcomer's first use.\n\n| row | what must hold | shown by |\n\
         |---|---|---|\n",
    );
    for (row, holds) in all() {
        let _ = writeln!(text, "| {} | {holds} | {} |", row.to_uppercase(), cell(row));
    }
    let _ = writeln!(text, "\n{} rows are open.", told.open.len());
    Coverage { text, ..told }
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.trim_start().split_once("fn ")?;
    if before.starts_with("//") { None } else { rest.split(['(', '<']).next() }
}

/// The start of a comment with the rows of the test below it. The comment ends with a full stop.
const ROWS: &str = "// Rows: ";

/// Each test that covers a row, with the row. The error is the line of a comment that can't be
/// parsed: the full stop is missing, or something other than attributes follows before the
/// function.
fn tests_with_rows(text: &str) -> Result<Vec<(&str, &str)>, &str> {
    let mut found = Vec::new();
    let mut open: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(rows) = line.strip_prefix(ROWS) {
            if open.replace(rows).is_some() || !rows.ends_with('.') {
                return Err(line);
            }
        } else if let Some(rows) = open {
            if let Some(name) = function(line) {
                found.extend(rows.trim_end_matches('.').split(", ").map(|row| (name, row)));
                open = None;
            } else if !line.starts_with("#[") {
                return Err(rows);
            }
        }
    }
    open.map_or(Ok(found), Err)
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
    fn a_comment_tells_the_rows_of_the_test_below_it() {
        let names: BTreeSet<_> = all().map(|(row, _)| row).collect();
        assert_eq!(names.len(), all().count(), "each row once");
        let text = "    // Rows: F02, S54.\n    #[tokio::test]\n    async fn late() {\n\n\
                    #[test]\nfn plain<T>() {\n// Rows: M6.\npub fn a_case<H>() {\n";
        let rows = [("late", "F02"), ("late", "S54"), ("a_case", "M6")];
        assert_eq!(tests_with_rows(text).as_deref(), Ok(&rows[..]));
        for wrong in [
            "// Rows: F02\nfn without_a_full_stop() {",
            "// Rows: F02.\n// Rows: S54.\nfn twice() {",
            "// Rows: F02.\n\nfn apart() {",
            "// Rows: F02.\n/// fn in_a_comment() {",
            "// Rows: F02.\n#[test]\n",
        ] {
            assert!(tests_with_rows(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_comment_names_rows_and_stands_above_a_test() {
        let wrong = generate(&test::root()).wrong;
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_row_with_neither_a_test_nor_a_reason_is_open() {
        let of = |row: &str| (row.to_owned(), BTreeSet::from(["`a_test` (a file)".to_owned()]));
        let mut shown: BTreeMap<_, _> = all().map(|(row, _)| of(row)).collect();
        let whole = tell(&shown, &[]);
        assert!(whole.open.is_empty() && whole.reasoned == 0);
        assert!(whole.text.ends_with("\n0 rows are open.\n"));
        shown.remove("f07");
        shown.remove("s85");
        let told = tell(&shown, &[("s85", "held by the build")]);
        assert_eq!(
            (told.open, told.reasoned, told.shown),
            (vec!["F07".to_owned()], 1, whole.shown - 2)
        );
        assert!(told.text.contains("signed out. | open |\n| F08 | "), "{}", told.text);
        assert!(told.text.contains("audited. | held by the build |\n"));
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
                there.extend(text.lines().filter_map(function).map(str::to_owned));
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
