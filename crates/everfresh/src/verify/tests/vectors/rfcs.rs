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

#[test]
fn s13_rfc_7515() {
    let mut tally = Tally::new("RFC 7515, appendix A");
    let all = rfc7515();
    for (name, header, jwk, signature) in &all {
        let keys = keys(jwk).unwrap();
        let good = open(&format!("{header}.{PAYLOAD}.{signature}"), &keys);
        tally.note(name, good == Ok(B64.decode(PAYLOAD).unwrap()));
        // Nobody else's key, header or signature.
        for (other, its_header, _, its_signature) in all.iter().filter(|(one, ..)| one != name) {
            for (header, signature) in
                [(its_header, its_signature), (header, its_signature), (its_header, signature)]
            {
                let bad = open(&format!("{header}.{PAYLOAD}.{signature}"), &keys);
                tally.note(format!("{name} with {other}"), bad.is_err());
            }
        }
        // A.5, which is not secured.
        let none = open(&format!("eyJhbGciOiJub25lIn0.{PAYLOAD}."), &keys);
        let signed = open(&format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.{signature}"), &keys);
        tally.note("A.5", none == Err(InvalidReason::Malformed));
        tally.note("A.5, with a signature", signed == Err(InvalidReason::Header));
        // A.4's header: ES512, its curve's.
        let es512 = open(&format!("eyJhbGciOiJFUzUxMiJ9.{PAYLOAD}.{signature}"), &keys);
        tally.note("A.4, another key's", es512 == Err(InvalidReason::Header));
    }
    tally.excuse(NO_ES512); // A.4
    tally.end(31);
}

/// The signatures of one example: as compact, and put together from the parts of the JSON forms.
fn compact_forms(example: &Value) -> Vec<Option<String>> {
    let payload = example["output"]["json"]["payload"]
        .as_str()
        .map_or_else(|| B64.encode(example["input"]["payload"].as_str().unwrap()), str::to_owned);
    let signing = match &example["signing"] {
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    };
    signing
        .iter()
        .map(|one| Some((one["protected_b64u"].as_str()?, one["sig"].as_str()?)))
        .map(|parts| parts.map(|(header, signature)| format!("{header}.{payload}.{signature}")))
        .collect()
}

#[test]
fn s12_rfc_7520_signatures() {
    let mut tally = Tally::new("RFC 7520, section 4");
    for path in files("jws") {
        let example = json(&path);
        let jwks = match &example["input"]["key"] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        let payload = example["input"]["payload"].as_str().unwrap().as_bytes();
        let name = path.file_name().unwrap().display().to_string();
        for (form, jwk) in compact_forms(&example).iter().zip(&jwks) {
            if jwk["crv"] == "P-521" {
                assert!(keys(jwk).unwrap_err().contains("P-256 or P-384"));
                tally.excuse(NO_ES512);
                continue;
            }
            let Some(token) = form else {
                tally.excuse(NOT_COMPACT);
                continue;
            };
            // Where the key names no algorithm, the caller does.
            let mut jwk = jwk.clone();
            let header: Value =
                serde_json::from_slice(&B64.decode(token.split('.').next().unwrap()).unwrap())
                    .unwrap();
            jwk["alg"] = header["alg"].clone();
            let keys = keys(&jwk).unwrap();
            tally.note(&name, open(token, &keys).as_deref() == Ok(payload));
            let other = format!("{token}A");
            tally.note(format!("{name}, changed"), open(&other, &keys).is_err());
            // The payload left out (section 4.5).
            let mut parts = token.split('.');
            let (head, tail) = (parts.next().unwrap(), parts.nth(1).unwrap());
            let detached = open(&format!("{head}..{tail}"), &keys);
            tally.note(format!("{name}, detached"), detached == Err(InvalidReason::Malformed));
            // The JSON forms are no tokens of ours.
            for form in ["json", "json_flat"] {
                if let Some(json) = example["output"].get(form) {
                    let refused = open(&json.to_string(), &keys);
                    tally.note(format!("{name}, {form}"), refused.is_err());
                }
            }
        }
    }
    tally.end(36);
}

#[test]
fn s38_s40_rfc_7520_keys() {
    let mut tally = Tally::new("RFC 7520, section 3");
    for path in files("jwk") {
        let name = path.file_name().unwrap().display().to_string();
        let found = key(&json(&path));
        let said = found.as_ref().err().cloned().unwrap_or_default();
        let as_expected = match &name[..3] {
            "3_1" | "3_2" => said.contains("`crv` is not P-256 or P-384"),
            "3_6" => said.contains("`use` is not `sig`"),
            _ => found.is_ok(),
        };
        tally.note(format!("{name}: {found:?}"), as_expected);
    }
    tally.end(6);
}

/// A payload that is not base64url was never meant for a token (RFC 7797 section 7).
#[test]
fn s16_rfc_7797() {
    let mut tally = Tally::new("RFC 7797, section 4");
    for path in files("rfc7797") {
        let example = json(&path);
        let keys = keys(&example["input"]["key"]).unwrap();
        for form in ["compact", "json", "json_flat"] {
            let Some(output) = example["output"].get(form) else { continue };
            let token = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            tally.note(format!("{form} of {}", path.display()), open(&token, &keys).is_err());
        }
        // The same header over a payload that could be read, and signed.
        let header = r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#;
        let signer = key(&example["input"]["key"]).unwrap();
        for header in [header, r#"{"alg":"HS256","b64":false}"#, r#"{"alg":"HS256","b64":true}"#] {
            let refused = open(&sign_text(&signer, header, "$.02"), &keys);
            tally.note(header, refused == Err(InvalidReason::Header));
        }
    }
    tally.end(11);
}

#[test]
fn s12_rfc_8037() {
    let mut tally = Tally::new("RFC 8037, appendix A");
    let folder = folder("ietf-jose-cookbook/curve25519");
    let example = json(&folder.join("jws.json"));
    let ed25519 = keys(&example["input"]["key"]).unwrap();
    let token = example["output"]["compact"].as_str().unwrap();
    let payload = example["input"]["payload"].as_str().unwrap().as_bytes();
    tally.note("A.4", open(token, &ed25519).as_deref() == Ok(payload));
    tally.note("A.5", open(&token.replacen("RX", "RY", 1), &ed25519).is_err());

    let example = json(&folder.join("ecdh-es.json"));
    let said = keys(&example["input"]["key"]).unwrap_err();
    tally.note("A.6, its key", said.contains("`use` is not `sig`"));
    let mut to_sign_with = example["input"]["key"].clone();
    to_sign_with["use"] = json!("sig");
    let said = keys(&to_sign_with).unwrap_err();
    tally.note(format!("A.6, X25519: {said}"), said.contains("`kty` is not supported"));
    let encrypted = example["output"]["compact"].as_str().unwrap();
    tally.note("A.6", open(encrypted, &ed25519) == Err(InvalidReason::Malformed));
    tally.end(5);
}

fn files(name: &str) -> Vec<PathBuf> {
    let folder = folder("ietf-jose-cookbook").join(name);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
