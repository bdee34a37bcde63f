//! A live simulation: real engines, real pending sessions and the real store, driven by a seed.
//!
//! # Contents of the simulation
//! 1. Three nodes over one store, each with a clock of its own. All clocks run at the same speed,
//!    and any two differ by an hour at most. Nodes crash, and switch to new keys of the ring one by
//!    one.
//! 2. A browser with a jar and eight concurrent requests: in transit, in slow handlers, or on the
//!    way back. They may be lost, overtaken, or all arrive at once. The browser prefetches,
//!    sleeps for hours, signs out, and signs in over an existing session.
//! 3. The same user's other device, which has a good network.
//! 4. Confirmations that arrive late or never. A store that refuses everything for a while, or
//!    executes a call and loses the answer. Backups that are restored.
//! 5. In some schedules a thief, which copies the jar at any moment and uses it: mostly with
//!    pauses, sometimes in lock-step, sometimes after the browser has stopped.
//!
//! # Checks of every answer
//! 1. A client that presents a live session is served and keeps its cookies. A session ends by its
//!    holder's sign-out or sign-in, by a limit (from an hour before the absolute one, since clocks
//!    differ), or because two clients held it. While the store refuses everything, a valid access
//!    token is accepted, every other request is answered 503, and no cookie changes.
//! 2. An ended session is served only by a node that has not learned of the end, until the access
//!    token expires. No node issues tokens for it.
//! 3. A session ends, and no other session does, as soon as a client presents a generation whose
//!    successor was presented before, if the reuse interval is over. An older generation ends it as
//!    well.
//! 4. A session is rotated once per access token that was presented after its expiry (for such
//!    short lifetimes: from 4 s before it), or without an access token. It is never rotated twice
//!    within a reuse interval, and all racing requests get the same bytes. Rotations that a
//!    restored store takes over don't count. Tokens that occur again after a backup count again.
//!
//! # Assumptions
//! * The network delivers within a quarter of the reuse interval, or not at all. Handlers have no
//!   time limit.
//! * An operator who restores a backup stops the nodes first, for more than a reuse interval.
//!   Sessions revoked since the backup return, and sessions created since are lost.
//! * The back-off after failures is random. The nodes' steady clocks jump past it while the store
//!   fails. Lifetimes are so short that no other random value of the engine matters, so a seed
//!   always produces the same schedule.
//!
//! [`Tally::ignored_refresh`], [`Tally::late_tokens`] and [`Tally::forgotten_ends`] are counted, and
//! fail the run only with [`Plan::strict`]. Without a thief none of them occurs. With a thief a few occur,
//! because a restarted node forgets while one of its requests continues.
//!
//! ```
//! use everfresh_model::live::{Plan, play};
//!
//! let played = play(Plan::new(1, 5, false));
//! assert!(played.failed.is_none(), "{}", played.failed.unwrap());
//! assert!(played.tally.rotations > 0);
//! ```

mod arrive;
mod browser;
mod check;
mod event;
mod held;
mod ledger;
mod link;
mod node;
mod operate;
mod play;
mod setup;
mod shrink;
mod tally;

use std::fmt;

use tokio::runtime::Runtime;

use check::Broken;
use event::{Event, Random, draw};
use play::Simulation;
use setup::Setup;
use shrink::shrink;

pub use check::Violation;
pub use tally::Tally;

/// The schedules to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed. The others follow it.
    pub seed: u64,
    /// The number of schedules.
    pub schedules: u32,
    /// The number of events per schedule.
    pub steps: usize,
    /// Whether a thief copies the browser's jar.
    pub thief: bool,
    /// The transit limit of a request or a response, in quarters of the reuse interval. The rules
    /// allow one quarter.
    pub quarters: u64,
    /// Whether slow handlers request refreshes themselves, some with a token that other requests
    /// have already replaced.
    pub refreshing: bool,
    /// Whether the violations that [`Tally`] counts as `ignored_refresh`, `late_tokens` and
    /// `forgotten_ends` fail the run.
    pub strict: bool,
}

impl Plan {
    /// The given number of schedules with 300 events each. The network delivers within a quarter of
    /// the reuse interval.
    pub fn new(seed: u64, schedules: u32, thief: bool) -> Self {
        let (refreshing, strict) = (false, false);
        Self { seed, schedules, steps: 300, thief, quarters: 1, refreshing, strict }
    }
}

/// The result of many schedules.
#[derive(Clone, Debug)]
pub struct Played {
    /// The sums.
    pub tally: Tally,
    /// The shortest of the first failures, after shrinking.
    pub failed: Option<Failed>,
}

/// A schedule that broke a promise.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// Which promise.
    pub wrong: Violation,
    /// The events of the run, line by line.
    pub trace: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.wrong)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// How many failures are shrunk to find the shortest.
const SHRUNK: usize = 8;

/// Runs schedules, and shrinks those that break a promise. Builds a runtime, so it can't be called
/// within one.
pub fn play(plan: Plan) -> Played {
    let runtime = runtime();
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for seed in (plan.seed..).take(plan.schedules as usize) {
        let (setup, events) = schedule(seed, plan);
        let (sum, broken) = run(&runtime, setup, &events);
        tally = tally.and(&sum);
        let Some(broken) = broken else { continue };
        tally.broken += 1;
        tally.signed_out += u32::from(broken.wrong == Violation::SignedOut);
        if failed.len() < SHRUNK {
            let events = shrink(&runtime, setup, events, broken.wrong);
            let trace = traced(&runtime, setup, &events);
            failed.push(Failed { seed, wrong: broken.wrong, trace });
        }
    }
    // Failures that sign out an honest client come first.
    let key = |failed: &Failed| (failed.wrong != Violation::SignedOut, failed.trace.len());
    Played { tally, failed: failed.into_iter().min_by_key(key) }
}

/// Every line of the schedule of `plan.seed`, the same each time. Can't be called within a runtime.
pub fn trace(plan: Plan) -> Vec<String> {
    let (setup, events) = schedule(plan.seed, plan);
    traced(&runtime(), setup, &events)
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}

fn schedule(seed: u64, plan: Plan) -> (Setup, Vec<Event>) {
    let mut random = Random::new(seed);
    let setup = Setup::draw(&mut random, plan);
    let events = draw(&mut random, plan.steps, setup.habit);
    (setup, events)
}

fn run(runtime: &Runtime, setup: Setup, events: &[Event]) -> (Tally, Option<Broken>) {
    let (simulation, broken) = runtime.block_on(go(setup, events, false));
    (simulation.sum(), broken)
}

fn traced(runtime: &Runtime, setup: Setup, events: &[Event]) -> Vec<String> {
    let (simulation, broken) = runtime.block_on(go(setup, events, true));
    let mut trace = simulation.trace.unwrap_or_default();
    trace.extend(broken.map(|broken| format!("{:?}: {}", broken.wrong, broken.how)));
    trace
}

/// Runs as far as possible. Returns the simulation at that point, and the broken promise.
async fn go(setup: Setup, events: &[Event], traced: bool) -> (Simulation, Option<Broken>) {
    let mut simulation = Simulation::begin(setup, traced).await.expect("both devices sign in");
    for event in events {
        if let Err(broken) = simulation.apply(*event).await {
            return (simulation, Some(broken));
        }
    }
    (simulation, None)
}
