//! What we accept, `jsonwebtoken::decode` accepts; and neither gets in the other's way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::{Algorithm, Engine, Key, Keys, Resign, Session, Standing, Step, TokenProfile};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const SECRET: [u8; 64] = *b"0123456789abcdef-0123456789abcdef-0123456789abcdef-0123456789abc";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

/// One algorithm, as both libraries want its keys.
struct Case {
    alg: Algorithm,
    ours: Key,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

fn cases() -> Vec<Case> {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa_private = rsa.as_der().unwrap();
    let rsa_public = rsa.public_key().as_der().unwrap();
    let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
    let mut cases = Vec::new();
    for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let (encoding, decoding) =
            (EncodingKey::from_secret(&SECRET), DecodingKey::from_secret(&SECRET));
        cases.push(Case { alg, ours: Key::hmac(alg, &SECRET).unwrap(), encoding, decoding });
    }
    for alg in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ] {
        let private = pem("PRIVATE KEY", rsa_private.as_ref());
        let public = pem("PUBLIC KEY", rsa_public.as_ref());
        cases.push(Case {
            alg,
            ours: Key::from_pem(alg, private.as_bytes()).unwrap(),
            encoding: EncodingKey::from_rsa_pem(private.as_bytes()).unwrap(),
            decoding: DecodingKey::from_rsa_pem(public.as_bytes()).unwrap(),
        });
    }
    for (alg, signing) in [
        (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).unwrap();
        cases.push(Case {
            alg,
            ours: Key::from_der(alg, pkcs8.as_ref()).unwrap(),
            encoding: EncodingKey::from_ec_der(pkcs8.as_ref()),
            decoding: DecodingKey::from_ec_der(pair.public_key().as_ref()),
        });
    }
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    cases.push(Case {
        alg: Algorithm::EdDSA,
        ours: Key::from_der(Algorithm::EdDSA, pkcs8.as_ref()).unwrap(),
        encoding: EncodingKey::from_ed_der(pkcs8.as_ref()),
        decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
    });
    cases
}

