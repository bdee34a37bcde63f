//! A handler's response, status and fields, after a sign-in, a sign-out or a refresh. everfresh's
//! fields occur once, and only for this client. The handler's fields remain.

#![no_main]

use everfresh_fuzz::{ACCESS, Claims, Fixture, REFRESH, request, with_fixture};
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 10] = [
    "set-cookie",
    "cache-control",
    "vary",
    "expires",
    "surrogate-control",
    "cdn-cache-control",
    "authorization",
    "x-refresh-token",
    "etag",
    "location",
];

fn is_named(cookie: &HeaderValue, name: &str) -> bool {
    let bytes = cookie.as_bytes();
    let end = bytes.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(bytes.len());
    bytes[..end].trim_ascii() == name.as_bytes()
}

fuzz_target!(|data: &[u8]| {
    let [what, high, low, lines @ ..] = data else { return };
    let mut response = Response::new(());
    let code = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let Ok(status) = StatusCode::from_u16(code) else { return };
    *response.status_mut() = status;
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else { continue };
        let name = HeaderName::from_static(NAMES[usize::from(*which) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            response.headers_mut().append(name, value);
        }
    }
    let before = response.headers().clone();
    with_fixture(Fixture::cookies, |fixture| {
        let cookie = |name: &str, token: &str| {
            ("cookie", HeaderValue::try_from(format!("{name}={token}")).expect("a token"))
        };
        let (access, refresh) = fixture.sign_in("alice");
        let request = match what % 4 {
            // A refresh.
            0 => request([cookie(REFRESH, &refresh)]),
            1 | 2 => request([cookie(ACCESS, &access)]),
            _ => request([]),
        };
        let what = *what;
        let after = fixture.respond(request, response, |session| async move {
            match what % 4 {
                1 => drop(session.sign_in("bob", Claims::default()).await),
                2 => drop(session.sign_out().await),
                _ => {}
            }
        });
        let after = after.headers();
        let cookies: Vec<_> = after.get_all(SET_COOKIE).iter().collect();
        let own: Vec<_> = before.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies[..own.len()], own[..], "the handler's cookies, in order");
        let ours = &cookies[own.len()..];
        for name in [ACCESS, REFRESH] {
            let by_us = ours.iter().filter(|cookie| is_named(cookie, name)).count();
            let by_handler = own.iter().any(|cookie| is_named(cookie, name));
            assert!(by_us <= 1 && !(by_us > 0 && by_handler), "{name} is set twice");
        }
        for cookie in ours {
            let text = cookie.to_str().expect("plain text");
            assert!(is_named(cookie, ACCESS) || is_named(cookie, REFRESH));
            for attribute in ["; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax"] {
                assert!(text.contains(attribute), "{attribute}");
            }
            assert!(!text.contains("Domain") && text.len() <= 4096 + 1024);
        }
        for name in ["authorization", "x-refresh-token", "etag", "location"] {
            let of = |map: &http::HeaderMap| -> Vec<HeaderValue> {
                map.get_all(name).iter().cloned().collect()
            };
            assert_eq!(of(after), of(&before), "{name} is the handler's");
        }
        let vary = |map: &http::HeaderMap| map.get_all(VARY).iter().count();
        assert!(vary(after) >= vary(&before), "Vary is appended to");
        if ours.is_empty() {
            assert_eq!(after, &before, "nothing of ours, nothing changed");
        } else {
            let deletes = |cookie: &&&HeaderValue| {
                cookie.to_str().is_ok_and(|text| text.contains("; Max-Age=0"))
            };
            let deleted = ours.iter().filter(deletes).count();
            assert!(code != 304 || deleted == ours.len(), "a 304 carries no token");
            let caching: Vec<_> = after.get_all(CACHE_CONTROL).iter().collect();
            assert!(caching == ["no-store"] || caching == ["no-store, no-transform"]);
            for name in ["expires", "surrogate-control", "cdn-cache-control"] {
                assert!(after.get(name).is_none(), "{name} speaks to shared caches");
            }
        }
    });
});
