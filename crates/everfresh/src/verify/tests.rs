//! Rows S07 and S11 to S34 of `tests/COVERAGE.md`: the conditions for a valid token.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[cfg(feature = "aws-lc")]
mod algorithms;
mod foreign;
mod headers;
#[cfg(feature = "aws-lc")]
mod keys;
mod kinds;
mod profiles;
#[cfg(feature = "aws-lc")]
mod secrets;
mod session;
mod shapes;
mod vectors;

const SECRET: &[u8] = b"o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
const NOW: u64 = 1_800_000_000;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

fn hs256() -> Key {
    Key::hmac(Algorithm::HS256, SECRET).unwrap()
}

fn rules() -> Rules {
    Rules {
        issuer: "https://app.example".into(),
        audience: "app".into(),
        audience_in_client_id: false,
        kind: Kind::Access(TokenProfile::AtJwt),
        leeway: Duration::from_secs(30),
        needs_session: true,
    }
}

fn header() -> Value {
    json!({"typ": "at+jwt", "alg": "HS256"})
}

fn claims() -> Value {
    json!({
        "iss": "https://app.example", "aud": "app", "sub": "alice", "sid": "s1", "jti": "j1",
        "client_id": "web", "iat": NOW - 100, "exp": NOW + 800, "auth_time": NOW - 100,
        "session_exp": NOW + 86_400, "name": "Alice",
    })
}

/// `base` with one member replaced, or removed for `None`.
fn with(base: Value, name: &str, value: impl Into<Option<Value>>) -> Value {
    let mut object = base;
    match value.into() {
        Some(value) => object[name] = value,
        None => drop(object.as_object_mut().unwrap().remove(name)),
    }
    object
}

