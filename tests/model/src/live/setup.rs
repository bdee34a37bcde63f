//! The initial state of a schedule: lifetimes, clocks, the thief's habit.

use std::fmt;
use std::time::Duration;

use everfresh::{ManualClock, Timestamp};

use super::Plan;
use super::event::Random;

/// The length of a tick. Lifetimes are below 20 s and every clock shows an even second, so the
/// engine's random spread (of `exp`, of the refresh window) moves no event into another tick.
pub(super) const TICK: Duration = Duration::from_secs(2);

pub(super) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// The idle limit and the absolute lifetime of a session.
pub(super) const IDLE: Duration = Duration::from_secs(6 * 3600);
pub(super) const ABSOLUTE: Duration = Duration::from_secs(24 * 3600);

/// How long an access token is accepted after its expiry if no refresh is possible.
pub(super) const LEEWAY: Duration = TICK;

/// The largest difference between two clocks, in seconds.
pub(super) const SKEW: u64 = 3600;

/// How a thief uses the copied tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Sends a request now and then.
    Pauses,
    /// Sends a request right after each refresh of the browser.
    LockStep,
    /// Sends requests now and then. The browser soon stops.
    TakeOver,
}

/// The initial state of a schedule. Times are in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) reuse_interval: u64,
    pub(super) lifetime: u64,
    /// How long a request or a response may be in transit.
    pub(super) delay: u64,
    /// By how many seconds the clocks of the nodes and of the store differ from true time.
    pub(super) skews: [i64; NODES + 1],
    /// Confirmations reach the store at once.
    pub(super) prompt: bool,
    /// Slow handlers request refreshes themselves.
    pub(super) refreshing: bool,
    /// Known violations, which are otherwise only counted, fail the run.
    pub(super) strict: bool,
    pub(super) habit: Option<Habit>,
}

impl Setup {
    pub(super) fn draw(random: &mut Random, plan: Plan) -> Self {
        let reuse_interval = [2, 4, 4, 8][random.below(4) as usize];
        let lifetime = [6, 7, 9, 9][random.below(4) as usize];
        let skewed = random.below(3) > 0;
        let skews = [(); NODES + 1].map(|()| {
            let skew = [0, 0, 2, -10, 58, -240, 600, -1800, 1800][random.below(9) as usize];
            if skewed { skew } else { 0 }
        });
        let prompt = random.below(3) == 0;
        let habit = match random.below(10) {
            _ if !plan.thief => None,
            0..=6 => Some(Habit::Pauses),
            7 | 8 => Some(Habit::LockStep),
            _ => Some(Habit::TakeOver),
        };
        let Plan { quarters, refreshing, strict, .. } = plan;
        let delay = quarters * reuse_interval / 4;
        Self { reuse_interval, lifetime, delay, skews, prompt, refreshing, strict, habit }
    }

    pub(super) fn reuse_interval(&self) -> Duration {
        TICK * self.reuse_interval as u32
    }

    pub(super) fn lifetime(&self) -> Duration {
        TICK * self.lifetime as u32
    }

    /// The initial clock of a node; the index after the last node is the store's.
    pub(super) fn clock(&self, at: usize) -> ManualClock {
        let secs = START.as_secs().saturating_add_signed(self.skews[at]);
        ManualClock::starting_at(Timestamp::from_secs(secs))
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reuse_interval, lifetime) =
            (self.reuse_interval().as_secs(), self.lifetime().as_secs());
        let (nodes, store) = self.skews.split_at(NODES);
        write!(
            f,
            "reuse interval {reuse_interval} s, access tokens {lifetime} s, delay {} s at the most; clocks of the \
             nodes off by {nodes:?} s, the store's by {store:?} s",
            (TICK * self.delay as u32).as_secs()
        )?;
        f.write_str(if self.prompt { "; confirmations come at once" } else { "" })?;
        self.habit.map_or(Ok(()), |habit| write!(f, "; a thief: {habit:?}"))
    }
}
