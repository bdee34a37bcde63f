//! Published test vectors, listed in `tests/VECTORS.md`: the totals that their tests print.

use std::path::Path;
use std::process::{ExitCode, Stdio};

use crate::test::cargo;
use crate::tools;

const SAYS: &str = "vectors: ";

/// `cargo xtask vectors`.
pub(crate) fn run(root: &Path) -> ExitCode {
    let suite = match tools::json_suite(root) {
        Ok(suite) => suite,
        Err(missing) => {
            println!("{missing}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut total, mut succeeded) = (0, 0, true);
    for tests in [
        &["--package", "everfresh", "--lib", "vectors::"][..],
        &["--package", "everfresh-tests", "--features", "json_suite", "--test", "json_suite"],
    ] {
        let mut command = cargo(root);
        command.arg("test").args(tests).args(["--", "--nocapture", "--test-threads=1"]);
        command.env(tools::JSON_SUITE, &suite);
        let output = match command.stderr(Stdio::inherit()).output() {
            Ok(output) => output,
            Err(error) => {
                println!("can't run cargo: {error}");
                return ExitCode::FAILURE;
            }
        };
        succeeded &= output.status.success();
        let text = String::from_utf8_lossy(&output.stdout);
        // After the name of its test, on the same line.
        let said = text.lines().filter_map(|line| line.split_once(SAYS)).map(|(_, said)| said);
        for line in said {
            println!("{line}");
            if let Some((some, all)) = counts(line) {
                passed += some;
                total += all;
            }
        }
    }
    println!("{passed} of {total} passed");
    match succeeded && total > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// `json_web_key_test: 24 of 26 passed, 2 skipped`
fn counts(line: &str) -> Option<(u32, u32)> {
    let (before, _) = line.split_once(" passed, ")?;
    let (before, total) = before.rsplit_once(" of ")?;
    let (_, passed) = before.rsplit_once(": ")?;
    Some((passed.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        assert_eq!(counts("a file: 24 of 26 passed, 2 skipped"), Some((24, 26)));
        assert_eq!(counts("a file: skipped 1: 3 of 4 passed"), None);
    }
}
