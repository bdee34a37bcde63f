//! Numbers in tokens and answers, with any features of `serde_json` that the app's other crates
//! enable.

use everfresh::dialect::{Dialect, RefreshOutcome};
use everfresh::upstream::Received;
use everfresh::{Algorithm, Key, Keys, Timestamp, TrustedIssuer};
use futures::executor::block_on;

use super::*;

const NOW: u64 = 1_800_000_000;

/// The parsed token with these claims beside `iss`, `aud` and `sub`.
fn read(dates: &str) -> Result<Received, String> {
    beside::install();
    let issuer = TrustedIssuer::new(
        Keys::new(Key::hmac(Algorithm::HS256, &SECRET).unwrap()).unwrap(),
        "https://id.example",
        "app",
    );
    let payload = format!(r#"{{"iss":"https://id.example","aud":"app","sub":"alice",{dates}}}"#);
    let signed = format!("{}.{}", b64(r#"{"alg":"HS256"}"#), b64(&payload));
    let key = EncodingKey::from_secret(&SECRET);
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, theirs(Algorithm::HS256)).unwrap();
    let token = format!("{signed}.{signature}");
    block_on(issuer.read(&token, Timestamp::from_secs(NOW)))
        .map_err(|refused| format!("{refused:?}"))
}

fn b64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

// Rows: R6.
#[test]
fn dates_are_read_with_a_fraction_and_with_an_exponent() {
    for exp in ["1800000600", "1800000600.0", "1800000600.75", "1.8000006e9"] {
        for iat in ["1800000000", "1800000000.5", "1.8e9"] {
            let read = read(&format!(r#""exp":{exp},"iat":{iat},"level":1.50"#)).unwrap();
            assert_eq!(read.lifetime.as_secs(), 600, "{exp} {iat}");
            assert_eq!(read.claims["level"].as_f64(), Some(1.5));
        }
    }
    for exp in ["-1", "1e999", "\"1800000600\"", "null"] {
        assert!(read(&format!(r#""exp":{exp}"#)).is_err(), "{exp}");
    }
}

// Rows: R6.
#[test]
fn the_lifetime_in_an_answer_is_read_alike_by_every_dialect() {
    for (text, secs) in [
        ("3600", Some(3600)),
        ("3600.0", Some(3600)),
        ("3600.9", Some(3600)),
        ("3.6e3", Some(3600)),
        ("\"3600\"", Some(3600)),
        ("-1", None),
        ("0.5", None),
        ("{\"a\":1}", None),
    ] {
        let body = format!(r#"{{"access_token":"a","expires_in":{text}}}"#);
        let now = Timestamp::from_secs(NOW);
        let answered =
            Dialect::OAUTH2.read(http::StatusCode::OK, &Default::default(), body.as_bytes(), now);
        let RefreshOutcome::Issued(issued) = answered else { panic!("{text}: {answered:?}") };
        assert_eq!(issued.expires_in.map(|lives| lives.as_secs()), secs, "{text}");
    }
}
