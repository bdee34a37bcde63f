//! Rows S12, S30, S38, S40 and S41, and every defect of a key except for those in `secrets`.

use super::algorithms::Material;
use super::*;
use crate::testing::{Log, named_key};
use crate::verify::keys::MAX_KEYS;
use crate::{Engine, KeyRing, MemoryStore, Rotate};

fn pem_of(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der.to_vec()))
}

// Rows: S30.
#[test]
fn rsa_keys_have_2048_bits_or_more() {
    // A 1,024-bit modulus, which is too short for any use.
    let n = B64.encode([0xc5; 128]);
    let jwk = json!({"kty": "RSA", "n": n, "e": "AQAB"});
    let problem = Key::from_jwk(&jwk.to_string()).unwrap_err();
    assert_eq!(problem, KeyError::RsaSize { bits: 1024 });
    assert!(problem.to_string().contains("2048"), "{problem}");
    // The same, of PKCS#1.
    let der = [&b"\x30\x81\x89\x02\x81\x81\0"[..], &[0xc5; 128], b"\x02\x03\x01\0\x01"].concat();
    for alg in [Algorithm::RS256, Algorithm::PS384] {
        assert_eq!(Key::from_der(alg, &der).unwrap_err(), KeyError::RsaSize { bits: 1024 });
    }
    let secret = Key::hmac(Algorithm::HS256, &der).unwrap_err();
    assert!(secret.to_string().contains("public key"), "{secret}");
    let other = Key::from_der(Algorithm::ES256, &der).unwrap_err();
    assert!(matches!(other, KeyError::NotForAlgorithm { .. }), "{other}");
}

// Rows: S40.
#[test]
fn a_refused_jwk_names_the_reason() {
    let key = |jwk: Value| Key::from_jwk(&jwk.to_string());
    let says = |jwk: Value, reason: &str| {
        let problem = key(jwk).unwrap_err().to_string();
        assert!(problem.contains(reason), "{problem:?} lacks {reason:?}");
    };
    let ec = || jwk_set()["keys"][1].clone();
    let oct = || json!({"kty": "oct", "k": B64.encode(SECRET)});
    for alg in ["ES384", "HS256", "EdDSA"] {
        says(with(ec(), "alg", json!(alg)), "does not fit its `kty`");
    }
    says(with(oct(), "alg", json!("RS256")), "does not fit its `kty`");
    for name in ["x", "y"] {
        says(with(ec(), name, json!(B64.encode([7; 31]))), "the wrong length for its `crv`");
    }
    assert!(key(with(oct(), "key_ops", json!(["sign"]))).is_ok(), "it verifies what it signs");
    assert!(key(with(oct(), "key_ops", json!(["verify"]))).is_ok());
    says(with(oct(), "key_ops", json!(["encrypt"])), "`key_ops`");
    assert!(key(with(ec(), "key_ops", json!(["verify"]))).is_ok());
    says(with(ec(), "key_ops", json!(["sign"])), "`key_ops`");
}

#[test]
fn keys_come_from_pem_and_der_of_every_kind() {
    let material = Material::new();
    for alg in
        [Algorithm::RS256, Algorithm::PS512, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA]
    {
        let der = material.private(alg);
        let text = pem_of("PRIVATE KEY", der);
        assert!(Key::from_pem(alg, text.as_bytes()).unwrap().can_sign());
        assert!(Key::from_der(alg, der).unwrap().can_sign());
        let noisy = format!("{}\n{text}", pem_of("EC PARAMETERS", &[6, 1, 42]));
        assert!(Key::from_pem(alg, noisy.as_bytes()).unwrap().can_sign());
    }
    let public = pem_of("PUBLIC KEY", &material.rsa_public);
    let public = Key::from_pem(Algorithm::RS256, public.as_bytes()).unwrap();
    assert!(!public.can_sign());
    assert_eq!(Keys::new(public).unwrap_err(), KeyError::CannotSign);
}

