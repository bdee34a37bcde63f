//! The refresh windows of each lifetime, and the decision table. F10, F11, F60, F61, F65.

use http::Request;

use super::*;

const ALL_WINDOWS: [(u64, u64, u64); 7] = [
    // lifetime, advisory, mandatory, in milliseconds, for a session with no spread
    (1_000, 500, 500),
    (5_000, 2_500, 2_000),
    (60_000, 15_000, 3_000),
    (300_000, 75_000, 15_000),
    (900_000, 225_000, 30_000),
    (3_600_000, 300_000, 30_000),
    (86_400_000, 300_000, 30_000),
];

// Rows: F61.
#[test]
fn windows_are_proportional_and_never_more_than_half() {
    for (lifetime, advisory, mandatory) in ALL_WINDOWS {
        let lifetime = Duration::from_millis(lifetime);
        let windows = Windows::new(lifetime, 0);
        assert_eq!(windows.advisory, Duration::from_millis(advisory), "{lifetime:?}");
        assert_eq!(windows.mandatory, Duration::from_millis(mandatory), "{lifetime:?}");
        for spread in [1, 1000, u16::MAX] {
            let spread = Windows::new(lifetime, spread);
            assert!(spread.advisory <= windows.advisory && spread.advisory >= windows.mandatory);
            assert!(spread.advisory <= lifetime / 2);
        }
    }
    let spread = Windows::new(Duration::from_secs(900), u16::MAX);
    assert_eq!(spread.advisory, Duration::from_secs(180), "a fifth less");
}

// Rows: F60.
#[test]
fn a_verdict_changes_at_each_windows_edge() {
    let at = |ms: u64| Timestamp::default().plus(Duration::from_millis(ms));
    let windows = Windows::new(Duration::from_secs(900), 0);
    let classify = |ms| windows.classify(at(900_000), at(ms));
    assert_eq!(classify(0), Verdict::Fresh);
    assert_eq!(classify(900_000 - 225_001), Verdict::Fresh);
    assert_eq!(classify(900_000 - 225_000), Verdict::Expiring(Window::Advisory));
    assert_eq!(classify(900_000 - 30_001), Verdict::Expiring(Window::Advisory));
    assert_eq!(classify(900_000 - 30_000), Verdict::Expiring(Window::Mandatory));
    assert_eq!(classify(899_999), Verdict::Expiring(Window::Mandatory));
    assert_eq!(classify(900_000), Verdict::Expired, "RFC 7519: not on or after");
}

#[test]
fn no_window_is_open_before_all_of_them_are_ahead() {
    let at = |ms: u64| Timestamp::default().plus(Duration::from_millis(ms));
    for lifetime in [1, 5, 60, 900, 3600, 86_400].map(Duration::from_secs) {
        let expires = at(100_000_000);
        for left in [299_999, 300_000, 300_001, 86_400_000] {
            let now = at(100_000_000 - left);
            if Windows::all_ahead(expires, now) {
                let verdict = Windows::new(lifetime, 0).classify(expires, now);
                assert_eq!(verdict, Verdict::Fresh, "{lifetime:?}, {left} ms before");
            }
        }
    }
    assert!(Windows::all_ahead(at(300_001), at(0)) && !Windows::all_ahead(at(300_000), at(0)));
}

// Rows: F65.
#[test]
fn sessions_that_began_together_spread() {
    let points: std::collections::BTreeSet<_> = (0..1000)
        .map(|n| Windows::new(Duration::from_secs(3600), spread(&format!("session-{n}"))).advisory)
        .collect();
    assert!(points.len() > 900, "{} different points of 1000", points.len());
    let (first, last) = (points.first().unwrap(), points.last().unwrap());
    assert!(*last - *first > Duration::from_secs(55), "over most of the 60 s");
    assert_eq!(spread("session-1"), spread("session-1"));
}

