//! The endpoints as seen by a browser, an attacker and another service.

mod dialects;
mod each_endpoint;
mod files;
mod misconfigured;
mod mounting;
mod refused;
mod speaking;

use http::StatusCode;
use serde_json::Value;

use crate::adapter::Reply;
use crate::testing::*;
use crate::{Key, Keys, Session};

/// Sends a request to the endpoint of this template, inside the layer.
async fn call(fixture: &Fixture, template: &str, request: http::Request<()>) -> Reply {
    call_with(fixture, template, request, b"").await
}

async fn call_with(
    fixture: &Fixture,
    template: &str,
    request: http::Request<()>,
    body: &[u8],
) -> Reply {
    let body: std::sync::Arc<[u8]> = body.into();
    let endpoints = fixture.auth.endpoints();
    let endpoint = endpoints.into_iter().find(|one| one.path() == template).unwrap();
    let endpoint = std::sync::Arc::new(endpoint);
    let response = fixture
        .send(request, move |session, request| {
            let (endpoint, body) = (endpoint.clone(), body.clone());
            async move {
                let call = endpoint.read(&request);
                let body = if call.wants_body() { &*body } else { b"" };
                let reply = endpoint.answer(call, Some(body), Ok(&session)).await;
                reply.map(|body| String::from_utf8(body).unwrap())
            }
        })
        .await;
    response.map(String::into_bytes)
}

fn at(method: &str, path: &str, headers: &[(&str, &str)]) -> http::Request<()> {
    let mut request = request(method, headers);
    *request.uri_mut() = path.parse().unwrap();
    request
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(reply.body()).unwrap()
}

async fn sid_of(fixture: &Fixture, pair: &Pair) -> String {
    let sid =
        |session: Session<User>, _| async move { http::Response::new(session.sid().unwrap()) };
    fixture.send(pair.request(), sid).await.into_body()
}

#[tokio::test]
async fn refresh_gives_new_tokens_the_way_the_old_came_and_none_in_the_body() {
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    fixture.pass(60);
    let cookies = pair.header();
    let request = at("POST", "/auth/refresh", &[("cookie", &cookies)]);
    let reply = call(&fixture, "/auth/refresh", request).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["cache-control"], "no-store");
    let new = pair.after(&reply);
    assert!(new.access != pair.access && new.refresh != pair.refresh);
    let told = body(&reply);
    assert_eq!(
        (&told["sub"], &told["sid"]),
        (&"alice".into(), &sid_of(&fixture, &new).await.into())
    );
    let (access, session) = (told["expires_in"].as_u64(), told["session_expires_in"].as_u64());
    assert!((800..=900).contains(&access.unwrap()), "{told}");
    assert_eq!(session, Some(30 * 86_400 - 60));
    let text = String::from_utf8_lossy(reply.body());
    assert!(!text.contains(&new.access) && !text.contains(&new.refresh));
}

#[tokio::test]
async fn a_stranger_gets_401_another_site_403_and_an_outage_503() {
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    let cookies = pair.header();
    for (method, template) in [
        ("POST", "/auth/refresh"),
        ("GET", "/auth/sessions"),
        ("DELETE", "/auth/sessions/{sid}"),
        ("POST", "/auth/logout-all"),
    ] {
        let stranger = call(&fixture, template, at(method, template, &[])).await;
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{template}");
        assert_eq!(stranger.headers()["www-authenticate"], "Bearer");
        let forged = [("cookie", &*cookies), ("sec-fetch-site", "cross-site")];
        if method != "GET" {
            let reply = call(&fixture, template, at(method, template, &forged)).await;
            assert_eq!(reply.status(), StatusCode::FORBIDDEN, "{template}");
            assert!(set_cookies(&reply).is_empty());
        }
    }
    assert_eq!(fixture.me(pair.request()).await.body(), "alice", "nothing was done");
    let fixture = Fixture::with(|b| {
        b.revalidate_with(|_| async { Err::<crate::Revalidated<User>, _>("down") })
    });
    let token = fixture.sign_in("alice").await;
    let bearer = format!("{COOKIE_NAME}={token}");
    let request = at("POST", "/auth/refresh", &[("cookie", &bearer)]);
    let reply = call(&fixture, "/auth/refresh", request).await;
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["retry-after"], "1");
}

