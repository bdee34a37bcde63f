//! Counts and times, through the `metrics` facade.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `everfresh_decisions_total` | counter | `decision`: `pass`, `advise`, `wait` |
//! | `everfresh_flights_total` | counter | `how`: `started`, `joined`, `replayed` |
//! | `everfresh_refreshes_total` | counter | `outcome`: `refreshed`, `rejected`, `unavailable`, `misconfigured`, `in_doubt`, `foreign` |
//! | `everfresh_reuse_total` | counter | `kind`: `overlap`, `recovery`, `theft`, `ahead` |
//! | `everfresh_tokens_refused_total` | counter | `reason` |
//! | `everfresh_sessions_total` | counter | `what`: `signed_in`, `signed_out` |
//! | `everfresh_cookie_not_sticking_total` | counter | |
//! | `everfresh_stale_served_total` | counter | |
//! | `everfresh_cross_site_total` | counter | |
//! | `everfresh_store_errors_total` | counter | |
//! | `everfresh_upstream_total` | counter | `what`: `in_doubt`, `unpersisted`, `issued_refused` |
//! | `everfresh_flight_seconds` | histogram | |
//! | `everfresh_wait_seconds` | histogram | |
//! | `everfresh_feed_live` | gauge | 1: hears of sessions that end elsewhere |
//! | `everfresh_upstream_down` | gauge | 1: the breaker is open |
//!
//! Handles are made when the engine is built: install the recorder before. What a request with a
//! fresh token costs is one counter.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::Event;
use crate::decide::Decision;
use crate::refresh::Failure;
use crate::verify::InvalidReason;

/// How a request came to its flight.
#[derive(Clone, Copy)]
pub(crate) enum How {
    Started,
    Joined,
    Replayed,
}

/// What is counted, with the handles of the recorder that there is.
pub(crate) struct Metrics {
    decisions: [Counter; 3],
    flights: [Counter; 3],
    refused: [Counter; InvalidReason::ALL.len()],
    flight_seconds: Histogram,
    wait_seconds: Histogram,
    feed_live: Gauge,
    upstream_down: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let decision =
            |name: &'static str| counter!("everfresh_decisions_total", "decision" => name);
        let how = |name: &'static str| counter!("everfresh_flights_total", "how" => name);
        let refused = |reason: InvalidReason| counter!("everfresh_tokens_refused_total", "reason" => format!("{reason:?}"));
        Self {
            decisions: ["pass", "advise", "wait"].map(decision),
            flights: ["started", "joined", "replayed"].map(how),
            refused: InvalidReason::ALL.map(refused),
            flight_seconds: histogram!("everfresh_flight_seconds"),
            wait_seconds: histogram!("everfresh_wait_seconds"),
            feed_live: gauge!("everfresh_feed_live"),
            upstream_down: gauge!("everfresh_upstream_down"),
        }
    }

    pub(crate) fn decided(&self, decision: Decision) {
        let at = match decision {
            Decision::Pass => 0,
            Decision::Advise => 1,
            Decision::Wait => 2,
        };
        self.decisions[at].increment(1);
    }

    pub(crate) fn flies(&self, how: How) {
        self.flights[how as usize].increment(1);
    }

    pub(crate) fn flew(&self, time: Duration) {
        self.flight_seconds.record(time);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.wait_seconds.record(time);
    }

    pub(crate) fn feed(&self, live: bool) {
        self.feed_live.set(f64::from(u8::from(live)));
    }

    /// What happens seldom enough to look its counter up.
    pub(crate) fn happened(&self, event: &Event<'_>) {
        let one = |counter: Counter| counter.increment(1);
        let refresh = |name: &'static str| {
            one(counter!("everfresh_refreshes_total", "outcome" => name));
        };
        let reuse = |name: &'static str| one(counter!("everfresh_reuse_total", "kind" => name));
        let session =
            |name: &'static str| one(counter!("everfresh_sessions_total", "what" => name));
        let upstream =
            |name: &'static str| one(counter!("everfresh_upstream_total", "what" => name));
        match event {
            Event::Refreshed { .. } => refresh("refreshed"),
            Event::RefreshFailed { failure, .. } => refresh(match failure {
                Failure::Rejected => "rejected",
                Failure::Unavailable { .. } => "unavailable",
                Failure::Misconfigured => "misconfigured",
                Failure::InDoubt => "in_doubt",
                Failure::Foreign => "foreign",
            }),
            Event::Replayed { confirmed: true, .. } => reuse("overlap"),
            Event::Replayed { confirmed: false, .. } => reuse("recovery"),
            Event::Theft { .. } => reuse("theft"),
            Event::AheadOfStore { .. } => reuse("ahead"),
            // Anybody can cause this one, so it is not looked up.
            Event::TokenRefused { reason } => self.refused[*reason as usize].increment(1),
            Event::SignedIn { .. } => session("signed_in"),
            Event::SignedOut { .. } => session("signed_out"),
            Event::CookieNotSticking { .. } => {
                one(counter!("everfresh_cookie_not_sticking_total"));
            }
            Event::StaleServed { .. } => one(counter!("everfresh_stale_served_total")),
            Event::CrossSite => one(counter!("everfresh_cross_site_total")),
            Event::StoreFailed => one(counter!("everfresh_store_errors_total")),
            Event::InDoubt { .. } => upstream("in_doubt"),
            Event::Unpersisted { .. } => upstream("unpersisted"),
            Event::IssuedRefused { .. } => upstream("issued_refused"),
            Event::UpstreamDown => self.upstream_down.set(1.0),
            Event::UpstreamUp => self.upstream_down.set(0.0),
            Event::FeedLost => self.feed(false),
            Event::FeedLive => self.feed(true),
            Event::TokenTooLarge { .. }
            | Event::RefreshTokenIgnored
            | Event::RevokeFailed { .. }
            | Event::TokensWithheld => {}
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
