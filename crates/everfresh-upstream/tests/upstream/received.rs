//! Tokens from the provider are verified before they are stored: their subject, key and lifetime.

mod lifetimes;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use everfresh::dialect::AccessTokenResponse;
use everfresh::refresher::RefreshToken;
use everfresh::{AccessToken, Algorithm, Key, Keys, TrustedIssuer};
use everfresh_upstream::{HttpClient, HttpError, JwksUrl, Upstream};
use http::{Request, Response};
use http_body_util::Full;
use rcgen::SigningKey as _;
use serde_json::{Value, json};

use crate::fixture::*;
use crate::provider::{Act, Grant, tokens};

const ISSUER: &str = "https://id.example";
/// A key of the provider, or of an attacker.
#[derive(Clone)]
struct Signer {
    pair: Arc<rcgen::KeyPair>,
    kid: &'static str,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self { pair: Arc::new(pair), kid }
    }

    fn key(&self) -> Key {
        let key = Key::from_der(Algorithm::EdDSA, &self.pair.serialize_der()).unwrap();
        key.with_kid(self.kid).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid});
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The provider's own.
static OWN: LazyLock<Signer> = LazyLock::new(|| Signer::new("one"));

fn sign(claims: &Value) -> String {
    OWN.sign(claims)
}

fn claims(sub: &str, at: everfresh::Timestamp, life: u64) -> Value {
    json!({
        "iss": ISSUER, "aud": "app", "sub": sub,
        "iat": at.as_secs(), "exp": at.as_secs() + life,
    })
}

fn issuer(keys: Keys) -> TrustedIssuer {
    TrustedIssuer::new(keys, ISSUER, "app")
}

fn shared() -> TrustedIssuer {
    issuer(Keys::verifying([OWN.key()]).unwrap())
}

/// Tokens of `sub` from a sign-in at the provider.
fn first(access: &str, id: Option<&str>) -> AccessTokenResponse {
    let refresh = Grant { family: "ada".into(), n: 0 }.refresh();
    let issued = AccessTokenResponse::new(AccessToken::new(access.to_owned()))
        .with_refresh_token(RefreshToken::new(refresh))
        .with_expires_in(secs(LIFE));
    match id {
        Some(id) => issued.with_id_token(AccessToken::new(id.to_owned())),
        None => issued,
    }
}

/// A client with expired JWTs, and the member of the answer that carries the next token.
async fn with_jwts(member: &'static str) -> (Fixture, Client) {
    let fixture = Fixture::set(move |upstream| match member {
        "access_token" => upstream.access_tokens_by(shared()),
        _ => upstream.id_tokens_by(shared()),
    });
    let token = sign(&claims("ada", START, LIFE));
    let issued = match member {
        "access_token" => first(&token, None),
        _ => first("opaque", Some(&token)),
    };
    let client = fixture.node().adopt_issued("ada", issued).await.unwrap();
    fixture.pass(LIFE + 1);
    (fixture, client)
}

fn answering(fixture: &Fixture, member: &'static str, token: impl Into<String>) {
    let token = token.into();
    fixture.provider.answers(move |grant| {
        let mut answer = tokens(grant);
        answer[member] = token.clone().into();
        answer
    });
}

// Rows: S61, F39.
#[tokio::test]
async fn another_users_token_is_refused_and_never_delivered() {
    let now = START.plus(secs(LIFE + 1));
    let stranger = Signer::new("one");
    let good = claims("ada", now, LIFE);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&claims)
    };
    for member in ["access_token", "id_token"] {
        for (case, token) in [
            ("another subject", with("sub", "bob".into())),
            ("no subject", with("sub", Value::Null)),
            ("another issuer", with("iss", "https://evil.example".into())),
            ("another audience", with("aud", "other-app".into())),
            ("another key", stranger.sign(&good)),
            ("no signature", {
                let token = sign(&good);
                format!("{}.", token.rsplit_once('.').unwrap().0)
            }),
            ("none at all", "opaque".to_owned()),
        ] {
            let case = format!("{member}: {case}");
            let (fixture, mut client) = with_jwts(member).await;
            let row = fixture.row(&client).await.unwrap().upstream.unwrap();
            answering(&fixture, member, token);
            let answer = fixture.get(&mut client).await;
            assert!(answer.status == 503 && answer.left_cookies_alone(), "{case}: {answer:?}");
            let events = fixture.node().events();
            assert!(events.iter().any(|event| event.starts_with("IssuedRefused")), "{case}");
            let now = fixture.row(&client).await.unwrap().upstream.unwrap();
            assert_eq!((now.seq, &now.sealed), (0, &row.sealed), "{case}");
            // The single-use token is consumed, and its successor is dropped.
            fixture.pass(61);
            let answer = fixture.get(&mut client).await;
            assert!(answer.status == 401 && answer.left_cookies_alone(), "{case}: {answer:?}");
            assert_eq!(fixture.provider.calls(), 1, "{case}");
        }
        let (fixture, mut client) = with_jwts(member).await;
        answering(&fixture, member, sign(&good));
        assert_eq!(fixture.get(&mut client).await.status, 200, "{member}");
    }
}

// Rows: S61.
#[tokio::test]
async fn tokens_of_a_sign_in_are_checked_as_well() {
    let fixture = Fixture::set(|u| u.access_tokens_by(shared()).id_tokens_by(shared()));
    let good = sign(&claims("ada", START, LIFE));
    let other = sign(&claims("bob", START, LIFE));
    let forged = Signer::new("one").sign(&claims("ada", START, 9));
    for (access, id) in [(&other, Some(&good)), (&forged, None), (&good, Some(&forged))] {
        let issued = first(access, id.map(|id| &**id));
        let answer = fixture.node().adopt_issued("ada", issued).await.unwrap_err();
        assert!(answer.status == 500 && answer.left_cookies_alone(), "{answer:?}");
    }
    assert_eq!(fixture.store.store.len(), 0);
    fixture.node().adopt_issued("ada", first(&good, Some(&good))).await.unwrap();
}

