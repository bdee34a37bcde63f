//! The reading of another issuer's tokens, and the requests for their keys.

use std::sync::atomic::Ordering;

use futures::executor::block_on;

use super::*;
use crate::testing::{brings, named_key, sourced};

const DAY: u64 = 86_400;

fn token(kid: &str, typ: &str, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": typ, "kid": kid});
    sign_text(&named_key(kid), &header.to_string(), &claims.to_string())
}

fn theirs() -> Value {
    json!({
        "iss": "https://id.example", "aud": "app", "sub": "alice", "role": "admin",
        "iat": NOW - 100, "exp": NOW + 500,
    })
}

fn issuer(keys: Keys) -> TrustedIssuer {
    TrustedIssuer::new(keys, "https://id.example", "app")
}

fn read(issuer: &TrustedIssuer, token: &str) -> Result<Received, NotRead> {
    block_on(issuer.read(token, Timestamp::from_secs(NOW)))
}

#[test]
fn a_tokens_subject_and_lifetime_are_read() {
    let issuer = issuer(Keys::new(named_key("k1")).unwrap());
    let expected = Received {
        subject: Some("alice".into()),
        lifetime: Duration::from_secs(600),
        claims: json!({"role": "admin"}),
    };
    for typ in ["JWT", "at+jwt"] {
        assert_eq!(read(&issuer, &token("k1", typ, &theirs())), Ok(expected.clone()), "{typ}");
    }
    let mut undated = theirs();
    undated.as_object_mut().unwrap().remove("iat");
    let lifetime = read(&issuer, &token("k1", "JWT", &undated)).unwrap().lifetime;
    assert_eq!(lifetime, Duration::from_secs(500), "without `iat`, what is left");
}

#[test]
fn tokens_of_another_issuer_or_audience_are_refused() {
    let issuer = issuer(Keys::new(named_key("k1")).unwrap());
    for (token, reason) in [
        (token("k1", "logout+jwt", &theirs()), InvalidReason::Type),
        (
            token("k1", "JWT", &with(theirs(), "iss", json!("https://evil.example"))),
            InvalidReason::Issuer,
        ),
        (token("k1", "JWT", &with(theirs(), "aud", json!("another"))), InvalidReason::Audience),
        (token("k2", "JWT", &theirs()), InvalidReason::UnknownKey),
    ] {
        assert_eq!(read(&issuer, &token), Err(NotRead::Refused(reason)));
    }
}

// Rows: M13.
#[test]
fn id_tokens_and_access_tokens_are_each_read_as_their_own_kind() {
    let issuer = issuer(Keys::new(named_key("k1")).unwrap());
    let now = Timestamp::from_secs(NOW);
    let read_id = |token: &str| block_on(issuer.read_id_token(token, now)).map(|read| read.subject);
    let refused = Err(NotRead::Refused(InvalidReason::Type));
    let of = |name: &str, value: &str| token("k1", "JWT", &with(theirs(), name, json!(value)));
    for id in [of("nonce", "x"), of("at_hash", "x"), of("typ", "ID"), of("token_use", "id")] {
        assert_eq!(read_id(&id), Ok(Some("alice".into())));
        assert_eq!(read(&issuer, &id).map(|read| read.subject), refused);
    }
    for access in [of("typ", "Bearer"), token("k1", "at+jwt", &theirs())] {
        assert_eq!(read_id(&access), refused);
        assert_eq!(read(&issuer, &access).map(|read| read.subject), Ok(Some("alice".into())));
    }
    let nonce =
        block_on(issuer.read_id_token(&of("nonce", "x"), now)).unwrap().claims["nonce"].clone();
    assert_eq!(nonce, "x", "for the caller to compare");
}

// Rows: R15.
#[test]
fn an_issuer_without_aud_is_one_by_name() {
    let keys = Keys::new(named_key("k1")).unwrap();
    let access = with(with(theirs(), "aud", None), "token_use", json!("access"));
    let access = token("k1", "JWT", &with(access, "client_id", json!("app")));
    let id = token("k1", "JWT", &with(theirs(), "token_use", json!("id")));
    let audience = Err(NotRead::Refused(InvalidReason::Audience));
    assert_eq!(read(&issuer(keys.clone()), &access), audience);
    let named = issuer(keys).audience_in_client_id();
    assert!(read(&named, &access).is_ok());
    assert_eq!(read(&named, &id), audience);
    assert!(block_on(named.read_id_token(&id, Timestamp::from_secs(NOW))).is_ok());
}

