//! A dialect's file: what is taken survives a file, writes requests and reads answers.

#![no_main]

use everfresh::Timestamp;
use everfresh::dialect::{ClientAuthentication, Dialect};
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
    let request = dialect.request("a-token", Some(&client), now).expect("a sound dialect asks");
    assert_eq!(request.uri().path(), &*dialect.path);
    assert!(request.uri().query().is_none(), "no token in a URL");
    for status in [200, 400, 401, 403, 404, 500] {
        let status = StatusCode::from_u16(status).expect("a status");
        for body in ["", "{}", r#"{"error":"invalid_grant","detail":"x","access_token":"a"}"#] {
            dialect.read(status, &HeaderMap::new(), body.as_bytes(), now);
        }
    }
});