// Rows: L14.
#[tokio::test]
async fn the_list_of_sessions_shows_what_the_app_made_public() {
    for (public, expected) in [
        (None, &["device", "user_agent"][..]),
        (Some(vec!["device", "risk"]), &["device"][..]),
        (Some(vec![]), &[][..]),
    ] {
        let (fixture, _) = Fixture::rotating_with(|builder| match public {
            Some(names) => builder.public_attributes(names),
            None => builder,
        });
        let signed_in = fixture.send(get(&[]), |session, _| async move {
            let sign_in = crate::SignIn::new("alice", user("alice"))
                .attribute("client_id", "ios")
                .attribute("scope", "read write")
                .attribute("device", "phone")
                .attribute("user_agent", "curl");
            session.sign_in_with(sign_in).await.unwrap();
            let noted = &session.sessions().await.unwrap()[0].attributes;
            http::Response::new(noted.len().to_string())
        });
        let signed_in = signed_in.await;
        assert_eq!(signed_in.body(), "4", "the app has them all");
        let cookies = Pair::default().after(&signed_in).header();
        let request = at("GET", "/auth/sessions", &[("cookie", &cookies)]);
        let list = body(&call(&fixture, "/auth/sessions", request).await);
        let shown = list["sessions"][0]["attributes"].as_object().unwrap();
        assert_eq!(shown.keys().collect::<Vec<_>>(), expected);
    }
}

