//! Dialects as data: constants, files, and the answers that end a session.

use http::{HeaderMap, StatusCode};
use serde_json::json;

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
    for (pointer, value, field, says) in [
        ("/paths", json!("token"), "paths", "an absolute path"),
        ("/paths", json!("/a?b"), "paths", "an absolute path"),
        ("/paths", json!("/a`b"), "paths", "an absolute path"),
        ("/paths", json!(7), "paths", "invalid type: integer `7`"),
        ("/paths", json!([]), "paths", "wanted are 1 to 4"),
        ("/request/places", json!([]), "request.places", "wanted are 1 to 4"),
        ("/request/places/0", json!({"cookie": "a b"}), "request.places.cookie", "a cookie's name"),
        ("/request/places/0", json!({"body": "a..b"}), "request.places.body", "name or path"),
        ("/request/places/0", json!({"basket": "a"}), "request.places[0]", "variant `basket`"),
        ("/request/places/0", json!({"query": "token"}), "request.places", "which servers log"),
        (
            "/request/token",
            json!({"access": {"expired_for": -1}}),
            "request.token.access.expired_for",
            "-1",
        ),
        (
            "/request/token",
            json!({"access": {"expired_for": 0}}),
            "response.refresh_token",
            "alone",
        ),
        ("/request/members/0/value", json!({"setting": ""}), "request.members[0].value", "a name"),
        (
            "/request/members/0/value",
            json!({"colour": "a"}),
            "request.members[0].value",
            "`colour`",
        ),
        (
            "/request/members/0/value",
            json!(1.5),
            "request.members[0].value",
            "a string, an integer",
        ),
        ("/request/members/0/value", json!({"kept": "a"}), "request.members[0].value", "fixed one"),
        ("/request/method", json!("GET"), "request.method", "no body"),
        ("/request/method", json!("FETCH"), "request.method", "unknown variant `FETCH`"),
        (
            "/request/headers",
            json!([{"name": "Host", "value": "a"}]),
            "request.headers[0].name",
            "HTTP does not set",
        ),
        (
            "/request/headers",
            json!([{"name": "a", "value": "\n"}]),
            "request.headers[0].value",
            "field's value",
        ),
        (
            "/request/lifetime",
            json!({"member": "ttl", "min": 2, "max": 1}),
            "request.lifetime",
            "2 to 1",
        ),
        (
            "/request/lifetime",
            json!({"member": "ttl", "min": 1, "max": 2}),
            "request.lifetime",
            "a form",
        ),
        (
            "/request/access_token",
            json!({"body": "refresh_token"}),
            "request.access_token",
            "another one",
        ),
        ("/request/access_token", json!({"body": "a"}), "request.access_token", "one token"),
        ("/response/access_token", json!([]), "response.access_token", "found no source"),
        (
            "/response/access_token",
            json!({"cookie": "a b"}),
            "response.access_token",
            "a cookie's name",
        ),
        ("/response/access_token", json!({"jar": "a"}), "response.access_token", "`jar`"),
        (
            "/response/expires_in",
            json!({"member": "a", "unit": "days"}),
            "response.expires_in.unit",
            "`days`",
        ),
        ("/response/keep", json!("a."), "response.keep", "name or path"),
        ("/rules/0/status", json!(700), "rules[0].status", "200 to 599"),
        ("/rules/0/status", json!("5xy"), "rules[0].status", "such as 403"),
        ("/rules/0/status", json!([]), "rules[0].status", "at least one"),
        (
            "/rules/0",
            json!({"status": 200, "outcome": "rejected"}),
            "rules[0].when",
            "by which body",
        ),
        ("/rules/0/outcome", json!("gone"), "rules[0].outcome", "unknown variant `gone`"),
        ("/rules/0/when/0", json!({"member": "error"}), "rules[0].when[0]", "`is` or `is_not`"),
        ("/rules/0/when/0/is", json!({"one_of": []}), "rules[0].when[0]", "compare with"),
        (
            "/serving/errors/invalid/status",
            json!(200),
            "serving.errors.invalid.status",
            "from 400 to 599",
        ),
        ("/serving/errors/invalid/body", json!("{"), "serving.errors.invalid.body", "JSON"),
        ("/serving/errors/client", json!(null), "serving.errors.client", "is missing"),
        ("/serving/errors/unsupported", json!(null), "serving.errors.unsupported", "is missing"),
        ("/serving/refresh_cookie", json!("a b"), "serving.refresh_cookie", "a cookie's name"),
        ("/sign_out", json!({"places": []}), "sign_out.places", "1 to 4"),
        (
            "/request/headers",
            json!([{"name": "authorization", "value": "a"}, {"name": "Authorization", "value": "b"}]),
            "request",
            "two values for `Authorization`",
        ),
        ("/name", json!(""), "name", "a name"),
    ] {
        let mut changed = file.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        match changed.pointer_mut(pointer) {
            Some(found) => *found = value,
            None => changed.pointer_mut(parent).unwrap()[member] = value,
        }
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
