//! Row S81 and S82 of `tests/COVERAGE.md`, F115: cross-site requests.

use http::Request;

use super::*;

fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/transfer");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn cross(method: &str, headers: &[(&str, &str)]) -> bool {
    is_cross_site(&request(method, headers), &[Trusted::new("https://admin.example".into(), None)])
}

const HOST: (&str, &str) = ("host", "app.example");

// Rows: S81.
#[test]
fn sec_fetch_site_decides_for_unsafe_methods() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "LINK", "post"] {
        for (site, expected) in [
            ("same-origin", false),
            ("none", false),
            ("cross-site", true),
            ("same-site", true),
            ("", true),
            ("Same-Origin", true),
        ] {
            assert_eq!(
                cross(method, &[HOST, ("sec-fetch-site", site)]),
                expected,
                "{method} {site}"
            );
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(!cross(method, &[HOST, ("sec-fetch-site", "cross-site")]), "{method}");
    }
}

// Rows: S81, R21.
#[test]
fn without_sec_fetch_site_the_origin_is_compared_with_the_host() {
    for (origin, expected) in [
        ("https://app.example", false),
        ("http://app.example", false),
        ("https://app.example:443", false),
        ("https://APP.example", false),
        ("https://app.example:8443", true),
        ("https://evil.example", true),
        ("https://app.example.evil.example", true),
        ("https://evilapp.example", true),
        ("null", true),
        ("", true),
        ("app.example", true),
        ("ftp://app.example", true),
    ] {
        assert_eq!(cross("POST", &[HOST, ("origin", origin)]), expected, "{origin}");
    }
    assert!(cross("POST", &[("origin", "https://app.example")]), "no host to hold it against");
    let twice = [HOST, ("origin", "https://app.example"), ("origin", "https://evil.example")];
    assert!(cross("POST", &twice));
    let local = [("host", "localhost:3000"), ("origin", "http://localhost:3000")];
    assert!(!cross("POST", &local));
}

// Rows: M11.
#[test]
fn a_websocket_handshake_is_held_against_its_origin() {
    for upgrade in ["websocket", "WebSocket", "h2c, websocket", "websocket/13"] {
        let handshake = |more: &[(&str, &str)]| {
            cross("GET", &[&[HOST, ("connection", "Upgrade"), ("upgrade", upgrade)], more].concat())
        };
        for (more, expected) in [
            (&[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")][..], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "https://sub.app.example"), ("sec-fetch-site", "same-site")], true),
            (&[("origin", "null")], true),
            (&[("origin", "https://app.example")], false),
            (&[("origin", "https://app.example"), ("sec-fetch-site", "same-origin")], false),
            (&[("origin", "https://admin.example"), ("sec-fetch-site", "cross-site")], false),
            (&[], false),
        ] {
            assert_eq!(handshake(more), expected, "{upgrade}: {more:?}");
        }
    }
    for upgrade in ["h2c", "", "notwebsocket"] {
        let other = [HOST, ("upgrade", upgrade), ("sec-fetch-site", "cross-site")];
        assert!(!cross("GET", &other), "{upgrade}");
    }
    // As HTTP/2 opens one (RFC 8441).
    assert!(cross("CONNECT", &[HOST, ("origin", "https://evil.example")]));
}

// Rows: S81.
#[test]
fn the_authority_of_http_2_counts_as_host() {
    let request = Request::post("https://app.example/transfer")
        .header("origin", "https://app.example")
        .body(())
        .unwrap();
    assert!(!is_cross_site(&request, &[]));
}

// Rows: S81.
#[test]
fn clients_that_are_no_browsers_and_trusted_origins_pass() {
    assert!(!cross("POST", &[HOST]));
    let trusted = ("origin", "https://admin.example");
    assert!(!cross("POST", &[HOST, trusted]));
    assert!(!cross("POST", &[HOST, trusted, ("sec-fetch-site", "cross-site")]));
}

#[test]
fn trusted_origins_are_written_as_browsers_do() {
    for good in ["https://app.example", "http://localhost:5173", "https://[::1]:8443"] {
        Trusted::new(good.into(), None).check().unwrap();
    }
    for bad in ["app.example", "https://app.example/", "https://app.example/x", "null", "*", ""] {
        let problem = Trusted::new(bad.into(), None).check().unwrap_err().to_string();
        assert!(problem.contains(&format!("{bad:?}")), "{problem}");
    }
}

// Rows: L9.
#[test]
fn an_origin_is_trusted_only_at_its_configured_paths() {
    let foreign = |at: &str, path: &str| {
        let trusted = [Trusted::new("https://id.example".into(), Some(at.into()))];
        let request = Request::post(path).header("host", "app.example");
        let request = request.header("origin", "https://id.example").body(()).unwrap();
        is_cross_site(&request, &trusted)
    };
    let callback = "/auth/callback";
    assert!(!foreign(callback, callback) && !foreign(callback, "/auth/callback?state=1"));
    for elsewhere in
        ["/", "/transfer", "/auth", "/auth/callback/", "/auth/callback2", "/AUTH/callback"]
    {
        assert!(foreign(callback, elsewhere), "{elsewhere}");
    }
    assert!(!foreign("/auth/", "/auth/callback") && !foreign("/auth/", "/auth/"));
    assert!(foreign("/auth/", "/auth") && foreign("/auth/", "/authority"));
    let check = |at: &str| Trusted::new("https://id.example".into(), Some(at.into())).check();
    for good in ["/", "/auth/callback", "/auth/"] {
        check(good).unwrap();
    }
    for bad in ["", "auth", "/auth?x", "/auth#x", "https://app.example/auth", "/a b"] {
        let problem = check(bad).unwrap_err().to_string();
        assert!(
            problem.contains("`trusted_origin_for`") && problem.contains("such as"),
            "{problem}"
        );
    }
}

// Rows: L10.
#[test]
fn this_machine_is_told_from_others() {
    let named = ["dev.example".to_owned(), "192.168.1.7".to_owned()];
    let local = |host: &str| is_local(&request("GET", &[("host", host)]), &named);
    for here in [
        "localhost",
        "LocalHost:3000",
        "localhost.",
        "app.localhost:3000",
        "127.0.0.1",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:3000",
        "dev.example",
        "DEV.example:3000",
        "192.168.1.7:3000",
    ] {
        assert!(local(here), "{here}");
    }
    for there in [
        "app.example",
        "localhost.example",
        "notlocalhost",
        "127.0.0.1.example",
        "128.0.0.1",
        "0.0.0.0",
        "[::2]",
        "::1",
        "a.dev.example",
        "",
        "caf\u{e9}",
    ] {
        assert!(!local(there), "{there}");
    }
    assert!(is_local(&request("GET", &[]), &[]), "no browser leaves it out");
    assert!(!is_local(&request("GET", &[("host", "localhost"), ("host", "app.example")]), &named));
    let target = |uri: &str| is_local(&Request::get(uri).body(()).unwrap(), &named);
    assert!(target("http://localhost:3000/") && !target("http://app.example/"));
    for good in ["dev.example", "a_b", "192.168.1.7", "fe80::1"] {
        check_host(good).unwrap();
    }
    for bad in ["", "dev.example:3000", "http://dev.example", "[::1]", "a b"] {
        let problem = check_host(bad).unwrap_err().to_string();
        assert!(problem.contains("`insecure_dev_host`") && problem.contains("without a port"));
    }
}
