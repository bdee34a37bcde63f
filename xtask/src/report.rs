//! Runs the steps of the tests. Prints at the end how many tests passed, and which failed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many lines of a failed command are repeated at the end.
const LAST: usize = 20;

/// The number of tests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The results so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    total: Tally,
    /// Notes that are repeated at the end, where they are noticed.
    notes: Vec<String>,
    /// Each step and its start time.
    steps: Vec<(String, Instant)>,
}

impl Report {
    /// Starts a step of single checks.
    #[expect(clippy::disallowed_methods, reason = "the time of each step is printed")]
    pub(crate) fn begin(&mut self, name: &str) {
        println!("\n== {name}");
        self.steps.push((name.to_owned(), Instant::now()));
    }

    /// Counts one check.
    pub(crate) fn check(&mut self, name: &str, held: bool) {
        if held {
            self.total.passed += 1;
        } else {
            self.total.failed += 1;
            self.notes.push(format!("failed: {name}"));
        }
    }

    /// Counts one check that is a command. What a failed one said last is repeated at the end.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) {
        let mut last = VecDeque::new();
        let held = match command.stderr(Stdio::piped()).spawn() {
            Ok(mut child) => {
                let said = child.stderr.take().map(BufReader::new);
                for line in said.into_iter().flat_map(|said| said.lines().map_while(Result::ok)) {
                    eprintln!("{line}");
                    last.push_back(line);
                    if last.len() > LAST {
                        last.pop_front();
                    }
                }
                child.wait().is_ok_and(|status| status.success())
            }
            Err(error) => {
                last.push_back(error.to_string());
                false
            }
        };
        self.check(name, held);
        if !held {
            self.notes.extend(last.into_iter().map(|line| format!("    {line}")));
        }
    }

    /// A note that is not a test result.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Counts tests that can't run here, at least one, so that a missing program is always visible.
    pub(crate) fn skip(&mut self, why: &str, count: usize) {
        println!("\n== skipped: {why}");
        self.total.skipped += u32::try_from(count).unwrap_or(u32::MAX).max(1);
        self.notes.push(format!("skipped: {why}"));
    }

    /// Runs `cargo test` or `npm test`, and adds its counts.
    pub(crate) fn step(&mut self, name: &str, command: &mut Command) {
        self.begin(name);
        let mut tally = Tally::default();
        let mut child = match command.stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("can't run {}: {error}", command.get_program().display());
                return self.check(name, false);
            }
        };
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                println!("{line}");
                tally.add(parse_result(&line).or_else(|| parse_node(&line)).unwrap_or_default());
                if let Some(test) = failed(&line) {
                    self.notes.push(format!("failed: {name}: {test}"));
                }
            }
        }
        let succeeded = child.wait().is_ok_and(|status| status.success());
        if !succeeded && tally.failed == 0 {
            // It did not compile, or a test binary crashed. No test was counted, so the step counts
            // as failed.
            self.check(name, false);
        }
        let Tally { passed, failed, .. } = tally;
        println!("-- {name}: {passed} passed, {failed} failed");
        self.total.add(tally);
    }

    /// The duration of each step, without steps of less than five seconds.
    #[expect(clippy::disallowed_methods, reason = "the time of each step is printed")]
    fn times(&self) -> impl Iterator<Item = (&str, Duration)> {
        const SHORT: Duration = Duration::from_secs(5);
        let ends = self.steps.iter().skip(1).map(|(_, began)| *began).chain([Instant::now()]);
        let lasted =
            self.steps.iter().zip(ends).map(|((name, began), end)| (&**name, end - *began));
        lasted.filter(|(_, lasted)| *lasted >= SHORT)
    }

    /// Prints the last lines. Returns whether all tests passed; with `strict`, a skipped test
    /// counts as failed.
    pub(crate) fn end(&self, strict: bool) -> bool {
        println!();
        for (name, lasted) in self.times() {
            println!("{:>4} s  {name}", lasted.as_secs());
        }
        println!();
        for note in &self.notes {
            println!("{note}");
        }
        let Tally { passed, failed, skipped } = self.total;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        failed == 0 && (!strict || skipped == 0)
    }
}

/// The test of `test a::b ... FAILED`, or of `✖ b (3ms)`.
fn failed(line: &str) -> Option<&str> {
    let rust = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
    rust.or_else(|| line.trim_start().strip_prefix("✖ ")).or_else(|| line.strip_prefix("not ok "))
}

/// `test result: ok. 4 passed; 0 failed; 1 ignored; ..`
fn parse_result(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<u32> {
        let part = counts.split([';', '.']).find(|part| part.trim_end().ends_with(word))?;
        part.trim().split(' ').next()?.parse().ok()
    };
    Some(Tally {
        passed: count(" passed")?,
        failed: count(" failed")?,
        skipped: count(" ignored")?,
    })
}

/// One of the last lines of Node's test runner: `# pass 4`, or `ℹ pass 4` on a terminal.
fn parse_node(line: &str) -> Option<Tally> {
    let (word, count) = line.strip_prefix("# ").or(line.strip_prefix("ℹ "))?.split_once(' ')?;
    let count = count.parse().ok()?;
    match word {
        "pass" => Some(Tally { passed: count, ..Tally::default() }),
        "fail" | "cancelled" => Some(Tally { failed: count, ..Tally::default() }),
        "skipped" | "todo" => Some(Tally { skipped: count, ..Tally::default() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        let expected = Tally { passed: 12, failed: 3, skipped: 1 };
        assert_eq!(parse_result(line), Some(expected));
        assert_eq!(parse_result("test verify::tests::x ... ok"), None);
    }

    #[test]
    fn a_failed_step_is_named() {
        assert_eq!(failed("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed("  ✖ a tab asks (3ms)"), Some("a tab asks (3ms)"));
        assert_eq!(failed("test a::b ... ok"), None);
    }

    #[test]
    fn the_lines_of_nodes_runner_are_added_up() {
        let mut tally = Tally::default();
        let lines = ["# tests 7", "# pass 3", "ℹ fail 2", "# cancelled 1", "# skipped 1", "# pass"];
        for line in lines.into_iter().filter_map(parse_node) {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 3, failed: 3, skipped: 1 });
        assert_eq!(parse_node("# Subtest: pass 4"), None);
    }
}
