//! Each dialect's client against its own server, and against all kinds of answers.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::dialects::{fixture, sign_in_for};
use super::*;
use crate::dialect::{AccessTokenResponse, ClientAuthentication, Dialect, RefreshOutcome};
use crate::dialect::{Place, RequestValues, TokenKind};
use crate::{Algorithm, Key, Timestamp};

fn client() -> ClientAuthentication {
    ClientAuthentication::Basic { id: "app".into(), secret: "s3cret:%&+0123456789".into() }
}

/// The request that presents this token.
fn ask(
    dialect: &Dialect,
    token: &str,
    client: Option<&ClientAuthentication>,
    now: Timestamp,
) -> Result<http::Request<Vec<u8>>, crate::dialect::DialectError> {
    let mut values = RequestValues::new(token);
    values.client = client;
    dialect.request(&values, now)
}

/// One exchange between the server and the client of a dialect.
async fn exchange(fixture: &Fixture, dialect: &Dialect, token: &str) -> RefreshOutcome {
    let now = fixture.clock.now();
    let client = dialect.request.client.is_some().then(client);
    let request = ask(dialect, token, client.as_ref(), now).unwrap();
    let (head, body) = request.into_parts();
    let request = http::Request::from_parts(head, ());
    let reply = call_with(fixture, &dialect.paths[0], request, &body).await;
    let (head, body) = reply.into_parts();
    dialect.read(head.status, &head.headers, &body, now)
}

fn given(answered: RefreshOutcome) -> AccessTokenResponse {
    match answered {
        RefreshOutcome::Issued(given) => *given,
        other => panic!("{other:?}"),
    }
}

// Rows: M12.
#[test]
fn a_token_that_the_server_would_read_as_another_one_is_not_sent() {
    let now = Timestamp::from_secs(1_800_000_000);
    let refused = |place: Place, token: &str| {
        let mut dialect = Dialect::FREDDY;
        dialect.request.places = vec![place].into();
        ask(&dialect, token, None, now).is_err()
    };
    for token in ["a b", "a;b", "\"q\"", "a,b", "a\\b", "a\r\nb", "\u{fc}"] {
        assert!(refused(Place::Cookie("t".into()), token), "{token:?}");
    }
    for token in ["a b", "a\r\nb", "\u{fc}"] {
        assert!(refused(Place::Header("x-t".into()), token), "{token:?}");
        assert!(refused(Place::Authorization("Bearer".into()), token), "{token:?}");
    }
    for token in ["a b", "a;b", "\"q\"", "\u{fc}"] {
        assert!(!refused(Place::Body("t".into()), token), "{token:?}");
        assert!(!refused(Place::Query("t".into()), token), "{token:?}");
    }
    assert!(!refused(Place::Cookie("t".into()), "aaa.bbb-_~+/=ccc"));
}

#[tokio::test]
async fn each_dialects_client_is_understood_by_its_server() {
    for dialect in Dialect::ALL {
        let fixture = fixture();
        let tokens = sign_in_for(&fixture, dialect).await;
        let by_access = matches!(dialect.request.token, TokenKind::Access { .. });
        let mut token = if by_access { tokens.access } else { tokens.refresh };
        let is_short = dialect.request.lifetime.is_some();
        for _ in 0..3 {
            fixture.pass(if is_short { 250 } else { 600 });
            let given = given(exchange(&fixture, dialect, &token).await);
            let me = get(&[("cookie", &format!("access_token={}", given.access_token.expose()))]);
            assert_eq!(fixture.me(me).await.body(), "alice", "{}", dialect.name);
            assert_eq!(given.refresh_token.is_none(), by_access, "{}", dialect.name);
            for path in &*dialect.response.keep {
                assert!(given.members.contains_key(&**path), "{path}");
            }
            match given.refresh_token {
                Some(next) => token = next.expose().to_owned(),
                None if by_access => token = given.access_token.expose().to_owned(),
                None => {}
            }
        }
        let rejected = exchange(&fixture, dialect, "a.b.c").await;
        assert_eq!(rejected, RefreshOutcome::Rejected, "{}", dialect.name);
    }
}

