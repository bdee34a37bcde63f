//! Rows S71, S73 and S74 of `tests/COVERAGE.md`, F21, F50, F55: the fields of a response.

use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::CachePolicy;
use crate::testing::*;
use crate::{Engine, EngineBuilder, Session, Transport};

/// The response to an expired token, from a handler that set these fields.
async fn respond(fixture: &Fixture, fields: &[(&'static str, &'static str)]) -> Response<String> {
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let fields: Vec<_> = fields.to_vec();
    fixture
        .send(cookie(&token), move |_, _| {
            let fields = fields.clone();
            async move {
                let mut response = Response::new("page".to_owned());
                for (name, value) in fields {
                    response.headers_mut().append(name, HeaderValue::from_static(value));
                }
                response
            }
        })
        .await
}

fn all<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

// Rows: S71.
#[tokio::test]
async fn the_handlers_own_cookies_survive_in_order() {
    let own = [("set-cookie", "theme=dark; Path=/"), ("set-cookie", "lang=de")];
    let response = respond(&Fixture::new(), &own).await;
    let cookies = set_cookies(&response);
    assert_eq!(cookies[..2], ["theme=dark; Path=/", "lang=de"]);
    assert_eq!(cookies.len(), 3, "appended, never inserted, never folded");
    assert!(token_of(&response).is_some());
}

// Rows: S71.
#[tokio::test]
async fn a_handlers_cookies_under_our_names_win() {
    for own in [
        "__Host-access_token=; Max-Age=0; Path=/; Secure",
        "__Host-access_token=theirs; Path=/; Secure",
        " __Host-access_token =theirs",
        "__Host-refresh_token=; Max-Age=0; Path=/; Secure",
    ] {
        let response = respond(&Fixture::new(), &[("set-cookie", own)]).await;
        assert_eq!(set_cookies(&response), [own], "the pair as a whole is the handler's");
    }
    for other in ["__host-access_token=x", "access_token=x", "x__Host-access_token=x"] {
        let response = respond(&Fixture::new(), &[("set-cookie", other)]).await;
        assert_eq!(set_cookies(&response).len(), 2, "another name: {other}");
    }
}

// Rows: F50, S71.
#[tokio::test]
async fn a_handler_that_clears_by_hand_and_signs_out_gets_one_deletion_of_a_name() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let response = fixture
        .send(cookie(&token), |session: Session<User>, _| async move {
            session.sign_out().await.unwrap();
            let mut response = Response::new(String::new());
            let own = HeaderValue::from_static("__Host-access_token=; Max-Age=0; Path=/; Secure");
            response.headers_mut().append("set-cookie", own);
            response
        })
        .await;
    let cookies = set_cookies(&response);
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies[1].starts_with("__Host-refresh_token=;"));
}

// Rows: S73, F55.
#[tokio::test]
async fn a_response_with_our_tokens_is_for_no_shared_cache() {
    for (own, expected) in [
        (vec![], "no-store"),
        (vec![("cache-control", "public, max-age=3600")], "no-store"),
        (vec![("cache-control", "s-maxage=31536000"), ("cache-control", "public")], "no-store"),
        (vec![("cache-control", "must-understand, no-store, max-age=9")], "no-store"),
        (vec![("cache-control", "No-Transform, immutable")], "no-store, no-transform"),
        (
            vec![
                ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
                ("surrogate-control", "max-age=9"),
                ("cdn-cache-control", "max-age=9"),
                ("cloudflare-cdn-cache-control", "max-age=9"),
                ("vercel-cdn-cache-control", "max-age=9"),
            ],
            "no-store",
        ),
    ] {
        let response = respond(&Fixture::new(), &own).await;
        assert_eq!(all(response.headers(), "cache-control"), [expected], "{own:?}");
        let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "set-cookie", "vary"], "{own:?}");
        assert!(token_of(&response).is_some());
    }
}

