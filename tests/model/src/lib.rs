//! Models of everfresh: what proves its rules, with the real engine and real stores.
//!
//! * [`search`] visits every state that can be reached around one session, breadth first, and gives
//!   the shortest way to the first in which an honest browser is signed out.
//! * [`Oracle`] asks the engine for it, and answers from memory what it was asked before, which
//!   changes nothing: an engine is made anew for every question and keeps nothing between two.
//! * [`live`] goes through long schedules by chance: several nodes that crash and whose clocks
//!   differ, outages, keys that rotate, backups, and a thief.
//! * [`upstream`] goes through every short schedule, and long ones by chance, of sessions whose tokens
//!   another server issues.
//! * [`points`] puts a fault at each step of a run in turn, until a run has no such step.
//!
//! Browsers have several requests in flight; responses are lost, late or overtaken; handlers are
//! slow; confirmations come late or never. In [`search`] and [`live`] the network delivers within a
//! quarter of the reuse interval, or not at all; handlers and confirmations take as long as they
//! like.
//!
//! In the search, time goes by in ticks. Generations and times are relative to the session's row,
//! so that states that differ in nothing but their age are one.
//!
//! # Words
//! | name | what it is, in every model |
//! |---|---|
//! | `World` | all that takes part in one run: nodes, clients, the store, the clock |
//! | `Node` | a process with an engine of its own, over the store that all nodes share |
//! | `Oracle` | the engine as a function of what a request presents |
//! | `Server` | another server, which issues tokens to an app's node |
//! | `Link`, `Hub`, `Wires` | one node's way to the store; all of them; their state behind one lock |
//! | `Flight` | a request or its response on its way |
//! | `Tokens`, `Cookies` | what a client holds or a message carries |
//! | `Event`, `Move` | one step of a schedule |
//! | `Plan` | which schedules to play: a seed, how many, with what faults |
//! | `Ledger` | what is known of each session or token, to judge answers by |
//! | `Wrong`, `Broken` | which promise was broken; with the words that say how |
//! | `Failed` | the shortest schedule that breaks a promise, and its trace |
//! | `Tally` | how often each thing happened |

pub mod live;
mod oracle;
pub mod points;
mod search;
pub mod upstream;

pub use oracle::{Oracle, Outcome};
pub use search::{Bounds, Found, search};

/// How many ticks a token counts after its rotation.
pub const REUSE_INTERVAL: i8 = 4;

/// How many ticks a request or a response may be on its way: a quarter of the reuse interval. What takes
/// longer is lost. Handlers may take as long as they like.
pub const DELAY: i8 = REUSE_INTERVAL / 4;

/// How many ticks an access token lives.
pub const LIFETIME: i8 = 6;

/// Beyond this many ticks a row's age makes no difference.
pub const OLD: i8 = REUSE_INTERVAL + 1;

/// An access token that expired this long ago is as good as none.
pub const LONG_EXPIRED: i8 = -1;

/// The session's row, without what never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// Ticks since the rotation; at most [`OLD`].
    pub age: i8,
    /// A client has shown the current generation.
    pub confirmed: bool,
}

/// What a browser sends: its tokens, by generation relative to the row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Presented {
    /// The refresh token's generation.
    pub refresh: i8,
    /// The access token's generation.
    pub access: i8,
    /// Ticks until the access token expires; at least [`LONG_EXPIRED`].
    pub left: i8,
}

/// What a response carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tokens {
    /// The refresh token's generation, if there is one.
    pub refresh: Option<i8>,
    /// The access token's generation and the ticks that it has left.
    pub access: Option<(i8, i8)>,
}
