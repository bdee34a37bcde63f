//! `cargo xtask bench`: compares everfresh with its peers, one measurement after the other.

use std::process::{Command, ExitCode};

use crate::{test, tools};

/// The workspace of the peers.
const PEERS: &str = "crates/everfresh-bench/peers";

/// The order of the programs. The last one draws the results of the others.
const PROGRAMS: [&str; 7] = ["counts", "memory", "times", "threads", "costs", "sockets", "plot"];

pub(crate) fn run() -> ExitCode {
    let root = test::root();
    if let Err(missing) =
        tools::load().and_then(|()| tools::redis()).and_then(|()| tools::postgres())
    {
        eprintln!("xtask: {missing}");
        return ExitCode::FAILURE;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let target = tools::target(&root).join("peers");
    let mut build = Command::new(cargo);
    build.current_dir(root.join(PEERS)).args(["build", "--release", "--locked", "--target-dir"]);
    build.arg(&target);
    if !build.status().is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    for program in PROGRAMS {
        println!("\n== {program}");
        let mut command = Command::new(target.join("release").join(program));
        if !command.status().is_ok_and(|status| status.success()) {
            eprintln!("xtask: {program} failed");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
