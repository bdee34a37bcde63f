//! A simulation around tokens of another server: real engines and the real refresher, with a store and a
//! server whose every operation the schedule controls.
//!
//! # Contents of the simulation
//! 1. Nodes over one store, each with an engine and a runtime of its own, whose time stands still.
//!    Nodes crash and restart with an empty memory. Nodes are stopped between two polls of a task,
//!    while all clocks continue.
//! 2. One session whose tokens at the other server have expired, and requests for it at any node.
//!    In some schedules a client signs out.
//! 3. The row: a change takes effect or fails, and its acknowledgement arrives or is lost. The
//!    store fails for a while.
//! 4. The other server ([`ProviderKind`]): a request reaches it, finds no connection, is lost, or is
//!    answered with 503. An answer arrives, at any time, or is lost.
//!
//! [`Violation`] lists the checks of every schedule. At the end all faults stop: late answers arrive,
//! stopped nodes continue, and the store works. A session must then be fully usable, now and at the
//! next expiry, if its last tokens reached a node that lived to store them, or if its token was
//! never sent. Other sessions are in doubt: their requests are refused and keep their cookies.
//!
//! [`explore`] tries every schedule within the bounds of a [`Plan`], and [`wander`] many longer
//! random ones. Both print the first schedule that breaks a promise, shortened.
//!
//! # Assumptions
//! * The store keeps what it acknowledged. The other server's answers are true; a server that
//!   processes a request and answers 500 is a limit of the protocol, which [`Plan::broken`] allows.
//! * A request to a server of [`ProviderKind::Grace`] arrives before time passes, or never.
//! * The back-off after failures is random, so the nodes' steady clocks jump past it.
//!
//! ```
//! use everfresh_model::upstream::{ProviderKind, Plan, wander};
//!
//! let explored = wander(Plan::wide(ProviderKind::Strict), 1, 20);
//! assert!(explored.failed.is_none(), "{}", explored.failed.unwrap());
//! assert!(explored.tally.published > 0);
//! ```

mod carry;
mod check;
mod end;
mod gate;
mod node;
mod play;
mod provider;
mod search;
mod step;

use std::fmt;

pub use check::Violation;
pub use provider::ProviderKind;
pub use search::{explore, wander};

/// Bounds of a schedule. None of the functions here can be called within a runtime.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The other server.
    pub kind: ProviderKind,
    /// The number of nodes: 1 to 3.
    pub nodes: usize,
    /// The number of requests.
    pub asks: usize,
    /// The number of faults: crashes, stops, outages, losses, refused connections, a sign-out.
    pub faults: usize,
    /// How often time passes: by a second, or by the time limit of a refresh.
    pub passes: usize,
    /// The number of steps before all faults stop.
    pub steps: usize,
    /// Whether a client signs out.
    pub sign_out: bool,
    /// Whether the other server may process a request and answer 500, which may end the session.
    pub broken: bool,
}

impl Plan {
    /// Small enough to try every schedule: two requests, two faults.
    pub fn narrow(kind: ProviderKind) -> Self {
        let (sign_out, broken) = (true, false);
        Self { kind, nodes: 2, asks: 2, faults: 2, passes: 1, steps: 16, sign_out, broken }
    }

    /// For random schedules: three nodes, ten requests, eight faults.
    pub fn wide(kind: ProviderKind) -> Self {
        let (sign_out, broken) = (true, false);
        Self { kind, nodes: 3, asks: 10, faults: 8, passes: 8, steps: 80, sign_out, broken }
    }
}

/// The result of many schedules.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The sums.
    pub tally: Tally,
    /// Whether these were all schedules within the bounds.
    pub complete: bool,
    /// The first schedule that broke a promise.
    pub failed: Option<Failed>,
}

/// A schedule that broke a promise.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which promise.
    pub wrong: Violation,
    /// The events of the run, line by line.
    pub trace: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.wrong)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Sums over schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Schedules that ran.
    pub schedules: u64,
    /// Steps in them.
    pub steps: u64,
    /// Calls to the other server.
    pub calls: u64,
    /// New tokens stored in the row.
    pub published: u64,
    /// Requests that were served.
    pub served: u64,
    /// Requests that were answered 401.
    pub refused: u64,
    /// How many of those were refused because their session was in doubt.
    pub in_doubt: u64,
    /// Requests that were answered 503.
    pub unavailable: u64,
    /// Schedules whose session was signed out.
    pub signed_out: u64,
    /// Schedules in which the last answer of the other server was lost, or may have been, and the
    /// session with it.
    pub lost: u64,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            schedules: self.schedules + other.schedules,
            steps: self.steps + other.steps,
            calls: self.calls + other.calls,
            published: self.published + other.published,
            served: self.served + other.served,
            refused: self.refused + other.refused,
            in_doubt: self.in_doubt + other.in_doubt,
            unavailable: self.unavailable + other.unavailable,
            signed_out: self.signed_out + other.signed_out,
            lost: self.lost + other.lost,
        }
    }
}
