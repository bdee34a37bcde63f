//! Checks that the list, the code, the page and the dashboard agree.

mod documents;
mod expressions;
mod spans;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};

use super::metrics::FlightEntry;
use super::*;
use crate::decide::{Decision, Verdict, Window};
use crate::testing::*;

/// A name, and a value for each label.
type Series = (String, BTreeMap<String, String>);

/// The next event. A new event does not compile until it has its place here.
fn next(event: &Event<'_>) -> Option<Event<'static>> {
    let sid = "Zm9vYmFyYmF6cXV4";
    let failure = Failure::SOON;
    Some(match event {
        Event::TokenRefused { .. } => Event::Refreshed { sid },
        Event::Refreshed { .. } => Event::Renewed { sid },
        Event::Renewed { .. } => Event::RefreshFailed { sid, failure: Failure::Rejected },
        Event::RefreshFailed { failure: Failure::Rejected, .. } => {
            Event::RefreshFailed { sid, failure: Failure::SOON }
        }
        Event::RefreshFailed { failure: Failure::Unavailable { .. }, .. } => {
            Event::RefreshFailed { sid, failure: Failure::Misconfigured }
        }
        Event::RefreshFailed { failure: Failure::Misconfigured, .. } => {
            Event::RefreshFailed { sid, failure: Failure::InDoubt }
        }
        Event::RefreshFailed { failure: Failure::InDoubt, .. } => {
            Event::RefreshFailed { sid, failure: Failure::Refused }
        }
        Event::RefreshFailed { failure: Failure::Refused, .. } => {
            Event::RefreshFailed { sid, failure: Failure::NoRuntime }
        }
        Event::RefreshFailed { failure: Failure::NoRuntime, .. } => {
            Event::RefreshFailed { sid, failure: Failure::Foreign }
        }
        Event::RefreshFailed { failure: Failure::Foreign, .. } => {
            Event::RefreshFailed { sid, failure: Failure::UnreadClaims }
        }
        Event::RefreshFailed { failure: Failure::UnreadClaims, .. } => {
            Event::RefreshFailed { sid, failure: Failure::TooManySessions }
        }
        Event::RefreshFailed { failure: Failure::TooManySessions, .. } => {
            Event::TokenTooLarge { sid }
        }
        Event::TokenTooLarge { .. } => Event::ExpiredOnArrival { sid },
        Event::ExpiredOnArrival { .. } => Event::StaleServed { sid },
        Event::StaleServed { .. } => Event::SignedIn { sid },
        Event::SignedIn { .. } => Event::SignedOut { sid },
        Event::SignedOut { .. } => Event::OverLimit { sid },
        Event::OverLimit { .. } => Event::CookiesCleared { dead: false },
        Event::CookiesCleared { dead: false } => Event::CookiesCleared { dead: true },
        Event::CookiesCleared { dead: true } => Event::RefreshTokenIgnored,
        Event::RefreshTokenIgnored => Event::Replayed { sid, confirmed: true },
        Event::Replayed { confirmed: true, .. } => Event::Replayed { sid, confirmed: false },
        Event::Replayed { confirmed: false, .. } => Event::CookieNotSticking { sid },
        Event::CookieNotSticking { .. } => Event::ReuseDetected { sid },
        Event::ReuseDetected { .. } => Event::AheadOfStore { sid },
        Event::AheadOfStore { .. } => Event::StoreFailed,
        Event::StoreFailed => Event::UnreadClaims { problem: "missing field `email`" },
        Event::UnreadClaims { .. } => Event::IssuedRefused { sid },
        Event::IssuedRefused { .. } => Event::InDoubt { sid },
        Event::InDoubt { .. } => Event::RefreshRefused { sid, status: 400, excerpt: "no" },
        Event::RefreshRefused { .. } => Event::Unpersisted { sid },
        Event::Unpersisted { .. } => Event::TokensLost { sid },
        Event::TokensLost { .. } => Event::FeedLost,
        Event::FeedLost => Event::FeedLive,
        Event::FeedLive => Event::UpstreamDown,
        Event::UpstreamDown => Event::UpstreamUp,
        Event::UpstreamUp => Event::RevokeFailed { sid, failure },
        Event::RevokeFailed { .. } => Event::RevokeAllFailed { subject: "alice", failure },
        Event::RevokeAllFailed { .. } => Event::CrossSite,
        Event::CrossSite => Event::TokensWithheld,
        Event::TokensWithheld => Event::RuntimeEnded,
        Event::RuntimeEnded => Event::NoRuntime,
        Event::NoRuntime => return None,
    })
}

/// Every event, with every failure and both values of each flag.
fn every_event() -> Vec<Event<'static>> {
    let first = Event::TokenRefused { reason: InvalidReason::Signature };
    std::iter::successors(Some(first), |event| next(event)).collect()
}

