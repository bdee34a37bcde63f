//! Mixed traffic at saturation against contract servers, with expiries, sign-outs, hostile clients
//! and faults. Afterwards it checks sessions, memory, descriptors and tasks.
//!
//! # Checks of each server with each store
//! 1. No unexpected 5xx. A 503 during an outage of the store, or within [`GRACE`] after it, is
//!    counted separately, because it is the documented answer then. The same holds for the app's
//!    own 500 (`GET /fail`).
//! 2. No session is lost: a client that signed in and was not signed out gets no 401, and is served
//!    at the end. No reuse is reported, and no connection is dropped.
//! 3. Resident memory is flat: its median over the last third of the load exceeds the median over
//!    the first third by at most [`Plan::growth`]. The load begins after a warm-up of the same
//!    traffic.
//! 4. After the last request, descriptors and tasks return to their level after the warm-up, within
//!    [`SPARE`], the number of connections in a store's pool.

mod backend;
mod client;
mod clients;
mod hostile;
mod plot;
mod sample;
mod tally;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::process::{Running, Workplace};
use backend::Backend;
use clients::Clients;
use sample::{Level, Sampler};

pub use backend::StoreKind;
pub use plot::{csv, draw};
pub use sample::Sample;
pub use tally::Tally;

/// How long after an outage of the store a 503 is still expected, because the engine backs off from
/// sessions whose refresh failed.
pub const GRACE: Duration = Duration::from_secs(10);

/// How many descriptors and tasks may remain after a load: the number of connections in a store's
/// pool.
pub const SPARE: u64 = 12;

/// The time limit for a server to come to rest.
const REST: Duration = Duration::from_secs(20);

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Contract servers by name, with the program and the store of each.
    pub pairs: Vec<(String, PathBuf, StoreKind)>,
    /// The duration of the load for all of them together. The first fifth is warm-up.
    pub time: Duration,
    /// The number of users. Every third user has two devices.
    pub people: usize,
    /// `ACCESS_TTL`, in seconds.
    pub access: u64,
    /// `REUSE_INTERVAL`, in seconds.
    pub reuse_interval: u64,
    /// How much memory may grow, in KiB.
    pub growth: u64,
    /// The seed of the traffic.
    pub seed: u64,
}

/// The result of one server with one store.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The server.
    pub server: String,
    /// The store.
    pub store: StoreKind,
    /// Requests and their answers.
    pub tally: Tally,
    /// Outages of the store.
    pub faults: usize,
    /// Sessions with a reported reuse. The load has no thief.
    pub reuses: u64,
    /// One sample per second, without the warm-up.
    pub samples: Vec<Sample>,
    /// Median memory over the first and the last third of the samples, in KiB.
    pub memory: (u64, u64),
    /// The levels after the warm-up and at the end, without clients.
    pub rest: (Level, Level),
    /// A description of each broken promise.
    pub broken: Vec<String>,
}

