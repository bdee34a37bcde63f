//! A build without a cryptographic backend refuses every key, and says which feature to switch on.
//! Run with: `cargo test -p everfresh --no-default-features --test no_backend`

#![cfg(not(feature = "aws-lc"))]

use everfresh::{Algorithm, Key, KeyError, KeyRing, Keys};

const SECRET: &[u8] = b"o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
const JWK: &str = r#"{"kty": "OKP", "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

#[test]
fn without_a_backend_every_key_is_refused_and_the_error_names_the_feature() {
    let pem = |tag: &str| format!("-----BEGIN {tag}-----\nAAAA\n-----END {tag}-----\n");
    let from_pem = |tag: &str| Key::from_pem(Algorithm::EdDSA, pem(tag).as_bytes()).err();
    let errors = [
        Key::hmac(Algorithm::HS256, SECRET).err(),
        Key::from_der(Algorithm::RS256, &[0x30]).err(),
        Key::from_jwk(JWK).err(),
        from_pem("PRIVATE KEY"),
        from_pem("PUBLIC KEY"),
        Keys::hs256(SECRET).err(),
        Keys::from_jwk_set(&format!(r#"{{"keys": [{JWK}]}}"#)).err(),
        KeyRing::new(SECRET).err(),
    ];
    for (n, error) in errors.iter().enumerate() {
        assert_eq!(error, &Some(KeyError::NoBackend), "{n}");
    }
    assert!(KeyError::NoBackend.to_string().contains("feature `aws-lc`"));
}
