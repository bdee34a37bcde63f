//! The examples of RFC 7515, 7520, 7797 and 8037.

use super::*;

const NO_ES512: &str = "ES512 is not supported, nor is its curve P-521";
const NOT_COMPACT: &str = "no protected header: it has no compact form";

/// The payload of every example in RFC 7515 appendix A.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                       cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// RFC 7515 appendix A: header, key, signature.
fn rfc7515() -> [(&'static str, &'static str, Value, &'static str); 3] {
    let hs256 = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\
                                           aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let rs256 = json!({"kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEz\
              P1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf6\
              3kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw\
              Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyu\
              XpoQ"});
    let es256 = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    [
        (
            "A.1",
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            hs256,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "A.2",
            "eyJhbGciOiJSUzI1NiJ9",
            rs256,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O\
             8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARN\
             PvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ\
             1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            "A.3",
            "eyJhbGciOiJFUzI1NiJ9",
            es256,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ]
}

// Rows: S13.
#[test]
fn each_signature_of_rfc_7515_verifies_with_its_own_key_alone() {
    let mut tally = Tally::new("RFC 7515, appendix A");
    let all = rfc7515();
    for (name, header, jwk, signature) in &all {
        let keys = keys(jwk).unwrap();
        let good = open(&format!("{header}.{PAYLOAD}.{signature}"), &keys);
        tally.note(name, good == Ok(B64.decode(PAYLOAD).unwrap()));
        // The key, header or signature of any other example fails.
        for (other, its_header, _, its_signature) in all.iter().filter(|(one, ..)| one != name) {
            for (header, signature) in
                [(its_header, its_signature), (header, its_signature), (its_header, signature)]
            {
                let bad = open(&format!("{header}.{PAYLOAD}.{signature}"), &keys);
                tally.note(format!("{name} with {other}"), bad.is_err());
            }
        }
        // A.5, an unsecured token.
        let none = open(&format!("eyJhbGciOiJub25lIn0.{PAYLOAD}."), &keys);
        let signed = open(&format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.{signature}"), &keys);
        tally.note("A.5", none == Err(InvalidReason::Malformed));
        tally.note("A.5, with a signature", signed == Err(InvalidReason::Header));
        // A.4's header names ES512, which matches its curve.
        let es512 = open(&format!("eyJhbGciOiJFUzUxMiJ9.{PAYLOAD}.{signature}"), &keys);
        tally.note("A.4, another key's", es512 == Err(InvalidReason::Header));
    }
    tally.excuse(NO_ES512); // A.4
    tally.end(31);
}

/// The examples of RFC 7520: the keys of section 3, the payload of section 4 and its signatures.
fn rfc7520() -> Value {
    serde_json::from_str(include_str!("rfc7520.json")).unwrap()
}

/// The JSON forms of the signatures of one section (RFC 7515 section 7.2): the general form, and
/// the flattened form if there is one signature.
fn json_forms(payload: &str, signatures: &[&Value]) -> Vec<String> {
    let of = |one: &Value| match one["protected"].as_str() {
        Some(protected) => json!({"protected": protected, "signature": one["signature"]}),
        None => json!({"header": {"alg": "HS256"}, "signature": one["signature"]}),
    };
    let mut all: Vec<Value> = signatures.iter().map(|one| of(one)).collect();
    let mut forms = vec![json!({"payload": payload, "signatures": all}).to_string()];
    if let [one] = &mut *all {
        one["payload"] = payload.into();
        forms.push(one.to_string());
    }
    forms
}

// Rows: S12.
#[test]
fn the_signatures_of_rfc_7520_are_verified_as_published() {
    let mut tally = Tally::new("RFC 7520, section 4");
    let examples = rfc7520();
    let payload = examples["payload"].as_str().unwrap();
    let text = B64.decode(payload).unwrap();
    let signatures = examples["signatures"].as_array().unwrap();
    for example in signatures {
        let name = example["section"].as_str().unwrap();
        let mut jwk = examples["keys"][example["key"].as_str().unwrap()].clone();
        if jwk["crv"] == "P-521" {
            assert!(keys(&jwk).unwrap_err().contains("P-256 or P-384"));
            tally.excuse(NO_ES512);
            continue;
        }
        let Some(head) = example["protected"].as_str() else {
            tally.excuse(NOT_COMPACT);
            continue;
        };
        let tail = example["signature"].as_str().unwrap();
        // If the key names no algorithm, the caller does.
        let header: Value = serde_json::from_slice(&B64.decode(head).unwrap()).unwrap();
        jwk["alg"] = header["alg"].clone();
        let keys = keys(&jwk).unwrap();
        let token = format!("{head}.{payload}.{tail}");
        tally.note(name, open(&token, &keys).as_deref() == Ok(&*text));
        let changed = open(&format!("{token}A"), &keys);
        tally.note(format!("{name}, changed"), changed.is_err());
        // The payload is detached (section 4.5).
        let detached = open(&format!("{head}..{tail}"), &keys);
        tally.note(format!("{name}, detached"), detached == Err(InvalidReason::Malformed));
        // everfresh does not accept the JSON forms.
        let beside: Vec<_> =
            signatures.iter().filter(|other| other["section"] == example["section"]).collect();
        for form in json_forms(payload, &beside) {
            tally.note(format!("{name}, {form}"), open(&form, &keys).is_err());
        }
    }
    tally.end(36);
}

// Rows: S38, S40.
#[test]
fn of_the_keys_of_rfc_7520_the_usable_ones_are_read() {
    let mut tally = Tally::new("RFC 7520, section 3");
    for (section, jwk) in rfc7520()["keys"].as_object().unwrap() {
        let found = key(jwk);
        let said = found.as_ref().err().cloned().unwrap_or_default();
        let as_expected = match &**section {
            "3.1" | "3.2" => said.contains("`crv` is not P-256 or P-384"),
            "3.6" => said.contains("`use` is not `sig`"),
            _ => found.is_ok(),
        };
        tally.note(format!("{section}: {found:?}"), as_expected);
    }
    tally.end(6);
}

/// A payload that is not base64url can't be part of a compact token (RFC 7797 section 7).
// Rows: S16.
#[test]
fn the_unencoded_payload_of_rfc_7797_is_refused() {
    let mut tally = Tally::new("RFC 7797, section 4");
    let jwk = &rfc7515()[0].2;
    let keys = keys(jwk).unwrap();
    // The control of section 4.1 has an encoded payload.
    let control = "eyJhbGciOiJIUzI1NiJ9.JC4wMg.5mvfOroL-g7HyqJoozehmsaqmvTYGEq5jTI1gVvoEoQ";
    tally.note("4.1", open(control, &keys).as_deref() == Ok(b"$.02"));
    let head = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19";
    let tail = "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";
    let flattened = json!({"protected": head, "payload": "$.02", "signature": tail});
    for token in [format!("{head}..{tail}"), format!("{head}.$.02.{tail}"), flattened.to_string()] {
        tally.note(format!("4.2 as {token}"), open(&token, &keys).is_err());
    }
    // The same header over a readable payload, signed.
    let header = r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#;
    let signer = key(jwk).unwrap();
    for header in [header, r#"{"alg":"HS256","b64":false}"#, r#"{"alg":"HS256","b64":true}"#] {
        for payload in ["$.02", "payload"] {
            let refused = open(&sign_text(&signer, header, payload), &keys);
            tally.note(header, refused == Err(InvalidReason::Header));
        }
    }
    tally.end(10);
}

// Rows: S12.
#[test]
fn the_signature_of_rfc_8037_verifies() {
    let mut tally = Tally::new("RFC 8037, appendix A");
    let ed25519 = keys(&json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}))
    .unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt\
                 7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    tally.note("A.4", open(token, &ed25519).as_deref() == Ok(b"Example of Ed25519 signing"));
    tally.note("A.5", open(&token.replacen("RX", "RY", 1), &ed25519).is_err());

    let mut x25519 = json!({"kty": "OKP", "crv": "X25519", "kid": "Bob", "use": "enc",
        "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"});
    let said = keys(&x25519).unwrap_err();
    tally.note("A.6, for encryption", said.contains("`use` is not `sig`"));
    x25519["use"] = json!("sig");
    let said = keys(&x25519).unwrap_err();
    tally.note(format!("A.6, X25519: {said}"), said.contains("`kty` is not supported"));
    // A.6's header, in a token of five parts.
    let header = json!({"alg": "ECDH-ES+A128KW", "epk": x25519, "enc": "A128GCM", "kid": "Bob"});
    let encrypted = format!("{}.a.b.c.d", B64.encode(header.to_string()));
    tally.note("A.6", open(&encrypted, &ed25519) == Err(InvalidReason::Malformed));
    tally.end(5);
}
