//! The tokens that a request may present, in one or several places, and which of them counts.

use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};

use crate::testing::*;
use crate::{CookieSpec, Location, SessionErrorKind, SignIn, Transport};

// Rows: S05.
#[tokio::test]
async fn several_credentials_in_one_place_are_a_bad_request() {
    let fixture = Fixture::with(|b| b.transports([Transport::cookies(), Transport::headers()]));
    let token = fixture.sign_in("alice").await;
    let value = format!("Bearer {token}");
    let twice = get(&[("authorization", &value), ("authorization", &value)]);
    let response = fixture.me(twice).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer error=\"invalid_request\"");
    let pair = format!("{COOKIE_NAME}={token}");
    let beside = get(&[("authorization", &value), ("authorization", "x"), ("cookie", &pair)]);
    assert_eq!(fixture.me(beside).await.body(), "alice", "a good cookie next to it counts");
}

// Rows: S06.
#[tokio::test]
async fn a_token_in_the_query_is_no_token() {
    let fixture = Fixture::with(|b| b.transports([Transport::cookies(), Transport::headers()]));
    let token = fixture.sign_in("alice").await;
    let mut request = get(&[]);
    *request.uri_mut() = format!("/?access_token={token}").parse().unwrap();
    assert_eq!(fixture.me(request).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_bad_token_in_one_place_never_hides_a_good_one_in_another() {
    for transports in
        [[Transport::cookies(), Transport::headers()], [Transport::headers(), Transport::cookies()]]
    {
        let fixture = Fixture::with(|b| b.transports(transports));
        let cookies = SignIn::new("alice", user("alice")).via(Transport::cookies());
        let response = fixture
            .send(get(&[]), move |session, _| {
                let cookies = cookies.clone();
                async move {
                    session.sign_in_with(cookies).await.unwrap();
                    Response::new(String::new())
                }
            })
            .await;
        let token = token_of(&response).unwrap();
        let (pair, value) = (format!("{COOKIE_NAME}={token}"), format!("Bearer {token}"));
        for bad in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.x"] {
            let bad_value = format!("Bearer {bad}");
            let request = get(&[("cookie", &pair), ("authorization", &bad_value)]);
            assert_eq!(fixture.me(request).await.body(), "alice");
            let bad_pair = format!("{COOKIE_NAME}={bad}");
            let request = get(&[("cookie", &bad_pair), ("authorization", &value)]);
            assert_eq!(fixture.me(request).await.body(), "alice");
        }
        // With an expired token in the cookie and a fresh one in the header, the fresh one counts.
        fixture.pass(900);
        let fresh = token_of(&fixture.me(cookie(&token)).await).unwrap();
        let value = format!("Bearer {fresh}");
        let response = fixture.me(get(&[("cookie", &pair), ("authorization", &value)])).await;
        assert_eq!(response.body(), "alice");
        assert!(response.headers().is_empty(), "nothing to refresh");
    }
}

// Rows: S03, F44.
#[tokio::test]
async fn shadow_cookies_never_depend_on_order() {
    let fixture = Fixture::new();
    let alice = fixture.sign_in("alice").await;
    let mallory = fixture.sign_in("mallory").await;
    let two = |one: &str, other: &str| {
        get(&[("cookie", &format!("{COOKIE_NAME}={one}; {COOKIE_NAME}={other}"))])
    };
    let crumbs = |one: &str, other: &str| {
        let (one, other) = (format!("{COOKIE_NAME}={one}"), format!("{COOKIE_NAME}={other}"));
        get(&[("cookie", &one), ("cookie", &other)])
    };
    for (one, other) in [(&alice, &mallory), (&mallory, &alice)] {
        for request in [two(one, other), crumbs(one, other)] {
            let response = fixture.me(request).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "two people: neither counts");
            assert!(set_cookies(&response).is_empty());
        }
    }
    let conflict = "TokenRefused { reason: Conflict }".to_owned();
    assert!(fixture.events().contains(&conflict));

    fixture.pass(900);
    let newer = token_of(&fixture.me(cookie(&alice)).await).unwrap();
    for (one, other) in [(&alice, &newer), (&newer, &alice)] {
        let response = fixture.me(two(one, other)).await;
        assert_eq!(response.body(), "alice");
        assert!(response.headers().is_empty(), "the newer one counts, and it is fresh");
    }
    for junk in ["x", "a.b.c", "\"a.b.c\""] {
        assert_eq!(fixture.me(two(junk, &newer)).await.body(), "alice");
        assert_eq!(fixture.me(two(&newer, junk)).await.body(), "alice");
    }
}

