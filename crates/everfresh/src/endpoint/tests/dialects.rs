//! Dialects, served to a client that was written against their documentation.

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::dialect::Dialect;
use crate::{EngineBuilder, Revalidated, SignIn};

/// A fixture with `Rotate` that serves every dialect, and signs in with the dialects' claims about a
/// user.
pub(super) fn fixture() -> Fixture {
    Fixture::rotating_with(every_dialect).0
}

pub(super) fn every_dialect(builder: EngineBuilder<User>) -> EngineBuilder<User> {
    let builder = builder.client("app", Some("s3cret:%&+0123456789".into())).client("page", None);
    let dialects = Dialect::ALL.into_iter().cloned();
    dialects.fold(builder.insecure_dev_only(), |builder, dialect| builder.dialect(dialect))
}

#[derive(Clone, Default)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
}

/// A session without a client, whose access tokens may be renewed.
pub(super) async fn sign_in(fixture: &Fixture, name: &'static str) -> Tokens {
    sign_in_with(fixture, SignIn::new(name, user(name)).renewable_by_access_token()).await
}

/// A session of this client.
pub(super) async fn sign_in_client(
    fixture: &Fixture,
    name: &'static str,
    client: &'static str,
) -> Tokens {
    sign_in_with(fixture, SignIn::new(name, user(name)).attribute("client_id", client)).await
}

/// The tokens that a client of the dialect holds.
pub(super) async fn sign_in_for(fixture: &Fixture, dialect: &Dialect) -> Tokens {
    match dialect.request.client.is_some() {
        true => sign_in_client(fixture, "alice", "app").await,
        false => sign_in(fixture, "alice").await,
    }
}

pub(super) async fn sign_in_with(fixture: &Fixture, sign_in: SignIn<User>) -> Tokens {
    let sign_in = sign_in
        .attribute("user_id", "17")
        .attribute("user_email", "ada@example.com")
        .attribute("user_nicename", "ada")
        .attribute("user_display_name", "Ada")
        .attribute("device_id", "device-123")
        .attribute("scope", "read write");
    let response = fixture
        .send(get(&[]), move |session, _| {
            let sign_in = sign_in.clone();
            async move {
                session.sign_in_with(sign_in).await.unwrap();
                http::Response::new(String::new())
            }
        })
        .await;
    let cookies = set_cookies(&response);
    let value = |name: &str| {
        let prefix = format!("{name}=");
        let found = cookies.iter().find_map(|cookie| cookie.strip_prefix(&prefix)).unwrap();
        found.split(';').next().unwrap().to_owned()
    };
    Tokens { access: value("access_token"), refresh: value("refresh_token") }
}

pub(super) async fn post(
    fixture: &Fixture,
    dialect: &Dialect,
    fields: &[(&str, &str)],
    body: &str,
) -> Reply {
    let path = &*dialect.paths[0];
    call_with(fixture, path, at("POST", path, fields), body.as_bytes()).await
}

/// Whether the engine accepts this access token.
pub(super) async fn is_good(fixture: &Fixture, token: &str) -> bool {
    fixture.me(bearer_cookie(token)).await.status() == StatusCode::OK
}

