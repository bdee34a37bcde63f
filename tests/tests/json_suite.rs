//! `JSONTestSuite`: tests each of its texts as a header, as a member of a header, as claims and as
//! a claim. The tokens have valid signatures.
//!
//! Texts named `y_` must be accepted, `n_` refused, and `i_` may be either. everfresh refuses
//! duplicate names although JSON allows them (RFC 7515 section 4, RFC 7519 section 4).
//!
//! `cargo xtask test` gets the suite from its npm package and passes its path in [`SUITE`].

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::adapter::Progress;
use everfresh::{Engine, Keys, ManualClock, Reissue, SessionStatus, Timestamp};
use http::Request;
use serde_json::{Map, Value};

/// The environment variable with the path of the suite: a JSON array of names and inputs. An input
/// is text, so bytes that are not UTF-8 appear in it as U+FFFD.
const SUITE: &str = "EVERFRESH_JSON_SUITE";

/// The number of texts in the suite.
const TEXTS: usize = 318;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    input: String,
}

impl Case {
    /// The text with these members before its own, if it starts like an object.
    fn behind(&self, members: &str) -> Option<String> {
        let rest = self.input.trim_ascii().strip_prefix('{')?;
        let comma = if rest.trim_ascii().starts_with('}') { "" } else { "," };
        Some(format!("{{{members}{comma}{rest}"))
    }

    /// Whether the suite declares the text as JSON. `None` if the suite leaves it open.
    fn is_json(&self) -> Option<bool> {
        match self.name.as_bytes()[0] {
            b'y' => Some(true),
            b'n' => Some(false),
            _ => None,
        }
    }

    fn has_a_name_twice(&self) -> bool {
        self.name.starts_with("y_object_duplicated_key")
    }
}

const TWICE: &str = "JSON takes a name twice; a header or claims must not have one";
const BY_THE_APP: &str =
    "inside the app's own claim: its type decides whether a name may come twice";
const EITHER: &str = "the suite leaves it open: read or refused, but by no panic";

/// The expected result for a text.
enum Wanted {
    Read,
    Refused,
    /// Any result, for this reason.
    Either(&'static str),
}

impl From<Option<bool>> for Wanted {
    fn from(is_json: Option<bool>) -> Self {
        match is_json {
            Some(true) => Self::Read,
            Some(false) => Self::Refused,
            None => Self::Either(EITHER),
        }
    }
}

/// An engine that trusts the key of [`token`], at a time when the token is valid.
fn engine() -> Engine<Map<String, Value>> {
    Engine::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(ManualClock::starting_at(Timestamp::from_secs(1_800_000_000)))
        .refresh_with(Reissue::new())
        .build()
        .unwrap()
}

const SECRET: &[u8] = b"o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
const HEADER: &str = r#""alg":"HS256","typ":"at+jwt""#;
const CLAIMS: &str = concat!(
    r#""iss":"https://app.example","aud":"app","sub":"alice","sid":"s1","#,
    r#""iat":1800000000,"exp":1800000900,"auth_time":1800000000,"session_exp":1800086400"#,
);

fn token(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    format!("{signed}.{}", B64.encode(hmac::sign(&key, signed.as_bytes())))
}

/// Puts each text into one or more tokens, and compares the engine's result with the expected one.
/// Prints the totals, which `cargo xtask vectors` reads.
#[expect(clippy::print_stdout, reason = "`cargo xtask vectors` reads it")]
fn check(part: &str, tokens: impl Fn(&Case) -> Vec<(Wanted, String)>) {
    let auth = engine();
    let path = std::env::var_os(SUITE).expect("EVERFRESH_JSON_SUITE names the suite");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut passed, mut failed) = (0, Vec::new());
    let mut excused = BTreeMap::<_, usize>::new();
    for case in &cases {
        let (mut excuse, before) = (None, failed.len());
        for (wanted, token) in tokens(case) {
            let request =
                Request::builder().header("cookie", format!("__Host-access_token={token}"));
            let Progress::Pass(session) = auth.begin(&request.body(()).unwrap()) else {
                panic!("{}: nothing to wait for", case.name)
            };
            let read = session.status() == SessionStatus::Present
                && matches!(session.optional_claims(), Ok(Some(_)));
            match wanted {
                Wanted::Either(reason) => excuse = Some(reason),
                Wanted::Read if !read => failed.push(format!("{}: refused", case.name)),
                Wanted::Refused if read => failed.push(format!("{}: read", case.name)),
                Wanted::Read | Wanted::Refused => {}
            }
        }
        match excuse {
            Some(reason) => *excused.entry(reason).or_default() += 1,
            None => passed += usize::from(failed.len() == before),
        }
    }
    let (total, skipped) = (cases.len(), excused.values().sum::<usize>());
    println!("vectors: JSONTestSuite, {part}: {passed} of {total} passed, {skipped} skipped");
    for (reason, count) in excused {
        println!("vectors: JSONTestSuite, {part}: skipped {count}: {reason}");
    }
    assert!(failed.is_empty(), "{part}: {failed:#?}");
    assert_eq!(total, TEXTS, "{part}: texts in the suite");
}

// Rows: S27, S29.
#[test]
fn a_headers_member_is_read_as_json_test_suite_says() {
    check("a header's member", |case| {
        let header = format!(r#"{{{HEADER},"x":{}}}"#, case.input);
        let wanted = match case.has_a_name_twice() {
            true => Wanted::Either(TWICE),
            false => case.is_json().into(),
        };
        vec![(wanted, token(&header, &format!("{{{CLAIMS}}}")))]
    });
}

/// As the whole header, every text lacks `alg` and must be refused. With `alg` before its first
/// member, an object may be accepted.
// Rows: S27, S29.
#[test]
fn a_header_is_read_as_json_test_suite_says() {
    check("a header", |case| {
        alone_and_behind(case, HEADER, |text| token(text, &format!("{{{CLAIMS}}}")))
    });
}

/// As all claims, every text lacks `iss` and must be refused. With the required claims before its
/// first member, an object may be accepted (RFC 7519 section 3).
// Rows: S27, S29.
#[test]
fn claims_are_read_as_json_test_suite_says() {
    check("claims", |case| {
        alone_and_behind(case, CLAIMS, |text| token(&format!("{{{HEADER}}}"), text))
    });
}

fn alone_and_behind(
    case: &Case,
    members: &str,
    token: impl Fn(&str) -> String,
) -> Vec<(Wanted, String)> {
    let mut tokens = vec![(Wanted::Refused, token(&case.input))];
    if let Some(text) = case.behind(members) {
        let wanted = match case.has_a_name_twice() {
            true => Wanted::Either(TWICE),
            false => case.is_json().into(),
        };
        tokens.push((wanted, token(&text)));
    }
    tokens
}

// Rows: S29.
#[test]
fn a_single_claim_is_read_as_json_test_suite_says() {
    check("a claim", |case| {
        let claims = format!(r#"{{{CLAIMS},"x":{}}}"#, case.input);
        let wanted = match case.has_a_name_twice() {
            true => Wanted::Either(BY_THE_APP),
            false => case.is_json().into(),
        };
        vec![(wanted, token(&format!("{{{HEADER}}}"), &claims))]
    });
}
