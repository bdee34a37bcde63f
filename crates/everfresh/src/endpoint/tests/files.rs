//! Dialects as data: constants, files, and what ends a session.

use http::StatusCode;
use serde_json::json;

use crate::dialect::Dialect;

#[test]
fn every_constant_is_sound_and_survives_a_file() {
    for dialect in Dialect::ALL {
        dialect.check().unwrap();
        let file = serde_json::to_string_pretty(dialect).unwrap();
        assert_eq!(&Dialect::from_json(&file).unwrap(), dialect, "{file}");
        for failed in [&dialect.errors.invalid, &dialect.errors.expired] {
            let status = StatusCode::from_u16(failed.status).unwrap();
            let body = failed.body.as_bytes();
            assert!(dialect.is_rejected(status, body), "{}: own answer", dialect.name);
        }
    }
}

#[test]
fn an_error_in_a_file_names_its_field() {
    let file = serde_json::to_value(&Dialect::OAUTH2).unwrap();
    for (pointer, value, field, says) in [
        ("/path", json!("token"), "path", "an absolute path"),
        ("/path", json!("/a?b"), "path", "an absolute path"),
        ("/path", json!("/a`b"), "path", "an absolute path"),
        ("/path", json!(7), "path", "invalid type: integer `7`"),
        ("/places", json!([]), "places", "wanted are 1 to 4"),
        ("/places/0", json!({"cookie": "a b"}), "places.cookie", "a cookie's name"),
        ("/places/0", json!({"basket": "a"}), "places[0]", "unknown variant `basket`"),
        ("/token", json!({"access": {"expired_for": -1}}), "token.access.expired_for", "-1"),
        ("/token", json!({"access": {"expired_for": 0}}), "answer.successor", "never yields"),
        ("/errors/invalid/status", json!(200), "errors.invalid.status", "from 400 to 599"),
        ("/errors/invalid/body", json!("{"), "errors.invalid.body", "JSON"),
        ("/errors/client", json!(null), "errors.client", "is missing"),
        ("/errors/unsupported", json!(null), "errors.unsupported", "is missing"),
        ("/rejected/0/from", json!(500), "rejected[0]", "400 to 499"),
        ("/ttl", json!("ttl"), "places", "a form or JSON"),
        ("/name", json!(""), "name", "a name"),
    ] {
        let mut changed = file.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let problem = Dialect::from_json(&changed.to_string()).unwrap_err();
        assert_eq!(problem.field(), field, "{pointer}: {problem}");
        assert!(problem.to_string().contains(says), "{pointer}: {problem}");
    }
    let mut more = file.clone();
    more["colour"] = json!("red");
    let problem = Dialect::from_json(&more.to_string()).unwrap_err();
    assert!(problem.to_string().contains("unknown field `colour`"), "{problem}");
    for (text, says) in [(r#"{"":null}"#, "unknown field ``"), ("[]", "invalid"), ("{", "EOF")] {
        let problem = Dialect::from_json(text).unwrap_err();
        assert_eq!(problem.field(), "the file", "{text}: {problem}");
        assert!(problem.to_string().contains(says), "{text}: {problem}");
    }
    let mut fewer = file;
    fewer.as_object_mut().unwrap().remove("errors");
    let problem = Dialect::from_json(&fewer.to_string()).unwrap_err();
    assert!(problem.to_string().contains("missing field `errors`"), "{problem}");
}

// Rows: F70.
#[test]
fn only_a_dialects_own_words_end_a_session() {
    let said = |dialect: &Dialect, status: u16, body: &str| {
        dialect.is_rejected(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    };
    let detail = r#"{"detail":"Invalid"}"#;
    for (status, body, expected) in [
        (401, detail, true),
        (403, detail, true),
        (404, detail, true),
        (404, r#"{"detail":[{"loc":[],"msg":"","type":""}]}"#, false),
        (404, "<html>not found</html>", false),
        (400, detail, false),
        (429, detail, false),
        (503, detail, false),
    ] {
        assert_eq!(said(&Dialect::VIJIL, status, body), expected, "{status} {body}");
    }
    let invalid = r#"{"code":"jwt_auth_invalid_token","message":"","data":{"status":403}}"#;
    assert!(said(&Dialect::JWT_AUTH_PRO, 403, invalid));
    assert!(!said(&Dialect::JWT_AUTH_PRO, 401, invalid));
    for other in [
        r#"{"code":"rest_forbidden","message":"","data":{"status":403}}"#,
        r#"{"code":"jwt_auth_invalid_token","message":"","data":{}}"#,
        r#"{"code":"jwt_auth_invalid_token"}"#,
        "the firewall says no",
    ] {
        assert!(!said(&Dialect::JWT_AUTH_PRO, 403, other), "{other}");
    }
    for status in [400, 401, 403, 422] {
        assert!(said(&Dialect::FREDDY, status, r#"{"detail":"Refresh token has expired"}"#));
        assert!(!said(&Dialect::FREDDY, status, r#"{"detail":"Rate limited"}"#));
    }
    assert!(!said(&Dialect::FREDDY, 500, r#"{"detail":"Invalid refresh token"}"#));
    assert!(said(&Dialect::REDIS_ENTERPRISE, 401, ""));
    assert!(!said(&Dialect::REDIS_ENTERPRISE, 403, ""));
    assert!(said(&Dialect::GALILEO, 401, r#"{"detail":[]}"#));
    assert!(!said(&Dialect::GALILEO, 401, "{}") && !said(&Dialect::GALILEO, 422, detail));
    assert!(said(&Dialect::OAUTH2, 400, r#"{"error":"invalid_grant"}"#));
    for (status, error) in
        [(400, "invalid_request"), (401, "invalid_client"), (401, "invalid_grant")]
    {
        assert!(!said(&Dialect::OAUTH2, status, &format!(r#"{{"error":"{error}"}}"#)));
    }
}

/// A file that an operator writes by hand.
const TOML: &str = r#"
name = "acme"
path = "/session/renew"
token = "refresh"
places = [{ json = "renewal" }]
fixed = []
client_authentication = false
rejected = [{ from = 410, to = 410, body = [] }]

[answer]
access_token = "jwt"
successor = { member = "renewal" }
members = []

[errors]
missing = { status = 400, body = "{}" }
invalid = { status = 410, body = "{}" }
expired = { status = 410, body = "{}" }
user_gone = { status = 410, body = "{}" }
malformed = { status = 400, body = "{}" }
"#;

#[test]
fn a_toml_file_is_read_too_and_its_errors_name_the_field() {
    let read = |text: &str| Dialect::from_deserializer(toml::Deserializer::parse(text).unwrap());
    let dialect = read(TOML).unwrap();
    assert_eq!((&*dialect.name, &*dialect.path), ("acme", "/session/renew"));
    for (from, to, field) in [
        ("status = 400", "status = \"many\"", "errors.missing.status"),
        ("jwt\"", "jwt\"\nsucessor = 1", "answer"),
        ("from = 410", "from = -1", "rejected[0].from"),
    ] {
        let problem = read(&TOML.replacen(from, to, 1)).unwrap_err();
        assert!(problem.field().starts_with(field), "{problem}");
    }
}
