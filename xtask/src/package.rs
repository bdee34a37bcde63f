//! Whether every crate can be published as it is. Checks each manifest and the contents of each
//! package, builds the packages without this repository, and builds an app by the steps of
//! docs/first-app.md.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::report::Report;
use crate::rules::{read, write};
use crate::supply::PUBLISHED;
use crate::test::{cargo, root, succeeds};
use crate::tools;

/// Fields that every manifest must have.
const FIELDS: [&str; 9] = [
    "description",
    "license",
    "version",
    "edition",
    "rust-version",
    "authors",
    "keywords",
    "categories",
    "documentation",
];

/// Files that every package must contain.
const FILES: [&str; 5] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];

/// The programs that docs/first-app.md tells its reader to copy.
const APPS: [&str; 4] = ["axum-app", "actix-app", "warp-app", "tower-stack"];

/// `cargo xtask package`.
pub(crate) fn alone() -> ExitCode {
    let mut report = Report::default();
    package(&root(), &mut report);
    if report.end(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same as a step of all tests.
pub(crate) fn package(root: &Path, report: &mut Report) {
    report.begin("what would be published");
    for folder in PUBLISHED {
        let problems = problems(root, folder).join(", ");
        report.check(&format!("{folder}: {problems}"), problems.is_empty());
    }

    match unpacked(root) {
        Ok(folder) => {
            for name in PUBLISHED.into_iter().map(package_name) {
                let mut command = cargo(&folder);
                command.args(["check", "--quiet", "--package", name, "--target-dir"]);
                report.run(&format!("the package of {name} builds by itself"), {
                    command.arg(tools::target(root))
                });
            }
        }
        Err(problem) => {
            println!("{problem}");
            report.check(&format!("the packages: {problem}"), false);
        }
    }

    match own_app(root) {
        Ok(mut command) => report.run("an app as docs/first-app.md says builds", &mut command),
        Err(problem) => {
            println!("{problem}");
            report.check("an app as docs/first-app.md says", false);
        }
    }

    let mut command = cargo(root);
    command.args(["doc", "--locked", "--no-deps", "--workspace"]);
    report.run("documentation without a warning", command.env("RUSTDOCFLAGS", "-D warnings"));
}

/// The errors in a crate's manifest and in the contents of its package.
fn problems(root: &Path, folder: &str) -> Vec<String> {
    let manifest = match std::fs::read_to_string(root.join(folder).join("Cargo.toml")) {
        Ok(manifest) => manifest,
        Err(error) => return vec![error.to_string()],
    };
    let has = |field: &str| {
        manifest
            .lines()
            .any(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with([' ', '.'])))
    };
    let mut problems: Vec<String> =
        FIELDS.into_iter().filter(|field| !has(field)).map(|field| format!("no {field}")).collect();
    if !manifest.contains("[package.metadata.docs.rs]") {
        problems.push("no [package.metadata.docs.rs]".into());
    }
    match files(root, folder) {
        Ok(files) => {
            let lacks = FILES.into_iter().filter(|file| !files.iter().any(|found| found == file));
            problems.extend(lacks.map(|file| format!("no {file} in the package")));
        }
        Err(error) => problems.push(error),
    }
    problems
}

/// The files of a package.
fn files(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let mut command = cargo(&root.join(folder));
    command.args(["package", "--list", "--locked", "--allow-dirty"]);
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The name of the package in this folder.
fn package_name(folder: &str) -> &str {
    folder.trim_start_matches("crates/")
}

/// A workspace of the packages as they would be published, where they take each other for the
/// published ones. Cargo's own check of several packages keeps what it unpacked, and takes it for
/// the next run's packages of the same version.
fn unpacked(root: &Path) -> Result<PathBuf, String> {
    let target = tools::target(root);
    let folder = target.join("packages");
    let _ = std::fs::remove_dir_all(&folder);
    let mut command = cargo(root);
    // The dependencies were downloaded when the workspace was built.
    command.args(["package", "--quiet", "--offline", "--locked", "--allow-dirty", "--no-verify"]);
    command.args(PUBLISHED.into_iter().flat_map(|folder| ["--package", package_name(folder)]));
    if !succeeds(command.arg("--target-dir").arg(&folder)) {
        return Err("cargo package failed".into());
    }
    let (mut members, mut patches) = (Vec::new(), String::new());
    for name in PUBLISHED.into_iter().map(package_name) {
        let package = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
        unpack(&folder.join("package").join(format!("{package}.crate")), &folder)?;
        patches.push_str(&format!("{name} = {{ path = {package:?} }}\n"));
        members.push(package);
    }
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n[patch.crates-io]\n{patches}"
    );
    write(&folder.join("Cargo.toml"), &manifest)?;
    write(&folder.join("Cargo.lock"), &read(&root.join("Cargo.lock"))?)?;
    Ok(folder)
}

/// Unpacks a package into a folder.
pub(crate) fn unpack(package: &Path, folder: &Path) -> Result<(), String> {
    // `-m`: cargo takes files of the packages' fixed date for files that it has built before.
    let mut command = Command::new("tar");
    match succeeds(command.arg("-C").arg(folder).arg("-xzmf").arg(package)) {
        true => Ok(()),
        false => Err(format!("tar can't unpack {}", package.display())),
    }
}

/// The command that builds the apps of docs/first-app.md, with its manifest and the examples that
/// it names.
fn own_app(root: &Path) -> Result<Command, String> {
    let folder = tools::target(root).join("own-app");
    let page = read(&root.join("docs/first-app.md"))?;
    let dependencies = page.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
    let (dependencies, _) = dependencies.ok_or("docs/first-app.md: no block of TOML")?;
    let crates = format!("path = {:?}", root.join("crates"));
    let crates = format!("{}/", crates.trim_end_matches('"'));
    let dependencies = dependencies.replace("path = \"../everfresh/crates/", &crates);
    for app in APPS {
        let source = read(&root.join(format!("examples/{app}/src/main.rs")))?;
        write(&folder.join(format!("src/bin/{app}.rs")), &source)?;
    }
    let package =
        "[workspace]\n\n[package]\nname = \"own-app\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    write(&folder.join("Cargo.toml"), &format!("{package}\n{dependencies}"))?;
    write(&folder.join("Cargo.lock"), &read(&root.join("Cargo.lock"))?)?;
    let mut command = cargo(&folder);
    command.args(["check", "--quiet", "--bins", "--target-dir"]).arg(tools::target(root));
    Ok(command)
}