fn sign_text(key: &Key, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", B64.encode(header), B64.encode(payload));
    let signature = B64.encode(key.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn sign(header: &Value, claims: &Value) -> String {
    sign_text(&hs256(), &header.to_string(), &claims.to_string())
}

fn check_by(rules: &Rules, token: impl AsRef<[u8]>) -> Result<Verified<User>, InvalidReason> {
    let keys = Keys::new(hs256()).unwrap();
    verify(token.as_ref(), &keys.current(), rules, Timestamp::from_secs(NOW))
}

fn check(token: impl AsRef<[u8]>) -> Result<Verified<User>, InvalidReason> {
    check_by(&rules(), token)
}

fn refusal(token: impl AsRef<[u8]>) -> InvalidReason {
    check(token).expect_err("must be refused")
}

#[test]
fn a_good_token_yields_its_claims() {
    let verified = check(sign(&header(), &claims())).unwrap();
    assert_eq!(*verified.claims.unwrap(), User { name: "Alice".into() });
    assert_eq!(verified.subject.as_deref(), Some("alice"));
    assert_eq!(&*verified.sid, "s1");
    assert_eq!(verified.expires, Timestamp::from_secs(NOW + 800));
    assert_eq!(verified.session_expires, Some(Timestamp::from_secs(NOW + 86_400)));
    let token = sign(&header(), &with(claims(), "gen", json!(7)));
    let signature = B64.decode(token.rsplit('.').next().unwrap()).unwrap();
    let verified = check(token).unwrap();
    assert_eq!(verified.generation, Some(7));
    assert_eq!(verified.fingerprint, u64::from_be_bytes(signature[..8].try_into().unwrap()));
}

// Rows: R24.
#[test]
fn a_header_member_that_is_not_known_may_have_any_type() {
    for value in [json!(7), json!([1, "a"]), json!({"a": {"b": 1}}), json!(null), json!(true)] {
        let header = with(header(), "x-app", value.clone());
        assert!(check(sign(&header, &claims())).is_ok(), "{value}");
    }
}

#[test]
fn members_of_a_wrong_type_are_refused() {
    for name in ["cty", "jku", "x5u", "x5t", "x5t#S256", "url", "nonce", "x5c", "typ", "kid"] {
        let header = with(header(), name, json!(7));
        assert_eq!(refusal(sign(&header, &claims())), InvalidReason::Header, "{name}");
    }
    for name in ["sub", "sid", "jti", "client_id", "token_type"] {
        let claims = with(claims(), name, json!(7));
        assert_eq!(refusal(sign(&header(), &claims)), InvalidReason::Claims, "{name}");
    }
    for value in [json!("1"), json!(-1), json!(1.5)] {
        let claims = with(claims(), "gen", value);
        assert_eq!(refusal(sign(&header(), &claims)), InvalidReason::Claims);
    }
}

// Rows: S07.
#[test]
fn length_characters_and_dots_are_checked_first() {
    let good = sign(&header(), &claims());
    assert_eq!(refusal(".".repeat(1024 * 1024)), InvalidReason::TooLong);
    assert_eq!(refusal("x".repeat(64 * 1024)), InvalidReason::TooLong);
    assert_eq!(refusal("x".repeat(8 * 1024 + 1)), InvalidReason::TooLong);
    assert_eq!(refusal("x".repeat(8 * 1024)), InvalidReason::Malformed);
    for token in [
        "".to_owned(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b".into(),
        "a.b.c.d.e".into(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good} "),
        format!("{good}\n"),
        good.replacen('.', "..", 1),
        good.rsplit_once('.').unwrap().0.to_owned() + ".",
    ] {
        assert!(matches!(refusal(&token), InvalidReason::Malformed), "{token:?}");
    }
    assert_eq!(refusal(b"\xff.\xff.\xff"), InvalidReason::Malformed);
}

// Rows: S11, S19.
#[test]
fn a_changed_token_is_invalid_and_not_expired() {
    let expired = with(with(claims(), "exp", json!(NOW - 10)), "iat", json!(NOW - 900));
    let token = sign(&header(), &expired);
    assert!(check(&token).is_ok(), "expired is for the windows to say");
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(check(&bytes).is_err(), "byte {at}");
    }
}

// Rows: S13.
#[test]
fn none_and_unknown_algorithms_are_refused() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("nOnE"),
        json!("NONE"),
        json!("hs256"),
        json!("HS1"),
        json!("ES256K"),
        json!("ES512"),
        json!(""),
        json!(null),
        json!(["HS256"]),
        json!(1),
    ] {
        let header = with(header(), "alg", alg.clone());
        assert_eq!(refusal(sign(&header, &claims())), InvalidReason::Header, "{alg}");
    }
    assert_eq!(refusal(sign(&with(header(), "alg", None), &claims())), InvalidReason::Header);
    let unsigned = format!(
        "{}.{}.",
        B64.encode(r#"{"typ":"at+jwt","alg":"none"}"#),
        B64.encode(claims().to_string())
    );
    assert_eq!(refusal(unsigned), InvalidReason::Malformed);
}

// Rows: S15, S16.
#[test]
fn crit_and_b64_are_refused_with_any_value() {
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["x", "x"]),
        json!("exp"),
        json!(null),
        json!(["alg"]),
        json!([1]),
    ] {
        let header = with(header(), "crit", crit.clone());
        assert_eq!(refusal(sign(&header, &claims())), InvalidReason::Header, "{crit}");
    }
    for b64 in [json!(false), json!(true)] {
        let header = with(header(), "b64", b64);
        assert_eq!(refusal(sign(&header, &claims())), InvalidReason::Header);
    }
}

// Rows: S17.
#[test]
fn a_token_does_not_bring_its_own_key() {
    let jwk = json!({"kty": "oct", "k": B64.encode(SECRET)});
    assert_eq!(refusal(sign(&with(header(), "jwk", jwk), &claims())), InvalidReason::Header);
    for name in ["jku", "x5u"] {
        let header = with(header(), name, json!("https://keys.evil.example/"));
        assert!(check(sign(&header, &claims())).is_ok(), "stepped over, never fetched: {name}");
    }
    let chain = with(header(), "x5c", json!(vec!["A".repeat(2000); 2]));
    assert!(check(sign(&chain, &claims())).is_ok());
    assert_eq!(refusal(sign(&with(header(), "x5c", json!(7)), &claims())), InvalidReason::Header);
}

// Rows: S18.
#[test]
fn kid_is_short_text_or_refused() {
    for kid in [
        json!("k".repeat(257)),
        json!(""),
        json!("a\r\nb"),
        json!("nul\0"),
        json!(7),
        json!(null),
        json!(["a"]),
        json!("caf\u{e9}"),
    ] {
        let header = with(header(), "kid", kid.clone());
        assert_eq!(refusal(sign(&header, &claims())), InvalidReason::Header, "{kid}");
    }
    for kid in ["../../dev/null", "' OR 1=1 --", "https://x.example/?a=b"] {
        assert!(
            check(sign(&with(header(), "kid", json!(kid)), &claims())).is_ok(),
            "opaque: {kid}"
        );
    }
}