pub(super) fn bearer_cookie(token: &str) -> http::Request<()> {
    get(&[("cookie", &format!("access_token={token}"))])
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn vijil_takes_a_good_or_an_expired_token_by_cookie_or_header() {
    let fixture = fixture();
    let dialect = &Dialect::VIJIL;
    let Tokens { access, .. } = sign_in(&fixture, "alice").await;
    let header = format!("Bearer {access}");
    let cookie = format!("access_token={access}");
    for (passed, field) in [(60, ("authorization", &header)), (1200, ("cookie", &cookie))] {
        fixture.pass(passed);
        let reply = post(&fixture, dialect, &[(field.0, field.1)], "").await;
        assert_eq!(reply.status(), StatusCode::OK, "{}", field.0);
        let told = body(&reply);
        assert_eq!(told["token_type"], "bearer");
        let new = text(&told["access_token"]);
        assert!(new != access && is_good(&fixture, new).await);
        let cookies = set_cookies(&reply);
        let own = format!("access_token={new}; HttpOnly; SameSite=Lax; Path=/; Max-Age=");
        assert!(cookies.iter().any(|cookie| cookie.starts_with(&own)), "{cookies:?}");
        assert_eq!(cookies.iter().filter(|one| one.starts_with("access_token=")).count(), 1);
        assert!(!cookies.iter().any(|cookie| cookie.starts_with("refresh_token=")));
    }
    for (field, status) in [
        (("authorization", "Bearer a.b.c"), 401),
        (("cookie", "access_token=x"), 401),
        (("accept", "*/*"), 401),
    ] {
        let reply = post(&fixture, dialect, &[field], "").await;
        assert_eq!(reply.status().as_u16(), status);
        assert!(body(&reply)["detail"].is_string(), "as FastAPI says it");
        assert!(dialect.is_rejected(reply.status(), reply.headers(), reply.body()));
    }
    let forged = [("cookie", &*cookie), ("sec-fetch-site", "cross-site")];
    assert_eq!(post(&fixture, dialect, &forged, "").await.status(), StatusCode::UNAUTHORIZED);
    fixture.pass(3600);
    let reply = post(&fixture, dialect, &[("authorization", &header)], "").await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "an hour after its end");
}

#[tokio::test]
async fn vijil_answers_404_for_a_deleted_user_and_503_in_doubt() {
    for (revalidated, status) in [(Ok(Revalidated::End), 404), (Err("the database is down"), 503)] {
        let revalidated = std::sync::Mutex::new(Some(revalidated));
        let fixture = Fixture::rotating_with(|b| {
            every_dialect(b.revalidate_with(move |_| {
                let answer = revalidated.lock().unwrap().take().unwrap_or(Ok(Revalidated::Keep));
                async move { answer }
            }))
        })
        .0;
        let Tokens { access, .. } = sign_in(&fixture, "alice").await;
        let header = format!("Bearer {access}");
        let reply = post(&fixture, &Dialect::VIJIL, &[("authorization", &header)], "").await;
        assert_eq!(reply.status().as_u16(), status);
        if status == 404 {
            assert_eq!(body(&reply), json!({"detail": "User not found"}));
            assert!(!is_good(&fixture, &access).await, "and the session is over");
        } else {
            assert_eq!(reply.headers()["retry-after"], "1");
            assert!(is_good(&fixture, &access).await);
        }
    }
}

