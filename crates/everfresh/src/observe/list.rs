//! The metrics: one list, by which they are described to recorders, and with which the documents
//! are compared.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// A metric that everfresh keeps, through the `metrics` facade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The metric's name, as recorders get it.
    pub name: &'static str,
    /// The metric's kind.
    pub kind: MetricKind,
    /// The metric's unit: `seconds`, or what it counts.
    pub unit: &'static str,
    /// The metric's labels, and every value that each may have. A label never holds a text from a
    /// request.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// The metric's description, in one line.
    pub help: &'static str,
}

/// What kind of metric a [`Metric`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A counter, which only goes up.
    Counter,
    /// A gauge, which goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

pub(super) const DECISIONS: &str = "everfresh_decisions_total";
pub(super) const REFUSED: &str = "everfresh_tokens_refused_total";
pub(super) const FLIGHTS: &str = "everfresh_flights_total";
pub(super) const RUNNING: &str = "everfresh_flights_running";
pub(super) const REFRESHES: &str = "everfresh_refreshes_total";
pub(super) const FLIGHT_SECONDS: &str = "everfresh_flight_seconds";
pub(super) const WAIT_SECONDS: &str = "everfresh_wait_seconds";
pub(super) const REUSE: &str = "everfresh_reuse_total";
pub(super) const NOT_STICKING: &str = "everfresh_cookie_not_sticking_total";
pub(super) const SESSIONS: &str = "everfresh_sessions_total";
pub(super) const CLEARED: &str = "everfresh_cookies_cleared_total";
pub(super) const STALE: &str = "everfresh_stale_served_total";
pub(super) const CROSS_SITE: &str = "everfresh_cross_site_total";
pub(super) const STORE_ERRORS: &str = "everfresh_store_errors_total";
pub(super) const PROBLEMS: &str = "everfresh_problems_total";
pub(super) const FEED_LIVE: &str = "everfresh_feed_live";
pub(super) const UPSTREAM: &str = "everfresh_upstream_total";
pub(super) const UPSTREAM_DOWN: &str = "everfresh_upstream_down";

