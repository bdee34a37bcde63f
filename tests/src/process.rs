//! Child processes of the tests: unprivileged, each in a process group of its own, which ends with
//! the handle.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tempfile::TempDir;

/// The id of the user and of the group without privileges that servers and browsers get if the tests
/// run as root.
const UNPRIVILEGED: u32 = 65534;

/// Held while a program is copied and while one is started. A child forked during the copy would
/// keep the copy open for writing, and a file open for writing can't be executed.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time limit for a child to report that it is ready, and to end.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A folder that children can read and write; removed when dropped.
#[derive(Debug)]
pub struct Workplace(TempDir);

impl Workplace {
    /// Creates an empty folder.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("everfresh-").tempdir()?;
        if geteuid().is_root() {
            chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        }
        Ok(Self(folder))
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Copies a program, because children may not be able to read the build folder.
    pub fn program(&self, built: &Path) -> io::Result<PathBuf> {
        let copy = self.path().join(built.file_name().unwrap_or(OsStr::new("program")));
        let _alone = one_at_a_time();
        std::fs::copy(built, &copy)?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
        Ok(copy)
    }

    /// Copies a folder for the same reason. Symbolic links in it are left out.
    pub fn folder(&self, from: &Path) -> io::Result<PathBuf> {
        let copy = self.path().join(from.file_name().unwrap_or(OsStr::new("folder")));
        copy_folder(from, &copy)?;
        Ok(copy)
    }

    /// Makes a file that was created here, and its companion files (`-wal`), writable for the
    /// children.
    pub fn share(&self, file: &Path) -> io::Result<()> {
        if !geteuid().is_root() {
            return Ok(());
        }
        for entry in std::fs::read_dir(self.path())? {
            let path = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(&name)) {
                chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
            }
        }
        Ok(())
    }

    /// A command that runs unprivileged, with this folder as its home.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("HOME", self.path()).env("TMPDIR", self.path());
        command.process_group(0);
        if geteuid().is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy_folder(&entry.path(), &copy)?,
            kind if kind.is_file() => {
                std::fs::copy(entry.path(), &copy)?;
                std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A running child; its whole process group ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: Option<std::thread::JoinHandle<String>>,
    /// The guard reads from this pipe, which closes when this process ends for any reason.
    _alive: Option<ChildStdin>,
}

impl Running {
    /// Starts a command and reads its output. Its standard input closes when this process ends.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped());
        Self::listen(command)
    }

    /// Starts a program that must not outlive this process, even if no destructor runs, as with a
    /// `static` or a killed process. The program then ends, and the workplace is removed. Its
    /// standard error is included in its lines.
    pub fn start_guarded(
        workplace: &Workplace,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item: AsRef<OsStr>>,
    ) -> io::Result<Self> {
        const GUARD: &str = "exec 3<&0 </dev/null\n\
            { read -r _ <&3; kill -9 $$; rm -rf \"$PWD\"; } >/dev/null 2>&1 &\n\
            exec \"$@\" 2>&1 3<&-";
        let mut command = workplace.command("sh");
        command.args(["-c", GUARD, "guard"]).arg(program).args(arguments);
        command.stdin(Stdio::piped());
        Self::listen(command)
    }

    fn listen(mut command: Command) -> io::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = {
            let _alone = one_at_a_time();
            command.spawn()?
        };
        let (say, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            // Read to the end, so that the child never blocks on a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
        }
        let stderr = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text);
                text
            })
        });
        let _alive = child.stdin.take();
        Ok(Self { child, lines, stderr, _alive })
    }

    /// The text after `mark` in the first line of standard output that contains it.
    ///
    /// Panics with the child's output if the child ends, or a minute passes, without such a line.
    pub fn wait_for(&mut self, mark: &str) -> String {
        self.find(mark).unwrap_or_else(|said| panic!("no {mark:?}: {said}"))
    }

    /// As [`wait_for`](Self::wait_for), but returns the child's output as the error. The child has
    /// ended then.
    pub fn find(&mut self, mark: &str) -> Result<String, String> {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(ANSWER_LIMIT) {
                Ok(line) => match line.split_once(mark) {
                    Some((_, rest)) => return Ok(rest.to_owned()),
                    None => said.push(line),
                },
                Err(_) => {
                    self.signal(Signal::KILL);
                    return Err(format!("{said:?} {}", self.stderr()));
                }
            }
        }
    }

    /// The unread lines of standard output, after its end.
    pub fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// The whole standard error, after its end.
    pub fn stderr(&mut self) -> String {
        self.stderr.take().and_then(|text| text.join().ok()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