// Rows: F64.
#[tokio::test]
async fn a_refresh_without_an_id_token_is_accepted() {
    let (fixture, mut client) = with_jwts("id_token").await;
    for n in 1..=5 {
        assert_eq!(fixture.get(&mut client).await.status, 200);
        assert_eq!(fixture.provider.calls(), n);
        fixture.pass(LIFE + 1);
    }
    // It counts if it is present.
    answering(&fixture, "id_token", sign(&claims("bob", fixture.clock.now(), LIFE)));
    assert_eq!(fixture.get(&mut client).await.status, 503);
}

// Rows: S60, F74.
#[tokio::test]
async fn a_refresh_token_that_is_not_replaced_is_kept() {
    let fixture = Fixture::new();
    fixture.provider.keeps_tokens();
    fixture.provider.answers(|grant| {
        let mut answer = tokens(grant);
        answer.as_object_mut().unwrap().remove("refresh_token");
        answer
    });
    let mut client = fixture.expired("ada").await;
    for _ in 0..3 {
        assert_eq!(fixture.get(&mut client).await.status, 200);
        fixture.pass(LIFE + 1);
    }
    let sent: Vec<_> = fixture.provider.got().into_iter().map(|got| got.token).collect();
    assert_eq!(sent, vec![Grant { family: "ada".into(), n: 0 }.refresh(); 3]);
}

// Rows: S60.
#[tokio::test]
async fn a_new_refresh_token_takes_the_place_of_the_old_one() {
    let fixture = Fixture::new();
    let mut client = fixture.expired("ada").await;
    for _ in 0..3 {
        assert_eq!(fixture.get(&mut client).await.status, 200);
        fixture.pass(LIFE + 1);
    }
    let sent: Vec<_> = fixture.provider.got().into_iter().map(|got| got.token).collect();
    let expected: Vec<_> = (0..3).map(|n| Grant { family: "ada".into(), n }.refresh()).collect();
    assert_eq!((sent, fixture.provider.reuses()), (expected, 0));
}

// Rows: F75.
#[tokio::test]
async fn no_scope_is_asked_for_and_a_narrower_one_is_no_error() {
    let fixture = Fixture::new();
    answering(&fixture, "scope", "openid");
    let mut client = fixture.expired("ada").await;
    assert_eq!(fixture.get(&mut client).await.status, 200);
    let got = &fixture.provider.got()[0];
    let mut form: Vec<_> = form_urlencoded::parse(got.body.as_bytes()).into_owned().collect();
    form.sort();
    let names: Vec<_> = form.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["client_id", "grant_type", "refresh_token"]);
    assert!(!got.headers.contains_key("authorization") && !got.headers.contains_key("cookie"));
}

/// A key server that can be out of reach.
#[derive(Clone, Default)]
struct KeyServer {
    set: Arc<Mutex<Value>>,
    down: Arc<AtomicBool>,
    fetches: Arc<AtomicUsize>,
}

impl KeyServer {
    fn client(&self) -> HttpClient {
        let server = self.clone();
        HttpClient::over(tower::service_fn(move |_: Request<Full<Bytes>>| {
            server.fetches.fetch_add(1, Ordering::SeqCst);
            let body = server.set.lock().unwrap().to_string();
            let down = server.down.load(Ordering::SeqCst);
            async move {
                match down {
                    true => Err(HttpError::Connect { cause: "refused".into() }),
                    false => Ok(Response::new(Full::<Bytes>::from(body))),
                }
            }
        }))
    }

    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|key| key.key().public_jwk().unwrap()).collect();
        let keys = keys.iter().map(|key| serde_json::from_str::<Value>(key).unwrap());
        *self.set.lock().unwrap() = json!({ "keys": keys.collect::<Vec<_>>() });
    }
}

// Rows: S61.
#[tokio::test(start_paused = true)]
async fn tokens_by_a_new_key_wait_for_the_key() {
    let server = KeyServer::default();
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    server.publish(&[&old]);
    let url = JwksUrl::new("https://id.example/jwks.json").unwrap();
    let remote = url.fetch(&server.client()).await.unwrap();
    let fixture =
        Fixture::set(|upstream: Upstream| upstream.access_tokens_by(issuer(remote.keys())));
    fixture.tick();
    let token = old.sign(&claims("ada", START, LIFE));
    let mut client = fixture.node().adopt_issued("ada", first(&token, None)).await.unwrap();
    let holder = client.clone();
    fixture.pass(LIFE + 1);
    // The provider signs with another key from now on, and its key set is out of reach.
    server.publish(&[&old, &new]);
    server.down.store(true, Ordering::SeqCst);
    answering(&fixture, "access_token", new.sign(&claims("ada", fixture.clock.now(), LIFE)));
    let answer = fixture.get(&mut client).await;
    assert!(answer.status == 503 && answer.left_cookies_alone());
    assert_eq!(fixture.upstream(&holder).await, (0, 1));
    tokio::time::sleep(secs(10)).await;
    server.down.store(false, Ordering::SeqCst);
    // The new tokens are stored, and verified when that is possible.
    tokio::time::sleep(secs(45)).await;
    assert_eq!(fixture.upstream(&holder).await, (1, 0));
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
    assert!(server.fetches.load(Ordering::SeqCst) <= 5);
}
