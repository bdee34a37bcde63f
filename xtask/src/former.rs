//! Builds the node of the former release from the packages in `tests/former`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::package::unpack;
use crate::rules::{read, write};
use crate::test::cargo;
use crate::tools;

/// The environment variable that passes the path of the program to its tests.
pub(crate) const PROGRAM: &str = "EVERFRESH_FORMER";

const FOLDER: &str = "tests/former";

/// Copies of these files are built, so that the checkout has no second copy of the sources.
const FILES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "src/main.rs"];

/// Builds the program. Returns its path.
pub(crate) fn program(root: &Path) -> Result<PathBuf, String> {
    let (own, folder) = (root.join(FOLDER), tools::target(root).join("former"));
    unpacked(&own, &folder)?;
    for file in FILES {
        let (text, copy) = (read(&own.join(file))?, folder.join(file));
        // What is as it was keeps its date, and cargo does not build it again.
        if !read(&copy).is_ok_and(|copied| copied == text) {
            write(&copy, &text)?;
        }
    }
    let mut build = cargo(&folder);
    build.args(["build", "--locked", "--target-dir"]).arg(tools::target(root));
    tools::built(&mut build, "former").ok_or_else(|| format!("{FOLDER} does not build"))
}

/// Unpacks the packages, unless these are unpacked already.
fn unpacked(own: &Path, folder: &Path) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{FOLDER}: {error}");
    let files = std::fs::read_dir(own).map_err(problem)?.flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "crate"))
        .collect();
    files.sort();
    let mut hash = DefaultHasher::new();
    for file in &files {
        std::fs::read(file).map_err(problem)?.hash(&mut hash);
    }
    let packages = folder.join("packages");
    let done = packages.join(format!("{:016x}", hash.finish()));
    if done.is_file() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(&packages);
    std::fs::create_dir_all(&packages).map_err(problem)?;
    for file in &files {
        unpack(file, &packages)?;
    }
    write(&done, "")
}
