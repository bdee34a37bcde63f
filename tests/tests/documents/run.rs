//! Runs the commands that a document tells its reader to run, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use everfresh_tests::process::{Running, Workplace};
use tempfile::TempDir;

use crate::command::{Command, Line};

/// The address that the documents show. The test uses another one.
const SHOWN: &str = "127.0.0.1:3000";

/// A reader at a terminal, with one document.
pub(crate) struct Reader {
    /// Next to a clone named `everfresh`, as in docs/first-app.md.
    folder: TempDir,
    programs: PathBuf,
    server: Option<Server>,
}

struct Server {
    address: String,
    _process: Running,
    _workplace: Workplace,
}

impl Reader {
    pub(crate) fn new(root: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("everfresh-reader-").tempdir().unwrap();
        std::os::unix::fs::symlink(root, folder.path().join("everfresh")).unwrap();
        Self { folder, programs: programs(), server: None }
    }

    /// Runs one line and compares its output with its comment. `None` if the test doesn't run such
    /// lines.
    pub(crate) fn run(&mut self, line: &Line) -> Option<Result<(), String>> {
        let command = Command::parse(&line.text);
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        match words[..] {
            ["cargo", "run", ..] if command.option(&["--example"]).is_none() => {
                Some(self.start(&command))
            }
            ["cargo", "new", _] | ["curl" | "cp" | "sleep", ..] => Some(self.shell(line)),
            _ => None,
        }
    }

    /// Starts the server that `cargo run` would start, on a free port, and waits until it listens.
    /// It replaces the previous server.
    fn start(&mut self, command: &Command) -> Result<(), String> {
        let program = command.option(&["--bin"]).or(command.option(&["-p", "--package"]));
        let program = program.ok_or("which program?")?;
        self.server = None;
        let workplace = Workplace::new().map_err(|error| error.to_string())?;
        let copy = workplace.program(&self.programs.join(program));
        let copy = copy.map_err(|error| format!("{program} was not built: {error}"))?;
        let (settings, arguments) = (command.environment.join(" "), command.rest().join(" "));
        let mut shell = workplace.command("bash");
        shell.arg("-c").arg(format!("{settings} exec {} {arguments}", copy.display()));
        // Sets only the variables of the document, without the environment of the test.
        let path = std::env::var_os("PATH").unwrap_or_default();
        shell.env_clear().env("PATH", path).env("PORT", "0");
        let mut process = Running::start(shell).map_err(|error| error.to_string())?;
        let said = process.find("http://")?;
        let address = said.split([' ', '/']).next().unwrap_or_default().to_owned();
        self.server = Some(Server { address, _process: process, _workplace: workplace });
        Ok(())
    }

    fn shell(&self, line: &Line) -> Result<(), String> {
        let text = match &self.server {
            Some(server) => line.text.replace(SHOWN, &server.address),
            None if line.text.contains(SHOWN) => return Err("nothing was started before".into()),
            None => line.text.clone(),
        };
        let mut shell = Process::new("bash");
        shell.args(["-eu", "-c", &text]).current_dir(self.folder.path());
        let output = shell.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {said}{error}", output.status));
        }
        holds(&line.comment, &said).map_err(|problem| format!("{problem}: {said}"))
    }
}

/// The promise of a comment: a status at the start, and `code` that the answer contains.
fn holds(comment: &str, said: &str) -> Result<(), String> {
    let status = comment.get(..3).filter(|status| status.bytes().all(|b| b.is_ascii_digit()));
    if let Some(status) = status {
        let mut lines = said.lines().filter(|line| line.starts_with("HTTP/"));
        let found = lines.next_back().and_then(|line| line.split(' ').nth(1));
        if found != Some(status) {
            return Err(format!("{found:?} in place of {status}"));
        }
        for code in comment.split('`').skip(1).step_by(2) {
            if !said.contains(code) {
                return Err(format!("no {code:?}"));
            }
        }
    }
    Ok(())
}

/// The folder of cargo's programs, next to the folder of this test.
fn programs() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().to_owned()
}

/// Builds the programs of the documents, unless `cargo xtask test` has built them.
pub(crate) fn build(root: &Path) {
    let mut cargo = Process::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--workspace", "--bins"]).current_dir(root);
    if programs().ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "`cargo build --workspace --bins` failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_held_against_the_last_answer() {
        let said = "HTTP/1.1 303 See Other\r\n\r\nHTTP/1.1 200 OK\r\n\r\nYou are Ada\n";
        assert_eq!(holds("200 `You are Ada`, and more", said), Ok(()));
        assert_eq!(holds("a remark, with `code`", said), Ok(()));
        assert!(holds("303", said).is_err());
        assert!(holds("200 `You are Bob`", said).is_err());
        assert!(holds("200", "").is_err());
    }
}
