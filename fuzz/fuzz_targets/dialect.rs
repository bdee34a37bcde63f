//! A dialect's file. An accepted dialect can be saved and loaded, writes requests and reads
//! answers.

#![no_main]

use everfresh::Timestamp;
use everfresh::dialect::{ClientAuthentication, Dialect, Place, RequestValues};
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let dialect = match Dialect::from_json(text) {
        Ok(dialect) => dialect,
        Err(error) => {
            assert!(!error.field().is_empty() && !error.to_string().is_empty());
            return;
        }
    };
    dialect.check().expect("what was read is sound");
    let file = serde_json::to_string(&dialect).expect("it can be written");
    assert_eq!(Dialect::from_json(&file).expect("and read again"), dialect);

    let client = ClientAuthentication::None { id: "web".into() };
    let now = Timestamp::from_secs(1_800_000_000);
    let settings =
        dialect.settings().map(|name| (name.to_owned(), "a".to_owned().into())).collect();
    let values = RequestValues::new("a-token").access_token("a.b.c").client(&client);
    let request = dialect.request(&values.settings(&settings), now).expect("a sound dialect asks");
    let in_query = dialect.request.places.iter().any(|one| matches!(one, Place::Query(_)));
    let query = request.uri().query().unwrap_or_default();
    assert!(in_query || !query.contains("a-token"), "no token in a URL unasked");
    for status in [200, 400, 401, 403, 404, 500] {
        let status = StatusCode::from_u16(status).expect("a status");
        for body in ["", "{}", r#"{"error":"invalid_grant","detail":"x","access_token":"a"}"#] {
            dialect.read(status, &HeaderMap::new(), body.as_bytes(), now);
        }
    }
});