fn engine(key: Key, profile: TokenProfile) -> Engine<User> {
    Engine::builder(Keys::new(key).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .token_profile(profile)
        .refresh_with(Resign::new())
        .build()
        .unwrap()
}

fn validation(alg: Algorithm) -> Validation {
    let mut validation = Validation::new(alg);
    validation.set_issuer(&["https://app.example"]);
    validation.set_audience(&["app"]);
    validation.leeway = 0;
    validation
}

fn session(auth: &Engine<User>, token: &str) -> Session<User> {
    let request = http::Request::builder().header("cookie", format!("__Host-access_token={token}"));
    match auth.begin(&request.body(()).unwrap()) {
        Step::Pass(session) => session,
        Step::Wait(_) => panic!("the token is fresh"),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({
        "iss": "https://app.example", "aud": "app", "sub": "alice", "sid": "s1",
        "iat": now() - 10, "exp": now() + 800, "auth_time": now() - 10,
        "session_exp": now() + 86_400, "name": "Alice",
    })
}

#[test]
fn each_reads_what_the_other_makes() {
    beside::install();
    for Case { alg, ours, encoding, decoding } in cases() {
        let auth = engine(ours, TokenProfile::Jwt);
        let theirs = jsonwebtoken::encode(&Header::new(alg), &claims(), &encoding).unwrap();
        let session = session(&auth, &theirs);
        assert_eq!(session.standing(), Standing::Present, "{alg:?}");
        assert_eq!(session.claims().unwrap().name, "Alice");

        let own = session.access_token().unwrap();
        let read = jsonwebtoken::decode::<User>(own.expose(), &decoding, &validation(alg));
        assert_eq!(read.unwrap().claims, User { name: "Alice".into() }, "{alg:?}");
    }
}

#[test]
fn the_apps_own_calls_work_before_and_after_ours() {
    beside::install();
    let roundtrip = || {
        let (header, key) = (Header::default(), EncodingKey::from_secret(&SECRET));
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        let key = DecodingKey::from_secret(&SECRET);
        jsonwebtoken::decode::<User>(token, &key, &validation(Algorithm::HS256)).unwrap();
    };
    roundtrip();
    let auth = engine(Key::hmac(Algorithm::HS256, &SECRET).unwrap(), TokenProfile::AtJwt);
    assert_eq!(session(&auth, "a.b.c").standing(), Standing::Rejected);
    roundtrip();
}

fn sign(header: &str, payload: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &SECRET);
    let signed = format!("{}.{}", B64.encode(header), B64.encode(payload));
    format!("{signed}.{}", B64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}

/// Values that stress a reader.
fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1".into()),
        Just("-1".into()),
        Just("1.5".into()),
        Just("1e400".into()),
        Just("18446744073709551615".into()),
        Just("null".into()),
        Just("true".into()),
        Just(r#""x""#.into()),
        Just(r#""\ud800""#.into()),
        Just("[]".into()),
        Just("{}".into()),
        Just(r#"["app"]"#.into()),
        Just(r#"{"a":1,"a":2}"#.into()),
        Just(r#""HS256""#.into()),
        Just(r#""https://app.example""#.into()),
        Just(r#""app""#.into()),
        (0_u64..200_000).prop_map(|n| (now() - 100_000 + n).to_string()),
        "\\PC{0,6}".prop_map(|text| format!("{text:?}")),
    ]
}

fn name() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "name", "typ", "alg", "kid",
        "crit", "b64", "jku", "x5u", "x5c", "x5t", "cty", "url", "nonce", "enc", "zip", "jwk",
        "cnf", "role",
    ];
    prop_oneof![4 => proptest::sample::select(KNOWN).prop_map(str::to_owned), 1 => "[a-z]{1,3}"]
}

/// The members of an object: some of the base's, then others, in any order.
fn object(base: &Value, drop: &[usize], extra: &[(String, String)], turn: usize) -> String {
    let mut members: Vec<String> = base
        .as_object()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(at, (name, _))| {
            !drop.contains(at) && !extra.iter().any(|(other, _)| other == *name && turn % 3 > 0)
        })
        .map(|(_, (name, value))| format!("{name:?}:{value}"))
        .collect();
    members.extend(extra.iter().map(|(name, value)| format!("{name:?}:{value}")));
    let turn = turn % members.len().max(1);
    members.rotate_left(turn);
    format!("{{{}}}", members.join(","))
}

/// Whether the engine takes a token as it is, without refreshing it.
fn accepts(auth: &Engine<User>, token: &str) -> bool {
    let request = http::Request::builder().header("cookie", format!("__Host-access_token={token}"));
    let Ok(request) = request.body(()) else { return false };
    match auth.begin(&request) {
        Step::Pass(session) => session.standing() == Standing::Present && !is_stale(&session),
        Step::Wait(_) => false,
    }
}

/// Runs `check` on many values and gives how often it said that the token was accepted.
fn accepted_of<S: Strategy>(
    cases: u32,
    strategy: &S,
    check: impl Fn(S::Value) -> Result<bool, TestCaseError>,
) -> u32 {
    beside::install();
    let accepted = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(cases));
    let result = runner.run(strategy, |value| {
        accepted.set(accepted.get() + u32::from(check(value)?));
        Ok(())
    });
    result.unwrap();
    accepted.get()
}

/// Tokens with a good signature and any header and claims: ours is the stricter reader.
#[test]
fn what_we_accept_they_accept() {
    let auth = engine(Key::hmac(Algorithm::HS256, &SECRET).unwrap(), TokenProfile::Jwt);
    let strategy = (
        proptest::collection::vec((name(), member()), 0..3),
        proptest::collection::vec((name(), member()), 0..3),
        proptest::collection::vec(0_usize..12, 0..2),
        0_usize..40,
    );
    let accepted = accepted_of(20_000, &strategy, |(header_extra, claims_extra, drop, turn)| {
        let header = object(&json!({"typ": "JWT", "alg": "HS256"}), &[], &header_extra, turn);
        let payload = object(&claims(), &drop, &claims_extra, turn);
        let token = sign(&header, &payload);
        if !accepts(&auth, &token) {
            return Ok(false);
        }
        let mut validation = validation(Algorithm::HS256);
        validation.validate_nbf = true;
        validation.leeway = 30; // ours for `nbf`
        let key = DecodingKey::from_secret(&SECRET);
        let read = jsonwebtoken::decode::<User>(&token, &key, &validation);
        prop_assert!(read.is_ok(), "{header} {payload}: {:?}", read.err());
        Ok(true)
    });
    assert!(accepted > 1000, "the property was tried on {accepted} accepted tokens");
}

/// Any byte of a good token changed: if we still accept it, so do they.
#[test]
fn mutated_tokens_are_no_different() {
    let auth = engine(Key::hmac(Algorithm::HS256, &SECRET).unwrap(), TokenProfile::Jwt);
    let good = sign(r#"{"typ":"JWT","alg":"HS256"}"#, &claims().to_string());
    let strategy = (0..good.len(), proptest::sample::select(&b"AZaz09-_.=+/ \0"[..]));
    accepted_of(20_000, &strategy, |(at, byte)| {
        let mut token = good.clone().into_bytes();
        token[at] = byte;
        let token = String::from_utf8(token).unwrap();
        let accepted = accepts(&auth, &token);
        if accepted {
            let key = DecodingKey::from_secret(&SECRET);
            let read = jsonwebtoken::decode::<User>(&token, &key, &validation(Algorithm::HS256));
            prop_assert!(read.is_ok(), "{token}");
        }
        Ok(accepted)
    });
}

fn is_stale(session: &Session<User>) -> bool {
    session.expires_at().is_none_or(|expires| expires < SystemTime::now() + Duration::from_secs(1))
}
