//! Models that check everfresh's rules with the real engine and real stores.
//!
//! * [`search`] visits every reachable state around one session, breadth first. It returns the
//!   shortest path to a state in which an honest browser is signed out.
//! * [`Oracle`] runs the engine for the search and caches its answers. The cache changes no result,
//!   because each question gets a new engine without state.
//! * [`live`] plays long random schedules: several nodes that crash and whose clocks differ,
//!   outages, key rotation, backups, and a thief.
//! * [`upstream`] plays every short schedule, and long random ones, of sessions whose tokens
//!   another server issues.
//! * [`stores`] searches small models of the rules that the stores follow, with and without each
//!   rule.
//! * [`points`] injects a fault at each step of a run in turn, until a run has no further step.
//!
//! Browsers have several requests in flight; responses are lost, late or overtaken. Handlers are
//! slow. Confirmations arrive late or never. In [`search`] and [`live`] the network delivers within
//! a quarter of the reuse interval, or not at all. Handlers and confirmations have no time limit.
//!
//! The search measures time in ticks. Generations and times are relative to the session's row, so
//! states that differ only in age are equal.
//!
//! # Words
//! All simulators use these words: the models here, `schedules/`, `tests/tests/turmoil`,
//! `tests/tests/cluster`, and the load (`tests/src/load`).
//!
//! | word | what it is |
//! |---|---|
//! | `Simulation` | one run: nodes, clients, the store, the provider, the clock |
//! | `Node` | a process with an engine of its own, over the store that all nodes share |
//! | `Client` | what holds a session's tokens; a `Browser` has a cookie jar |
//! | `Provider` | another server, which issues tokens to an app's node |
//! | `Backing` | what a session depends on: the store alone, or a provider's tokens too |
//! | `Store`, `Backend`, `StoreLink` | the rows; their database; one node's connection |
//! | `Hub`, `Wires` | the connections of all nodes; their shared state |
//! | `Clock` | a node's `ManualClock`, or the time since the start of the run |
//! | `Flight` | a refresh under way; in [`live`] a client's request or its response in transit |
//! | `Tokens`, `Cookies` | the tokens that a client holds or a message carries |
//! | `Event`, `Move` | one step of a schedule |
//! | `Fault`, `NodeFault`, `Outage` | what fails: a call; a node; the store, for a while |
//! | `FaultPoint`, `Gate` | the step at which a fault happens; what holds a message there |
//! | `Scene` | a model of one rule of the stores, small enough to visit each of its states |
//! | `Plan` | which schedules to play: a seed, how many, with what faults |
//! | `History` | a session's calls: each an `Operation` and its `Outcome` |
//! | `Ledger` | the known state of each session or token, by which answers are checked |
//! | `Violation`, `Broken` | which promise was broken; the same with a description |
//! | `Failed` | the shortest schedule that breaks a promise, and its trace |
//! | `Tally` | how often each thing happened |
//! | `Oracle` | the engine as a function of what a request presents |

pub mod live;
mod oracle;
pub mod points;
mod search;
pub mod stores;
pub mod upstream;

pub use oracle::{Oracle, Outcome};
pub use search::{Bounds, Found, search};

/// How many ticks a token remains valid after its rotation.
pub const REUSE_INTERVAL: i8 = 4;

/// How many ticks a request or a response may be in transit: a quarter of the reuse interval.
/// Anything slower counts as lost. Handlers have no time limit.
pub const DELAY: i8 = REUSE_INTERVAL / 4;

/// How many ticks an access token lives.
pub const LIFETIME: i8 = 6;

/// Beyond this many ticks a row's age makes no difference.
pub const OLD: i8 = REUSE_INTERVAL + 1;

/// An access token that expired this long ago is treated like a missing one.
pub const LONG_EXPIRED: i8 = -1;

/// The session's row, without its constant fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// Ticks since the rotation; at most [`OLD`].
    pub age: i8,
    /// A client has presented the current generation.
    pub confirmed: bool,
}

/// The tokens that a browser sends, by generation relative to the row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Presented {
    /// The refresh token's generation.
    pub refresh: i8,
    /// The access token's generation.
    pub access: i8,
    /// Ticks until the access token expires; at least [`LONG_EXPIRED`].
    pub left: i8,
}

/// The tokens that a response carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tokens {
    /// The refresh token's generation, if there is one.
    pub refresh: Option<i8>,
    /// The access token's generation and the ticks that it has left.
    pub access: Option<(i8, i8)>,
}