#[test]
fn the_table() {
    use Decision::{Advise, Pass, Wait};
    use Purpose::{Lasting, Ordinary, Prefetch, Preflight};
    let advisory = Verdict::Expiring(Window::Advisory);
    let mandatory = Verdict::Expiring(Window::Mandatory);
    for (verdict, purpose, expected) in [
        (Verdict::Fresh, Ordinary, Pass),
        (Verdict::Fresh, Prefetch, Pass),
        (Verdict::Fresh, Preflight, Pass),
        (advisory, Ordinary, Advise),
        (advisory, Prefetch, Pass),
        (Verdict::Fresh, Lasting, Pass),
        (advisory, Lasting, Wait),
        (mandatory, Lasting, Wait),
        (Verdict::Expired, Lasting, Wait),
        (advisory, Preflight, Pass),
        (mandatory, Ordinary, Wait),
        (mandatory, Prefetch, Wait),
        (mandatory, Preflight, Pass),
        (Verdict::Expired, Ordinary, Wait),
        (Verdict::Expired, Prefetch, Wait),
        (Verdict::Expired, Preflight, Pass),
        (Verdict::Invalid, Ordinary, Wait),
        (Verdict::Invalid, Preflight, Pass),
        (Verdict::Absent, Ordinary, Wait),
        (Verdict::Absent, Prefetch, Wait),
    ] {
        assert_eq!(decide(verdict, purpose), expected, "{verdict:?} {purpose:?}");
    }
}

// Rows: F10, F11.
#[test]
fn request_kinds_are_derived_from_method_and_fields() {
    let of = |method: &str, name: &'static str, value: &str| {
        let request = Request::builder().method(method).header(name, value).body(()).unwrap();
        Purpose::of(&request)
    };
    assert_eq!(of("OPTIONS", "origin", "https://a.example"), Purpose::Preflight);
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("sec-purpose", "Prefetch;anonymous-client-ip"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
        ("next-router-prefetch", "1"),
    ] {
        assert_eq!(of("GET", name, value), Purpose::Prefetch, "{name}: {value}");
    }
    for (name, value) in [("sec-purpose", ""), ("purpose", "preview"), ("accept", "prefetch")] {
        assert_eq!(of("GET", name, value), Purpose::Ordinary, "{name}: {value}");
    }
    assert_eq!(of("HEAD", "accept", "*/*"), Purpose::Ordinary);
}

// Rows: F101.
#[test]
fn lasting_requests_are_recognized_by_method_and_fields() {
    let of = |method: &str, name: &'static str, value: &str| {
        let request = Request::builder().method(method).header(name, value).body(()).unwrap();
        Purpose::of(&request)
    };
    for (method, name, value) in [
        ("GET", "upgrade", "websocket"),
        ("GET", "accept", "text/event-stream"),
        ("GET", "accept", "Text/Event-Stream, */*"),
        ("CONNECT", "sec-websocket-version", "13"),
    ] {
        assert_eq!(of(method, name, value), Purpose::Lasting, "{method} {name}: {value}");
    }
    assert_eq!(of("GET", "accept", "text/html"), Purpose::Ordinary);
}

// Rows: R7.
#[test]
fn accept_is_a_list_with_weights() {
    let of = |method: &str, accept: &[&str]| {
        let mut request = Request::builder().method(method);
        for value in accept {
            request = request.header("accept", *value);
        }
        Purpose::of(&request.body(()).unwrap())
    };
    for accept in [
        &["application/json, text/event-stream"][..],
        &["application/json,text/event-stream;q=0.1"],
        &["*/*", "text/event-stream"],
        &["application/json;q=1 , \tText/Event-Stream ; q=1.0"],
        &["text/event-stream;charset=utf-8;q=0.001"],
    ] {
        for method in ["GET", "POST"] {
            assert_eq!(of(method, accept), Purpose::Lasting, "{accept:?}");
        }
    }
    for accept in [
        &["text/event-stream;q=0"][..],
        &["*/*, text/event-stream; Q=0.000"],
        &["text/event-streams", "text/*;q=1", "*/*"],
        &["application/json;profile=text/event-stream"],
        &["", ",", ";"],
        &[],
    ] {
        assert_eq!(of("GET", accept), Purpose::Ordinary, "{accept:?}");
    }
}
