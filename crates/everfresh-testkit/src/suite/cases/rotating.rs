//! The cases of a server that stores and rotates sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::value;
use crate::contract::Me;
use crate::suite::{ACCESS_COOKIE, Adapter, Fixture, REFRESH_COOKIE};

fn refresh_token(fixture: &Fixture) -> String {
    fixture.browser.jar.get(REFRESH_COOKIE).expect("signed in").to_owned()
}

fn both(access: &str, refresh: &str) -> (HeaderName, HeaderValue) {
    (COOKIE, value(&format!("{ACCESS_COOKIE}={access}; {REFRESH_COOKIE}={refresh}")))
}

/// One generation per expiry, and no cookie set in between.
pub async fn a_rotating_session_sets_two_cookies_and_moves_on<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    fixture.sign_in("alice").await;
    for expected in 0..5 {
        let me: Me = fixture.browser.get("/me").await.json();
        assert_eq!((&*me.sub, me.r#gen), ("alice", Some(expected)));
        assert!(fixture.browser.get("/me").await.set_cookies().is_empty());
        let before = refresh_token(&fixture);
        fixture.expire().await;
        assert_eq!(fixture.browser.get("/me").await.set_cookies().len(), 2);
        assert_ne!(refresh_token(&fixture), before);
    }
}

/// Both tokens are returned in the transport of the request.
pub async fn a_rotating_session_in_headers_moves_on<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    let answer = fixture.browser.post_json("/login?deliver=header", &json!({"user": "bob"})).await;
    assert!(answer.set_cookies().is_empty());
    let x_refresh_token = HeaderName::from_static("x-refresh-token");
    let mut tokens = [
        (AUTHORIZATION, value(answer.field("authorization").expect("an access token"))),
        (x_refresh_token.clone(), value(answer.field("x-refresh-token").expect("and another"))),
    ];
    for _ in 0..3 {
        fixture.clock.advance(Duration::from_secs(900));
        let request = fixture.browser.request(Method::GET, "/me", &tokens, Bytes::new());
        let answer = fixture.browser.fetch(request).await;
        assert_eq!(answer.json::<Me>().sub, "bob");
        assert!(answer.set_cookies().is_empty());
        for (name, token) in &mut tokens {
            let new = value(answer.field(name.as_str()).expect("a new one"));
            assert_ne!(*token, new);
            *token = new;
        }
    }
}

/// F01, F07, F09: no request is refused, and the jar holds the same tokens for any order of the
/// responses.
// Rows: F12.
pub async fn two_hundred_racers_get_one_refresh_token<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    fixture.sign_in("alice").await;
    fixture.expire().await;
    let racers: Vec<_> = (0..200)
        .map(|_| {
            let mut browser = fixture.browser.clone();
            tokio::spawn(async move {
                assert_eq!(browser.get("/me").await.status, 200);
                browser.jar.get(REFRESH_COOKIE).expect("signed in").to_owned()
            })
        })
        .collect();
    let mut successors = BTreeSet::new();
    for racer in racers {
        successors.insert(racer.await.expect("served"));
    }
    assert_eq!(successors.len(), 1);
    assert!(!successors.contains(&refresh_token(&fixture)));
}

/// F31, F35: the second client to present a used refresh token ends the session for both.
pub async fn a_stolen_refresh_token_ends_the_session<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    let access = fixture.sign_in("alice").await;
    let stolen = both(&access, &refresh_token(&fixture));
    for _ in 0..2 {
        fixture.expire().await;
        assert_eq!(fixture.browser.get("/me").await.status, 200);
    }
    fixture.clock.advance(Duration::from_secs(31));
    let thief = fixture.browser.stranger();
    let request = thief.request(Method::GET, "/me", &[stolen], Bytes::new());
    assert_eq!(thief.fetch(request).await.status, 401);
    assert_eq!(fixture.browser.get("/me").await.status, 401, "the victim notices");
}

/// F33, F80.
pub async fn a_signed_out_session_is_over_for_every_token<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    let access = fixture.sign_in("alice").await;
    let tokens = both(&access, &refresh_token(&fixture));
    assert_eq!(fixture.browser.post_json("/logout", &Value::Null).await.status, 204);
    let stranger = fixture.browser.stranger();
    let request = stranger.request(Method::GET, "/me", &[tokens], Bytes::new());
    let answer = stranger.fetch(request).await;
    assert_eq!(answer.status, 401, "the access token too, at once");
    assert!(answer.set_cookies().is_empty());
}

/// F46: `/cookies` returns the cookies that the handler sees.
pub async fn a_refresh_token_never_reaches_the_handler<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    fixture.sign_in("alice").await;
    let answer = fixture.browser.get("/cookies").await;
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(seen.contains(ACCESS_COOKIE), "{seen}");
    assert!(!seen.contains(REFRESH_COOKIE), "{seen}");
}