// Rows: L14.
#[tokio::test]
async fn other_sessions_are_ended_by_a_recent_sign_in_where_the_app_wants_one() {
    let minutes = |n: u64| std::time::Duration::from_secs(60 * n);
    let (fixture, _) = Fixture::rotating_with(|builder| builder.recent_sign_in(minutes(5)));
    let mut old = fixture.sign_in_pair("alice").await;
    fixture.pass(301);
    let new = fixture.sign_in_pair("alice").await;
    let sid = sid_of(&fixture, &new).await;
    let other = format!("/auth/sessions/{sid}");
    let cookies = old.header();
    for (method, template, path) in [
        ("POST", "/auth/logout-all", "/auth/logout-all"),
        ("DELETE", "/auth/sessions/{sid}", &*other),
    ] {
        let reply = call(&fixture, template, at(method, path, &[("cookie", &cookies)])).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{path}");
        let challenge = reply.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
        assert!(set_cookies(&reply).is_empty());
    }
    assert_eq!(fixture.me(new.request()).await.body(), "alice", "nothing ended");
    let refreshed =
        call(&fixture, "/auth/refresh", at("POST", "/auth/refresh", &[("cookie", &cookies)]));
    old.keep(&refreshed.await);
    let answers = fixture.send(old.request(), move |session, _| async move {
        let kinds = [300, 302].map(|secs| {
            let asked = session.require_recent(std::time::Duration::from_secs(secs));
            asked.map_err(|rejection| rejection.kind())
        });
        http::Response::new(format!("{kinds:?}"))
    });
    assert_eq!(answers.await.body(), "[Err(NotRecent), Ok(())]", "a refresh is no sign-in");
    // A client may always end its own session. After a recent sign-in it may end any of the user's.
    let own = format!("/auth/sessions/{}", sid_of(&fixture, &old).await);
    let cookies = old.header();
    let reply = call(&fixture, "/auth/sessions/{sid}", at("DELETE", &own, &[("cookie", &cookies)]));
    assert_eq!(reply.await.status(), StatusCode::NO_CONTENT);
    let cookies = new.header();
    let request = at("POST", "/auth/logout-all", &[("cookie", &cookies)]);
    assert_eq!(call(&fixture, "/auth/logout-all", request).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let (fixture, _) = Fixture::rotating();
    let here = fixture.sign_in_pair("alice").await;
    fixture.pass(10);
    let there = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    let cookies = here.header();
    let list = async || {
        let request = at("GET", "/auth/sessions", &[("cookie", &cookies)]);
        body(&call(&fixture, "/auth/sessions", request).await)["sessions"].clone()
    };
    let sessions = list().await;
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
    assert_eq!((&sessions[0]["current"], &sessions[1]["current"]), (&false.into(), &true.into()));
    assert_eq!(sessions[1]["signed_in_at"], START.as_secs());
    assert_eq!(sessions[0]["signed_in_at"], START.as_secs() + 10);
    let end = async |sid: &str| {
        let path = format!("/auth/sessions/{sid}");
        let request = at("DELETE", &path, &[("cookie", &cookies)]);
        call(&fixture, "/auth/sessions/{sid}", request).await
    };
    for not_ours in [sid_of(&fixture, &bob).await.as_str(), "x", "%00", "AAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(end(not_ours).await.status(), StatusCode::NOT_FOUND, "{not_ours}");
    }
    assert_eq!(fixture.me(bob.request()).await.body(), "bob");
    let other = sid_of(&fixture, &there).await;
    assert_eq!(end(&other).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(end(&other).await.status(), StatusCode::NOT_FOUND, "once");
    assert_eq!(fixture.me(there.request()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(list().await.as_array().unwrap().len(), 1);
    let own = end(&sid_of(&fixture, &here).await).await;
    assert_eq!(own.status(), StatusCode::NO_CONTENT);
    assert_eq!(here.after(&own), Pair::default(), "its cookies go with it");
    assert_eq!(fixture.me(here.request()).await.status(), StatusCode::UNAUTHORIZED);
}

// Rows: N3.
#[tokio::test]
async fn logout_all_ends_every_session_of_the_user_and_reports_each_once() {
    let (fixture, store) = Fixture::rotating();
    let here = fixture.sign_in_pair("alice").await;
    let there = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    let cookies = here.header();
    let request = at("POST", "/auth/logout-all", &[("cookie", &cookies)]);
    let _ = fixture.events();
    let reply = call(&fixture, "/auth/logout-all", request).await;
    assert_eq!(reply.status(), StatusCode::NO_CONTENT);
    assert_eq!(here.after(&reply), Pair::default());
    let ended = fixture.events().iter().filter(|event| event.starts_with("SignedOut")).count();
    assert_eq!(ended, 2, "one event for each");
    for pair in [&here, &there] {
        assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(fixture.me(bob.request()).await.body(), "bob");
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn without_stored_sessions_there_is_no_list() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    let cookies = format!("{COOKIE_NAME}={token}");
    for (method, template) in [("GET", "/auth/sessions"), ("POST", "/auth/logout-all")] {
        let reply = call(&fixture, template, at(method, template, &[("cookie", &cookies)])).await;
        assert_eq!(reply.status(), StatusCode::NOT_FOUND);
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
    }
    let request = at("POST", "/auth/refresh", &[("cookie", &cookies)]);
    assert!(token_of(&call(&fixture, "/auth/refresh", request).await).is_some(), "this there is");
}

#[test]
fn a_path_is_at_one_endpoint_or_none() {
    let endpoints = Fixture::new().auth.endpoints();
    let at = |path: &str| {
        let found: Vec<_> =
            endpoints.iter().filter(|one| one.is_at(path)).map(|one| one.path()).collect();
        assert!(found.len() < 2, "{found:?}");
        found.first().copied()
    };
    for path in ["/auth/refresh", "/auth/sessions", "/auth/logout-all", "/.well-known/jwks.json"] {
        assert_eq!(at(path), Some(path));
    }
    assert_eq!(at("/auth/sessions/abc"), Some("/auth/sessions/{sid}"));
    for path in ["/", "", "/auth", "/auth/sessions/", "/auth/sessions/a/b", "//auth/refresh"] {
        assert_eq!(at(path), None, "{path}");
    }
}

#[tokio::test]
async fn another_method_gets_405_with_the_allowed_one() {
    let fixture = Fixture::new();
    for endpoint in fixture.auth.endpoints() {
        let template = endpoint.path();
        let reply = call(&fixture, template, at("PATCH", template, &[])).await;
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
        let allowed = reply.headers()["allow"].to_str().unwrap().to_owned();
        for method in allowed.split(", ") {
            let reply = call(&fixture, template, at(method, template, &[])).await;
            assert_ne!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {template}");
        }
    }
}

#[cfg(feature = "aws-lc")]
#[tokio::test]
async fn public_keys_are_published_and_secrets_are_not() {
    let jwks = async |fixture: &Fixture| {
        let template = "/.well-known/jwks.json";
        call(fixture, template, at("GET", template, &[])).await
    };
    let reply = jwks(&Fixture::new()).await;
    assert_eq!(body(&reply), serde_json::json!({"keys": []}));
    let der =
        aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
    let key = Key::from_der(crate::Algorithm::EdDSA, der.unwrap().as_ref()).unwrap();
    let keys = Keys::new(key.with_kid("now").unwrap()).unwrap();
    let auth = crate::Engine::<User>::builder(keys)
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(crate::Reissue::new())
        .build()
        .unwrap();
    let mut fixture = Fixture::new();
    fixture.auth = auth;
    let reply = jwks(&fixture).await;
    assert_eq!(reply.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(reply.headers()["cache-control"], "public, max-age=300");
    let set = std::str::from_utf8(reply.body()).unwrap();
    let others = Keys::from_jwk_set(set).unwrap();
    let issued = crate::Engine::<User>::builder(others)
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(crate::Reissue::new())
        .build();
    assert!(issued.is_err(), "they verify and can't sign");
    assert_eq!(body(&reply)["keys"][0]["kid"], "now");
    // Other services read them without a session, so the layer is not needed.
    let endpoint = fixture.auth.endpoints().pop().unwrap();
    let call = endpoint.read(&at("GET", "/.well-known/jwks.json", &[]));
    assert_eq!(
        endpoint.answer(call, Some(b""), Err(crate::Rejection::missing_layer())).await.status(),
        StatusCode::OK
    );
}
