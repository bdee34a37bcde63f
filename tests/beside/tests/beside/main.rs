//! `jsonwebtoken::decode` accepts every token that everfresh accepts, and neither library disturbs
//! the other.

mod mutated;
mod numbers;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaKeyPair,
};
use everfresh::adapter::Progress;
use everfresh::{Algorithm, Engine, Key, Keys, Reissue, Session, SessionStatus, TokenProfile};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const SECRET: [u8; 64] = *b"LYM5vGC5RjSrtqBVGBFKPYEk4YAkQ72dsBU3SrE8oDxZQdczmov3gsu9A6PJDScb";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

/// One algorithm with its keys for both libraries.
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
        .refresh_with(Reissue::new())
        .build()
        .unwrap()
}

/// The same algorithm in `jsonwebtoken`, by its registered name.
fn theirs(alg: Algorithm) -> jsonwebtoken::Algorithm {
    alg.to_string().parse().unwrap()
}

fn validation(alg: Algorithm) -> Validation {
    let mut validation = Validation::new(theirs(alg));
    validation.set_issuer(&["https://app.example"]);
    validation.set_audience(&["app"]);
    validation.leeway = 0;
    validation
}

fn session(auth: &Engine<User>, token: &str) -> Session<User> {
    let request = http::Request::builder().header("cookie", format!("__Host-access_token={token}"));
    match auth.begin(&request.body(()).unwrap()) {
        Progress::Pass(session) => session,
        Progress::Wait(_) => panic!("the token is fresh"),
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
fn each_version_reads_the_tokens_of_the_other() {
    beside::install();
    for Case { alg, ours, encoding, decoding } in cases() {
        let auth = engine(ours, TokenProfile::Jwt);
        let token = jsonwebtoken::encode(&Header::new(theirs(alg)), &claims(), &encoding).unwrap();
        let session = session(&auth, &token);
        assert_eq!(session.status(), SessionStatus::Present, "{alg:?}");
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
    assert_eq!(session(&auth, "a.b.c").status(), SessionStatus::Rejected);
    roundtrip();
}
