//! Counts the allocations of the fresh path. Rows S07 and S08 of `tests/COVERAGE.md`.

use allocation_counter::{AllocationInfo, measure};
use everfresh::Engine;
use everfresh::upstream::{KeySource, Seek};
use everfresh_bench::{
    Bare, User, cookies, copy, engine, engine_with, engine_without_cache, keys, rotating_engine,
    token, with_bearer, with_cookie, with_cookies,
};
use futures::FutureExt as _;
use futures::executor::block_on;
use http::Request;
use tower::{Service as _, ServiceBuilder};

/// The allocations of one request inside the layer. Counts the second of two requests, so that
/// allocations made once per process don't count.
fn counted(request: &Request<()>) -> AllocationInfo {
    counted_by(&engine(), request)
}

fn counted_by(auth: &Engine<User>, request: &Request<()>) -> AllocationInfo {
    let mut service = ServiceBuilder::new().layer(auth.layer()).service(Bare);
    let mut round = || {
        let request = copy(request);
        // The bare service alone allocates nothing, so all of these are the layer's.
        measure(|| drop(service.call(request).now_or_never()))
    };
    round();
    round()
}

fn good_token() -> String {
    block_on(token(&engine()))
}

#[test]
fn a_bare_service_allocates_nothing() {
    let request = copy(&with_cookie("a.b.c", 3));
    assert_eq!(measure(|| drop(Bare.call(request).now_or_never())).count_total, 0);
}

#[test]
fn a_known_token_costs_what_no_token_costs() {
    let token = good_token();
    for request in [with_cookie(&token, 0), with_cookie(&token, 50), with_bearer(&token)] {
        let counted = counted(&request);
        // The session and the request's extensions, for any token.
        assert!(counted.count_total <= 4, "{counted:?}");
        assert!(counted.bytes_total <= 800, "{counted:?}");
        assert!(counted.count_current <= 0, "and the request is given back: {counted:?}");
    }
}

#[test]
fn cookies_in_many_fields_cost_what_one_field_does() {
    let mut request = with_cookie(&good_token(), 0);
    for n in 0..20 {
        let value = format!("cookie_{n}=value").parse().expect("a header value");
        request.headers_mut().append(http::header::COOKIE, value);
    }
    let counted = counted(&request);
    assert!(counted.count_total <= 4, "{counted:?}");
}

#[test]
fn a_refresh_token_costs_its_own_copy_and_a_new_field_without_it() {
    let auth = rotating_engine();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let request = with_cookies(&runtime.block_on(cookies(&auth)));
    let counted = counted_by(&auth, &request);
    // The token's text, kept for a refresh by the handler; its position in the field; and the field
    // that the inner service sees.
    assert!(counted.count_total <= 4 + 4, "{counted:?}");
}

#[test]
fn a_token_that_is_not_known_costs_its_claims_as_well() {
    let token = good_token();
    for request in [with_cookie(&token, 0), with_cookie(&token, 50), with_bearer(&token)] {
        let counted = counted_by(&engine_without_cache(), &request);
        // The payload as text, the strings and names of the claims, and the verified token.
        // Cookies, signature and header cost no allocation.
        assert!(counted.count_total <= 11, "{counted:?}");
        assert!(counted.bytes_total <= 1400, "{counted:?}");
    }
}

#[test]
fn a_token_is_remembered_by_two_allocations() {
    let request = with_bearer(&good_token());
    let first = |auth: Engine<User>, other: Engine<User>| {
        let mut service = ServiceBuilder::new().layer(other.layer()).service(Bare);
        drop(service.call(copy(&request)).now_or_never());
        let mut service = ServiceBuilder::new().layer(auth.layer()).service(Bare);
        let request = copy(&request);
        measure(|| drop(service.call(request).now_or_never())).count_total
    };
    let (forgetful, remembering) = (
        first(engine_without_cache(), engine_without_cache()),
        first(engine(), engine_without_cache()),
    );
    // Its bytes and the entry.
    assert!(remembering <= forgetful + 2, "{remembering} and {forgetful}");
}

/// A key source that is never used.
struct Unasked;

impl KeySource for Unasked {
    fn seek(&self) -> Seek {
        panic!("the key is known")
    }
}

#[test]
fn keys_from_elsewhere_cost_a_fresh_token_nothing() {
    let elsewhere = engine_with(keys().with_source(Unasked));
    let request = with_cookie(&good_token(), 0);
    let (own, elsewhere) = (counted(&request), counted_by(&elsewhere, &request));
    assert_eq!(own.count_total, elsewhere.count_total);
    assert_eq!(own.bytes_total, elsewhere.bytes_total);
}

#[test]
fn no_token_costs_a_handle() {
    let counted = counted(&Request::new(()));
    assert!(counted.count_total <= 4, "{counted:?}");
}

// Rows: S07.
#[test]
fn junk_costs_no_more_than_nothing_does() {
    let nothing = counted(&Request::new(()));
    let dots = ".".repeat(1024 * 1024);
    let junk = "x".repeat(64 * 1024);
    let shaped = format!("{0}.{0}.{0}", "x".repeat(21 * 1024));
    for token in [&*dots, &*junk, &*shaped] {
        for request in [with_cookie(token, 0), with_bearer(token)] {
            let counted = counted(&request);
            assert!(counted.count_total <= nothing.count_total, "{counted:?}");
            assert!(counted.bytes_total <= 1024, "{counted:?}");
        }
    }
}

// Rows: S08.
#[test]
fn ten_thousand_cookies_cost_no_allocation() {
    let token = good_token();
    let (few, many) = (counted(&with_cookie(&token, 0)), counted(&with_cookie(&token, 10_000)));
    assert_eq!(few.count_total, many.count_total);
}
