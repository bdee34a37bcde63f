//! `Cookie` fields, one per line. The engine finds the same values as a slow and simple parser,
//! whatever other cookies there are.

#![no_main]

use everfresh::SessionStatus;
use everfresh_fuzz::{ACCESS, Fixture, REFRESH, request, values, with_fixture};
use libfuzzer_sys::fuzz_target;

/// The values of one name: RFC 6265bis section 5.6, with nothing decoded.
fn named<'f>(fields: &'f [Vec<u8>], name: &str) -> Vec<&'f [u8]> {
    let mut found = Vec::new();
    for pair in fields.iter().flat_map(|field| field.split(|byte| *byte == b';')) {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let from = pair.iter().position(|byte| !blank(byte)).unwrap_or(pair.len());
        let to = pair.iter().rposition(|byte| !blank(byte)).map_or(from, |at| at + 1);
        let Some(value) = pair[from..to].strip_prefix(name.as_bytes()) else { continue };
        let Some(value) = value.strip_prefix(b"=") else { continue };
        found.push(&value[value.iter().position(|byte| !blank(byte)).unwrap_or(value.len())..]);
    }
    found
}

fuzz_target!(|data: &[u8]| {
    with_fixture(Fixture::cookies, |fixture| {
        let fields: Vec<_> = values(&fixture.fill(data)).collect();
        let texts: Vec<Vec<u8>> = fields.iter().map(|field| field.as_bytes().to_vec()).collect();
        let access = named(&texts, ACCESS);
        let refresh = named(&texts, REFRESH);
        let session =
            fixture.settle(&request(fields.iter().cloned().map(|field| ("cookie", field))));
        let status = session.status();
        let brings_access = access.contains(&fixture.access.as_bytes());
        let brings_refresh = refresh.contains(&fixture.refresh.as_bytes());
        if !brings_access && !brings_refresh {
            assert_ne!(status, SessionStatus::Present, "nothing of ours came");
        }
        if access == [fixture.access.as_bytes()] && refresh.is_empty() {
            assert_eq!(status, SessionStatus::Present, "exactly our token came");
        }
        if status == SessionStatus::Present {
            assert_eq!(session.subject().as_deref(), Some("alice"));
        }

        // Another cookie, before and after.
        if access.is_empty() && refresh.is_empty() {
            for field in &texts {
                let ours = format!("{ACCESS}={}", fixture.access);
                for both in [
                    [field, &b"; "[..], ours.as_bytes()].concat(),
                    [ours.as_bytes(), b"; ", field].concat(),
                ] {
                    let session =
                        fixture.settle(&request(values(&both).map(|field| ("cookie", field))));
                    assert_eq!(session.status(), SessionStatus::Present, "a neighbour matters");
                }
            }
        }
    });
});
