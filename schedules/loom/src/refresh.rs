//! The core's files, and the items that they need around them.

use std::time::Duration;

#[path = "../../../crates/everfresh/src/refresh/backoff.rs"]
mod backoff;
#[path = "../../../crates/everfresh/src/refresh/single_flight.rs"]
pub(crate) mod single_flight;

/// Which flight, as in the core.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlightKey {
    pub(crate) sid: Box<str>,
    pub(crate) fingerprint: u64,
}

/// The result of a flight: its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens(pub(crate) usize);

/// As in the core.
#[expect(dead_code, reason = "what the models' flights don't end with")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Rejected,
    Unavailable { retry_after: Duration },
    Misconfigured,
    InDoubt,
    NoRuntime,
    Foreign,
    UnreadClaims,
    TooManySessions,
}

impl Failure {
    pub(crate) const SOON: Self = Self::Unavailable { retry_after: Duration::from_secs(1) };
}
