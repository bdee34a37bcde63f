//! Rows S69, S70, S72, S77 and S78 of `tests/COVERAGE.md`: the form of our cookies.

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn text(value: Option<HeaderValue>) -> String {
    let value = value.expect("rendered");
    assert!(value.is_sensitive(), "kept out of logs and of HPACK tables");
    value.to_str().unwrap().to_owned()
}

// Rows: S69.
#[test]
fn the_default_is_host_only_secure_and_http_only() {
    let cookie = CookieSpec::new("__Host-access_token");
    cookie.validate().unwrap();
    let expected =
        "__Host-access_token=a.b.c; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=3600";
    assert_eq!(text(cookie.set("a.b.c", Some(HOUR))), expected);
    let strict = cookie.same_site(SameSite::Strict);
    assert!(text(strict.set("a.b.c", Some(HOUR))).contains("SameSite=Strict"));
}

// Rows: S69.
#[test]
fn impossible_cookies_are_build_errors() {
    let host = || CookieSpec::new("__Host-at");
    let plain = || CookieSpec::new("at");
    for (cookie, says) in [
        (host().domain("example.com"), "Domain"),
        (host().path("/app"), "Path=/"),
        (CookieSpec::new("__host-at").domain("example.com"), "Domain"),
        (CookieSpec { secure: false, ..host() }, "Secure"),
        (CookieSpec { secure: false, ..CookieSpec::new("__Secure-at") }, "Secure"),
        (CookieSpec { secure: false, ..plain() }.same_site(SameSite::None), "SameSite=None"),
        (CookieSpec::new(""), "token"),
        (CookieSpec::new("a b"), "token"),
        (CookieSpec::new("a=b"), "token"),
        (CookieSpec::new("a;b"), "token"),
        (CookieSpec::new("a\r\nSet-Cookie: x"), "token"),
        (CookieSpec::new("caf\u{e9}"), "token"),
        (CookieSpec::new("n".repeat(257)), "256"),
        (plain().path("app"), "begin with `/`"),
        (plain().path(""), "begin with `/`"),
        (plain().path("/a; Domain=evil"), "`;`"),
        (plain().path("/a\r\nX: y"), "control"),
        (plain().path(format!("/{}", "p".repeat(1024))), "path"),
        (plain().domain(""), "host name"),
        (plain().domain(".example.com"), "a dot at either end"),
        (plain().domain("example.com:443"), "port"),
        (plain().domain("https://example.com"), "scheme"),
        (plain().domain("a b.com"), "host name"),
    ] {
        let error = cookie.validate().unwrap_err();
        let ConfigError::Cookie { name, problem } = &error else { panic!("{error}") };
        assert!(*name == cookie.name || name.ends_with(".."));
        assert!(problem.contains(says), "{problem:?} lacks {says:?}");
    }
    CookieSpec::new("n".repeat(256)).validate().unwrap();
    plain().path("/app").domain("example.com").same_site(SameSite::None).validate().unwrap();
}

// Rows: R9.
#[test]
fn a_domain_that_browsers_drop_is_an_error() {
    for (domain, says) in [
        ("com", "without a dot"),
        ("localhost", "without a dot"),
        ("127.0.0.1", "an address"),
        ("192.0.2.7", "an address"),
        ("1.2", "an address"),
        ("0x7f.1", "an address"),
        ("example.0x7F", "an address"),
        ("2130706433", "an address"),
        ("::1", "host name"),
        ("[::1]", "host name"),
        ("example.com.", "a dot at either end"),
        (".example.com", "a dot at either end"),
        (".", "host name"),
        ("example..com", "host name"),
        ("-a.example", "host name"),
    ] {
        for cookie in [CookieSpec::new("__Secure-at"), CookieSpec::new("at").insecure()] {
            let error = cookie.domain(domain).validate().unwrap_err().to_string();
            assert!(error.contains(says), "{error:?} lacks {says:?}");
        }
    }
    for domain in ["example.com", "a.b.example", "xn--bcher-kva.example", "1.example", "a.x0"] {
        CookieSpec::new("at").domain(domain).validate().unwrap();
    }
}