/// everfresh's own endpoints, as a page of the app uses them.
pub async fn a_user_lists_and_ends_sessions_by_the_endpoints<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    fixture.sign_in("alice").await;
    let mut other = fixture.browser.stranger();
    assert_eq!(other.post_json("/login", &json!({"user": "alice"})).await.status, 204);
    let listed: Value = fixture.browser.get("/auth/sessions").await.json();
    let sessions = listed["sessions"].as_array().expect("a list").clone();
    assert_eq!(sessions.len(), 2, "{listed}");
    let theirs = sessions.iter().find(|one| one["current"] == false).expect("the other one");
    let path = format!("/auth/sessions/{}", theirs["sid"].as_str().expect("its id"));
    let request = fixture.browser.request(Method::DELETE, &path, &[], Bytes::new());
    assert_eq!(fixture.browser.fetch(request).await.status, 204);
    assert_eq!(other.get("/me").await.status, 401);
    let request = fixture.browser.request(Method::DELETE, &path, &[], Bytes::new());
    let answer = fixture.browser.fetch(request).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));

    let before = refresh_token(&fixture);
    fixture.clock.advance(Duration::from_secs(60));
    let answer = fixture.browser.post_json("/auth/refresh", &Value::Null).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.set_cookies().len(), 2);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert!(answer.json::<Value>()["expires_in"].as_u64().expect("seconds") > 800);
    assert_ne!(refresh_token(&fixture), before);

    let answer = fixture.browser.get("/auth/refresh").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.field("allow"), Some("POST"));
    assert_eq!(fixture.browser.post_json("/auth/logout-all", &Value::Null).await.status, 204);
    assert_eq!(fixture.browser.jar.get(REFRESH_COOKIE), None);
    assert_eq!(fixture.browser.get("/auth/sessions").await.status, 401);
}

/// No authentication is required.
pub async fn public_keys_are_served<A: Adapter>() {
    let fixture = Fixture::rotating::<A>().await;
    let mut stranger = fixture.browser.stranger();
    let answer = stranger.get("/.well-known/jwks.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.json::<Value>(), json!({"keys": []}), "of a shared secret none");
}

/// A minimal `WebSocket` client.
struct Socket {
    stream: TcpStream,
    head: String,
}

impl Socket {
    async fn open(fixture: &Fixture, cookies: &str) -> Self {
        Self::open_from(fixture, cookies, "").await
    }

    /// `more`: further fields, each with its line end.
    async fn open_from(fixture: &Fixture, cookies: &str, fields: &str) -> Self {
        let mut stream = TcpStream::connect(fixture.address).await.expect("a connection");
        let request = format!(
            "GET /socket HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {fields}cookie: {cookies}\r\n\r\n",
            fixture.address
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        Self { stream, head: String::from_utf8_lossy(&head).into_owned() }
    }

    /// The code and the reason of a close frame (RFC 6455 section 5.5.1).
    async fn closed(mut self) -> (u16, String) {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).await.expect("a frame");
        assert_eq!(start[0], 0x88, "a close frame");
        let mut body = vec![0; usize::from(start[1])];
        self.stream.read_exact(&mut body).await.expect("its body");
        let reason = String::from_utf8_lossy(&body[2..]).into_owned();
        (u16::from_be_bytes([body[0], body[1]]), reason)
    }
}

/// The 101 carries the cookies. The socket ends with the session, or with its last token.
// Rows: F100, F101.
pub async fn a_socket_gets_its_cookies_and_lives_while_the_session_does<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    let access = fixture.sign_in("alice").await;
    let cookies = format!("{ACCESS_COOKIE}={access}; {REFRESH_COOKIE}={}", refresh_token(&fixture));
    fixture.pass_until_left(100).await;
    let early = Socket::open(&fixture, &cookies).await;
    assert!(early.head.starts_with("HTTP/1.1 101"), "{}", early.head);
    let set = early.head.lines().filter(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
    });
    assert_eq!(set.count(), 2, "{}", early.head);
    // The page continues, and the socket with it, past the expiry of its first token.
    fixture.browser.get("/me").await;
    fixture.clock.advance(Duration::from_secs(600));
    fixture.browser.get("/me").await;
    // No token lives longer. The jar's token may not be the latest one.
    fixture.clock.advance(Duration::from_secs(900));
    assert_eq!(early.closed().await, (4401, "expired".into()));

    fixture.sign_in("alice").await;
    let cookies = format!("{ACCESS_COOKIE}={}", fixture.token());
    let open = Socket::open(&fixture, &cookies).await;
    assert_eq!(fixture.browser.post_json("/logout", &Value::Null).await.status, 204);
    assert_eq!(open.closed().await, (4403, "signed out".into()));
    let refused = Socket::open(&fixture, &cookies).await;
    assert!(refused.head.starts_with("HTTP/1.1 401"), "{}", refused.head);
}

