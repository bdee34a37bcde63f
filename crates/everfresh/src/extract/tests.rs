//! Rows S01 to S09 of `tests/COVERAGE.md`: extraction of the token from the request.

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::cookie::CookieSpec;
use crate::transport::{Location, Transport};

const TOKEN: &str = "aaaa.bbbb.cccc";

fn transports() -> Transports {
    let own = Transport::new(
        Location::Header(HeaderName::from_static("x-at")),
        Location::Header(HeaderName::from_static("x-rt")),
    );
    Transports::build(vec![Transport::cookies(), Transport::headers(), own], false, false).unwrap()
}

fn fields(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in pairs {
        fields.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    fields
}

/// The extracted tokens as `(transport, token)`, and the flaw. The cache knows none of them.
fn found(fields: &HeaderMap) -> (Vec<(usize, String)>, Option<InvalidReason>) {
    let transports = transports();
    let presented = extract(fields, &transports, Side::Access, true, &[]);
    let (mut tokens, mut flaw) = (Vec::new(), presented.flaw);
    for one in presented.candidates() {
        match one.flaw(&transports) {
            None => tokens.push((one.transport, String::from_utf8_lossy(one.token).into_owned())),
            found => flaw = found,
        }
    }
    (tokens, flaw)
}

fn in_cookies(values: &[&[u8]]) -> (Vec<(usize, String)>, Option<InvalidReason>) {
    let pairs: Vec<_> = values.iter().map(|value| ("cookie", *value)).collect();
    found(&fields(&pairs))
}

fn ours(token: &str) -> (Vec<(usize, String)>, Option<InvalidReason>) {
    (vec![(0, token.into())], None)
}

const NONE: (Vec<(usize, String)>, Option<InvalidReason>) = (Vec::new(), None);

// Rows: S01, R18.
#[test]
fn every_cookie_field_is_read_as_bytes() {
    let pair = format!("__Host-access_token={TOKEN}");
    assert_eq!(in_cookies(&[pair.as_bytes()]), ours(TOKEN));
    assert_eq!(in_cookies(&[b"a=1; b=2", pair.as_bytes()]), ours(TOKEN), "HTTP/2 crumbs");
    for neighbour in [
        &b"latin=caf\xe9"[..],
        b"utf8=\xff\xfe\xfd",
        b"nul=1",
        b"q=\"a, b\"",
        b"=",
        b";",
        b"; ;",
        b"x",
        b"=x",
        b"__Host-access_token",
        b"\"",
        b"a=b=c=d",
        b"__Host-access_tokenx=1",
        b"x__Host-access_token=evil.evil.evil",
    ] {
        for joined in [
            [neighbour, b"; ", pair.as_bytes()].concat(),
            [pair.as_bytes(), b"; ", neighbour].concat(),
            [neighbour, b";", pair.as_bytes(), b" \t;", neighbour].concat(),
        ] {
            assert_eq!(in_cookies(&[&joined]), ours(TOKEN), "{}", joined.escape_ascii());
        }
    }
}

// Rows: S02.
#[test]
fn names_are_compared_octet_by_octet() {
    for name in [
        "__%48ost-access_token",
        "__host-access_token",
        "__HOST-access_token",
        "__Host-Access_token",
        "\u{2000}__Host-access_token",
        "\u{a0}__Host-access_token",
        "\u{85}__Host-access_token",
        "$Version=1,__Host-access_token",
        "$__Host-access_token",
        "__Host-access_token ",
        "__Host-access_token\t",
        "a __Host-access_token",
        "a,__Host-access_token",
    ] {
        let pair = format!("{name}={TOKEN}").into_bytes();
        assert_eq!(in_cookies(&[&pair]), NONE, "{}", pair.escape_ascii());
    }
    let trimmed = format!("a=1; \t __Host-access_token={TOKEN}\t ; b=2");
    assert_eq!(in_cookies(&[trimmed.as_bytes()]), ours(TOKEN), "space and tab");
}

// Rows: S03.
#[test]
fn several_of_our_cookies_are_all_candidates() {
    let (one, two) = ("a1.b1.c1", "a2.b2.c2");
    let both = format!("__Host-access_token={one}; __Host-access_token={two}");
    let expected = (vec![(0, one.into()), (0, two.into())], None);
    assert_eq!(in_cookies(&[both.as_bytes()]), expected);
    let (first, second) =
        (format!("__Host-access_token={one}"), format!("__Host-access_token={two}"));
    assert_eq!(in_cookies(&[first.as_bytes(), second.as_bytes()]), expected);
}

// Rows: S04.
#[test]
fn pairs_without_name_or_value_are_not_ours() {
    for header in [
        "=__Host-access_token=a.b.c",
        "=a.b.c",
        "__Host-access_token",
        "__Host-access_token=",
        "__Host-access_token= ",
        "__Host-access_token;=a.b.c",
    ] {
        assert_eq!(in_cookies(&[header.as_bytes()]), NONE, "{header}");
    }
    for (header, value) in
        [("__Host-access_token=\"a.b.c\"", "\"a.b.c\""), ("__Host-access_token=a.b.c,d", "a.b.c,d")]
    {
        assert_eq!(
            in_cookies(&[header.as_bytes()]),
            ours(value),
            "as it is, for `verify` to refuse"
        );
    }
}

// Rows: S05, R20.
#[test]
fn authorization_is_one_field_with_one_credential() {
    let one = |value: &str| found(&fields(&[("authorization", value.as_bytes())]));
    for scheme in ["Bearer", "bearer", "bEaReR", "BEARER"] {
        let expected = (vec![(1, TOKEN.into())], None);
        assert_eq!(one(&format!("{scheme} {TOKEN}")), expected);
        assert_eq!(one(&format!("{scheme}  {TOKEN} ")), expected);
    }
    for other in ["Basic YTpi", "Bearer", "Bearer ", "BearerX a.b.c", "Bear", ""] {
        assert_eq!(one(other), NONE, "{other}");
    }
    let duplicated = (vec![], Some(InvalidReason::Duplicated));
    assert_eq!(one("Bearer a.b.c, Bearer d.e.f"), duplicated);
    assert_eq!(one("Bearer a.b.c d.e.f"), duplicated);
    let two = [("authorization", &b"Bearer a.b.c"[..]), ("authorization", b"Bearer d.e.f")];
    assert_eq!(found(&fields(&two)), duplicated);
    let cookie = [two[0], two[1], ("cookie", b"__Host-access_token=a.b.c")];
    let expected = (vec![(0, "a.b.c".into())], Some(InvalidReason::Duplicated));
    assert_eq!(found(&fields(&cookie)), expected, "a good cookie next to it is still found");
    let twice = [("x-at", &b"a.b.c"[..]), ("x-at", b"a.b.c")];
    assert_eq!(found(&fields(&twice)), duplicated);
}

// Rows: S05.
#[test]
fn a_client_shows_one_credential() {
    let of = |value: &str| {
        let fields = fields(&[("authorization", value.as_bytes())]);
        credential(&fields, "Basic").map(|found| found.map(<[u8]>::to_vec))
    };
    assert_eq!(of("basic YTpi "), Ok(Some(b"YTpi".to_vec())));
    assert_eq!(of("Bearer a.b.c"), Ok(None));
    for several in ["Basic YTpi, Basic YTpi", "Basic YTpi YTpi", "Basic YTpi\tYTpi"] {
        assert_eq!(of(several), Err(InvalidReason::Duplicated));
    }
}

// Rows: S06.
#[test]
fn only_configured_places_are_read() {
    let elsewhere = [
        ("referer", &b"https://app.example/?access_token=a.b.c"[..]),
        ("x-access-token", b"a.b.c"),
        ("cookie2", b"__Host-access_token=a.b.c"),
        ("proxy-authorization", b"Bearer a.b.c"),
    ];
    assert_eq!(found(&fields(&elsewhere)), NONE);
}

// Rows: S07.
#[test]
fn junk_is_recognized_by_its_length_or_dots_without_parsing() {
    for size in [8 * 1024 + 1, 64 * 1024] {
        let junk = format!("__Host-access_token={}", "j".repeat(size));
        assert_eq!(in_cookies(&[junk.as_bytes()]), (vec![], Some(InvalidReason::TooLong)));
        let good = format!("{junk}; __Host-access_token={TOKEN}");
        let expected = (vec![(0, TOKEN.into())], Some(InvalidReason::TooLong));
        assert_eq!(in_cookies(&[good.as_bytes()]), expected);
    }
    let longest = format!("a.b.{}", "c".repeat(8 * 1024 - 4));
    let header = format!("__Host-access_token={longest}");
    assert_eq!(in_cookies(&[header.as_bytes()]), ours(&longest));
    let dots = format!("__Host-access_token={}", ".".repeat(8000));
    assert_eq!(in_cookies(&[dots.as_bytes()]), ours(&".".repeat(8000)), "verification refuses it");
    let beside = format!("{dots}; __Host-access_token={TOKEN}");
    let expected = (vec![(0, TOKEN.into())], Some(InvalidReason::Malformed));
    assert_eq!(in_cookies(&[beside.as_bytes()]), expected);
    let behind = format!("__Host-access_token={TOKEN}; {dots}");
    assert_eq!(in_cookies(&[behind.as_bytes()]), expected);
}

// Rows: S08.
#[test]
fn ten_thousand_cookies_are_no_trouble() {
    let others: String = (0..10_000).map(|n| format!("c{n}=v{n}; ")).collect();
    let header = format!("{others}__Host-access_token={TOKEN}");
    assert_eq!(in_cookies(&[header.as_bytes()]), ours(TOKEN));

    let junk = "__Host-access_token=junk; ".repeat(10_000);
    let expected = (vec![(0, TOKEN.into())], Some(InvalidReason::Malformed));
    let header = format!("{junk}__Host-access_token={TOKEN}");
    assert_eq!(in_cookies(&[header.as_bytes()]), expected, "a good cookie next to junk");

    let forged = "__Host-access_token=a.b.c; ".repeat(10_000);
    for header in [
        format!("{forged}__Host-access_token={TOKEN}"),
        format!("__Host-access_token={TOKEN}; {forged}"),
    ] {
        let refused = (vec![], Some(InvalidReason::TooMany));
        assert_eq!(in_cookies(&[header.as_bytes()]), refused, "whatever the order");
    }
    let beside = fields(&[
        ("cookie", format!("{forged}a=b").as_bytes()),
        ("authorization", b"Bearer d.e.f"),
    ]);
    let expected = (vec![(1, "d.e.f".into())], Some(InvalidReason::TooMany));
    assert_eq!(found(&beside), expected, "what is in another place counts");

    let endless = vec![b'x'; MAX_COOKIE_OCTETS];
    let pair = format!("__Host-access_token={TOKEN}");
    assert_eq!(in_cookies(&[&endless, pair.as_bytes()]), NONE, "the search has an end");
}

#[test]
fn cookies_of_another_sites_request_are_not_found() {
    let fields =
        fields(&[("cookie", b"__Host-access_token=a.b.c"), ("authorization", b"Bearer d.e.f")]);
    let transports = transports();
    let presented = extract(&fields, &transports, Side::Access, false, &[]);
    assert_eq!(presented.candidates().len(), 1);
    assert_eq!(presented.candidates()[0].token, b"d.e.f");
    assert!(brings_cookie(&fields, &transports));
}

proptest! {
    /// Row S01: our cookie is found, and nothing else is, beside any other cookies.
    // Rows: S01.
    #[test]
    fn a_neighbour_never_matters(
        before in proptest::collection::vec(any::<u8>(), 0..80),
        after in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let clean = |bytes: Vec<u8>| -> Vec<u8> {
            bytes.into_iter().filter(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)).collect()
        };
        let (before, after) = (clean(before), clean(after));
        let pair = format!("__Host-access_token={TOKEN}");
        let header = [&before[..], b"; ", pair.as_bytes(), b"; ", &after[..]].concat();
        prop_assert_eq!(in_cookies(&[&header]), ours(TOKEN));
    }

    #[test]
    fn arbitrary_fields_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes: Vec<u8> =
            bytes.into_iter().filter(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)).collect();
        for name in ["cookie", "authorization", "x-at"] {
            let _ = found(&fields(&[(name, &bytes)]));
        }
    }
}