/// Every metric that everfresh keeps. [`Engine`](crate::Engine) keeps all but the last one, which
/// `everfresh-upstream` keeps of the keys that it fetches.
///
/// `crates/everfresh/docs/observability.md` says what each metric means and what to do when it rises.
pub const METRICS: &[Metric] = &[
    Metric {
        name: DECISIONS,
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &[
            ("decision", &["pass", "advise", "wait"]),
            ("verdict", &["fresh", "expiring", "expired", "invalid", "absent"]),
        ],
        help: "Requests, by the verdict on their access token and the decision",
    },
    Metric {
        name: REFUSED,
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &[(
            "reason",
            &[
                "too_long",
                "malformed",
                "header",
                "type",
                "unknown_key",
                "signature",
                "claims",
                "issuer",
                "audience",
                "not_yet_valid",
                "sender_constrained",
                "revoked",
                "no_session",
                "conflict",
                "too_many",
                "duplicated",
            ],
        )],
        help: "Access tokens that do not count, by reason",
    },
    Metric {
        name: FLIGHTS,
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &[("entry", &["started", "joined", "replayed", "backed_off", "full"])],
        help: "Requests that need a refresh, by how they entered the single flight",
    },
    Metric {
        name: RUNNING,
        kind: MetricKind::Gauge,
        unit: "refreshes",
        labels: &[],
        help: "Running refreshes",
    },
    Metric {
        name: REFRESHES,
        kind: MetricKind::Counter,
        unit: "refreshes",
        labels: &[(
            "outcome",
            &[
                "refreshed",
                "renewed",
                "rejected",
                "unavailable",
                "misconfigured",
                "in_doubt",
                "refused",
                "foreign",
                "unread_claims",
            ],
        )],
        help: "Refreshes, by outcome",
    },
    Metric {
        name: FLIGHT_SECONDS,
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &[],
        help: "How long a refresh took",
    },
    Metric {
        name: WAIT_SECONDS,
        kind: MetricKind::Histogram,
        unit: "seconds",
        labels: &[],
        help: "How long a request waited for a refresh",
    },
    Metric {
        name: REUSE,
        kind: MetricKind::Counter,
        unit: "refreshes",
        labels: &[("kind", &["within_interval", "recovery", "reuse_detected", "ahead"])],
        help: "Presented refresh tokens that were not the current one, by kind",
    },
    Metric {
        name: NOT_STICKING,
        kind: MetricKind::Counter,
        unit: "sessions",
        labels: &[],
        help: "Sessions whose client does not keep its new cookies",
    },
    Metric {
        name: SESSIONS,
        kind: MetricKind::Counter,
        unit: "sessions",
        labels: &[("event", &["signed_in", "signed_out", "over_limit"])],
        help: "Sessions that began, that a user or the app ended, or that a sign-in over the limit \
               ended",
    },
    Metric {
        name: CLEARED,
        kind: MetricKind::Counter,
        unit: "responses",
        labels: &[("reason", &["signed_out", "dead"])],
        help: "Responses that delete the engine's cookies",
    },
    Metric {
        name: STALE,
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &[],
        help: "Requests that went on with an expired token, within the leeway",
    },
    Metric {
        name: CROSS_SITE,
        kind: MetricKind::Counter,
        unit: "requests",
        labels: &[],
        help: "Requests from another site, whose cookies did not count",
    },
    Metric {
        name: STORE_ERRORS,
        kind: MetricKind::Counter,
        unit: "calls",
        labels: &[],
        help: "Calls to the session store that failed",
    },
    Metric {
        name: PROBLEMS,
        kind: MetricKind::Counter,
        unit: "events",
        labels: &[(
            "event",
            &[
                "token_too_large",
                "expired_on_arrival",
                "refresh_token_ignored",
                "revoke_failed",
                "revoke_all_failed",
                "tokens_withheld",
                "unread_claims",
                "runtime_ended",
                "no_runtime",
            ],
        )],
        help: "Events that only a mistake in configuration or code causes",
    },
    Metric {
        name: FEED_LIVE,
        kind: MetricKind::Gauge,
        unit: "1 or 0",
        labels: &[],
        help: "1: this node receives revocations from other nodes; absent if the store has no feed",
    },
    Metric {
        name: UPSTREAM,
        kind: MetricKind::Counter,
        unit: "refreshes",
        labels: &[(
            "event",
            &["in_doubt", "refresh_refused", "unpersisted", "tokens_lost", "issued_refused"],
        )],
        help: "Refreshes at the other server that were in doubt, not stored, lost or refused",
    },
    Metric {
        name: UPSTREAM_DOWN,
        kind: MetricKind::Gauge,
        unit: "1 or 0",
        labels: &[],
        help: "1: the other server fails, so the node calls it once a second (the circuit breaker \
               is open)",
    },
    Metric {
        name: "everfresh_key_fetches_total",
        kind: MetricKind::Counter,
        unit: "fetches",
        labels: &[("outcome", &["fetched", "failed"])],
        help: "Fetches of another issuer's keys, by outcome",
    },
];

/// Describes every metric to the recorder. Counters begin at 0, so that the recorder sees the first
/// increment: a series that appears with a 1 has no rate.
pub(super) fn announce() {
    for metric in METRICS {
        let unit = if metric.unit == "seconds" { Unit::Seconds } else { Unit::Count };
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, unit, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
        if metric.kind == MetricKind::Counter {
            for labels in metric.series() {
                let labels: Vec<_> =
                    labels.into_iter().map(|(name, value)| Label::new(name, value)).collect();
                counter!(metric.name, labels).increment(0);
            }
        }
    }
}

impl Metric {
    /// Returns every series that the metric may have: one value for each of its labels.
    pub fn series(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let mut series = vec![Vec::new()];
        for (name, values) in self.labels {
            series = series
                .iter()
                .flat_map(|former| {
                    values.iter().map(move |value| {
                        let mut labels = former.clone();
                        labels.push((*name, *value));
                        labels
                    })
                })
                .collect();
        }
        series
    }
}