// Rows: R16.
#[test]
fn a_partitioned_cookie_says_so_when_it_is_set_and_when_it_is_deleted() {
    let cookie = CookieSpec::new("__Host-at").same_site(SameSite::None).partitioned();
    cookie.validate().unwrap();
    let expected =
        "__Host-at=v; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Max-Age=3600";
    assert_eq!(text(cookie.set("v", Some(HOUR))), expected);
    assert!(text(cookie.piece(1).set("v", None)).contains("; Partitioned; Secure"));
    let gone = text(cookie.delete());
    assert!(gone.starts_with("__Host-at=; HttpOnly; SameSite=None; Partitioned; Secure; Path=/;"));
    let open = CookieSpec::new("at").partitioned().insecure();
    let refused = open.validate().unwrap_err().to_string();
    assert!(refused.contains("Partitioned needs Secure"), "{refused}");
}

#[test]
fn insecure_takes_the_prefixes_away_too() {
    for name in ["__Host-at", "__Secure-at", "__Http-at", "__Host-Http-at", "at"] {
        let cookie = CookieSpec::new(name).insecure();
        cookie.validate().unwrap();
        assert_eq!(
            text(cookie.set("v", Some(HOUR))),
            "at=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=3600"
        );
    }
}

// Rows: S70.
#[test]
fn name_and_value_have_4096_octets_together() {
    let cookie = CookieSpec::new("at");
    assert!(cookie.fits(&"v".repeat(4094)) && cookie.set(&"v".repeat(4094), Some(HOUR)).is_some());
    assert!(!cookie.fits(&"v".repeat(4095)) && cookie.set(&"v".repeat(4095), Some(HOUR)).is_none());
}

// Rows: S77.
#[test]
fn deleting_repeats_every_attribute() {
    let cookie = CookieSpec::new("__Secure-at").domain("example.com").path("/app");
    let expected = "__Secure-at=; HttpOnly; SameSite=Lax; Secure; Path=/app; Domain=example.com; \
                    Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(text(cookie.delete()), expected);
}

// Rows: S22, S78.
#[test]
fn max_age_is_at_most_400_days() {
    let cookie = CookieSpec::new("at");
    let cap = "Max-Age=34560000";
    for long in [Duration::from_secs(401 * 86_400), Duration::MAX] {
        assert!(text(cookie.set("v", Some(long))).ends_with(cap));
    }
    assert!(text(cookie.set("v", Some(Duration::from_millis(1999)))).ends_with("Max-Age=1"));
    assert!(text(cookie.set("v", None)).ends_with("Path=/"), "until the browser is closed");
}

// Rows: F40.
#[test]
fn a_further_piece_differs_by_its_number_alone() {
    let cookie = CookieSpec::new("rt").path("/app").same_site(SameSite::Strict).insecure();
    let piece = cookie.piece(2);
    assert_eq!(piece.name(), "rt.2");
    assert_eq!(text(piece.set("v", None)), text(cookie.set("v", None)).replace("rt=", "rt.2="));
}

proptest! {
    /// Row S72: for any value there is exactly one cookie, with our attributes.
    // Rows: S72.
    #[test]
    fn values_are_cookie_octets_or_nothing(value in "\\PC{0,40}|[ -~\r\n;,\"\\\\]{0,40}") {
        if let Some(set) = CookieSpec::new("at").set(&value, Some(HOUR)) {
            let set = set.to_str().unwrap().to_owned();
            let rest = set.strip_prefix(&format!("at={value}; ")).expect("the value as it is");
            prop_assert_eq!(rest, "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=3600");
            prop_assert!(value.bytes().all(is_cookie_octet));
        }
    }

    /// Row S69: a browser accepts every cookie that validates.
    // Rows: S69.
    #[test]
    fn a_validated_cookie_is_accepted_by_a_browser(
        name in "(__Host-|__Secure-|__host-|__HOST-)?[a-z]{1,8}",
        domain in proptest::option::of("[a-z]{1,5}\\.com"),
        path in "(/|/app)",
        secure in any::<bool>(),
        same_site in prop_oneof![Just(SameSite::Strict), Just(SameSite::Lax), Just(SameSite::None)],
    ) {
        let partitioned = false;
        let cookie = CookieSpec { name, same_site, path, domain, secure, partitioned };
        if cookie.validate().is_ok() {
            let set = text(cookie.set("v", Some(HOUR)));
            let lower = cookie.name.to_ascii_lowercase();
            if lower.starts_with("__host-") {
                let host_only = set.contains("; Path=/;") && !set.contains("Domain");
                prop_assert!(host_only && set.contains("; Secure"));
            }
            if lower.starts_with("__secure-") || same_site == SameSite::None {
                prop_assert!(set.contains("; Secure"));
            }
        }
    }
}