// Rows: S63.
#[tokio::test]
async fn a_client_authenticates_in_one_way_and_never_in_the_uri() {
    let key = Key::hmac(Algorithm::HS256, b"o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap();
    let key = Arc::new(key.with_kid("k1").unwrap());
    let id = || "a b:c".to_owned();
    let audience = "https://as.example/token".to_owned();
    let now = Timestamp::from_secs(1_800_000_000);
    let sent = |client: &ClientAuthentication| {
        let request = ask(&Dialect::OAUTH2, "r/t+1", Some(client), now).unwrap();
        assert_eq!(request.uri(), "/");
        let body = String::from_utf8(request.body().clone()).unwrap();
        assert!(body.starts_with("grant_type=refresh_token&refresh_token=r%2Ft%2B1"), "{body}");
        let authorization = request.headers().get("authorization").cloned();
        (authorization.map(|value| value.to_str().unwrap().to_owned()), body)
    };
    let (basic, body) =
        sent(&ClientAuthentication::Basic { id: id(), secret: "s:%&+\u{e9}".into() });
    // RFC 6749 section 2.3.1: each part is form-encoded before they are joined.
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        "a+b%3Ac:s%3A%25%26%2B%C3%A9",
    );
    assert_eq!(basic.unwrap(), format!("Basic {encoded}"));
    assert!(!body.contains("client_"), "{body}");
    let (none, body) = sent(&ClientAuthentication::Post { id: id(), secret: "s:%&+".into() });
    assert_eq!(none, None);
    assert!(body.ends_with("&client_id=a+b%3Ac&client_secret=s%3A%25%26%2B"), "{body}");
    let (none, body) = sent(&ClientAuthentication::None { id: id() });
    assert_eq!(none, None);
    assert!(body.ends_with("&client_id=a+b%3Ac"), "{body}");
    let assertion =
        ClientAuthentication::PrivateKeyJwt { id: id(), key: key.clone(), audience, x5t: None };
    let (none, body) = sent(&assertion);
    assert_eq!(none, None);
    let assertion = body.split("client_assertion=").nth(1).unwrap();
    let parts: Vec<_> = assertion.split('.').collect();
    let read = |part: &str| -> Value {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part);
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    };
    assert_eq!(read(parts[0]), json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
    let claims = read(parts[1]);
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("a b:c"), &json!("a b:c")));
    assert_eq!(claims["aud"], "https://as.example/token");
    assert_eq!(
        (claims["iat"].as_u64(), claims["exp"].as_u64()),
        (Some(1_800_000_000), Some(1_800_000_060))
    );
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, parts[2]);
    let signed = assertion.rsplit_once('.').unwrap().0;
    assert!(key.verify(signed.as_bytes(), &signature.unwrap()));
    assert!(!body.contains("client_secret"));

    let without_user = ask(&Dialect::OAUTH2, "t", None, now).unwrap_err();
    assert_eq!(without_user.field(), "request.client");
    for hostile in ["a\r\nb", "a\nb: c"] {
        let problem = ask(&Dialect::GALILEO, hostile, None, now).unwrap_err();
        assert!(!problem.to_string().contains(hostile), "no token in an error");
    }
    let shown = format!("{:?}", ClientAuthentication::Post { id: id(), secret: "hidden".into() });
    assert!(!shown.contains("hidden"), "{shown}");
}

fn read(dialect: &Dialect, status: u16, headers: &[(&str, &str)], body: &str) -> RefreshOutcome {
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        fields.append(name, value.parse().unwrap());
    }
    let now = Timestamp::from_secs(784_111_777);
    dialect.read(StatusCode::from_u16(status).unwrap(), &fields, body.as_bytes(), now)
}

