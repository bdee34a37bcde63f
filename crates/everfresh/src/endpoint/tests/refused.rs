//! Changes of a file that make it a bad dialect. The test of the JSON Schema, in another crate, reads
//! this file too.

use serde_json::{Value, json};

/// A value in a dialect's file that is refused.
pub(crate) struct Refused {
    /// Where it is put.
    pub(crate) pointer: &'static str,
    pub(crate) value: Value,
    /// The field that the error names.
    pub(crate) field: &'static str,
    /// A part of the error's text.
    pub(crate) says: &'static str,
}

/// Returns the file with a value in place of the one at the pointer, or beside the members there.
pub(crate) fn put(file: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = file.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(pointer) {
        Some(found) => *found = value,
        None => changed.pointer_mut(parent).unwrap()[member] = value,
    }
    changed
}

/// Values that the file of `Dialect::OAUTH2` can't have.
pub(crate) fn refused() -> Vec<Refused> {
    let rows = [
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
        (
            "/request/token",
            json!({"access": {"expired_for": 0, "expired": 1}}),
            "request.token.access.expired",
            "unknown field `expired`",
        ),
    ];
    let row = |(pointer, value, field, says)| Refused { pointer, value, field, says };
    rows.into_iter().map(row).collect()
}