#[test]
fn clocks_may_be_a_day_apart_and_no_more() {
    let issuer = issuer(Keys::new(named_key("k1")).unwrap());
    let late = |from: u64| {
        let mut claims = with(theirs(), "nbf", json!(from));
        (claims["iat"], claims["exp"]) = (json!(NOW + DAY - 1), json!(NOW + 9 * DAY));
        read(&issuer, &token("k1", "JWT", &claims))
    };
    assert!(late(NOW + DAY).is_ok());
    assert_eq!(late(NOW + DAY + 1), Err(NotRead::Refused(InvalidReason::NotYetValid)));
}

/// The result for the token with a set of `k1` alone, and the number of calls to its source.
fn read_asking(
    token: &str,
    answer: impl Fn(usize, &Keys) -> Seek + Send + Sync + 'static,
) -> (Result<Received, NotRead>, usize) {
    let (keys, asked) = sourced(Keys::verifying([named_key("k1")]).unwrap(), answer);
    (read(&issuer(keys), token), asked.load(Ordering::SeqCst))
}

// Rows: S41.
#[test]
fn a_key_that_is_not_known_yet_is_fetched_once() {
    let of_new_key = token("k2", "JWT", &theirs());
    let unknown = NotRead::Refused(InvalidReason::UnknownKey);
    assert_eq!(read_asking(&of_new_key, |_, _| Seek::NotFound), (Err(unknown), 1));
    let retry_after = Duration::from_secs(7);
    let away = move |_, _: &Keys| Seek::Unavailable { retry_after };
    assert_eq!(read_asking(&of_new_key, away), (Err(NotRead::Unavailable), 1));
    let nothing = |_, _: &Keys| Seek::InFlight(Box::pin(async {}));
    assert_eq!(read_asking(&of_new_key, nothing), (Err(NotRead::Unavailable), 1));

    let fetches = |_, set: &Keys| brings(Keys::verifying([named_key("k2")]).unwrap(), set);
    let (read, asked) = read_asking(&of_new_key, fetches);
    assert_eq!((read.map(|read| read.subject), asked), (Ok(Some("alice".into())), 1));

    let elsewhere = |kid| token(kid, "JWT", &with(theirs(), "aud", json!("another")));
    let refused = NotRead::Refused(InvalidReason::Audience);
    assert_eq!(read_asking(&elsewhere("k2"), fetches), (Err(refused), 1));
    let (read, asked) = read_asking(&elsewhere("k1"), |_, _| Seek::NotFound);
    assert_eq!(
        (read, asked),
        (Err(refused), 0),
        "a token that is wrong under any key causes no fetch"
    );
}

// Rows: S41.
#[test]
fn only_a_token_that_nothing_else_is_wrong_with_may_lack_a_key() {
    let known = hs256().with_kid("k1").unwrap();
    let fixed = Keys::new(known).unwrap();
    let (fetched, _) = sourced(fixed.clone(), |_, _| Seek::NotFound);
    let unnamed = sign(&header(), &claims());
    let named = |kid: &str| sign(&with(header(), "kid", json!(kid)), &claims());
    let lacks = |token: &str, reason| lacks_key(token.as_bytes(), reason, &fetched);
    for reason in [InvalidReason::UnknownKey, InvalidReason::Signature] {
        assert!(lacks(&unnamed, reason));
        assert!(lacks(&named("k2"), reason));
        assert!(!lacks(&named("k1"), reason), "there is a key of this name");
        assert!(!lacks("junk", reason));
        assert!(!lacks_key(unnamed.as_bytes(), reason, &fixed), "there is nowhere to look");
    }
    for reason in [InvalidReason::Audience, InvalidReason::NotYetValid, InvalidReason::Type] {
        assert!(!lacks(&unnamed, reason) && !lacks(&named("k2"), reason), "{reason:?}");
    }
}
