//! A JWK set of another server. Every accepted key is strong enough, and is published unchanged.

#![no_main]

use everfresh::{Algorithm, Keys};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(set) = std::str::from_utf8(data) else { return };
    let Ok(keys) = Keys::from_jwk_set(set) else { return };
    assert!(!keys.can_sign());
    let public = keys.public_jwk_set();
    let parsed: Value = serde_json::from_str(&public).expect("JSON");
    let published = parsed["keys"].as_array().expect("an array");
    if published.is_empty() {
        // The set has only shared secrets, which are not published.
        return;
    }
    let again = Keys::from_jwk_set(&public).expect("what we publish can be read");
    assert_eq!(again.public_jwk_set(), public);
    for key in published {
        let alg: Algorithm =
            key["alg"].as_str().expect("an algorithm").parse().expect("a known one");
        let hmac = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        assert!(!hmac.contains(&alg), "a secret is published");
    }
});
