//! The generated part of `docs/assurance.md`. A part that was not run keeps its lines, with their date.

use std::path::Path;
use std::process::Command;

use super::Row;

const BEGIN: &str = "<!-- made by cargo xtask assure -->\n";
const END: &str = "<!-- end of what cargo xtask assure makes -->";
const HEAD: &str = "| part | what | figure | | when, at which commit |\n|---|---|---|---|---|\n";

/// The verdict as the table shows it.
pub(super) fn verdict(kept: Option<bool>) -> &'static str {
    match kept {
        Some(true) => "kept",
        Some(false) => "GAP",
        None => "not run",
    }
}

/// Replaces the former results of these parts.
pub(super) fn write(
    root: &Path,
    order: &[&str],
    found: &[(&'static str, Vec<Row>)],
    full: bool,
) -> Result<(), String> {
    let path = root.join("docs/assurance.md");
    let named = |problem: &str| format!("{}: {problem}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|error| named(&error.to_string()))?;
    let stamp = format!(
        "{}, `{}`{}",
        output("date", &["-u", "+%Y-%m-%d"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
        if full { ", the long form" } else { "" }
    );
    let text =
        replaced(&text, order, found, &machine(), &stamp).ok_or_else(|| named("no marks"))?;
    std::fs::write(&path, text).map_err(|error| named(&error.to_string()))
}

fn replaced(
    text: &str,
    order: &[&str],
    found: &[(&'static str, Vec<Row>)],
    machine: &str,
    stamp: &str,
) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let mut lines = String::new();
    for part in order {
        let of = format!("| {part} | ");
        match found.iter().find(|(name, _)| name == part) {
            Some((_, rows)) => {
                for Row { what, figure, kept } in rows {
                    let figure = figure.replace('|', "/");
                    lines += &format!("{of}{what} | {figure} | {} | {stamp} |\n", verdict(*kept));
                }
            }
            None => old.lines().filter(|line| line.starts_with(&of)).for_each(|line| {
                lines += line;
                lines.push('\n');
            }),
        }
    }
    Some(format!("{before}{BEGIN}Last run on: {machine}.\n\n{HEAD}{lines}{END}{after}"))
}

/// Processors, system and compiler.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, model)| model);
    let compiler = output("rustc", &["--version"]);
    let (system, kind) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{processors} cores of {model}, {system} on {kind}, {compiler}")
}

fn output(program: &str, words: &[&str]) -> String {
    let root = crate::test::root();
    let output = Command::new(program).args(words).current_dir(root).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_was_not_run_keeps_its_lines() {
        let page = |lines: &str| format!("a\n{BEGIN}Last run on: m.\n\n{HEAD}{lines}{END}\nz\n");
        let one = |what: &str, figure: &str| vec![Row::new(what, figure, true)];
        let put = |text: &str, found: &[(&'static str, Vec<Row>)], stamp: &str| {
            replaced(text, &["x", "y"], found, "m", stamp).expect("marks")
        };
        let first = put(&page(""), &[("x", one("X", "1")), ("y", one("Y", "2"))], "then");
        assert_eq!(first, page("| x | X | 1 | kept | then |\n| y | Y | 2 | kept | then |\n"));
        let gap = vec![Row::new("Y", "a|b", false)];
        let second = put(&first, &[("y", gap)], "now");
        assert_eq!(second, page("| x | X | 1 | kept | then |\n| y | Y | a/b | GAP | now |\n"));
        let absent = vec![Row::new("Y", "no y", None)];
        let third = put(&second, &[("y", absent)], "now");
        assert!(third.contains("| y | Y | no y | not run | now |\n"), "{third}");
        assert_eq!(replaced("no marks", &[], &[], "m", "now"), None);
    }

    #[test]
    fn the_page_has_marks() {
        let page = std::fs::read_to_string(crate::test::root().join("docs/assurance.md"));
        assert!(replaced(&page.expect("the page"), &[], &[], "m", "now").is_some());
    }
}