// Rows: S68.
#[tokio::test(start_paused = true)]
async fn an_endpoint_waits_as_long_as_a_request_and_no_longer() {
    let fixture = Fixture::rotating_with(|b| {
        every_dialect(
            b.revalidate_with(|_| std::future::pending::<Result<Revalidated<User>, &str>>()),
        )
    })
    .0;
    let Tokens { access, .. } = sign_in(&fixture, "alice").await;
    let header = format!("Bearer {access}");
    let began = tokio::time::Instant::now();
    let reply = post(&fixture, &Dialect::VIJIL, &[("authorization", &header)], "").await;
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!Dialect::VIJIL.is_rejected(reply.status(), reply.headers(), reply.body()));
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn jwt_auth_pro_rotates_and_returns_the_user() {
    let fixture = fixture();
    let dialect = &Dialect::JWT_AUTH_PRO;
    let Tokens { refresh: first, .. } = sign_in(&fixture, "alice").await;
    let mut refresh = first.clone();
    for _ in 0..3 {
        fixture.pass(900);
        let reply =
            post(&fixture, dialect, &[], &json!({"refresh_token": refresh}).to_string()).await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers()["cache-control"], "no-store");
        let told = body(&reply);
        assert_eq!(told["user_id"], 17, "an integer");
        assert_eq!(told["user_email"], "ada@example.com");
        assert_eq!(
            (&told["user_nicename"], &told["user_display_name"]),
            (&json!("ada"), &json!("Ada"))
        );
        assert!(is_good(&fixture, text(&told["token"])).await);
        assert_eq!(told["access_token"], told["token"], "as the plugin itself has it");
        assert_eq!(told.as_object().unwrap().len(), 9);
        assert_ne!(text(&told["refresh_token"]), refresh);
        refresh = text(&told["refresh_token"]).to_owned();
    }
    let stolen = post(&fixture, dialect, &[], &json!({"refresh_token": first}).to_string()).await;
    for reply in [
        stolen,
        post(&fixture, dialect, &[], &json!({"refresh_token": refresh}).to_string()).await,
        post(&fixture, dialect, &[], r#"{"refresh_token":"x"}"#).await,
        post(&fixture, dialect, &[], r#"{"refresh_token":7}"#).await,
        post(&fixture, dialect, &[], "{}").await,
        post(&fixture, dialect, &[], "not json").await,
    ] {
        assert_eq!(reply.status(), StatusCode::FORBIDDEN);
        let told = body(&reply);
        assert_eq!(told["code"], "jwt_auth_invalid_token");
        assert_eq!(told["data"]["status"], 403);
        assert!(
            told["message"].is_string()
                && dialect.is_rejected(reply.status(), reply.headers(), reply.body())
        );
    }
}

#[tokio::test]
async fn freddy_keeps_the_refresh_token_unless_rotation_is_asked_for() {
    let fixture = fixture();
    let dialect = &Dialect::FREDDY;
    let Tokens { refresh, .. } = sign_in(&fixture, "alice").await;
    let asks = json!({"refresh_token": refresh}).to_string();
    // Its documented clients keep the first refresh token for the life of the session.
    for _ in 0..30 {
        fixture.pass(86_400);
        let reply = post(&fixture, dialect, &[], &asks).await;
        if reply.status() != StatusCode::OK {
            break;
        }
        let told = body(&reply);
        assert_eq!(told["device_id"], "device-123");
        assert_eq!(
            (&told["access_token"], text(&told["refresh_token"])),
            (&told["token"], &*refresh)
        );
        assert_eq!(told.as_object().unwrap().len(), 6);
        assert!(is_good(&fixture, text(&told["token"])).await);
    }
    assert!(fixture.clock.now().since(START).as_secs() >= 30 * 86_400, "idle is not this");
    let over = post(&fixture, dialect, &[], &asks).await;
    assert_eq!(body(&over), json!({"detail": "Refresh token has expired"}));
    let forged = post(&fixture, dialect, &[], r#"{"refresh_token":"x"}"#).await;
    assert_eq!(body(&forged), json!({"detail": "Invalid refresh token"}));
    assert_eq!(
        (over.status(), forged.status()),
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );

    let mut rotating = Dialect::FREDDY;
    rotating.serving.as_mut().unwrap().rotates = true;
    let fixture = Fixture::rotating_with(|b| b.insecure_dev_only().dialect(rotating)).0;
    let Tokens { refresh, .. } = sign_in(&fixture, "alice").await;
    fixture.pass(60);
    let asks = json!({"refresh_token": refresh}).to_string();
    let told = body(&post(&fixture, dialect, &[], &asks).await);
    assert_ne!(text(&told["refresh_token"]), refresh);
}

#[tokio::test]
async fn redis_enterprise_takes_a_valid_token_and_a_shorter_ttl() {
    let fixture = fixture();
    let dialect = &Dialect::REDIS_ENTERPRISE;
    let Tokens { access, .. } = sign_in(&fixture, "alice").await;
    let jwt = format!("JWT {access}");
    let lifetime = async |ttl: Value| {
        let asks = if ttl.is_null() { String::new() } else { json!({"ttl": ttl}).to_string() };
        let reply = post(&fixture, dialect, &[("authorization", &jwt)], &asks).await;
        assert_eq!(reply.status(), StatusCode::OK, "{ttl}");
        let told = body(&reply);
        assert_eq!(told.as_object().unwrap().len(), 1);
        let new = text(&told["access_token"]);
        assert!(is_good(&fixture, new).await);
        let payload = new.split('.').nth(1).unwrap();
        let payload =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
        let claims: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap()
    };
    for (ttl, least, most) in [
        (json!(null), 285, 300),
        (json!(300), 285, 300),
        (json!(1), 1, 1),
        (json!(0), 1, 1),
        (json!(-5), 1, 1),
        (json!(100_000), 855, 900),
        (json!(u64::MAX), 855, 900),
    ] {
        let found = lifetime(ttl.clone()).await;
        assert!((least..=most).contains(&found), "{ttl}: {found}");
    }
    for ttl in ["\"300\"", "1.5", "[]", "true", "1e30"] {
        let asks = format!("{{\"ttl\":{ttl}}}");
        let reply = post(&fixture, dialect, &[("authorization", &jwt)], &asks).await;
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{ttl}");
    }
    for wrong in ["JWT a.b.c".to_owned(), format!("Basic {access}"), "JWT".into()] {
        let reply = post(&fixture, dialect, &[("authorization", &wrong)], "").await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
    fixture.pass(900);
    let late = post(&fixture, dialect, &[("authorization", &jwt)], "").await;
    assert_eq!(late.status(), StatusCode::UNAUTHORIZED, "it must be refreshed before it expires");
}

#[tokio::test]
async fn galileo_wants_its_cookie_and_sets_the_next() {
    let fixture = fixture();
    let dialect = &Dialect::GALILEO;
    let Tokens { refresh, .. } = sign_in(&fixture, "alice").await;
    let cookie = format!("a=b; refresh_token={refresh}");
    // Within the reuse interval the token stays the same. The vendor's SDK forgets a refresh token
    // that an answer does not set.
    let same = set_cookies(&post(&fixture, dialect, &[("cookie", &cookie)], "").await);
    let repeated = format!("refresh_token={refresh};");
    assert!(same.iter().any(|one| one.starts_with(&repeated)), "{same:?}");
    fixture.pass(900);
    let reply = post(&fixture, dialect, &[("cookie", &cookie)], "").await;
    assert_eq!(reply.status(), StatusCode::OK);
    let told = body(&reply);
    assert_eq!((told.as_object().unwrap().len(), &told["token_type"]), (2, &json!("bearer")));
    assert!(is_good(&fixture, text(&told["access_token"])).await);
    let cookies = set_cookies(&reply);
    let successor: Vec<_> =
        cookies.iter().filter(|one| one.starts_with("refresh_token=")).collect();
    assert_eq!(successor.len(), 1, "{cookies:?}");
    assert!(!successor[0].contains(&refresh));
    let missing = post(&fixture, dialect, &[], "").await;
    assert_eq!(missing.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let detail = &body(&missing)["detail"][0];
    assert_eq!(detail["loc"], json!(["cookie", "refresh_token"]));
    assert_eq!((&detail["msg"], &detail["type"]), (&json!("Field required"), &json!("missing")));
    let forged = post(&fixture, dialect, &[("cookie", "refresh_token=x")], "").await;
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    assert!(body(&forged)["detail"].is_string());
    let cross = [("cookie", &*cookie), ("origin", "https://evil.example"), ("host", "localhost")];
    let cross = post(&fixture, dialect, &cross, "").await;
    assert_eq!(cross.status(), StatusCode::UNPROCESSABLE_ENTITY, "its cookie does not count");
}

/// A form, percent-encoded.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub(super) fn basic_of(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
    format!("Basic {encoded}")
}

// Rows: S63.
#[tokio::test]
async fn oauth2_accepts_clients_that_authenticate_in_one_way() {
    let fixture = fixture();
    let dialect = &Dialect::OAUTH2;
    let Tokens { refresh, .. } = sign_in_client(&fixture, "alice", "app").await;
    let grant = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
    let secret = [("client_id", "app"), ("client_secret", "s3cret:%&+0123456789")];
    let basic = basic_of("app", "s3cret:%&+0123456789");
    let by_basic: [(&str, &str); 1] = [("authorization", &basic)];
    fixture.pass(60);
    let mut seen = Vec::new();
    for (fields, pairs) in
        [(&by_basic[..], grant.to_vec()), (&[], [grant.to_vec(), secret.to_vec()].concat())]
    {
        let reply = post(&fixture, dialect, fields, &form(&pairs)).await;
        assert_eq!(reply.status(), StatusCode::OK, "{}", String::from_utf8_lossy(reply.body()));
        assert_eq!(reply.headers()["cache-control"], "no-store");
        assert_eq!(reply.headers()["pragma"], "no-cache");
        let told = body(&reply);
        assert_eq!(told["token_type"], "Bearer");
        assert!((855..=900).contains(&told["expires_in"].as_u64().unwrap()));
        assert!(is_good(&fixture, text(&told["access_token"])).await);
        seen.push(text(&told["refresh_token"]).to_owned());
    }
    assert_eq!(seen[0], seen[1], "a retry gets the same successor");

    let refused = async |fields: &[(&str, &str)], pairs: &[(&str, &str)]| {
        let reply = post(&fixture, dialect, fields, &form(pairs)).await;
        (reply.status().as_u16(), text(&body(&reply)["error"]).to_owned(), reply)
    };
    let wrong = basic_of("app", "wrong");
    let (status, error, reply) = refused(&[("authorization", &wrong)], &grant).await;
    assert_eq!((status, &*error), (401, "invalid_client"));
    assert!(reply.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    for (pairs, expected) in [
        (grant.to_vec(), (401, "invalid_client")),
        ([grant.to_vec(), vec![("client_id", "unknown")]].concat(), (401, "invalid_client")),
        ([grant.to_vec(), vec![("client_id", "app")]].concat(), (401, "invalid_client")),
        // Another client's token, although the client is valid (RFC 6749 section 6).
        ([grant.to_vec(), vec![("client_id", "page")]].concat(), (400, "invalid_grant")),
        (
            [grant.to_vec(), secret.to_vec(), vec![("client_id", "app")]].concat(),
            (400, "invalid_request"),
        ),
        (
            [vec![("grant_type", "password")], secret.to_vec()].concat(),
            (400, "unsupported_grant_type"),
        ),
        (secret.to_vec(), (400, "invalid_request")),
        ([vec![grant[0]], secret.to_vec()].concat(), (400, "invalid_request")),
        (
            [vec![grant[0], ("refresh_token", "x")], secret.to_vec()].concat(),
            (400, "invalid_grant"),
        ),
    ] {
        let (status, error, reply) = refused(&[], &pairs).await;
        assert_eq!((status, &*error), expected, "{pairs:?}");
        assert!(!reply.headers().contains_key("www-authenticate"));
    }
    let both = [grant.to_vec(), secret.to_vec()].concat();
    let (status, error, _) = refused(&by_basic, &both).await;
    assert_eq!((status, &*error), (400, "invalid_request"), "one way only");
    for junk in ["Basic", "Basic !!!", "Bearer x", "Basic YWJj"] {
        let (status, error, _) = refused(&[("authorization", junk)], &grant).await;
        assert_eq!((status, &*error), (401, "invalid_client"), "{junk}");
    }
}

// Rows: S49.
#[tokio::test]
async fn a_scope_is_never_widened() {
    let fixture = fixture();
    let Tokens { refresh, .. } = sign_in_client(&fixture, "alice", "app").await;
    fixture.pass(60);
    let basic = basic_of("app", "s3cret:%&+0123456789");
    for (scope, good) in [
        ("read admin", false),
        ("admin", false),
        ("READ", false),
        ("read", true),
        ("write read", true),
    ] {
        let pairs =
            [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("scope", scope)];
        let reply =
            post(&fixture, &Dialect::OAUTH2, &[("authorization", &basic)], &form(&pairs)).await;
        assert_eq!(reply.status() == StatusCode::OK, good, "{scope}");
        if !good {
            assert_eq!(body(&reply)["error"], "invalid_scope");
        }
    }
}
