//! A JWK set of another server: every key that is taken has its strength, and is published as it
//! was taken.

#![no_main]

use everfresh::{Algorithm, JwkSet, Keys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(set) = serde_json::from_slice::<JwkSet>(data) else { return };
    let Ok(keys) = Keys::from_jwk_set(&set) else { return };
    assert!(!keys.can_sign());
    let public = keys.public_jwk_set();
    if public.keys.is_empty() {
        // Shared secrets are none of anybody's.
        return;
    }
    let again = Keys::from_jwk_set(&public).expect("what we publish can be read");
    assert_eq!(again.public_jwk_set(), public);
    for key in &public.keys {
        let alg = key.common.key_algorithm.expect("an algorithm").to_string();
        let hmac = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        assert!(hmac.iter().all(|hmac| format!("{hmac:?}") != alg), "a secret is published");
    }
});
