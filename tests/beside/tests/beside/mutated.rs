//! Tokens with arbitrary content and arbitrary changes: `jsonwebtoken` accepts every token that
//! everfresh accepts.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::*;

fn sign(header: &str, payload: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &SECRET);
    let signed = format!("{}.{}", B64.encode(header), B64.encode(payload));
    format!("{signed}.{}", B64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}

/// A number with a fraction. With the features of `json`, `jsonwebtoken` reads no date with a
/// fraction, and everfresh does, which `numbers.rs` tests.
const FRACTION: &str = if cfg!(feature = "json") { "15" } else { "1.5" };

/// Values that stress a parser.
fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1".into()),
        Just("-1".into()),
        Just(FRACTION.into()),
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

/// Whether the engine accepts a token without refreshing it.
fn accepts(auth: &Engine<User>, token: &str) -> bool {
    let request = http::Request::builder().header("cookie", format!("__Host-access_token={token}"));
    let Ok(request) = request.body(()) else { return false };
    match auth.begin(&request) {
        Progress::Pass(session) => {
            session.status() == SessionStatus::Present && !is_stale(&session)
        }
        Progress::Wait(_) => false,
    }
}

/// Runs `check` on many values and returns how many tokens were accepted.
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

/// Tokens with a valid signature and arbitrary header and claims. everfresh is the stricter parser.
#[test]
fn every_token_we_accept_is_accepted_by_jsonwebtoken() {
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
        validation.leeway = 30; // everfresh's leeway for `nbf`
        let key = DecodingKey::from_secret(&SECRET);
        let read = jsonwebtoken::decode::<User>(&token, &key, &validation);
        prop_assert!(read.is_ok(), "{header} {payload}: {:?}", read.err());
        Ok(true)
    });
    assert!(accepted > 1000, "the property was tried on {accepted} accepted tokens");
}

/// One change of a text's bytes. The position is a fraction of its length.
#[derive(Clone, Debug)]
enum Edit {
    Flip(f64, u8),
    Put(f64, u8),
    Insert(f64, u8),
    Remove(f64),
    Double(f64, f64),
    Cut(f64),
    Case(f64),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = || 0.0..1.0;
    let byte =
        || prop_oneof![proptest::sample::select(&b"AZaz09-_.=+/ \0\"{}[]:,\\?"[..]), any::<u8>(),];
    prop_oneof![
        (at(), 0_u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (at(), byte()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        (at(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        at().prop_map(Edit::Remove),
        (at(), at()).prop_map(|(from, to)| Edit::Double(from, to)),
        at().prop_map(Edit::Cut),
        at().prop_map(Edit::Case),
    ]
}

fn edited(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for edit in edits {
        let (length, is_empty) = (bytes.len(), bytes.is_empty());
        let place = |at: f64| (at * length as f64) as usize;
        match *edit {
            Edit::Insert(at, byte) => bytes.insert(place(at), byte),
            _ if is_empty => {}
            Edit::Flip(at, bit) => bytes[place(at)] ^= 1 << bit,
            Edit::Put(at, byte) => bytes[place(at)] = byte,
            Edit::Remove(at) => drop(bytes.remove(place(at))),
            Edit::Double(from, to) => {
                let (from, to) = (place(from.min(to)), place(from.max(to)));
                let again = bytes[from..to].to_vec();
                bytes.splice(to..to, again);
            }
            Edit::Cut(at) => bytes.truncate(place(at)),
            Edit::Case(at) => {
                let byte = &mut bytes[place(at)];
                *byte ^= 0x20 * u8::from(byte.is_ascii_alphabetic());
            }
        }
    }
    bytes
}

/// One algorithm, with the keys of jsonwebtoken.
struct Signer {
    alg: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// An engine and a signer for each algorithm.
fn signers() -> (Vec<Engine<User>>, Vec<Signer>) {
    let signer = |Case { alg, ours, encoding, decoding }| {
        (engine(ours, TokenProfile::Jwt), Signer { alg, encoding, decoding })
    };
    cases().into_iter().map(signer).unzip()
}

/// A token signed by jsonwebtoken, with an arbitrary header and payload.
fn sign_by(case: &Signer, header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", B64.encode(header), B64.encode(payload));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &case.encoding, theirs(case.alg));
    format!("{signed}.{}", signature.unwrap())
}

/// The index of an algorithm. RSA keys sign slowly in test builds, so they are less frequent.
fn algorithm() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0_usize..3, 1 => 3_usize..9, 4 => 9_usize..12]
}

/// Flips bits, replaces, inserts, removes and doubles bytes, and truncates, for every algorithm. If
/// everfresh still accepts the token, `jsonwebtoken` does too.
// Rows: S28.
#[test]
fn mutated_tokens_are_no_different() {
    beside::install();
    let (engines, cases) = signers();
    let header = |case: &Signer| format!(r#"{{"typ":"JWT","alg":"{:?}"}}"#, case.alg);
    let good: Vec<_> = cases
        .iter()
        .map(|case| sign_by(case, header(case).as_bytes(), claims().to_string().as_bytes()))
        .collect();
    let strategy = (0..good.len(), proptest::collection::vec(edit(), 0..3));
    let accepted = accepted_of(20_000, &strategy, |(which, edits)| {
        let token = edited(good[which].as_bytes(), &edits);
        let Ok(token) = String::from_utf8(token) else { return Ok(false) };
        if !accepts(&engines[which], &token) {
            return Ok(false);
        }
        // Strict base64url: one text for one token.
        prop_assert_eq!(token.trim_matches([' ', '\t']), &good[which]);
        let Signer { alg, decoding, .. } = &cases[which];
        let token = token.trim_matches([' ', '\t']);
        let read = jsonwebtoken::decode::<User>(token, decoding, &validation(*alg));
        prop_assert!(read.is_ok(), "{token}");
        Ok(true)
    });
    assert!(accepted > 1000, "{accepted} tokens were accepted");
}

/// Changes the text of the header and of the claims in the same ways and signs it again, for every
/// algorithm. `jsonwebtoken` accepts every token that everfresh accepts.
// Rows: S27, S29.
#[test]
fn reissued_tokens_cost_the_same() {
    beside::install();
    let (engines, cases) = signers();
    let strategy = (
        algorithm(),
        proptest::collection::vec(edit(), 0..2),
        proptest::collection::vec(edit(), 0..3),
    );
    let accepted = accepted_of(4_000, &strategy, |(which, of_header, of_claims)| {
        let case = &cases[which];
        let header = format!(r#"{{"typ":"JWT","alg":"{:?}","x":[1]}}"#, case.alg);
        let header = edited(header.as_bytes(), &of_header);
        let payload = edited(claims().to_string().as_bytes(), &of_claims);
        let token = sign_by(case, &header, &payload);
        if !accepts(&engines[which], &token) {
            return Ok(false);
        }
        let mut validation = validation(case.alg);
        validation.validate_nbf = true;
        validation.leeway = 30; // everfresh's leeway for `nbf`
        let read = jsonwebtoken::decode::<User>(&token, &case.decoding, &validation);
        let (header, payload) = (B64.encode(header), B64.encode(payload));
        prop_assert!(read.is_ok(), "{header} {payload}: {:?}", read.err());
        Ok(true)
    });
    assert!(accepted > 400, "{accepted} tokens were accepted");
}

fn is_stale(session: &Session<User>) -> bool {
    let soon = everfresh::Timestamp::from(SystemTime::now()).plus(Duration::from_secs(1));
    session.expires_at().is_none_or(|expires| expires < soon)
}
