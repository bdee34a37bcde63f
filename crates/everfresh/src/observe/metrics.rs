//! Counters and times, through the `metrics` facade. `list.rs` names them.
//!
//! The handles are made when the engine is built, so install the recorder before. A request with a
//! fresh token costs one counter.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::Event;
use super::list::*;
use crate::decide::{Decision, Verdict};
use crate::error::Failure;
use crate::verify::InvalidReason;

/// How a request came to its refresh in the single flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlightEntry {
    /// It started one.
    Started,
    /// It joined a running one.
    Joined,
    /// It got the result of one that had ended.
    Replayed,
    /// It got none: the session's refresh failed a moment ago.
    BackedOff,
    /// It got none: too many run, or the engine shuts down.
    Full,
}

impl FlightEntry {
    const ALL: [Self; 5] =
        [Self::Started, Self::Joined, Self::Replayed, Self::BackedOff, Self::Full];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Joined => "joined",
            Self::Replayed => "replayed",
            Self::BackedOff => "backed_off",
            Self::Full => "full",
        }
    }
}

/// The handles of the recorder that was installed when the engine was built.
pub(crate) struct Metrics {
    decisions: [[Counter; Verdict::NAMES.len()]; Decision::ALL.len()],
    flights: [Counter; FlightEntry::ALL.len()],
    refused: [Counter; InvalidReason::ALL.len()],
    running: Gauge,
    flight_seconds: Histogram,
    wait_seconds: Histogram,
    upstream_down: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        announce();
        Self {
            decisions: Decision::ALL.map(|decision| {
                let decision = decision.name();
                Verdict::NAMES.map(
                    |verdict| counter!(DECISIONS, "decision" => decision, "verdict" => verdict),
                )
            }),
            flights: FlightEntry::ALL.map(|entry| counter!(FLIGHTS, "entry" => entry.name())),
            refused: InvalidReason::ALL.map(|reason| counter!(REFUSED, "reason" => reason.name())),
            running: gauge!(RUNNING),
            flight_seconds: histogram!(FLIGHT_SECONDS),
            wait_seconds: histogram!(WAIT_SECONDS),
            upstream_down: gauge!(UPSTREAM_DOWN),
        }
    }

    pub(crate) fn decided(&self, decision: Decision, verdict: Verdict) {
        self.decisions[decision as usize][verdict.index()].increment(1);
    }

    pub(crate) fn entered(&self, entry: FlightEntry) {
        self.flights[entry as usize].increment(1);
    }

    /// Counts one more running refresh.
    pub(crate) fn flight_started(&self) {
        self.running.increment(1.0);
    }

    /// Counts one running refresh less, however it ended.
    pub(crate) fn flight_ended(&self) {
        self.running.decrement(1.0);
    }

    pub(crate) fn flight_took(&self, time: Duration) {
        self.flight_seconds.record(time);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait_seconds.record(time);
    }

    /// The gauge is looked up, so that it exists only if a store has a feed.
    pub(crate) fn feed(&self, live: bool) {
        gauge!(FEED_LIVE).set(f64::from(u8::from(live)));
    }

    /// Counts an event. Most are rare enough to look their counter up.
    pub(crate) fn happened(&self, event: &Event<'_>) {
        let one = |counter: Counter| counter.increment(1);
        let refresh = |name: &'static str| one(counter!(REFRESHES, "outcome" => name));
        let reuse = |name: &'static str| one(counter!(REUSE, "kind" => name));
        let session = |name: &'static str| one(counter!(SESSIONS, "event" => name));
        let upstream = |name: &'static str| one(counter!(UPSTREAM, "event" => name));
        let problem = || one(counter!(PROBLEMS, "event" => event.name()));
        match event {
            Event::Refreshed { .. } | Event::Renewed { .. } => refresh(event.name()),
            // A refresh may not fail this way.
            Event::RefreshFailed { failure: Failure::TooManySessions, .. } => {
                refresh(Failure::Misconfigured.name());
            }
            Event::RefreshFailed { failure, .. } => refresh(failure.name()),
            Event::Replayed { confirmed: true, .. } => reuse("within_interval"),
            Event::Replayed { confirmed: false, .. } => reuse("recovery"),
            Event::ReuseDetected { .. } => reuse("reuse_detected"),
            Event::AheadOfStore { .. } => reuse("ahead"),
            // Any client can cause this one, so it is not looked up.
            Event::TokenRefused { reason } => self.refused[*reason as usize].increment(1),
            Event::SignedIn { .. } => session("signed_in"),
            Event::SignedOut { .. } => session("signed_out"),
            Event::OverLimit { .. } => session("over_limit"),
            Event::CookiesCleared { dead } => {
                one(counter!(CLEARED, "reason" => if *dead { "dead" } else { "signed_out" }));
            }
            Event::CookieNotSticking { .. } => one(counter!(NOT_STICKING)),
            Event::StaleServed { .. } => one(counter!(STALE)),
            Event::CrossSite => one(counter!(CROSS_SITE)),
            Event::StoreFailed => one(counter!(STORE_ERRORS)),
            Event::InDoubt { .. }
            | Event::RefreshRefused { .. }
            | Event::Unpersisted { .. }
            | Event::TokensLost { .. }
            | Event::IssuedRefused { .. } => upstream(event.name()),
            Event::UpstreamDown => self.upstream_down.set(1.0),
            Event::UpstreamUp => self.upstream_down.set(0.0),
            Event::FeedLost => self.feed(false),
            Event::FeedLive => self.feed(true),
            Event::TokenTooLarge { .. }
            | Event::UnreadClaims { .. }
            | Event::ExpiredOnArrival { .. }
            | Event::RefreshTokenIgnored
            | Event::RevokeFailed { .. }
            | Event::RevokeAllFailed { .. }
            | Event::TokensWithheld
            | Event::RuntimeEnded
            | Event::NoRuntime => problem(),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