#[test]
fn a_cookie_of_another_name_is_configured_by_its_spec() {
    let transports = Transports::build(vec![in_cookies_named("at", "rt")], false, false).unwrap();
    let fields = fields(&[("cookie", b"rt=x.y.z; hat=q.q.q; at=a.b.c")]);
    let presented = extract(&fields, &transports, Side::Access, true, &[]);
    assert_eq!(presented.candidates()[0].token, b"a.b.c");
    assert_eq!(presented.candidates().len(), 1);
}

fn in_cookies_named(access: &'static str, refresh: &'static str) -> Transport {
    let [access, refresh] = [access, refresh].map(|name| Location::Cookie(CookieSpec::new(name)));
    Transport::new(access, refresh)
}

#[test]
fn a_refresh_token_in_pieces_is_found_whole_and_in_its_place() {
    let list =
        vec![in_cookies_named("at", "rt"), Transport::headers(), in_cookies_named("a2", "r2")];
    let in_pieces = Transports::build(list.clone(), false, true).unwrap();
    let whole = Transports::build(list, false, false).unwrap();
    let large = "l".repeat(9000);
    let cookies: Vec<String> = chunks::split(&large)
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, value)| match index {
            0 => format!("r2={value}"),
            _ => format!("r2.{index}={value}"),
        })
        .chain(["rt=small".into(), "r2=another".into(), "at=a.b.c".into()])
        .collect();
    let pairs: Vec<_> = cookies.iter().map(|pair| ("cookie", pair.as_bytes())).collect();
    let fields = fields(&pairs);
    let refresh = |transports: &Transports, cookies_count| {
        let joined = join_pieces(&fields, transports, cookies_count);
        let found = extract(&fields, transports, Side::Refresh, cookies_count, &joined);
        let text = |one: &Candidate<'_>| (one.transport, String::from_utf8_lossy(one.token).len());
        (joined.len(), found.candidates().iter().map(text).collect::<Vec<_>>())
    };
    let expected = vec![(0, "small".len()), (2, "another".len()), (2, large.len())];
    assert_eq!(refresh(&in_pieces, true), (1, expected), "no piece counts by itself");
    assert_eq!(refresh(&in_pieces, false), (0, vec![]), "of another site's request");
    let (joined, found) = refresh(&whole, true);
    assert_eq!((joined, found.len()), (0, 3), "where there are none, each is looked at as it is");
    let access = extract(&fields, &in_pieces, Side::Access, true, &[]);
    assert_eq!(access.candidates()[0].token, b"a.b.c", "dots are no piece's in an access token");
}

#[test]
fn kept_candidates_equal_the_extracted_ones() {
    let names = [("a0", "r0"), ("a1", "r1"), ("a2", "r2"), ("a3", "r3")];
    let list = names.map(|(access, refresh)| in_cookies_named(access, refresh)).to_vec();
    let transports = Transports::build(list, false, false).unwrap();
    let cookies = names.map(|(access, _)| format!("{access}=a.b.c; ").repeat(4)).concat();
    for (further, flaw) in [("", None), ("a0=j", Some(InvalidReason::Malformed))] {
        let fields = fields(&[("cookie", format!("{cookies}{further}").as_bytes())]);
        let found = extract(&fields, &transports, Side::Access, true, &[]);
        let kept = found.keep();
        let of = |found: &Found<'_>| {
            let candidates = found.candidates().iter();
            candidates.map(|one| (one.transport, one.token.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(of(&found).len(), 16);
        assert_eq!(of(&kept.found()), of(&found));
        assert_eq!((found.flaw, kept.found().flaw), (flaw, flaw));
    }
}
