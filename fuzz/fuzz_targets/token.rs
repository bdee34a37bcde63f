//! Edits of a valid access token or a valid refresh token. Any text other than the token is
//! refused.

#![no_main]

use everfresh::SessionStatus;
use everfresh_fuzz::{Fixture, request, with_fixture};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

/// Edits of four bytes each: the operation, the position (two bytes), and the new byte.
fn edit(token: &str, script: &[u8]) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    for step in script.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([step[1], step[2]])) % (bytes.len() + 1);
        match step[0] % 7 {
            0 if at < bytes.len() => bytes[at] = step[3],
            1 if at < bytes.len() => bytes[at] ^= 1 << (step[3] % 8),
            2 => bytes.insert(at, step[3]),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 if at < bytes.len() => bytes.rotate_left(at),
            6 => bytes.extend_from_within(at..),
            _ => {}
        }
        bytes.truncate(20_000);
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    with_fixture(Fixture::headers, |fixture| {
        let (name, token) = match which % 2 {
            0 => ("authorization", &fixture.access),
            _ => ("x-refresh-token", &fixture.refresh),
        };
        let edited = match which / 2 % 2 {
            0 => edit(token, rest),
            _ => rest.to_vec(),
        };
        let scheme = if name == "authorization" { &b"Bearer "[..] } else { b"" };
        let Ok(value) = HeaderValue::from_bytes(&[scheme, &edited].concat()) else { return };
        let session = fixture.settle(&request([(name, value)]));
        let is_ours = edited.trim_ascii() == token.as_bytes();
        assert_eq!(session.status() == SessionStatus::Present, is_ours, "{:?}", session.status());
    });
});
