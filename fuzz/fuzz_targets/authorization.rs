//! `Authorization` fields, one per line: exactly one field, one credential, a case-insensitive
//! scheme.

#![no_main]

use everfresh::SessionStatus;
use everfresh_fuzz::{Fixture, request, values, with_fixture};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    with_fixture(Fixture::headers, |fixture| {
        let fields: Vec<_> = values(&fixture.fill(data)).collect();
        let session =
            fixture.settle(&request(fields.iter().cloned().map(|field| ("authorization", field))));
        let counts = match &fields[..] {
            [one] => one.as_bytes().split_at_checked(7).is_some_and(|(scheme, rest)| {
                let rest = rest.trim_ascii();
                scheme.eq_ignore_ascii_case(b"bearer ") && rest == fixture.access.as_bytes()
            }),
            _ => false,
        };
        assert_eq!(session.status() == SessionStatus::Present, counts, "{fields:?}");
    });
});
