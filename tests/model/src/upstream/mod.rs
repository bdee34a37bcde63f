//! A world around tokens of another server: real engines, the real refresher, a store and a server
//! in which everything happens when the schedule says so.
//!
//! What there is
//! 1. Nodes over one store, each with an engine of its own on a runtime of its own, whose time
//!    stands still. They die, and begin anew with an empty memory; they are stopped between two
//!    polls of a task, while all clocks go on.
//! 2. One session whose tokens at the other server have run out, and requests for it, at any node.
//!    Perhaps somebody signs out.
//! 3. The row: a change is made, or not, and its acknowledgement arrives, or not. The store fails
//!    for a while.
//! 4. The other server ([`Model`]): a request reaches it, finds no connection, is lost, or is
//!    answered with 503. An answer arrives, however late, or is lost.
//!
//! What is held against every schedule is listed at [`Wrong`]. In the end everything calms down:
//! late answers arrive, stopped nodes go on, the store works. Then a session is as good as ever,
//! today and at the next expiry, if its last tokens reached a node that lived to store them, or if
//! its token was never sent. Other ones are in doubt: refused, with their cookies.
//!
//! [`explore`] tries every schedule within the bounds of a [`Plan`], and [`wander`] many longer ones
//! by chance. Both print the first that breaks a promise, made as short as it gets.
//!
//! What it takes for granted
//! * The store keeps what it acknowledged, and the other server does what it answers: one that
//!   answers 500 to what it has done is a limit of the protocol ([`Plan::broken`] lets it happen).
//! * What was sent to a server of [`Model::Grace`] arrives before time passes, or never.
//! * The pause after failures is random, so the nodes' steady clocks leap over it.
//!
//! ```
//! use everfresh_model::upstream::{Model, Plan, wander};
//!
//! let explored = wander(Plan::wide(Model::Strict), 1, 20);
//! assert!(explored.failed.is_none(), "{}", explored.failed.unwrap());
//! assert!(explored.tally.published > 0);
//! ```

mod carry;
mod end;
mod gate;
mod judge;
mod node;
mod play;
mod search;
mod server;
mod step;

use std::fmt;

pub use judge::Wrong;
pub use search::{explore, wander};
pub use server::Model;

/// Bounds of a schedule. None of the functions here can be called within a runtime.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The other server.
    pub model: Model,
    /// How many nodes there are: 1 to 3.
    pub nodes: usize,
    /// How many requests come.
    pub asks: usize,
    /// How many mishaps there are: crashes, stops, outages, losses, refused connections, a sign-out.
    pub faults: usize,
    /// How often time passes: a second, or the limit of a refresh.
    pub passes: usize,
    /// How many steps there are before everything calms down.
    pub steps: usize,
    /// Whether somebody signs out.
    pub sign_out: bool,
    /// Whether the other server does what it is asked and answers 500, which may cost the session.
    pub broken: bool,
}

impl Plan {
    /// Narrow enough for every schedule to be tried: two requests, two mishaps.
    pub fn narrow(model: Model) -> Self {
        let (sign_out, broken) = (true, false);
        Self { model, nodes: 2, asks: 2, faults: 2, passes: 1, steps: 16, sign_out, broken }
    }

    /// For chance: three nodes, ten requests, eight mishaps.
    pub fn wide(model: Model) -> Self {
        let (sign_out, broken) = (true, false);
        Self { model, nodes: 3, asks: 10, faults: 8, passes: 8, steps: 80, sign_out, broken }
    }
}

/// What many schedules came to.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The sums.
    pub tally: Tally,
    /// Whether these were all there are.
    pub complete: bool,
    /// The first that broke a promise.
    pub failed: Option<Failed>,
}

/// A schedule that broke a promise.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which promise.
    pub wrong: Wrong,
    /// What happened, line by line.
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
    /// New tokens that the row took.
    pub published: u64,
    /// Requests that were served.
    pub served: u64,
    /// Requests that were answered 401.
    pub refused: u64,
    /// Those among them whose session was in doubt.
    pub in_doubt: u64,
    /// Requests that were told to come again.
    pub unavailable: u64,
    /// Schedules whose session was signed out.
    pub signed_out: u64,
    /// Schedules whose last answer from the other server was lost, or may have been, and with it
    /// the session.
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
