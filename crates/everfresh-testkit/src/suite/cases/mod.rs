//! The cases. [`adapter_suite!`](crate::adapter_suite) makes a test of each.

mod rotating;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, ORIGIN, VARY, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ACCESS_COOKIE, Adapter, Fixture, token_of};
use crate::browser::Answer;
use crate::contract::Me;

pub use rotating::*;

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header value")
}

fn bearer(token: &str) -> (HeaderName, HeaderValue) {
    (AUTHORIZATION, value(&format!("Bearer {token}")))
}

fn cookie(token: &str) -> (HeaderName, HeaderValue) {
    (COOKIE, value(&format!("{ACCESS_COOKIE}={token}")))
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A sign-in sets the cookie once, for the length of the session, and forbids caching.
pub async fn sign_in_sets_one_cookie<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let answer = fixture.browser.post_json("/login", &json!({"user": "alice"})).await;
    assert_eq!(answer.status, 204);
    let cookies = answer.set_cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    let attributes = cookies[0].split_once("; ").expect("attributes").1;
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");
    assert_eq!(answer.field(CACHE_CONTROL.as_str()), Some("no-store"));
    let me: Me = fixture.browser.get("/me").await.json();
    assert_eq!(me.sub, "alice");
}

/// `?deliver=header` returns the tokens in headers and sets no cookie.
pub async fn tokens_are_delivered_in_headers_on_demand<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let answer = fixture.browser.post_json("/login?deliver=header", &json!({"user": "bob"})).await;
    assert!(answer.set_cookies().is_empty());
    let token = answer.field("authorization").and_then(|v| v.strip_prefix("Bearer "));
    let fields = [bearer(token.expect("a bearer token"))];
    let request = fixture.browser.request(Method::GET, "/me", &fields, Bytes::new());
    assert_eq!(fixture.browser.fetch(request).await.json::<Me>().sub, "bob");
}

/// A request that changes nothing sets no cookie.
pub async fn a_hundred_fresh_requests_set_nothing<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    for _ in 0..100 {
        let answer = fixture.browser.get("/me").await;
        assert_eq!(answer.status, 200);
        assert!(answer.set_cookies().is_empty());
        assert!(answer.field("authorization").is_none() && answer.field("cache-control").is_none());
    }
}

/// With the setting on, one field of every response describes the outcome of its request.
pub async fn debug_headers_show_the_outcome_of_a_request<A: Adapter>() {
    const DEBUG: &str = "everfresh-debug";
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    assert_eq!(fixture.browser.get("/me").await.field(DEBUG), None, "off unless it is switched on");

    let mut fixture = Fixture::with::<A>(|builder| builder.debug_headers(true)).await;
    let told = |answer: &Answer| answer.field(DEBUG).map(str::to_owned).unwrap_or_default();
    fixture.sign_in("alice").await;
    let fresh = told(&fixture.browser.get("/me").await);
    let expected =
        "transport=0;by=cookie, verdict=fresh, decision=pass, status=present, sends=nothing";
    assert_eq!(fresh, expected);
    fixture.expire().await;
    let refreshed = told(&fixture.browser.get("/me").await);
    let expected = "transport=0;by=cookie, verdict=expired, decision=wait, flight=started, \
                    outcome=refreshed, status=present, sends=tokens";
    assert_eq!(refreshed, expected);
    let mut stranger = fixture.browser.stranger();
    let signed_out = told(&stranger.get("/me").await);
    assert!(signed_out.ends_with("verdict=absent, decision=pass, status=absent, sends=nothing"));
}

/// The next request gets another token of the same session.
pub async fn an_expired_cookie_is_refreshed<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let old = fixture.sign_in("alice").await;
    let before: Me = fixture.browser.get("/me").await.json();
    for _ in 0..3 {
        fixture.expire().await;
        let answer = fixture.browser.get("/me").await;
        let after: Me = answer.json();
        assert_eq!((after.sub, after.sid), (before.sub.clone(), before.sid.clone()));
        assert!(after.exp > before.exp, "the handler sees the new token");
        assert!(token_of(&answer).is_some_and(|new| new != old));
        assert_eq!(answer.field(VARY.as_str()), Some("cookie"));
        assert!(fixture.browser.get("/me").await.set_cookies().is_empty());
    }
}