// Rows: S19, S22, R25.
#[test]
fn dates_are_numbers_in_range() {
    for exp in [
        json!(-1),
        json!("1800000800"),
        json!(null),
        json!([NOW]),
        json!(true),
        json!(1e19),
        json!(1e20),
        json!(u64::MAX),
        json!(253_402_300_800_u64),
        json!({}),
    ] {
        let claims = with(claims(), "exp", exp.clone());
        assert_eq!(refusal(sign(&header(), &claims)), InvalidReason::Claims, "{exp}");
    }
    assert_eq!(refusal(sign(&header(), &with(claims(), "exp", None))), InvalidReason::Claims);
    let last = with(claims(), "exp", json!(253_402_300_799_u64));
    assert!(check(sign(&header(), &last)).is_ok(), "the year 9999");
    let fraction = check(sign(&header(), &with(claims(), "exp", json!(NOW as f64 + 9.9)))).unwrap();
    assert_eq!(fraction.expires, Timestamp::from_secs(NOW + 9), "cut off, not rounded");
    let backwards = with(claims(), "iat", json!(NOW + 800));
    assert_eq!(refusal(sign(&header(), &backwards)), InvalidReason::Claims);
}

// Rows: S20, S21.
#[test]
fn nbf_counts_with_the_leeway_and_iat_may_be_hours_off() {
    let nbf = |secs: u64| sign(&header(), &with(claims(), "nbf", json!(secs)));
    assert!(check(nbf(NOW + 30)).is_ok());
    assert_eq!(refusal(nbf(NOW + 31)), InvalidReason::NotYetValid);
    let iat = |secs: u64| {
        sign(&header(), &with(with(claims(), "iat", json!(secs)), "exp", json!(secs + 900)))
    };
    assert!(check(iat(NOW + 3600)).is_ok(), "an issuer's clock may be an hour ahead");
    assert!(check(iat(NOW + 24 * 3600)).is_ok());
    assert_eq!(refusal(iat(NOW + 24 * 3600 + 1)), InvalidReason::NotYetValid);
}

// Rows: S23.
#[test]
fn the_audience_is_ours_or_holds_ours() {
    let aud = |aud: Value| check(sign(&header(), &with(claims(), "aud", aud)));
    assert!(aud(json!("app")).is_ok());
    assert!(aud(json!(["other", "app"])).is_ok());
    for other in [json!("App"), json!("app "), json!([]), json!(["other"]), json!("app,other")] {
        assert_eq!(aud(other.clone()).unwrap_err(), InvalidReason::Audience, "{other}");
    }
    for wrong in [json!(1), json!(null), json!({"app": 1}), json!([1, "app"]), json!([["app"]])] {
        assert_eq!(aud(wrong.clone()).unwrap_err(), InvalidReason::Claims, "{wrong}");
    }
    let none = with(claims(), "aud", None);
    assert_eq!(refusal(sign(&header(), &none)), InvalidReason::Audience);
}

// Rows: S24.
#[test]
fn the_issuer_is_one_exact_string() {
    let iss = |iss: Value| refusal(sign(&header(), &with(claims(), "iss", iss)));
    for other in [
        json!("https://app.example/"),
        json!("https://app.exampl"),
        json!("https://app.example.evil"),
        json!(""),
        json!("HTTPS://app.example"),
    ] {
        assert_eq!(iss(other.clone()), InvalidReason::Issuer, "{other}");
    }
    for wrong in [json!(["https://app.example"]), json!(null), json!(1)] {
        assert_eq!(iss(wrong.clone()), InvalidReason::Claims, "{wrong}");
    }
    let none = with(claims(), "iss", None);
    assert_eq!(refusal(sign(&header(), &none)), InvalidReason::Issuer);
}

// Rows: S27.
#[test]
fn a_name_counts_once_in_header_and_claims() {
    let key = hs256();
    let twice = |text: String, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for member in [r#""alg":"HS256""#, r#""typ":"at+jwt""#, r#""alg":"none""#] {
        let token = sign_text(&key, &twice(header().to_string(), member), &claims().to_string());
        assert_eq!(refusal(token), InvalidReason::Header, "{member}");
    }
    let nested = r#"{"typ":"at+jwt","alg":"HS256","x":{"a":1,"a":2}}"#;
    assert_eq!(refusal(sign_text(&key, nested, &claims().to_string())), InvalidReason::Header);
    for member in [
        r#""exp":9999999999"#,
        r#""aud":"app""#,
        r#""name":"Mallory""#,
        r#""role":1,"role":2"#,
        r#""\u0065xp":9999999999"#,
    ] {
        let token = sign_text(&key, &header().to_string(), &twice(claims().to_string(), member));
        assert_eq!(refusal(token), InvalidReason::Claims, "{member}");
    }
}