/// A handshake is a GET, which any site's page can cause with the user's cookies.
// Rows: M11.
pub async fn a_socket_of_another_site_does_not_count<A: Adapter>() {
    let trusted = "https://admin.example";
    let mut fixture = Fixture::with::<A>(|builder| builder.trusted_origin(trusted)).await;
    let cookies = format!("{ACCESS_COOKIE}={}", fixture.sign_in("alice").await);
    let own = format!("origin: http://{}\r\n", fixture.address);
    for (fields, status) in [
        ("origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n", 403),
        ("origin: https://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        (&*own, 101),
        ("origin: https://admin.example\r\nsec-fetch-site: cross-site\r\n", 101),
        // A client other than a browser.
        ("", 101),
    ] {
        let socket = Socket::open_from(&fixture, &cookies, fields).await;
        let expected = format!("HTTP/1.1 {status}");
        assert!(socket.head.starts_with(&expected), "{fields}: {}", socket.head);
    }
}

/// Signs in for a dialect. Returns the access token and the refresh token.
async fn sign_in_for(fixture: &mut Fixture, dialect: &str) -> (String, String) {
    let path = format!("/login?for={dialect}");
    assert_eq!(fixture.browser.post_json(&path, &json!({"user": "alice"})).await.status, 204);
    (fixture.token(), refresh_token(fixture))
}

/// The request and the error of each dialect's documentation.
pub async fn every_dialect_is_served_to_its_clients<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    let stranger = fixture.browser.stranger();
    let post = async |path: &str, field: Option<(HeaderName, String)>, body: String| {
        let fields: Vec<_> = field.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        stranger.fetch(stranger.request(Method::POST, path, &fields, body.into())).await
    };
    let (access, _) = sign_in_for(&mut fixture, "access-token").await;
    fixture.browser = fixture.browser.stranger();
    let (_, bound) = sign_in_for(&mut fixture, "client").await;
    fixture.browser = fixture.browser.stranger();
    let (plain, refresh) = sign_in_for(&mut fixture, "another-dialect").await;
    let json = json!({"refresh_token": refresh}).to_string();
    let form = |refresh: &str| {
        format!("grant_type=refresh_token&client_id=contract&refresh_token={refresh}")
    };
    let bearer = |access: &str| Some((AUTHORIZATION, format!("Bearer {access}")));
    let jwt = |access: &str| Some((AUTHORIZATION, format!("JWT {access}")));
    let own = form(&bound);
    for (path, field, body, token, error) in [
        ("/v1/auth/jwt/refresh", bearer(&access), "", "access_token", 401),
        (
            "/v1/auth/jwt/refresh",
            Some((COOKIE, format!("{ACCESS_COOKIE}={access}"))),
            "",
            "access_token",
            401,
        ),
        ("/wp-json/jwt-auth/v1/token/refresh", None, &*json, "token", 403),
        ("/v1/auth/refresh", None, &*json, "token", 401),
        ("/v1/users/refresh_jwt", jwt(&access), "{\"ttl\":60}", "access_token", 401),
        (
            "/v1/refresh_token",
            Some((COOKIE, format!("{REFRESH_COOKIE}={refresh}"))),
            "",
            "access_token",
            422,
        ),
        ("/oauth/token", None, &*own, "access_token", 401),
    ] {
        let answer = post(path, field, body.to_owned()).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        let told: Value = answer.json();
        let new = told[token].as_str().expect("an access token");
        let fields = [(AUTHORIZATION, value(&format!("Bearer {new}")))];
        let me = stranger.fetch(stranger.request(Method::GET, "/me", &fields, Bytes::new())).await;
        assert_eq!(me.json::<Me>().sub, "alice", "{path}");
        let refused = post(path, None, String::new()).await;
        assert_eq!(refused.status, error, "{path}");
        assert!(refused.json::<Value>().is_object(), "{path}");
        assert!(refused.set_cookies().is_empty());
    }
    // A token has the same effect at every endpoint.
    let bound_json = json!({"refresh_token": bound}).to_string();
    let unbound = form(&refresh);
    for (path, field, body, status) in [
        ("/v1/auth/jwt/refresh", bearer(&plain), "", 401),
        ("/v1/users/refresh_jwt", jwt(&plain), "", 401),
        ("/wp-json/jwt-auth/v1/token/refresh", None, &*bound_json, 403),
        ("/v1/auth/refresh", None, &*bound_json, 401),
        ("/oauth/token", None, &*unbound, 400),
    ] {
        let refused = post(path, field, body.to_owned()).await;
        assert_eq!(refused.status, status, "{path}: {}", String::from_utf8_lossy(&refused.body));
    }
    let fields = [(COOKIE, value(&format!("{REFRESH_COOKIE}={bound}")))];
    let layer = stranger.fetch(stranger.request(Method::GET, "/me", &fields, Bytes::new())).await;
    assert_eq!(layer.status, 401);
}

/// At most 64 KiB are read.
// Rows: F110.
pub async fn a_large_body_is_refused<A: Adapter>() {
    let mut fixture = Fixture::rotating::<A>().await;
    fixture.sign_in("alice").await;
    let stranger = fixture.browser.stranger();
    let with = |padding: usize| {
        let refresh = refresh_token(&fixture);
        let text = json!({"refresh_token": refresh, "padding": "x".repeat(padding)}).to_string();
        stranger.request(Method::POST, "/v1/auth/refresh", &[], text.into())
    };
    assert_eq!(stranger.fetch(with(60_000)).await.status, 200);
    assert_eq!(stranger.fetch(with(70_000)).await.status, 413);
}