/// Runs `work` under a recorder, and returns the series with their values.
fn recorded(work: impl FnOnce()) -> BTreeMap<Series, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    ::metrics::with_local_recorder(&recorder, work);
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    snapshot
        .map(|(key, unit, help, value)| {
            let (kind, key) = key.into_parts();
            let listed = METRICS.iter().find(|metric| metric.name == key.name());
            let listed = listed.unwrap_or_else(|| panic!("{} is not in the list", key.name()));
            let expected = match listed.kind {
                MetricKind::Counter => metrics_util::MetricKind::Counter,
                MetricKind::Gauge => metrics_util::MetricKind::Gauge,
                MetricKind::Histogram => metrics_util::MetricKind::Histogram,
            };
            assert_eq!(kind, expected, "{}", listed.name);
            assert_eq!(help.as_deref(), Some(listed.help), "{}", listed.name);
            let seconds = unit == Some(::metrics::Unit::Seconds);
            assert_eq!(seconds, listed.unit == "seconds", "{}", listed.name);
            let labels = key.labels().map(|one| (one.key().to_owned(), one.value().to_owned()));
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            ((key.name().to_owned(), labels.collect()), value)
        })
        .collect()
}

fn listed() -> BTreeSet<Series> {
    let series = METRICS.iter().flat_map(|metric| {
        metric.series().into_iter().map(|labels| {
            let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
            (metric.name.to_owned(), labels.collect())
        })
    });
    series.collect()
}

/// Key fetches are counted in another crate, whose own test checks them against the list.
fn is_elsewhere((name, _): &Series) -> bool {
    name == "everfresh_key_fetches_total"
}

#[test]
fn the_recorded_metrics_are_the_listed_ones() {
    let seen = recorded(|| {
        let fixture = Fixture::new();
        let core = &fixture.auth.core;
        for event in every_event() {
            core.emit(&event);
        }
        for reason in InvalidReason::ALL {
            core.emit(&Event::TokenRefused { reason });
        }
        let expiring = Verdict::Expiring(Window::Advisory);
        for decision in Decision::ALL {
            for verdict in
                [Verdict::Fresh, expiring, Verdict::Expired, Verdict::Invalid, Verdict::Absent]
            {
                core.metrics.decided(decision, verdict);
            }
        }
        for entry in [
            FlightEntry::Started,
            FlightEntry::Joined,
            FlightEntry::Replayed,
            FlightEntry::BackedOff,
            FlightEntry::Full,
        ] {
            core.metrics.entered(entry);
        }
        core.metrics.flight_started();
        core.metrics.flight_took(Duration::from_millis(3));
        core.metrics.waited(Duration::from_millis(2));
        // The last event of each gauge, so that no used gauge is 0.
        core.emit(&Event::FeedLive);
        core.emit(&Event::UpstreamDown);
    });
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), listed());
    for (series, value) in &seen {
        assert_eq!(*value == 0.0, is_elsewhere(series), "{series:?} is {value}");
    }
}

#[test]
fn every_counter_is_there_from_the_start() {
    let seen = recorded(|| drop(Fixture::new()));
    let lazy = |(name, _): &Series| name == "everfresh_feed_live";
    let expected: BTreeSet<_> = listed().into_iter().filter(|series| !lazy(series)).collect();
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(seen.values().all(|value| *value == 0.0));
}

#[tokio::test]
async fn the_gauge_of_running_refreshes_goes_up_and_down() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recorder = ::metrics::set_default_local_recorder(&recorder);
    let changed = || {
        let snapshot = snapshotter.snapshot().into_vec();
        let found =
            snapshot.into_iter().find(|(key, ..)| key.key().name() == "everfresh_flights_running");
        let Some((.., DebugValue::Gauge(value))) = found else { panic!("no such gauge") };
        value.into_inner()
    };
    // Each snapshot resets a gauge.
    let mut sum = 0.0;
    let mut running = || {
        sum += changed();
        sum
    };
    let (open, gate) = tokio::sync::watch::channel(false);
    let fixture = Fixture::with(|b| {
        b.revalidate_with(move |_| {
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.map_err(|_| "gone")?;
                Ok::<_, &str>(crate::Revalidated::Keep)
            }
        })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    assert_eq!(running(), 0.0);
    assert_eq!(fixture.me(cookie(&token)).await.body(), "alice", "beside it one is under way");
    assert_eq!(running(), 1.0);
    open.send_replace(true);
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running(), 0.0);
}

/// A subscriber's record of one event: its level and the names of its fields.
type Written = (tracing::Level, BTreeSet<String>);

/// Records the events with our target.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Written>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Names(BTreeSet<String>);
        impl Visit for Names {
            fn record_debug(&mut self, field: &tracing::field::Field, _: &dyn std::fmt::Debug) {
                self.0.insert(field.name().to_owned());
            }
        }
        let mut names = Names(BTreeSet::new());
        event.record(&mut names);
        names.0.remove("message");
        assert_eq!(event.metadata().target(), "everfresh");
        self.0.lock().unwrap().push((*event.metadata().level(), names.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The record of one event.
fn written(event: &Event<'_>) -> Option<Written> {
    // A callsite that another thread reaches first is disabled for all threads, unless that thread
    // has a subscriber too.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || event.trace());
    let mut written = std::mem::take(&mut *log.0.lock().unwrap());
    assert!(written.len() <= 1, "{event:?}");
    written.pop()
}