// Rows: S73.
#[tokio::test]
async fn by_policy_tokens_are_withheld_or_the_route_is_reported() {
    let with = |policy| Fixture::with(move |b: EngineBuilder<User>| b.cache_policy(policy));
    let public = [("cache-control", "public, max-age=60"), ("vary", "accept")];

    let skip = respond(&with(CachePolicy::SkipTokens), &public).await;
    assert!(set_cookies(&skip).is_empty());
    assert_eq!(all(skip.headers(), "cache-control"), ["public, max-age=60"]);
    assert_eq!(all(skip.headers(), "vary"), ["accept"], "the response is as the handler made it");

    let fixture = with(CachePolicy::Fail);
    let fail = respond(&fixture, &public).await;
    assert_eq!(fail.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(set_cookies(&fail).is_empty());
    assert_eq!(all(fail.headers(), "cache-control"), ["no-store"]);
    assert!(fixture.events().contains(&"TokensWithheld".to_owned()));

    for policy in [CachePolicy::SkipTokens, CachePolicy::Fail] {
        for private in ["private, max-age=60", "no-cache", "max-age=60", "publicity=1"] {
            let response = respond(&with(policy), &[("cache-control", private)]).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert!(token_of(&response).is_some(), "{policy:?} {private}");
        }
    }
}

// Rows: S74.
#[tokio::test]
async fn vary_is_appended_and_not_repeated() {
    for (own, expected) in [
        (vec![], vec!["cookie"]),
        (vec![("vary", "accept, origin")], vec!["accept, origin", "cookie"]),
        (vec![("vary", "accept, Cookie")], vec!["accept, Cookie"]),
        (vec![("vary", "accept"), ("vary", "cookie")], vec!["accept", "cookie"]),
        (vec![("vary", "*")], vec!["*"]),
        (vec![("vary", "x-cookie")], vec!["x-cookie", "cookie"]),
    ] {
        let response = respond(&Fixture::new(), &own).await;
        assert_eq!(all(response.headers(), "vary"), expected);
    }
}

// Rows: S79.
#[tokio::test]
async fn tokens_return_in_headers_only_to_clients_that_sent_them_there() {
    let fixture = Fixture::with(|b| b.transports([Transport::cookies(), Transport::headers()]));
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let by_cookie = fixture.me(cookie(&token)).await;
    assert!(!by_cookie.headers().contains_key("authorization"));
    let by_header = fixture.me(bearer(&token)).await;
    assert!(set_cookies(&by_header).is_empty());

    let own = fixture
        .send(bearer(&token), |_, _| async {
            let mut response = Response::new(String::new());
            response.headers_mut().insert("authorization", HeaderValue::from_static("Own x"));
            response
        })
        .await;
    assert_eq!(all(own.headers(), "authorization"), ["Own x"], "the handler's wins");
}

// Rows: S79.
#[tokio::test]
async fn tokens_leave_as_sensitive_values() {
    let response = respond(&Fixture::new(), &[]).await;
    assert!(response.headers()["set-cookie"].is_sensitive());
}

// Rows: F52, S78.
#[tokio::test]
async fn the_cookie_lives_as_long_as_the_session_and_not_as_the_token() {
    let response = respond(&Fixture::new(), &[]).await;
    let left = 30 * 24 * 3600 - 900;
    assert!(set_cookies(&response)[0].ends_with(&format!("Max-Age={left}")), "F52");
}

#[test]
fn the_engine_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Engine<User>>();
    shared::<Session<User>>();
}

/// The `debug_headers` field of a response.
fn debug<B>(response: &Response<B>) -> String {
    let told = all(response.headers(), "everfresh-debug");
    assert_eq!(told.len(), 1, "{told:?}");
    told[0].to_owned()
}

#[tokio::test]
async fn debug_headers_are_off_unless_they_are_switched_on() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    for request in [get(&[]), cookie(&token), cookie("a.b.c")] {
        assert!(!fixture.me(request).await.headers().contains_key("everfresh-debug"));
    }
}