#[test]
fn a_wrong_key_file_says_what_it_is() {
    let material = Material::new();
    let says = |alg, text: &str, words: &[&str]| {
        let problem = Key::from_pem(alg, text.as_bytes()).unwrap_err().to_string();
        for word in words {
            assert!(problem.contains(word), "{problem:?} lacks {word:?}");
        }
        assert!(!problem.contains("MII"), "no key material in an error");
    };
    let ec = pem_of("PRIVATE KEY", &material.p256);
    says(Algorithm::RS256, &ec, &["RS256", "RSA key", "EC key on P-256"]);
    says(Algorithm::ES384, &ec, &["P-384", "EC key on P-256"]);
    says(
        Algorithm::ES256,
        &pem_of("PRIVATE KEY", &material.rsa),
        &["EC key on P-256", "an RSA key"],
    );
    says(Algorithm::EdDSA, &pem_of("PUBLIC KEY", &material.rsa_public), &["Ed25519", "an RSA key"]);
    says(Algorithm::RS256, &pem_of("PRIVATE KEY", b"junk"), &["can't be read"]);
    says(Algorithm::RS256, &pem_of("CERTIFICATE", b"x"), &["certificate", "openssl x509"]);
    says(Algorithm::RS256, &pem_of("ENCRYPTED PRIVATE KEY", b"x"), &["encrypted", "openssl pkey"]);
    says(
        Algorithm::RS256,
        &pem_of("OPENSSH PRIVATE KEY", b"x"),
        &["OPENSSH PRIVATE KEY", "allowed"],
    );
    says(Algorithm::RS256, "", &["no BEGIN line", "PRIVATE KEY"]);
    says(Algorithm::RS256, "hello", &["no BEGIN line"]);
    says(Algorithm::HS256, &ec, &["HS256", "Key::hmac"]);
}

