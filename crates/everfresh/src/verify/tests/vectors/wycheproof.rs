//! Wycheproof's JWS, JWK and mixed files: forged, malformed and misused tokens and keys.
//!
//! The files are in the crate `wycheproof-ng-kdf-jose`.

use wycheproof_ng_kdf_jose::json_web::TestName;

use super::*;

/// Vectors that differ from their label, with the reason.
const EXCUSED: &[(&str, u64, &str)] = &[
    (JWS, 346, "labelled valid: the key is for PS256, the header says PS384; a key has one alg"),
    (JWS, 350, "labelled valid: the key is for PS256, the header says PS384; a key has one alg"),
    (JWS, 259, EMPTY),
    (JWS, 264, EMPTY),
    (JWS, 268, EMPTY),
    (JWS, 272, EMPTY),
    (JWS, 320, EMPTY),
    (JWS, 325, EMPTY),
    (JWS, 347, "ES512 is not supported (and the key's `alg` is misspelt ES521)"),
    (JWS, 351, "ES512 is not supported (and the key's `alg` is misspelt ES521)"),
    (JWS, 367, "labelled invalid, but the same bytes as 357, labelled valid (wycheproof#236)"),
    (JWS, 370, "labelled invalid, but the same bytes as 357, labelled valid (wycheproof#236)"),
    (JWS, 372, "labelled valid: `?` is not in the alphabet of base64url (RFC 7515 section 2)"),
    (JWS, 373, "labelled valid: `?` is not in the alphabet of base64url (RFC 7515 section 2)"),
    (JWK, 4, "the second key of one name is not strict base64url, so it is no key: see below"),
    (JWK, 7, "a ROCA key: finding weak keys of others is not what a verifier can do"),
    (MIXED, 46, "a ROCA key: finding weak keys of others is not what a verifier can do"),
];

const EMPTY: &str = "labelled valid: an empty payload, which no claims are";

const JWS: &str = "json_web_signature_test";
const JWK: &str = "json_web_key_test";
const MIXED: &str = "json_web_crypto_test";

fn suite(file: &str) -> Value {
    let name = match file {
        JWS => TestName::JsonWebSignature,
        JWK => TestName::JsonWebKey,
        _ => TestName::JsonWebCrypto,
    };
    serde_json::from_str(name.json_data()).unwrap()
}

fn run(file: &'static str, expected: usize) {
    let suite = suite(file);
    let mut tally = Tally::new(file);
    for group in suite["testGroups"].as_array().unwrap() {
        let jwk = group.get("public").unwrap_or(&group["private"]);
        let keys = match jwk.get("keys") {
            Some(_) => Keys::from_jwk_set(&jwk.to_string()).map_err(|error| error.to_string()),
            None => keys(jwk),
        };
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let token = test.get("jws").or(test.get("jwe")).unwrap();
            let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            // everfresh accepts no encrypted token, for any label.
            let valid = test["result"] == "valid" && test.get("jws").is_some();
            let opened = match &keys {
                Ok(keys) => open(&token, keys).map_err(|reason| format!("{reason:?}")),
                Err(refused) => Err(refused.clone()),
            };
            let as_labelled = opened.is_ok() == valid;
            match EXCUSED.iter().find(|(of, other, _)| *of == file && *other == id) {
                // An excuse for a vector that matches its label is an error.
                Some((.., reason)) if !as_labelled => tally.excuse(reason),
                Some(_) => tally.note(format!("{id} needs no excuse"), false),
                None => {
                    let comment = &test["comment"];
                    tally.note(format!("{id} {comment}: {opened:?}"), as_labelled);
                }
            }
        }
    }
    tally.end(expected);
}

/// These include confused algorithms, `none`, non-canonical base64url, psychic signatures
/// (CVE-2022-21449) and encryption keys.
// Rows: S12, S13, S14, S28, S38.
#[test]
fn signatures_of_wycheproof_are_verified_as_published() {
    run(JWS, 401);
}

// Rows: S14, S30, S38.
#[test]
fn keys_of_wycheproof_are_verified_as_published() {
    run(JWK, 26);
}

/// JWK 4 with a readable second key, as it was intended.
// Rows: S38.
#[test]
fn a_kid_that_comes_twice_is_refused() {
    let suite = suite(JWK);
    let groups = suite["testGroups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["comment"] == "jws_duplicate_kid").unwrap();
    let text = group["private"].to_string().replacen("Bingge", "BinggE", 1);
    let problem = Keys::from_jwk_set(&text).unwrap_err();
    assert_eq!(problem, KeyError::DuplicateKid("kid-aes-sign".into()));
}

/// Tokens of five parts are refused.
// Rows: S07, S14.
#[test]
fn encrypted_tokens_of_wycheproof_are_refused() {
    run(MIXED, 83);
}
