#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use everfresh::{Keys, MemoryStore, NativePaths, Rotate};
use serde_json::json;

use super::*;

fn served() -> (Engine<()>, Value) {
    let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap();
    let builder = Engine::<()>::builder(keys)
        .issuer("i")
        .audience("a")
        .client("app", None)
        .refresh_with(Rotate::new(MemoryStore::new()));
    let dialects = Dialect::ALL.into_iter().cloned();
    let auth = dialects.fold(builder, |builder, dialect| builder.dialect(dialect)).build().unwrap();
    let document = serde_json::to_value(document(&auth)).unwrap();
    (auth, document)
}

#[test]
fn every_endpoint_stands_in_the_document_and_nothing_else() {
    let (auth, document) = served();
    assert_eq!(document["openapi"], "3.1.0");
    let mut expected: Vec<_> = auth.endpoints().iter().map(|one| one.path().to_owned()).collect();
    let mut found: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for endpoint in auth.endpoints() {
        let item = &document["paths"][endpoint.path()];
        let mut methods: Vec<_> =
            item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        methods.sort();
        assert_eq!(methods.join(", "), endpoint.methods(), "{}", endpoint.path());
        for operation in item.as_object().unwrap().values() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("200") || responses.contains_key("204"));
        }
    }
}

// Rows: N5.
#[test]
fn an_endpoint_that_was_moved_is_described_where_it_is() {
    let auth = Engine::<()>::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(Rotate::new(MemoryStore::new()))
        .native_paths(NativePaths::under("/session"))
        .build()
        .unwrap();
    let document = serde_json::to_value(document(&auth)).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.keys().all(|path| !path.starts_with("/auth/")), "{paths:?}");
    let refresh = &document["paths"]["/session/refresh"]["post"];
    assert!(refresh["summary"].as_str().unwrap().starts_with("Refresh the session"));
    assert!(refresh["responses"]["401"].is_object());
}

#[test]
fn the_documents_fields_types_and_errors_are_there() {
    let (_, document) = served();
    let post = |path: &str| document["paths"][path]["post"].clone();
    let json_of = |operation: &Value, status: &str| {
        operation["responses"][status]["content"]["application/json"].clone()
    };
    let pro = post("/wp-json/jwt-auth/v1/token/refresh");
    let schema = &pro["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["required"], json!(["refresh_token"]));
    let properties = &json_of(&pro, "200")["schema"]["properties"];
    assert_eq!(properties["user_id"]["type"], "integer");
    for text in ["token", "user_email", "user_nicename", "user_display_name", "refresh_token"] {
        assert_eq!(properties[text]["type"], "string", "{text}");
    }
    assert_eq!(json_of(&pro, "403")["example"]["code"], "jwt_auth_invalid_token");

    let galileo = post("/v1/refresh_token");
    assert_eq!(galileo["parameters"][0]["in"], "cookie");
    assert_eq!(galileo["parameters"][0]["name"], "refresh_token");
    assert_eq!(galileo["parameters"][0]["required"], true);
    assert_eq!(json_of(&galileo, "200")["schema"]["required"], json!(["access_token"]));
    assert_eq!(json_of(&galileo, "422")["example"]["detail"][0]["type"], "missing");

    let redis = post("/v1/users/refresh_jwt");
    let ttl = &redis["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(ttl["properties"]["ttl"]["type"], "integer");
    assert_eq!(redis["requestBody"]["required"], false);

    let freddy = post("/v1/auth/refresh");
    let examples = &json_of(&freddy, "401")["examples"];
    assert_eq!(examples["1"]["value"]["detail"], "Invalid refresh token");
    assert_eq!(examples["2"]["value"]["detail"], "Refresh token has expired");

    let vijil = post("/v1/auth/jwt/refresh");
    assert_eq!(vijil["parameters"].as_array().unwrap().len(), 2);
    assert_eq!(json_of(&vijil, "404")["example"]["detail"], "User not found");

    let oauth2 = post("/oauth/token");
    let form = &oauth2["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
    assert_eq!(form["properties"]["grant_type"]["enum"], json!(["refresh_token"]));
}
