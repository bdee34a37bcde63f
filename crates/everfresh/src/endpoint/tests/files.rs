//! Dialects as data: constants, files, and the answers that end a session.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::refused::{self, Refused, refused};
use crate::dialect::Dialect;

#[test]
fn every_constant_is_sound_and_survives_a_file() {
    for dialect in Dialect::ALL {
        dialect.check().unwrap();
        let file = serde_json::to_string_pretty(dialect).unwrap();
        assert_eq!(&Dialect::from_json(&file).unwrap(), dialect, "{file}");
        let errors = &dialect.serving.as_ref().unwrap().errors;
        for failed in [&errors.invalid, &errors.expired] {
            let status = StatusCode::from_u16(failed.status).unwrap();
            let body = failed.body.as_bytes();
            assert!(
                dialect.is_rejected(status, &HeaderMap::new(), body),
                "{}: own answer",
                dialect.name
            );
        }
    }
}

#[test]
fn an_error_in_a_file_names_its_field() {
    let file = serde_json::to_value(&Dialect::OAUTH2).unwrap();
    for Refused { pointer, value, field, says } in refused() {
        let changed = refused::put(&file, pointer, value);
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
    fewer["serving"].as_object_mut().unwrap().remove("errors");
    let problem = Dialect::from_json(&fewer.to_string()).unwrap_err();
    assert!(problem.to_string().contains("missing field `errors`"), "{problem}");
}

// Rows: F70.
#[test]
fn only_a_dialects_own_words_end_a_session() {
    let said = |dialect: &Dialect, status: u16, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        dialect.is_rejected(status, &HeaderMap::new(), body.as_bytes())
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
    // A filter of the plugin may change the status.
    assert!(said(&Dialect::JWT_AUTH_PRO, 401, invalid));
    assert!(!said(&Dialect::JWT_AUTH_PRO, 429, invalid));
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
        [(400, "invalid_request"), (401, "invalid_client"), (500, "invalid_grant")]
    {
        assert!(!said(&Dialect::OAUTH2, status, &format!(r#"{{"error":"{error}"}}"#)));
    }
}

/// A handwritten file of an operator.
const TOML: &str = r#"
name = "acme"
paths = "/session/renew"

[request]
places = [{ body = "renewal" }]

[response]
access_token = "jwt"
refresh_token = "renewal"

[[rules]]
status = 410
outcome = "rejected"

[serving]
rotates = true
members = [{ name = "jwt", value = "access_token" }, { name = "renewal", value = "refresh_token" }]

[serving.errors]
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
    assert_eq!((&*dialect.name, &*dialect.paths[0]), ("acme", "/session/renew"));
    for (from, to, field) in [
        ("status = 400", "status = \"many\"", "serving.errors.missing.status"),
        ("jwt\"", "jwt\"\nsucessor = 1", "response"),
        ("status = 410", "status = -1", "rules[0].status"),
    ] {
        let problem = read(&TOML.replacen(from, to, 1)).unwrap_err();
        assert!(problem.field().starts_with(field), "{problem}");
    }
}