// Rows: F115, S81, S82.
#[tokio::test]
async fn a_cross_site_post_neither_counts_nor_refreshes() {
    let fixture = Fixture::with(|b| b.transports([Transport::cookies(), Transport::headers()]));
    let token = fixture.sign_in("alice").await;
    let pair = format!("{COOKIE_NAME}={token}");
    let value = format!("Bearer {token}");
    for expired in [false, true] {
        fixture.pass(if expired { 900 } else { 0 });
        let cross = [("cookie", &*pair), ("sec-fetch-site", "cross-site")];
        let response = fixture.me(request("POST", &cross)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(set_cookies(&response).is_empty());
        let by_header = [("authorization", &*value), ("sec-fetch-site", "cross-site")];
        let response = fixture.me(request("POST", &by_header)).await;
        assert_eq!(response.body(), "alice", "a header is not sent by itself");
        assert_eq!(fixture.me(request("GET", &cross)).await.body(), "alice", "a link");
    }
    let nothing = request("POST", &[("sec-fetch-site", "cross-site"), ("cookie", "a=1")]);
    assert_eq!(fixture.me(nothing).await.status(), StatusCode::UNAUTHORIZED);

    let open = Fixture::with(|b| b.csrf_handled_elsewhere());
    let pair = format!("{COOKIE_NAME}={}", open.sign_in("alice").await);
    let cross = request("POST", &[("cookie", &pair), ("sec-fetch-site", "cross-site")]);
    assert_eq!(open.me(cross).await.body(), "alice");
}

#[tokio::test]
async fn tokens_go_back_the_way_they_came() {
    let own = Transport::new(
        Location::Header("x-at".parse().unwrap()),
        Location::Header("x-rt".parse().unwrap()),
    );
    let list = [Transport::cookies(), Transport::headers(), own];
    let fixture = Fixture::with(|b| b.transports(list));
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let names = |response: &Response<String>| {
        let mut names: Vec<_> = response.headers().keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&fixture.me(cookie(&token)).await), ["cache-control", "set-cookie", "vary"]);
    let by_bearer = fixture.me(bearer(&token)).await;
    assert_eq!(names(&by_bearer), ["authorization", "cache-control", "vary"]);
    assert!(by_bearer.headers()["authorization"].to_str().unwrap().starts_with("Bearer ey"));
    assert_eq!(by_bearer.headers()["vary"], "authorization");
    let by_header = fixture.me(get(&[("x-at", &token)])).await;
    assert_eq!(names(&by_header), ["cache-control", "vary", "x-at"]);
    assert!(by_header.headers()["x-at"].is_sensitive());
}

#[tokio::test]
async fn an_unknown_transport_is_an_error() {
    let fixture = Fixture::new();
    let other = Transport::new(
        Location::Cookie(CookieSpec::new("a")),
        Location::Cookie(CookieSpec::new("b")),
    );
    fixture
        .send(get(&[]), move |session, _| {
            let sign_in = SignIn::new("alice", user("alice")).via(other.clone());
            async move {
                let problem = session.sign_in_with(sign_in).await.unwrap_err();
                assert_eq!(problem.kind(), SessionErrorKind::UnknownTransport);
                Response::new(String::new())
            }
        })
        .await;
}

#[tokio::test]
async fn hostile_requests_cost_no_refresh_and_hide_no_good_cookie() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let ours = format!("{COOKIE_NAME}={token}");
    let _ = fixture.events();
    let noise = [
        format!("{COOKIE_NAME}={}", "x".repeat(8 * 1024 + 1)),
        format!("{COOKIE_NAME}={}", "x".repeat(64 * 1024)),
        (0..10_000).map(|n| format!("c{n}=v; ")).collect::<String>(),
        format!("__%48ost-access_token={token}"),
        format!("{COOKIE_NAME}=; {COOKIE_NAME}=\"\""),
    ];
    for noise in noise {
        for header in [format!("{noise}; {ours}"), format!("{ours}; {noise}")] {
            let response = fixture.me(get(&[("cookie", &header)])).await;
            assert_eq!(response.body(), "alice");
            assert!(response.headers().is_empty());
        }
        let alone = fixture.me(get(&[("cookie", &noise)])).await;
        assert_eq!(alone.status(), StatusCode::UNAUTHORIZED);
    }
    assert!(fixture.events().iter().all(|event| event.starts_with("TokenRefused")));
}

#[tokio::test]
async fn an_expired_session_in_the_same_place_is_a_conflict_while_it_can_be_refreshed() {
    let fixture = Fixture::new();
    let old = fixture.sign_in("alice").await;
    fixture.pass(1800);
    let new = fixture.sign_in("mallory").await;
    for (one, other) in [(&old, &new), (&new, &old)] {
        let header = format!("{COOKIE_NAME}={one}; {COOKIE_NAME}={other}");
        let response = fixture.me(get(&[("cookie", &header)])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn of_two_expired_tokens_the_first_transports_counts() {
    let fixture = Fixture::with(|b| b.transports([Transport::headers(), Transport::cookies()]));
    let sign_in = async |name: &'static str, via: Transport| {
        let response = fixture
            .send(get(&[]), move |session, _| {
                let sign_in = SignIn::new(name, user(name)).via(via.clone());
                async move {
                    session.sign_in_with(sign_in).await.unwrap();
                    Response::new(session.access_token().unwrap().expose().to_owned())
                }
            })
            .await;
        response.into_body()
    };
    let alice = sign_in("alice", Transport::headers()).await;
    let bob = sign_in("bob", Transport::cookies()).await;
    fixture.pass(900);
    let (alice, bob) = (format!("Bearer {alice}"), format!("{COOKIE_NAME}={bob}"));
    let both = get(&[("authorization", &alice), ("cookie", &bob)]);
    assert_eq!(fixture.me(both).await.body(), "alice");
}
