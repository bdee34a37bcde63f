//! A live world: real engines, real sessions held open, the real store, driven by a seed.
//!
//! What there is
//! 1. Three nodes over one store, each on a clock of its own; any two clocks differ by an hour at
//!    the most, and run alike. Nodes crash, and go over to new keys of the ring one by one.
//! 2. A browser with a jar and eight requests under way: on the network, in slow handlers, on the
//!    way back; lost, overtaken, or all in one moment. It prefetches, sleeps for hours, signs out,
//!    and signs in over what it has.
//! 3. The same person's other device, whose network is good.
//! 4. Confirmations that come late or never. A store that refuses everything for a while, or does
//!    what it is asked and loses the answer. Backups that are put back.
//! 5. Perhaps a thief, who copies the jar at any moment and uses it: mostly with pauses, sometimes
//!    in lock-step, sometimes in place of a browser that comes no more.
//!
//! What is held against every answer
//! 1. Whoever presents a session that is not over is served, and its cookies stay. It is over by
//!    its holder's sign-out or sign-in, past a limit (an hour before the absolute one, since clocks
//!    differ), or because two held it. While the store refuses everything, an access token that is
//!    good goes on, everything else is 503, and no cookie is touched.
//! 2. A session that is over is served by nobody but a node that was not told, until the access
//!    token expires; and gets no tokens from anyone.
//! 3. As soon as a generation is shown whose successor was shown as well, and the reuse interval is over,
//!    or one that is older still, the session is over: that one alone.
//! 4. A session is rotated once per access token that was presented when it had run out (from 4 s
//!    before its end, the window of so short a life), or in place of none; never twice within an
//!    reuse interval; and all who race get the same bytes. What a restored store adopts does not count,
//!    and tokens that come again after a backup count again.
//!
//! What it takes for granted
//! * The network delivers within a quarter of the reuse interval, or not at all; handlers take as long as
//!   they like.
//! * Whoever puts a backup back stops the nodes first, for more than an reuse interval. Sessions revoked
//!   since come back, and younger ones are lost.
//! * The back-off after failures is random, so it is leapt over: the nodes' steady clocks run ahead
//!   while the store fails. Lifetimes are so short that nothing else the engine draws by chance
//!   matters: a seed gives the same schedule, line by line.
//!
//! What is counted, and broken where [`Plan::strict`] says so: [`Tally::shadowed`],
//! [`Tally::posthumous`], [`Tally::outlived`]. Without a thief there is none of it. With one there
//! are a few: a node that is built anew forgets, while a request that it had goes on.
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
mod event;
mod held;
mod judge;
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

use event::{Event, Random, draw};
use judge::Broken;
use play::World;
use setup::Setup;
use shrink::shrink;

pub use judge::Wrong;
pub use tally::Tally;

/// Which schedules run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first schedule's; the others' follow.
    pub seed: u64,
    /// How many schedules.
    pub schedules: u32,
    /// How many events each has.
    pub steps: usize,
    /// Whether a thief copies the browser's jar.
    pub thief: bool,
    /// How many quarters of the reuse interval a request or a response may be on its way. The rules bear
    /// one.
    pub quarters: u64,
    /// Whether slow handlers ask for a refresh themselves, some of them with a token that other
    /// requests have left behind.
    pub refreshing: bool,
    /// Whether what [`Tally`] counts as `shadowed`, `posthumous` and `outlived` breaks a promise.
    pub strict: bool,
}

impl Plan {
    /// So many schedules of 300 events, in a network that delivers within a quarter of the reuse interval.
    pub fn new(seed: u64, schedules: u32, thief: bool) -> Self {
        let (refreshing, strict) = (false, false);
        Self { seed, schedules, steps: 300, thief, quarters: 1, refreshing, strict }
    }
}

/// What many schedules came to.
#[derive(Clone, Debug)]
pub struct Played {
    /// The sums.
    pub tally: Tally,
    /// Of the first schedules that broke a promise, the one that could be made the shortest.
    pub failed: Option<Failed>,
}

/// A schedule that broke a promise.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// Which promise.
    pub wrong: Wrong,
    /// What happened, line by line.
    pub trace: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.wrong)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// How many failures are made short, for the shortest of them.
const SHRUNK: usize = 8;

/// Runs schedules, and makes short what breaks a promise. Builds a runtime, so it can't be called
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
        tally.signed_out += u32::from(broken.wrong == Wrong::SignedOut);
        if failed.len() < SHRUNK {
            let events = shrink(&runtime, setup, events, broken.wrong);
            let trace = traced(&runtime, setup, &events);
            failed.push(Failed { seed, wrong: broken.wrong, trace });
        }
    }
    // What signs people out is told first.
    let key = |failed: &Failed| (failed.wrong != Wrong::SignedOut, failed.trace.len());
    Played { tally, failed: failed.into_iter().min_by_key(key) }
}

/// Every line of the schedule of `plan.seed`, the same each time. Not within a runtime.
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
    let (world, broken) = runtime.block_on(go(setup, events, false));
    (world.sum(), broken)
}

fn traced(runtime: &Runtime, setup: Setup, events: &[Event]) -> Vec<String> {
    let (world, broken) = runtime.block_on(go(setup, events, true));
    let mut trace = world.trace.unwrap_or_default();
    trace.extend(broken.map(|broken| format!("{:?}: {}", broken.wrong, broken.how)));
    trace
}

/// As far as it goes: the world then, and which promise was broken.
async fn go(setup: Setup, events: &[Event], traced: bool) -> (World, Option<Broken>) {
    let mut world = World::begin(setup, traced).await.expect("whoever signs in is signed in");
    for event in events {
        if let Err(broken) = world.apply(*event).await {
            return (world, Some(broken));
        }
    }
    (world, None)
}