/// Figures 7 and 8 of RFC 8037, appendix A; RFC 7515 appendix A.3.
fn jwk_set() -> Value {
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let ec = json!({"kty": "EC", "crv": "P-256", "kid": "ec",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    json!({"keys": [ed, ec]})
}

// Rows: S38, S40, R23.
#[test]
fn of_a_jwk_set_the_usable_keys_count() {
    let mut set = jwk_set();
    let unusable = [
        json!({"kty": "EC", "crv": "P-521", "kid": "a", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "b", "x": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "c", "pub": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": "AAAA"}),
        with(set["keys"][1].clone(), "use", json!("enc")),
        with(set["keys"][1].clone(), "key_ops", json!(["encrypt"])),
        with(set["keys"][1].clone(), "alg", json!("ES384")),
        with(set["keys"][1].clone(), "alg", json!("RS256")),
        with(set["keys"][1].clone(), "crv", json!("P-384")),
    ];
    set["keys"].as_array_mut().unwrap().extend(unusable);
    let keys = Keys::from_jwk_set(&set.to_string()).unwrap();
    assert_eq!(format!("{keys:?}").matches("kid: Some").count(), 2, "{keys:?}");
    assert!(!keys.can_sign());
}

/// The keys of a set as they are published.
fn published(keys: &Keys) -> Vec<Value> {
    let set: Value = serde_json::from_str(&keys.public_jwk_set()).unwrap();
    set["keys"].as_array().unwrap().clone()
}

// Rows: S38.
#[test]
fn a_set_of_too_many_keys_is_refused_whether_or_not_they_are_usable() {
    let set = |unusable: usize| {
        let mut set = jwk_set();
        let keys = set["keys"].as_array_mut().unwrap();
        keys.extend((0..unusable).map(|_| json!({"kty": "OKP", "crv": "X25519", "x": "AA"})));
        Keys::from_jwk_set(&set.to_string())
    };
    assert!(set(MAX_KEYS - 2).is_ok());
    for more in [MAX_KEYS - 1, 2 * MAX_KEYS] {
        assert_eq!(set(more).unwrap_err(), KeyError::TooMany(more + 2));
    }
}

// Rows: S38.
#[test]
fn a_secrets_kid_twice_is_an_error_and_so_is_no_usable_key() {
    let secret = |byte: u8| {
        let secret: Vec<u8> = (0..32).map(|n| byte ^ n).collect();
        json!({"kty": "oct", "kid": "s", "k": B64.encode(secret)})
    };
    for other in [1, 200] {
        let set = json!({"keys": [secret(1), secret(other)]}).to_string();
        assert_eq!(Keys::from_jwk_set(&set).unwrap_err(), KeyError::DuplicateKid("s".into()));
    }
    assert_eq!(Keys::from_jwk_set(r#"{"keys": []}"#).unwrap_err(), KeyError::Empty);
    for text in ["", "[]", "{}", r#"{"keys": {}}"#] {
        let problem = Keys::from_jwk_set(text).unwrap_err();
        assert!(problem.to_string().contains("no JWK set"), "{text}: {problem}");
    }
}

// Rows: R5.
#[test]
fn public_keys_that_share_a_kid_are_distinguished_by_their_algorithm() {
    let material = Material::new();
    let algs = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256];
    let private = |alg| Key::from_der(alg, material.private(alg)).unwrap().with_kid("one").unwrap();
    let jwk = |alg| private(alg).to_public_jwk().unwrap();
    let set = |jwks: &[Value]| Keys::from_jwk_set(&json!({"keys": jwks}).to_string());
    let keys = set(&algs.map(jwk)).unwrap();
    let check = |keys: &Keys, alg, signer: &Key| {
        let header = json!({"typ": "at+jwt", "alg": alg, "kid": "one"});
        let token = sign_text(signer, &header.to_string(), &claims().to_string());
        verify::<User>(token.as_bytes(), &keys.current(), &rules(), Timestamp::from_secs(NOW))
            .map(|_| ())
    };
    for alg in algs {
        assert_eq!(check(&keys, alg, &private(alg)), Ok(()), "{alg:?}");
    }
    let confused = check(&keys, Algorithm::PS256, &private(Algorithm::RS256));
    assert_eq!(confused, Err(InvalidReason::Signature));

    // Equal keys are one key. Two different keys of one algorithm are tried in turn.
    let same = set(&[jwk(Algorithm::RS256), jwk(Algorithm::RS256)]).unwrap();
    assert_eq!(published(&same).len(), 1);
    let other = Key::from_der(Algorithm::ES256, Material::new().private(Algorithm::ES256)).unwrap();
    let other = other.with_kid("one").unwrap();
    let two = [jwk(Algorithm::ES256), other.to_public_jwk().unwrap()];
    let two = set(&two).unwrap();
    for signer in [&private(Algorithm::ES256), &other] {
        assert_eq!(check(&two, Algorithm::ES256, signer), Ok(()));
    }
    two.retire("one").unwrap_err();

    // Each of the app's own keys has a distinct name.
    let duplicate = KeyError::DuplicateKid("one".into());
    let own = || [private(Algorithm::RS256), private(Algorithm::ES256)];
    assert_eq!(Keys::verifying(own()).unwrap_err(), duplicate);
    let [signing, former] = own();
    assert_eq!(Keys::with_former(signing, [former]).unwrap_err(), duplicate);
    assert_eq!(keys.announce(private(Algorithm::ES256)).unwrap_err(), duplicate);
    assert_eq!(keys.rotate_to(private(Algorithm::ES256)).unwrap_err(), duplicate);
    keys.announce(Key::from_der(Algorithm::ES384, material.private(Algorithm::ES384)).unwrap())
        .unwrap();
    keys.retire("one").unwrap();
    let left = published(&keys);
    assert_eq!(left.len(), 1, "all of that name are retired: {left:?}");
}

// Rows: R5.
#[test]
fn a_key_is_lacking_if_none_for_the_algorithm_has_its_name() {
    let material = Material::new();
    let named = |alg| Key::from_der(alg, material.private(alg)).unwrap().with_kid("one").unwrap();
    let (keys, _) =
        crate::testing::sourced(Keys::verifying([named(Algorithm::ES256)]).unwrap(), |_, _| {
            Seek::NotFound
        });
    for (alg, lacks) in [(Algorithm::ES256, false), (Algorithm::RS256, true)] {
        let header = json!({"typ": "at+jwt", "alg": alg, "kid": "one"});
        let token = sign_text(&named(alg), &header.to_string(), "{}");
        assert_eq!(lacks_key(token.as_bytes(), InvalidReason::UnknownKey, &keys), lacks, "{alg:?}");
    }
}

// Rows: L12.
#[test]
fn an_rsa_exponent_that_signs_nothing_is_refused_as_it_is_read() {
    let key = aws_lc_rs::rsa::PublicKey::from_der(&Material::new().rsa_public).unwrap();
    let n = key.modulus().big_endian_without_leading_zero().to_vec();
    let read = |e: &[u8]| {
        let jwk = json!({"kty": "RSA", "n": B64.encode(&n), "e": B64.encode(e)});
        Key::from_jwk(&jwk.to_string())
    };
    for e in
        [&[1][..], &[2], &[0], &[0, 0, 1], &[1, 0, 0], &[1, 0, 2], &[], &[2, 0, 0, 0, 1], &[1; 9]]
    {
        let problem = read(e).unwrap_err().to_string();
        assert!(problem.contains("`e` is not an odd number"), "{e:?}: {problem}");
    }
    for e in [&[3][..], &[17], &[1, 0, 1], &[1, 255, 255, 255, 255]] {
        assert!(read(e).is_ok(), "{e:?}");
    }
    // The same in PKCS#1, for keys in DER or PEM.
    for e in [1_u8, 2, 3] {
        let mut der = vec![0x30, 0x82, 0x01, 0x08, 0x02, 0x82, 0x01, 0x01, 0];
        der.extend(&n);
        der.extend([2, 1, e]);
        let key = Key::from_der(Algorithm::RS256, &der);
        assert_eq!(key.is_ok(), e == 3, "{e}: {key:?}");
    }
}

// Rows: S40, R22.
#[test]
fn a_modulus_with_a_sign_octet_and_an_rsa_key_without_alg_count() {
    let n: Vec<u8> = {
        let key = aws_lc_rs::rsa::PublicKey::from_der(&Material::new().rsa_public).unwrap();
        key.modulus().big_endian_without_leading_zero().to_vec()
    };
    for n in [n.clone(), [&[0][..], &n].concat()] {
        let jwk = json!({"kty": "RSA", "n": B64.encode(n), "e": "AQAB"});
        let key = Key::from_jwk(&jwk.to_string()).unwrap();
        assert_eq!(key.algorithm(), Algorithm::RS256);
    }
}

fn named(kid: &str, secret: &[u8]) -> Key {
    Key::hmac(Algorithm::HS256, secret).unwrap().with_kid(kid).unwrap()
}

// Rows: S41.
#[test]
fn keys_rotate_without_a_restart() {
    const OLD: &[u8] = b"G6Hj5Vt5KX2ZcVFTVKCfpFG9VFUqWWbZ";
    const NEW: &[u8] = b"M8GkDNsi9tA3codC8Q6Cz6YJs2kuBVAE";
    let keys = Keys::new(named("old", OLD)).unwrap();
    let running = keys.clone();
    let check = |key: &Key, kid: Option<&str>| {
        let header = with(header(), "kid", kid.map(|kid| json!(kid)));
        let token = sign_text(key, &header.to_string(), &claims().to_string());
        verify::<User>(token.as_bytes(), &running.current(), &rules(), Timestamp::from_secs(NOW))
            .map(|_| ())
    };
    let (old, new) = (named("old", OLD), named("new", NEW));
    assert_eq!(check(&old, Some("old")), Ok(()));
    assert_eq!(check(&new, Some("new")), Err(InvalidReason::UnknownKey));
    keys.announce(named("new", NEW)).unwrap();
    assert_eq!(check(&new, Some("new")), Ok(()), "another node signs with it already");
    keys.retire("new").unwrap();
    keys.rotate_to(named("new", NEW)).unwrap();
    assert_eq!(running.current().signing().unwrap().kid(), Some("new"));
    assert_eq!(check(&old, Some("old")), Ok(()), "the old key verifies on");
    assert_eq!(check(&old, None), Ok(()), "a token without kid is tried by every key");
    assert_eq!(check(&old, Some("new")), Err(InvalidReason::Signature));
    assert_eq!(keys.retire("new"), Err(KeyError::CannotRetire("new".into())));
    keys.retire("old").unwrap();
    assert_eq!(check(&old, Some("old")), Err(InvalidReason::UnknownKey));
    assert_eq!(keys.retire("old"), Err(KeyError::CannotRetire("old".into())));
    assert_eq!(keys.rotate_to(named("new", OLD)), Err(KeyError::DuplicateKid("new".into())));
}

#[test]
fn a_debugged_key_shows_no_key() {
    let shown = format!("{:?} {:?}", hs256(), Keys::new(hs256()).unwrap());
    let secret = std::str::from_utf8(SECRET).unwrap();
    assert!(!shown.contains(&secret[..16]), "{shown}");
}

#[test]
fn published_keys_verify_signatures_and_hold_no_private_part() {
    let material = Material::new();
    for alg in
        [Algorithm::RS256, Algorithm::PS512, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA]
    {
        let private = Key::from_der(alg, material.private(alg)).unwrap().with_kid("k").unwrap();
        let public = Key::from_der(alg, &material.public(alg)).unwrap().with_kid("k").unwrap();
        let jwk = private.public_jwk().unwrap();
        assert_eq!(public.public_jwk(), Some(jwk.clone()), "{alg:?}: either half gives the same");
        let text: Value = serde_json::from_str(&jwk).unwrap();
        let members: Vec<_> = text.as_object().unwrap().keys().map(String::as_str).collect();
        let private_members = ["d", "p", "q", "dp", "dq", "qi", "k", "oth"];
        assert!(!members.iter().any(|name| private_members.contains(name)), "{members:?}");
        assert_eq!((&text["use"], &text["kid"]), (&json!("sig"), &json!("k")));
        let again = Key::from_jwk(&jwk).unwrap();
        assert_eq!(again.algorithm(), alg);
        let signature = private.sign(b"a message").unwrap();
        assert!(again.verify(b"a message", &signature) && !again.verify(b"another", &signature));
        assert_eq!(again.public_jwk(), Some(jwk));
    }
    let secret = Key::hmac(Algorithm::HS256, b"o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap();
    assert!(secret.public_jwk().is_none());
}

#[test]
fn a_header_is_cached_only_after_its_signature_was_verified() {
    let keys = Keys::new(hs256()).unwrap();
    let check = |token: &str| {
        let set = keys.current();
        verify::<User>(token.as_bytes(), &set, &rules(), Timestamp::from_secs(NOW)).map(|_| ())
    };
    let encoded = |header: &Value| B64.encode(header.to_string());
    let (usual, payload) = (header(), claims().to_string());
    let stranger = Key::hmac(Algorithm::HS256, b"a stranger's secret, 32 bytes long").unwrap();
    let unsigned = sign_text(&stranger, &usual.to_string(), &payload);
    assert_eq!(check(&unsigned), Err(InvalidReason::Signature));
    assert!(keys.current().cached_header(&encoded(&usual)).is_none(), "a key has not signed it");

    let long = with(usual.clone(), "x5t", json!("x".repeat(300)));
    assert_eq!(check(&sign(&long, &claims())), Ok(()));
    assert!(keys.current().cached_header(&encoded(&long)).is_none(), "too long to be kept");

    assert_eq!(check(&sign(&usual, &claims())), Ok(()));
    assert!(keys.current().cached_header(&encoded(&usual)).is_some());
    assert_eq!(check(&unsigned), Err(InvalidReason::Signature), "the signature counts as before");
    assert_eq!(check(&sign(&usual, &claims())), Ok(()));

    let other = with(usual.clone(), "typ", json!("JWT"));
    assert_eq!(check(&sign(&other, &claims())), Err(InvalidReason::Type));
    let other = with(usual.clone(), "typ", json!("application/at+jwt"));
    assert_eq!(check(&sign(&other, &claims())), Ok(()), "another one is read");
    let other = with(usual, "crit", json!(["b64"]));
    assert_eq!(check(&sign(&other, &claims())), Err(InvalidReason::Header));
}

// Rows: L3.
#[test]
fn a_ring_that_outlives_the_secret_it_was_derived_from_is_warned_of() {
    let engine = |keys: &Keys, ring: Option<KeyRing>| {
        let rotate = Rotate::new(MemoryStore::new());
        let rotate = match ring {
            Some(ring) => rotate.key_ring(ring),
            None => rotate,
        };
        let builder = Engine::<()>::builder(keys.clone()).issuer("i").audience("a");
        builder.refresh_with(rotate).build().unwrap()
    };
    let keys =
        || Keys::with_former(named_key("new"), [named_key("old"), named_key("older")]).unwrap();
    let log = Log::listen();

    let derived = keys();
    let _auth = engine(&derived, None);
    derived.retire("old").unwrap();
    let told = log.text();
    assert!(told.contains("WARN everfresh") && told.contains("kid=\"old\""), "{told}");
    assert!(told.contains("key ring") && told.contains("build the engine again"), "{told}");
    derived.replace_with(&Keys::new(named_key("new")).unwrap());
    let told = log.text();
    assert!(told.contains("kid=\"older\"") && !told.contains("kid=\"old\""), "{told}");
    derived.rotate_to(named_key("next")).unwrap();
    derived.retire("new").unwrap();
    assert!(log.text().contains("kid=\"new\""));
    derived.rotate_to(named_key("last")).unwrap();
    derived.retire("next").unwrap();
    assert_eq!(log.text(), "", "no ring was derived from a secret that came later");

    let apart = keys();
    let _auth = engine(&apart, Some(KeyRing::new(b"ring-0123456789abcdef-0123456789ab").unwrap()));
    apart.retire("old").unwrap();
    assert_eq!(log.text(), "", "a ring of its own");
}