// Rows: F70, F71, F76, S58.
#[test]
fn each_answer_has_its_outcome() {
    let later = |seconds: Option<u64>| RefreshOutcome::Unavailable {
        retry_after: seconds.map(Duration::from_secs),
    };
    let refused = || RefreshOutcome::Refused { retry_after: None };
    let invalid_grant = r#"{"error":"invalid_grant"}"#;
    for (status, headers, body, expected) in [
        (400, None, invalid_grant, RefreshOutcome::Rejected),
        (400, None, r#"{"error":"invalid_request"}"#, refused()),
        (400, None, "<html>", refused()),
        (401, None, r#"{"error":"invalid_client"}"#, RefreshOutcome::Misconfigured),
        (401, None, invalid_grant, RefreshOutcome::Rejected),
        (403, None, invalid_grant, RefreshOutcome::Rejected),
        (400, None, r#"{"error":"login_required"}"#, RefreshOutcome::Rejected),
        (400, None, "\u{feff}{\"error\":\"invalid_grant\"}", RefreshOutcome::Rejected),
        (400, None, r#"{"error":"invalid_client"}"#, RefreshOutcome::Misconfigured),
        (403, None, r#"{"error":"invalid_client"}"#, refused()),
        (403, None, "the firewall says no", refused()),
        (404, None, "", refused()),
        (408, None, "", RefreshOutcome::InDoubt),
        (409, None, r#"{"error":"conflict"}"#, refused()),
        (422, None, "{}", RefreshOutcome::Misconfigured),
        (429, Some("7"), "", later(Some(7))),
        (429, Some("99999999"), "", later(Some(3600))),
        (429, Some("soon"), "", later(None)),
        (429, Some("-1"), "", later(None)),
        (500, None, invalid_grant, later(None)),
        (502, None, "", later(None)),
        (503, Some("Sun, 06 Nov 1994 08:49:47 GMT"), "", later(Some(10))),
        (503, Some("Sat, 06 Nov 1993 08:49:47 GMT"), "", later(Some(0))),
        (504, None, invalid_grant, RefreshOutcome::InDoubt),
        (307, None, "", RefreshOutcome::Misconfigured),
        (200, None, "<html>signed in</html>", RefreshOutcome::NotIssued),
        (202, None, "", RefreshOutcome::NotIssued),
        (200, None, r#"{"error":"bad_refresh_token"}"#, refused()),
        (200, None, r#"{"ok":false}"#, refused()),
        (200, None, r#"{"success":false,"error":{}}"#, refused()),
        (200, None, r#"{"error":false,"ok":true}"#, RefreshOutcome::InDoubt),
        (411, None, "", RefreshOutcome::Misconfigured),
        (200, None, r#"{"access_token":"a.b"#, RefreshOutcome::InDoubt),
        (200, None, r#"{"access_token":7}"#, RefreshOutcome::InDoubt),
        (200, None, r#"{"access_token":""}"#, RefreshOutcome::InDoubt),
        (200, None, "[]", RefreshOutcome::NotIssued),
        (200, None, "", RefreshOutcome::NotIssued),
        (204, None, "", RefreshOutcome::NotIssued),
    ] {
        let headers: Vec<_> = headers.map(|value| ("retry-after", value)).into_iter().collect();
        assert_eq!(read(&Dialect::OAUTH2, status, &headers, body), expected, "{status} {body}");
    }
}

// Rows: F63, F74, S60, S62.
#[test]
fn odd_answers_are_read_by_their_content() {
    let given_of = |body: &str| given(read(&Dialect::OAUTH2, 200, &[], body));
    for (expires_in, expected) in [
        ("3600", Some(3600)),
        ("\"3600\"", Some(3600)),
        ("\" 60 \"", Some(60)),
        ("59.9", Some(59)),
        ("0", None),
        ("-1", None),
        ("\"-1\"", None),
        ("null", None),
        ("true", None),
        ("\"soon\"", None),
        ("\"NaN\"", None),
        ("\"inf\"", Some(365 * 86_400)),
        ("1e308", Some(365 * 86_400)),
        ("18446744073709551615", Some(365 * 86_400)),
    ] {
        let body = format!(r#"{{"access_token":"a","expires_in":{expires_in}}}"#);
        let found = given_of(&body).expires_in.map(|life| life.as_secs());
        assert_eq!(found, expected, "{expires_in}");
    }
    assert_eq!(given_of(r#"{"access_token":"a"}"#).expires_in, None);
    for body in [
        r#"{"access_token":"a"}"#,
        r#"{"access_token":"a","refresh_token":null}"#,
        r#"{"access_token":"a","refresh_token":""}"#,
        r#"{"access_token":"a","refresh_token":7}"#,
    ] {
        assert_eq!(given_of(body).refresh_token, None, "the old one stays: {body}");
    }
    let odd = "\u{feff}{\"access_token\":\"a\",\"token_type\":\"bEARER\",\"refresh_token\":\"r\",\"x\":[{}]}";
    let given_odd = given_of(odd);
    assert_eq!(given_odd.access_token.expose(), "a");
    assert_eq!(given_odd.refresh_token.unwrap().expose(), "r");
    let shown = format!("{:?}", given_of(r#"{"access_token":"hidden","refresh_token":"hidden"}"#));
    assert!(!shown.contains("hidden"), "{shown}");

    let set = [("set-cookie", "other=1"), ("set-cookie", "refresh_token=next; HttpOnly; Path=/")];
    let answered = read(&Dialect::GALILEO, 200, &set, r#"{"access_token":"a"}"#);
    assert_eq!(given(answered).refresh_token.unwrap().expose(), "next");
    let deleted = [("set-cookie", "refresh_token=; Max-Age=0")];
    let answered = read(&Dialect::GALILEO, 200, &deleted, r#"{"access_token":"a"}"#);
    assert_eq!(given(answered).refresh_token, None);
    let body = r#"{"token":"a","user_id":17,"user_email":null,"user_nicename":"ada"}"#;
    let told = given(read(&Dialect::JWT_AUTH_PRO, 200, &[], body));
    assert_eq!(
        told.members,
        [("user_id", "17"), ("user_nicename", "ada")].map(|(a, b)| (a.into(), b.into())).into()
    );
    assert_eq!(told.refresh_token, None, "every field is optional");
    for (number, text) in [("17.5", "17.5"), ("17.0", "17.0"), ("1e2", "100.0"), ("-3", "-3")] {
        let body = format!(r#"{{"token":"a","user_id":{number}}}"#);
        let told = given(read(&Dialect::JWT_AUTH_PRO, 200, &[], &body));
        assert_eq!(told.members["user_id"], text, "whatever features serde_json has");
    }
}

#[test]
fn each_place_is_written() {
    let now = Timestamp::from_secs(0);
    let mut own = Dialect::GALILEO;
    own.request.places = vec![Place::Header("x-refresh".into())].into();
    let request = ask(&own, "t", None, now).unwrap();
    assert_eq!(request.headers()["x-refresh"], "t");
    assert!(request.headers()["x-refresh"].is_sensitive() && request.body().is_empty());
    let cookie = ask(&Dialect::GALILEO, "t", None, now).unwrap();
    assert_eq!(cookie.headers()["cookie"], "refresh_token=t");
    let jwt = ask(&Dialect::REDIS_ENTERPRISE, "t", None, now).unwrap();
    assert_eq!(jwt.headers()["authorization"], "JWT t");
    let json = ask(&Dialect::FREDDY, "t\"\\", None, now).unwrap();
    assert_eq!(json.headers()["content-type"], "application/json");
    assert_eq!(json.body(), br#"{"refresh_token":"t\"\\"}"#);
}

/// A client-side dialect, from the members of a file.
fn file(request: &Value, response: &Value, rules: &Value) -> Dialect {
    let file = json!({"name": "acme", "request": request, "response": response, "rules": rules});
    Dialect::from_json(&file.to_string()).unwrap()
}

#[test]
fn an_answer_is_read_by_alternatives_and_paths() {
    let dialect = file(
        &json!({"places": [{"body": "refresh_token"}]}),
        &json!({
            "access_token": ["data.access_token", "tokens.0", {"cookie": "at"}, {"header": "x-at"}],
            "refresh_token": ["data.refresh_token", {"cookie": "rt"}],
            "id_token": "data.id_token",
            "expires_in": [{"member": "data.minutes", "unit": "minutes"}, {"member": "ms", "unit": "milliseconds"}],
            "expires_at": ["data.expires"],
            "keep": ["instance_url", "data.scope"],
        }),
        &json!([]),
    );
    let nested = r#"{"data":{"access_token":"a","refresh_token":"r","id_token":"i","minutes":"2","scope":"x y"},
                     "instance_url":"https://eu.example"}"#;
    let told = given(read(&dialect, 200, &[], nested));
    assert_eq!(told.access_token.expose(), "a");
    assert_eq!(told.refresh_token.unwrap().expose(), "r");
    assert_eq!(told.id_token.unwrap().expose(), "i");
    assert_eq!(told.expires_in, Some(Duration::from_secs(120)));
    let kept = [("data.scope", "x y"), ("instance_url", "https://eu.example")];
    assert_eq!(told.members, kept.map(|(a, b)| (a.into(), b.into())).into());

    let set = [("set-cookie", "at=c; HttpOnly"), ("set-cookie", "rt=d; Path=/")];
    let told = given(read(&dialect, 204, &set, ""));
    assert_eq!(told.access_token.expose(), "c");
    assert_eq!(told.refresh_token.unwrap().expose(), "d");
    let told = given(read(&dialect, 200, &[("x-at", "Bearer h")], ""));
    assert_eq!((told.access_token.expose(), told.refresh_token), ("h", None));
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let mut by_form = dialect.clone();
    by_form.response.access_token =
        vec![crate::dialect::Source::Member("access_token".into())].into();
    let told = given(read(&by_form, 200, &form, "access_token=f%2B&ms=60000"));
    assert_eq!((told.access_token.expose(), told.expires_in.unwrap().as_secs()), ("f+", 60));
    for (expires, left) in [
        ("784111837", Some(60)),
        ("784111837000", Some(60)),
        ("\"784111837\"", Some(60)),
        ("\"Sun, 06 Nov 1994 08:50:37 GMT\"", Some(60)),
        ("\"1994-11-06T08:50:37Z\"", Some(60)),
        ("\"1994-11-06T09:50:37.250+01:00\"", Some(60)),
        ("\"1994-11-06T08:50:37\"", Some(60)),
        ("784111777", None),
        ("\"soon\"", None),
        ("-1", None),
        ("1e400", None),
    ] {
        let body = format!(r#"{{"tokens":["t"],"data":{{"expires":{expires}}}}}"#);
        let RefreshOutcome::Issued(told) = read(&dialect, 200, &[], &body) else {
            assert_eq!(expires, "1e400", "is no JSON to some readers");
            continue;
        };
        assert_eq!(told.expires_in.map(|left| left.as_secs()), left, "{expires}");
    }
    let latin1 = b"{\"tokens\":[\"t\"],\"name\":\"Jos\xe9\"}";
    let now = Timestamp::from_secs(784_111_777);
    let told = dialect.read(StatusCode::OK, &HeaderMap::new(), latin1, now);
    assert_eq!(given(told).access_token.expose(), "t");
}

#[test]
fn rules_say_what_a_response_means() {
    let dialect = file(
        &json!({"places": [{"body": "refresh_token"}]}),
        &json!({"access_token": "token"}),
        &json!([
            {"status": "2xx", "when": [{"member": "ok", "is": {"one_of": ["false"]}},
                                       {"member": "error", "is": {"one_of": ["token_revoked"]}}], "outcome": "rejected"},
            {"status": 400, "when": [{"member": "error_description", "is": {"starts_with": ["expired"]},
                                      "is_not": {"contains": ["already being processed"]}}], "outcome": "rejected"},
            {"status": ["400-403", 418], "when": [{"member": "error_codes", "is": {"one_of": ["7000215"]}}], "outcome": "misconfigured"},
            {"status": "5xx", "when": [{"is": {"contains": ["user is gone"]}}], "outcome": "rejected"},
            {"status": 409, "outcome": "unavailable"},
            {"status": 500, "outcome": "in_doubt"},
        ]),
    );
    let later = || RefreshOutcome::Unavailable { retry_after: None };
    let refused = || RefreshOutcome::Refused { retry_after: None };
    for (status, body, expected) in [
        (200, r#"{"ok":false,"error":"token_revoked"}"#, RefreshOutcome::Rejected),
        (200, r#"{"ok":true,"error":"token_revoked"}"#, refused()),
        (400, r#"{"error_description":"expired"}"#, RefreshOutcome::Rejected),
        (400, r#"{"error_description":"expired; already being processed"}"#, refused()),
        (400, r#"{"error_description":"other"}"#, refused()),
        (403, r#"{"error_codes":[1,7000215]}"#, RefreshOutcome::Misconfigured),
        (418, r#"{"error_codes":7000215}"#, RefreshOutcome::Misconfigured),
        (404, r#"{"error_codes":[7000215]}"#, refused()),
        (503, "sorry, the user is gone.", RefreshOutcome::Rejected),
        (500, "oops", RefreshOutcome::InDoubt),
        (503, "oops", later()),
        (409, "", later()),
    ] {
        assert_eq!(read(&dialect, status, &[], body), expected, "{status} {body}");
    }
}

#[test]
fn a_request_has_what_the_file_says() {
    let dialect = file(
        &json!({
            "method": "PUT",
            "places": [{"body": "AuthParameters.REFRESH_TOKEN"}],
            "access_token": {"authorization": "Bearer"},
            "members": [{"name": "AuthFlow", "value": "REFRESH_TOKEN_AUTH"},
                        {"name": "AuthParameters.DEVICE", "value": {"kept": "device"}},
                        {"name": "count", "value": 2}, {"name": "persist", "value": true}],
            "query": [{"name": "key", "value": {"setting": "api key"}}],
            "headers": [{"name": "X-Version", "value": "2022-06-28"}],
            "client": {"id": "ClientId"},
            "lifetime": {"member": "ttl", "min": 60, "max": 3600},
        }),
        &json!({"access_token": "token"}),
        &json!([]),
    );
    assert_eq!(dialect.settings().collect::<Vec<_>>(), ["api key"]);
    let now = Timestamp::from_secs(0);
    let client = ClientAuthentication::Post { id: "app".into(), secret: "s3cret".into() };
    let settings = [("api key".to_owned(), zeroize::Zeroizing::new("a&b".to_owned()))].into();
    let kept = [("device".to_owned(), "d-1".to_owned())].into();
    let values = RequestValues::new("rt").access_token("at").client(&client);
    let values = values.lifetime(Duration::from_secs(7200)).kept(&kept);
    let lacks = dialect.request(&values, now).unwrap_err();
    assert_eq!(lacks.field(), "request.query");
    assert!(lacks.to_string().contains("`api key`"), "{lacks}");
    let request = dialect.request(&values.settings(&settings), now).unwrap();
    assert_eq!((request.method().as_str(), request.uri().query()), ("PUT", Some("key=a%26b")));
    assert_eq!(request.headers()["authorization"], "Bearer at");
    assert_eq!(request.headers()["x-version"], "2022-06-28");
    let sent: Value = serde_json::from_slice(request.body()).unwrap();
    let expected = json!({
        "AuthFlow": "REFRESH_TOKEN_AUTH",
        "AuthParameters": {"REFRESH_TOKEN": "rt", "DEVICE": "d-1"},
        "count": 2,
        "persist": true,
        "ttl": 3600,
        "ClientId": "app",
        "client_secret": "s3cret",
    });
    assert_eq!(sent, expected);

    let raw = ClientAuthentication::RawBasic { id: "app".into(), secret: "a8Q~x+/=".into() };
    let request = ask(&Dialect::OAUTH2, "r", Some(&raw), now).unwrap();
    assert_eq!(request.headers()["authorization"], "Basic YXBwOmE4UX54Ky89");
    let raw = ClientAuthentication::RawBasic { id: "a:b".into(), secret: "s".into() };
    assert_eq!(ask(&Dialect::OAUTH2, "r", Some(&raw), now).unwrap_err().field(), "request.client");
    let mut by_header = Dialect::OAUTH2;
    by_header.request.places = vec![Place::Authorization("Bearer".into())].into();
    let basic = ClientAuthentication::Basic { id: "a".into(), secret: "s".into() };
    let twice = ask(&by_header, "r", Some(&basic), now).unwrap_err();
    assert_eq!(twice.field(), "request.client", "the token is not overwritten");
    let empty = ask(&Dialect::VIJIL, "a.b.c", None, now).unwrap();
    assert_eq!(
        (&empty.headers()["content-length"], empty.body().len()),
        (&"0".parse().unwrap(), 0)
    );
}