// Rows: S28.
#[test]
fn base64url_that_is_not_canonical_is_refused() {
    let good = sign(&header(), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    for part in 0..3 {
        for change in [
            |text: &str| format!("{text}="),
            |text: &str| format!("{text}=="),
            |text: &str| format!(" {text}"),
            |text: &str| format!("{}\n{}", &text[..4], &text[4..]),
            |text: &str| format!("{}+{}", &text[..4], &text[5..]),
            |text: &str| format!("{}/{}", &text[..4], &text[5..]),
        ] {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[part] = change(&parts[part]);
            assert!(check(parts.join(".")).is_err(), "{}", parts.join("."));
        }
    }
    // HS256 signatures have 32 bytes: 43 characters, whose last one has two spare bits.
    let last = good.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet.find(last).unwrap();
    let token_still_valid = alphabet.chars().nth(value | 1).unwrap();
    assert_ne!(last, token_still_valid);
    let twin = format!("{}{token_still_valid}", &good[..good.len() - 1]);
    assert_eq!(refusal(twin), InvalidReason::Malformed);
}

// Rows: S29.
#[test]
fn json_is_utf8_bounded_and_alone() {
    let key = hs256();
    let head = header().to_string();
    for payload in ["null", "[]", "7", "\"x\"", "{", "{}x", "{}{}", "\u{feff}{}"] {
        assert_eq!(refusal(sign_text(&key, &head, payload)), InvalidReason::Claims, "{payload}");
    }
    assert_eq!(refusal(sign_text(&key, &head, r#"{"name":"A"} "#)), InvalidReason::Issuer);
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let _ = refusal(sign_text(&key, &head, &deep));
    let deep = format!(
        r#"{{"typ":"at+jwt","alg":"HS256","x":{}1{}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    assert_eq!(refusal(sign_text(&key, &deep, "{}")), InvalidReason::Header);
    let many: String = (0..400).map(|n| format!(r#""m{n}":0,"#)).collect();
    let many = format!(r#"{{{many}"alg":"HS256"}}"#);
    assert_eq!(refusal(sign_text(&key, &many, "{}")), InvalidReason::Header);
}

// Rows: S65.
#[test]
fn a_token_bound_to_a_key_is_not_a_bearer_token() {
    let bound =
        with(claims(), "cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}));
    assert_eq!(refusal(sign(&header(), &bound)), InvalidReason::SenderConstrained);
}

#[test]
fn the_apps_claims_see_no_registered_name() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        name: String,
    }
    let keys = Keys::new(hs256()).unwrap();
    let now = Timestamp::from_secs(NOW);
    let token = sign(&header(), &claims());
    let strict = verify::<Strict>(token.as_bytes(), &keys.current(), &rules(), now).unwrap();
    assert_eq!(strict.claims.unwrap().name, "Alice");
    let none = verify::<()>(token.as_bytes(), &keys.current(), &rules(), now).unwrap();
    assert_eq!(none.subject.as_deref(), Some("alice"));
    let map = verify::<BTreeMap<String, Value>>(token.as_bytes(), &keys.current(), &rules(), now)
        .unwrap();
    assert_eq!(*map.claims.unwrap(), BTreeMap::from([("name".to_owned(), json!("Alice"))]));
    let value = verify::<Value>(token.as_bytes(), &keys.current(), &rules(), now).unwrap();
    assert_eq!(*value.claims.unwrap(), json!({"name": "Alice"}));

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Guest { name: String },
    }
    let tagged = sign(&header(), &with(claims(), "kind", json!("Guest")));
    let read = verify::<Tagged>(tagged.as_bytes(), &keys.current(), &rules(), now).unwrap();
    let Tagged::Guest { name } = &*read.claims.unwrap();
    assert_eq!(name, "Alice");

    let extra = sign(&header(), &with(claims(), "more", json!(1)));
    let good = verify::<Strict>(extra.as_bytes(), &keys.current(), &rules(), now).unwrap();
    assert_eq!(good.subject.as_deref(), Some("alice"), "all but the app's type takes it");
    let unread = good.claims.unwrap_err();
    assert!(unread.to_string().ends_with("Strict`: unknown field `more`, expected `name`"));
    assert_eq!(unread.json(), &json!({"name": "Alice", "more": 1}));
}
