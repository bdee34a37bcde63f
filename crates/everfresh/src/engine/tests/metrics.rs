//! The metrics, as a recorder sees them.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::*;
use crate::InvalidReason;

#[tokio::test]
async fn every_event_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recorder = ::metrics::set_default_local_recorder(&recorder);
    let (fixture, _) = Fixture::rotating();
    let mut pair = fixture.sign_in_pair("alice").await;
    for _ in 0..3 {
        fixture.me(pair.request()).await;
    }
    fixture.pass_until_left(&pair.access, 0);
    let before = pair.clone();
    pair.keep(&fixture.me(pair.request()).await);
    // The same request again, as if its response had been lost.
    fixture.me(before.request()).await;
    fixture.me(cookie("a.b.c")).await;
    let snapshot = snapshotter.snapshot().into_vec();
    let count = |name: &str, label: &str| {
        let ours = snapshot.iter().filter(|(key, ..)| {
            let labels: Vec<_> = key.key().labels().map(::metrics::Label::value).collect();
            key.key().name() == name && (label.is_empty() || labels.contains(&label))
        });
        ours.map(|(.., value)| match value {
            DebugValue::Counter(count) => *count,
            DebugValue::Gauge(value) => value.into_inner() as u64,
            DebugValue::Histogram(values) => values.len() as u64,
        })
        .sum::<u64>()
    };
    // The sign-in, three visits, and an invalid token.
    assert_eq!(count("everfresh_decisions_total", "pass"), 5);
    assert_eq!(count("everfresh_decisions_total", "wait"), 2);
    assert_eq!(count("everfresh_flights_total", "started"), 2);
    assert_eq!(count("everfresh_refreshes_total", "refreshed"), 2);
    assert_eq!(count("everfresh_reuse_total", "recovery"), 1);
    assert_eq!(count("everfresh_sessions_total", "signed_in"), 1);
    assert_eq!(count("everfresh_tokens_refused_total", "malformed"), 1);
    assert!(InvalidReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    assert_eq!(count("everfresh_flight_seconds", ""), 2);
    assert_eq!(count("everfresh_wait_seconds", ""), 2);
}