/// Runs all pairs, one after the other. Panics if a requirement, such as a server program, is
/// missing.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&Outcome)) -> Vec<Outcome> {
    let share = plan.time / u32::try_from(plan.pairs.len().max(1)).unwrap_or(1);
    let mut outcomes = Vec::new();
    for (n, (name, program, store)) in plan.pairs.iter().enumerate() {
        let outcome = one(plan, n, name, program, *store, share).await;
        tell(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

async fn one(
    plan: &Plan,
    number: usize,
    name: &str,
    program: &Path,
    store: StoreKind,
    share: Duration,
) -> Outcome {
    let workplace = Workplace::new().expect("a folder");
    let mut backend = Backend::start(store, workplace.path()).await;
    let program = workplace.program(program).expect("a copy");
    let mut command = workplace.command(program);
    command.envs([("PORT", "0"), ("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA")]);
    command.env("STORE", backend.setting());
    command
        .env("ACCESS_TTL", plan.access.to_string())
        .env("REUSE_INTERVAL", plan.reuse_interval.to_string());
    let mut server = Running::start(command).expect("a process");
    let address: SocketAddr = server.wait_for("listening on http://").parse().expect("an address");

    let outage = backend.outage();
    let clients = Clients::new(address, plan.people, plan.seed + number as u64, outage);
    clients.run(share / 5).await;
    let sampler = Sampler::new(server.id(), address);
    let before = sampler.rest(None, REST).await;
    clients.forget();

    let load = share * 4 / 5;
    let began = Instant::now();
    let (samples, faults, ()) = tokio::join!(
        sampler.every_second(began, load, || clients.requests()),
        backend.faults(load, number),
        clients.run(load),
    );
    clients.all_are_back().await;
    let after = sampler.rest(Some(before), REST).await;
    let reuses = sampler.reuses().await;
    let outcome = Outcome {
        server: name.into(),
        store,
        tally: clients.tally(),
        faults,
        reuses,
        memory: sample::thirds(&samples),
        samples,
        rest: (before, after),
        broken: Vec::new(),
    };
    Outcome { broken: broken(&outcome, plan), ..outcome }
}

fn broken(outcome: &Outcome, plan: &Plan) -> Vec<String> {
    let Outcome { tally, memory: (first, last), rest: (before, after), .. } = outcome;
    let mut broken = tally.wrong.clone();
    if tally.refreshed == 0 || tally.signed_out == 0 {
        broken.push("no token was refreshed, or no user signed out: the load was too small".into());
    }
    if outcome.reuses > 0 {
        broken.push(format!("{} sessions had a reported reuse", outcome.reuses));
    }
    if *last > first + plan.growth {
        broken.push(format!("memory grew from {first} to {last} KiB"));
    }
    for (what, before, after) in [
        ("descriptors", before.descriptors, after.descriptors),
        ("tasks", before.tasks, after.tasks),
    ] {
        if after > before + SPARE {
            broken.push(format!("{after} {what} at rest, after {before}"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(tally: Tally, memory: (u64, u64), after: Level) -> Outcome {
        let (server, store, samples) = ("x".into(), StoreKind::Memory, Vec::new());
        let rest = (Level { descriptors: 10, tasks: 3 }, after);
        let (faults, reuses, broken) = (0, 0, Vec::new());
        Outcome { server, store, tally, faults, reuses, samples, memory, rest, broken }
    }

    #[test]
    fn a_broken_limit_is_reported() {
        let plan = Plan {
            pairs: Vec::new(),
            time: Duration::ZERO,
            people: 0,
            access: 1,
            reuse_interval: 1,
            growth: 100,
            seed: 0,
        };
        let good = || Tally { refreshed: 1, signed_out: 1, ..Tally::default() };
        let (rest, told) = (Level { descriptors: 11, tasks: 3 }, |one| broken(&one, &plan));
        assert!(told(outcome(good(), (1000, 1100), rest)).is_empty());
        assert_eq!(
            told(outcome(good(), (1000, 1101), rest)),
            ["memory grew from 1000 to 1101 KiB"]
        );
        let leaked = Level { descriptors: 10 + SPARE + 1, tasks: 3 };
        assert_eq!(told(outcome(good(), (1, 1), leaked)), ["23 descriptors at rest, after 10"]);
        let leaked = Level { descriptors: 10, tasks: 3 + SPARE + 1 };
        assert_eq!(told(outcome(good(), (1, 1), leaked)), ["16 tasks at rest, after 3"]);
        assert_eq!(told(outcome(Tally::default(), (1, 1), rest)).len(), 1);
        let wrong = Tally { wrong: vec!["500 to GET /me".into()], ..good() };
        assert_eq!(told(outcome(wrong, (1, 1), rest)), ["500 to GET /me"]);
        let stolen = Outcome { reuses: 2, ..outcome(good(), (1, 1), rest) };
        assert_eq!(told(stolen), ["2 sessions had a reported reuse"]);
    }
}
