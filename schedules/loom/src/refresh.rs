//! The core's files, and the items that they need around them.

#[path = "../../../crates/everfresh/src/refresh/backoff.rs"]
mod backoff;
#[path = "../../../crates/everfresh/src/error/failure.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is the core's, and the models use a part of it")]
mod failure;
#[path = "../../../crates/everfresh/src/refresh/single_flight.rs"]
pub(crate) mod single_flight;

pub(crate) use failure::Failure;

/// Which flight, as in the core.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlightKey {
    pub(crate) sid: Box<str>,
    pub(crate) fingerprint: u64,
}

/// The result of a flight: its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens(pub(crate) usize);