/// The request continues at once. The new token is in its response or in the next one.
pub async fn in_the_advisory_window_this_response_or_the_next_has_the_new_token<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let old = fixture.sign_in("alice").await;
    fixture.pass_until_left(100).await;
    for _ in 0..1000 {
        assert_eq!(fixture.browser.get("/me").await.status, 200);
        if fixture.token() != old {
            return;
        }
    }
    panic!("no new token in a thousand requests");
}

/// A token from `Authorization` is returned in `Authorization`.
pub async fn a_bearer_token_goes_back_as_one<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    fixture.expire().await;
    let stranger = fixture.browser.stranger();
    let request = stranger.request(Method::GET, "/me", &[bearer(&token)], Bytes::new());
    let answer = stranger.fetch(request).await;
    assert_eq!(answer.status, 200);
    assert!(answer.set_cookies().is_empty());
    let new = answer.field("authorization").and_then(|value| value.strip_prefix("Bearer "));
    assert_ne!(new.expect("a new token"), token);
    assert_eq!(answer.field("vary"), Some("authorization"));
}

/// A response of a failing handler still carries the token.
pub async fn tokens_leave_with_errors<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let answer = fixture.browser.get("/fail").await;
    assert_eq!(answer.status, 500);
    assert!(token_of(&answer).is_some());
}

/// HEAD is a GET without a body.
pub async fn head_is_refreshed_too<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let request = fixture.browser.request(Method::HEAD, "/me", &[], Bytes::new());
    let answer = fixture.browser.send(request).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.is_empty() && token_of(&answer).is_some());
}

/// Ten chunks arrive, after the token.
pub async fn a_stream_is_untouched<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let answer = fixture.browser.get("/stream").await;
    let expected: String = crate::contract::chunks().collect();
    assert_eq!(answer.body, expected.as_bytes());
    assert!(token_of(&answer).is_some());
}

/// F57: a POST with an expired token is executed once, with its whole body.
// Rows: F57.
pub async fn a_posted_body_is_untouched<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let body: Bytes = (0..1_000_000_u32).map(|n| n as u8).collect::<Vec<_>>().into();
    let request = fixture.browser.request(Method::POST, "/echo", &[], body.clone());
    let answer = fixture.browser.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, body);
    assert!(token_of(&answer).is_some());
}

/// A handler may be slow.
pub async fn a_slow_handler_gets_its_token<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let answer = fixture.browser.get("/slow?ms=20").await;
    assert_eq!(answer.json::<Me>().sub, "alice");
    assert!(token_of(&answer).is_some());
}

/// A sign-out leaves no live cookie, for a token of any age.
pub async fn signing_out_leaves_no_live_cookie<A: Adapter>() {
    for left in [800, 100, 10, 0] {
        let mut fixture = Fixture::new::<A>().await;
        fixture.sign_in("alice").await;
        fixture.pass_until_left(left).await;
        let answer = fixture.browser.post_json("/logout", &Value::Null).await;
        assert_eq!(answer.status, 204);
        assert_eq!(fixture.browser.jar.get(ACCESS_COOKIE), None, "{left} s left");
        assert_eq!(fixture.browser.jar.get("refresh_token"), None);
        assert_eq!(fixture.browser.get("/me").await.status, 401);
    }
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.clock.advance(Duration::from_secs(20 * 3600));
    assert_eq!(fixture.browser.post_json("/logout", &Value::Null).await.status, 204);
    assert_eq!(fixture.browser.jar.get(ACCESS_COOKIE), None, "long after its end");
}

/// A client that signs in again is the new user from then on.
pub async fn signing_in_again_is_another_session<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    let alice: Me = fixture.browser.get("/me").await.json();
    fixture.expire().await;
    fixture.sign_in("bob").await;
    let bob: Me = fixture.browser.get("/me").await.json();
    assert_eq!(bob.sub, "bob");
    assert_ne!(alice.sid, bob.sid);
}

/// A changed token is refused, expired or not.
pub async fn a_tampered_token_is_401_and_sets_nothing<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    for expired in [false, true] {
        if expired {
            fixture.expire().await;
        }
        let (head, tail) = token.split_at(token.len() - 4);
        let forged = format!("{head}{}", if tail == "AAAA" { "BBBB" } else { "AAAA" });
        let stranger = fixture.browser.stranger();
        for fields in [[cookie(&forged)], [bearer(&forged)]] {
            let request = stranger.request(Method::GET, "/me", &fields, Bytes::new());
            let answer = stranger.fetch(request).await;
            assert_eq!(answer.status, 401);
            assert!(answer.set_cookies().is_empty() && answer.field("authorization").is_none());
            let challenge = answer.field(WWW_AUTHENTICATE.as_str()).expect("a challenge");
            assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
        }
    }
}