#[tokio::test]
async fn debug_headers_show_the_outcome_of_a_request() {
    let (fixture, _) = Fixture::rotating_with(|b| b.debug_headers(true));
    let at = "transport=0;by=cookie";
    assert_eq!(
        debug(&fixture.me(get(&[])).await),
        format!("{at}, verdict=absent, decision=pass, status=absent, sends=nothing")
    );
    let signing_in = fixture
        .send(get(&[]), |session, _| async move {
            session.sign_in("alice", user("alice")).await.unwrap();
            Response::new(String::new())
        })
        .await;
    assert_eq!(
        debug(&signing_in),
        format!("{at}, verdict=absent, decision=pass, status=present, generation=0, sends=tokens")
    );
    let mut pair = Pair::default();
    pair.keep(&signing_in);
    assert_eq!(
        debug(&fixture.me(pair.request()).await),
        format!("{at}, verdict=fresh, decision=pass, status=present, generation=0, sends=nothing")
    );
    fixture.pass_until_left(&pair.access, 0);
    let refreshed = fixture.me(pair.request()).await;
    assert_eq!(
        debug(&refreshed),
        format!(
            "{at}, verdict=expired, decision=wait, flight=started, outcome=refreshed, \
             status=present, generation=1, sends=tokens"
        )
    );
    pair.keep(&refreshed);
    let (signed, signature) = pair.access.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    assert_eq!(
        debug(&fixture.me(cookie(&forged)).await),
        format!(
            "{at}, verdict=invalid, decision=pass, status=rejected, reason=signature, sends=nothing"
        )
    );
    let by_header = debug(
        &fixture
            .me(request("POST", &[("sec-fetch-site", "cross-site"), ("cookie", &pair.header())]))
            .await,
    );
    assert!(by_header.ends_with("status=cross_site, sends=nothing"), "{by_header}");
    let out = fixture
        .send(pair.request(), |session, _| async move {
            session.sign_out().await.unwrap();
            Response::new(String::new())
        })
        .await;
    assert!(debug(&out).ends_with("status=absent, sends=cleared"), "{}", debug(&out));
}

#[tokio::test]
async fn debug_headers_show_withheld_tokens_and_background_refreshes() {
    let fixture = Fixture::with(|b| b.debug_headers(true).cache_policy(CachePolicy::SkipTokens));
    let told = debug(&respond(&fixture, &[("cache-control", "public, max-age=60")]).await);
    assert!(told.ends_with("outcome=refreshed, status=present, sends=withheld"), "{told}");

    let fixture = Fixture::with(|b| {
        b.debug_headers(true)
            .transports([Transport::cookies(), Transport::headers()])
            .revalidate_with(|_| std::future::pending::<Result<crate::Revalidated<_>, &str>>())
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    let told = debug(&fixture.me(bearer(&token)).await);
    let expected = "transport=1;by=authorization, verdict=expiring, decision=advise, flight=started, \
                    outcome=running, status=present, sends=nothing";
    assert_eq!(told, expected);
    let told = debug(&fixture.me(bearer(&token)).await);
    assert!(told.contains("flight=joined, outcome=running"), "{told}");
}

#[tokio::test]
async fn debug_headers_hold_nothing_that_a_request_brought() {
    let (fixture, _) = Fixture::rotating_with(|b| b.debug_headers(true));
    let pair = fixture.sign_in_pair("alice").await;
    fixture.pass_until_left(&pair.access, 0);
    let response = fixture
        .send(pair.request(), |session, _| async move { Response::new(session.sid().unwrap()) })
        .await;
    let told = debug(&response);
    let after = pair.after(&response);
    for secret in [&pair.access, &pair.refresh, &after.access, &after.refresh] {
        for piece in secret.as_bytes().windows(9) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!told.contains(piece), "{told} holds {piece}");
        }
    }
    assert!(!told.contains(response.body()) && !told.contains("alice"), "{told}");
}
