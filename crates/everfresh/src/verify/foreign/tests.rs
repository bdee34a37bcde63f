//! What is read of another issuer's token as it is received.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use futures::executor::block_on;
use serde_json::{Value, json};

use super::*;
use crate::{Algorithm, Key, KeySource};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn key(kid: &str) -> Key {
    let secret = format!("a secret of 32 bytes and more for {kid}");
    Key::hmac(Algorithm::HS256, secret.as_bytes()).unwrap().with_kid(kid).unwrap()
}

fn token(kid: &str, typ: &str, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": typ, "kid": kid});
    let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
    let signature = B64.encode(key(kid).sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": "app", "sub": "alice", "role": "admin",
        "iat": NOW - 100, "exp": NOW + 500,
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn issuer(keys: Keys) -> TrustedIssuer {
    TrustedIssuer::new(keys, "https://id.example", "app")
}

fn read(issuer: &TrustedIssuer, token: &str) -> Result<Received, NotRead> {
    block_on(issuer.read(token, Timestamp::from_secs(NOW)))
}

#[test]
fn a_token_says_whose_it_is_and_for_how_long_it_was_made() {
    let issuer = issuer(Keys::new(key("k1")).unwrap());
    let expected = Received {
        subject: Some("alice".into()),
        lifetime: Duration::from_secs(600),
        claims: json!({"role": "admin"}),
    };
    for typ in ["JWT", "at+jwt"] {
        assert_eq!(read(&issuer, &token("k1", typ, &claims())), Ok(expected.clone()), "{typ}");
    }
    let mut undated = claims();
    undated.as_object_mut().unwrap().remove("iat");
    let lifetime = read(&issuer, &token("k1", "JWT", &undated)).unwrap().lifetime;
    assert_eq!(lifetime, Duration::from_secs(500), "without `iat`, what is left");
}

#[test]
fn what_is_not_theirs_or_not_for_us_is_refused() {
    let issuer = issuer(Keys::new(key("k1")).unwrap());
    for (token, reason) in [
        (token("k1", "logout+jwt", &claims()), InvalidReason::Type),
        (token("k1", "JWT", &with("iss", "https://evil.example")), InvalidReason::Issuer),
        (token("k1", "JWT", &with("aud", "another")), InvalidReason::Audience),
        (token("k2", "JWT", &claims()), InvalidReason::UnknownKey),
    ] {
        assert_eq!(read(&issuer, &token), Err(NotRead::Refused(reason)));
    }
}

#[test]
fn clocks_may_be_a_day_apart_and_no_more() {
    let issuer = issuer(Keys::new(key("k1")).unwrap());
    let late = |from: u64| {
        let mut claims = with("nbf", from);
        (claims["iat"], claims["exp"]) = (json!(NOW + DAY - 1), json!(NOW + 9 * DAY));
        read(&issuer, &token("k1", "JWT", &claims))
    };
    assert!(late(NOW + DAY).is_ok());
    assert_eq!(late(NOW + DAY + 1), Err(NotRead::Refused(InvalidReason::NotYetValid)));
}

/// Answers as it is told, and counts how often it was asked.
struct Source {
    asked: Arc<AtomicUsize>,
    answer: Mutex<Box<dyn FnMut() -> Seek + Send>>,
}

impl KeySource for Source {
    fn seek(&self) -> Seek {
        self.asked.fetch_add(1, Ordering::SeqCst);
        (self.answer.lock().unwrap())()
    }
}

/// What is read of the token by a set of `k1` alone, and how often its source was asked for more.
fn read_asking(
    token: &str,
    answer: impl FnMut() -> Seek + Send + 'static,
    set: &Keys,
) -> (Result<Received, NotRead>, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let source = Source { asked: asked.clone(), answer: Mutex::new(Box::new(answer)) };
    let read = read(&issuer(set.clone().with_source(source)), token);
    (read, asked.load(Ordering::SeqCst))
}

#[test]
fn s41_a_key_that_is_not_known_yet_is_fetched_once() {
    let of_new_key = token("k2", "JWT", &claims());
    let set = || Keys::verifying([key("k1")]).unwrap();
    let unknown = NotRead::Refused(InvalidReason::UnknownKey);
    assert_eq!(read_asking(&of_new_key, || Seek::InVain, &set()), (Err(unknown), 1));
    let retry_after = Duration::from_secs(7);
    let away = move || Seek::Unavailable { retry_after };
    assert_eq!(read_asking(&of_new_key, away, &set()), (Err(NotRead::Unavailable), 1));
    let nothing = || Seek::Underway(Box::pin(async {}));
    assert_eq!(read_asking(&of_new_key, nothing, &set()), (Err(NotRead::Unavailable), 1));

    let fetches = |set: &Keys| {
        let set = set.clone();
        move || {
            let set = set.clone();
            Seek::Underway(Box::pin(async move {
                set.replace_with(&Keys::verifying([key("k2")]).unwrap());
            }))
        }
    };
    let keys = set();
    let (read, asked) = read_asking(&of_new_key, fetches(&keys), &keys);
    assert_eq!((read.map(|read| read.subject), asked), (Ok(Some("alice".into())), 1));

    let keys = set();
    let elsewhere = token("k2", "JWT", &with("aud", "another"));
    let refused = NotRead::Refused(InvalidReason::Audience);
    assert_eq!(read_asking(&elsewhere, fetches(&keys), &keys), (Err(refused), 1));
    // What is wrong whatever the key asks nobody.
    let elsewhere = token("k1", "JWT", &with("aud", "another"));
    assert_eq!(read_asking(&elsewhere, || Seek::InVain, &set()), (Err(refused), 0));
}