/// RFC 6750 section 3.1.
pub async fn no_token_is_401_without_an_error_code<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let answer = fixture.browser.get("/me").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json::<Value>()["status"], 401);
}

/// The layer itself rejects no request.
pub async fn public_routes_admit_every_visitor<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    assert_eq!(fixture.browser.get("/open").await.status, 200);
    let token = fixture.sign_in("alice").await;
    let stranger = fixture.browser.stranger();
    for bad in ["x", "a.b.c", &token[1..]] {
        let request = stranger.request(Method::GET, "/open", &[cookie(bad)], Bytes::new());
        let answer = stranger.fetch(request).await;
        assert_eq!(answer.status, 200, "a bad token closes no public route");
        assert!(answer.set_cookies().is_empty(), "what can't be authenticated is not cleared");
    }
    fixture.expire().await;
    let answer = fixture.browser.get("/open").await;
    assert!(token_of(&answer).is_some(), "and keeps people signed in");
}

/// RFC 6750 section 3.1: one credential.
pub async fn two_credentials_are_a_bad_request<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    let stranger = fixture.browser.stranger();
    let mut request = stranger.request(Method::GET, "/me", &[bearer(&token)], Bytes::new());
    request.headers_mut().append(AUTHORIZATION, value("Bearer a.b.c"));
    let answer = stranger.fetch(request).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.field("www-authenticate"), Some("Bearer error=\"invalid_request\""));
}

/// A session in a cookie is ignored if another site caused the request.
pub async fn a_cross_site_post_does_not_count<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    for expired in [false, true] {
        if expired {
            fixture.expire().await;
        }
        for forged in [
            (SEC_FETCH_SITE, value("cross-site")),
            (SEC_FETCH_SITE, value("same-site")),
            (ORIGIN, value("https://evil.example")),
            (ORIGIN, value("null")),
        ] {
            let request = fixture.browser.request(Method::POST, "/echo", &[forged], Bytes::new());
            let answer = fixture.browser.fetch(request).await;
            assert_eq!(answer.status, 403);
            assert!(answer.set_cookies().is_empty());
            assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        }
    }
    let fields = [bearer(&token), (SEC_FETCH_SITE, value("cross-site"))];
    let stranger = fixture.browser.stranger();
    let request = stranger.request(Method::POST, "/echo", &fields, Bytes::new());
    assert_eq!(stranger.fetch(request).await.status, 200, "a header does not travel by itself");
    let own = (SEC_FETCH_SITE, value("same-origin"));
    let request = fixture.browser.request(Method::POST, "/echo", &[own], Bytes::new());
    assert_eq!(fixture.browser.fetch(request).await.status, 200);
}

/// F10.
pub async fn a_preflight_touches_nothing<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let request = fixture.browser.request(Method::OPTIONS, "/me", &[], Bytes::new());
    let answer = fixture.browser.fetch(request).await;
    assert!(answer.set_cookies().is_empty());
    assert!(answer.field("authorization").is_none());
}

/// No refresh passes the session's absolute limit.
pub async fn a_session_ends_at_its_limit<A: Adapter>() {
    let hour = Duration::from_secs(3600);
    let mut fixture = Fixture::with::<A>(|builder| builder.session_lifetime(hour)).await;
    fixture.sign_in("alice").await;
    for _ in 0..11 {
        fixture.clock.advance(hour / 12);
        assert_eq!(fixture.browser.get("/me").await.status, 200);
    }
    let last = fixture.token();
    fixture.clock.advance(hour / 12);
    assert_eq!(
        fixture.browser.jar.header(&crate::Site::https("127.0.0.1", "/"), fixture.clock.now()),
        ""
    );
    let stranger = fixture.browser.stranger();
    let request = stranger.request(Method::GET, "/me", &[cookie(&last)], Bytes::new());
    let answer = stranger.fetch(request).await;
    assert_eq!(answer.status, 401);
    assert!(answer.set_cookies().is_empty());
}

/// While a session may be valid, no response signs its client out.
pub async fn an_outage_is_503_and_touches_no_cookie<A: Adapter>() {
    let mut fixture = Fixture::with::<A>(|builder| {
        builder.leeway(Duration::ZERO).revalidate_with(|_| async {
            Err::<everfresh::Revalidated<crate::contract::User>, _>("the database is down")
        })
    })
    .await;
    fixture.sign_in("alice").await;
    fixture.pass_until_left(10).await;
    assert_eq!(fixture.browser.get("/me").await.status, 200, "the token is still good");
    fixture.expire().await;
    let answer = fixture.browser.get("/me").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert!(answer.set_cookies().is_empty());
    assert_eq!(fixture.browser.get("/open").await.status, 200, "public routes work");
    fixture.sign_in("bob").await;
    assert_eq!(fixture.browser.get("/me").await.json::<Me>().sub, "bob", "and so does signing in");
}

/// F01: no request is refused, and every request gets the same successor.
pub async fn two_hundred_requests_at_one_expiry_get_one_token<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let browser = fixture.browser.clone();
            tokio::spawn(async move {
                let request = browser.request(Method::GET, "/me", &[], Bytes::new());
                browser.fetch(request).await
            })
        })
        .collect();
    let mut tokens = BTreeSet::new();
    for request in requests {
        let answer = request.await.expect("an answer");
        assert_eq!(answer.status, 200);
        tokens.insert(token_of(&answer).expect("the successor"));
    }
    assert_eq!(tokens.len(), 1, "one refresh");
}

/// Malformed values under our cookie's name and thousands of other cookies cause no panic and no
/// refresh, and our cookie is found.
pub async fn hostile_cookies_hide_no_good_one<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    let ours = format!("{ACCESS_COOKIE}={token}");
    let stranger = fixture.browser.stranger();
    for noise in [
        format!("{ACCESS_COOKIE}={}", "x".repeat(8 * 1024)),
        format!("{ACCESS_COOKIE}={}", "x".repeat(64 * 1024)),
        (0..10_000).map(|n| format!("c{n}=v; ")).collect(),
        format!("%61ccess_token={token}; Access_token={token}"),
        format!("{ACCESS_COOKIE}=; ={ACCESS_COOKIE}; ; ="),
    ] {
        let both = [format!("{noise}; {ours}"), format!("{ours}; {noise}")];
        for header in &both {
            let fields = [(COOKIE, value(header))];
            let request = stranger.request(Method::GET, "/me", &fields, Bytes::new());
            let answer = stranger.fetch(request).await;
            assert_eq!(answer.status, 200, "{}", &header[..40]);
            assert!(answer.set_cookies().is_empty());
        }
        let fields = [(COOKIE, value(&noise))];
        let request = stranger.request(Method::GET, "/me", &fields, Bytes::new());
        let answer = stranger.fetch(request).await;
        assert_eq!(answer.status, 401);
        assert!(answer.set_cookies().is_empty());
    }
}

/// F44 and row S01 of `tests/COVERAGE.md`, byte by byte on the wire.
pub async fn bytes_that_are_no_text_hide_no_good_cookie<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    for neighbour in [&b"latin=caf\xe9"[..], b"bad=\xff\xfe", b"\xc3\x28=x", b"q=\"\xf0\x9f"] {
        let head =
            format!("GET /me HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", fixture.address);
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(b"cookie: ");
        bytes.extend_from_slice(neighbour);
        bytes.extend_from_slice(format!("; {ACCESS_COOKIE}={token}\r\n\r\n").as_bytes());
        let mut stream = TcpStream::connect(fixture.address).await.expect("a connection");
        stream.write_all(&bytes).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    }
}

/// F16: the next request succeeds as if the disconnect had not happened.
pub async fn a_client_that_hangs_up_costs_nothing<A: Adapter>() {
    let mut fixture = Fixture::new::<A>().await;
    let token = fixture.sign_in("alice").await;
    fixture.expire().await;
    for path in ["/me", "/slow?ms=60000", "/stream"] {
        let mut stream = TcpStream::connect(fixture.address).await.expect("a connection");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: {ACCESS_COOKIE}={token}\r\n\r\n",
            fixture.address
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        drop(stream);
    }
    let answer = fixture.browser.get("/me").await;
    assert_eq!(answer.status, 200);
    assert!(token_of(&answer).is_some());
}
