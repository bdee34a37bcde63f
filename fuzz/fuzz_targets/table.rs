//! Requests for the decision table: which access token, of what age, with which refresh token and
//! which fields. An invalid access token alone never signs a request in.

#![no_main]

use std::time::Duration;

use everfresh::{SessionStatus, Timestamp};
use everfresh_fuzz::{ACCESS, Fixture, REFRESH, START, request, with_fixture};
use http::{HeaderValue, Method};
use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 6] = ["GET", "POST", "OPTIONS", "HEAD", "CONNECT", "DELETE"];
const FIELDS: [&str; 10] = [
    "sec-purpose",
    "purpose",
    "x-moz",
    "next-router-prefetch",
    "upgrade",
    "accept",
    "sec-fetch-site",
    "sec-fetch-mode",
    "origin",
    "host",
];

/// Corrupts a token's last part for some values of `how`.
fn broken(token: &str, how: u8) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = bytes.len() - 1 - usize::from(how) % 40;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8_lossy(&bytes).into_owned()
}

fuzz_target!(|data: &[u8]| {
    let [kinds, how, age_high, age_low, method, fields @ ..] = data else { return };
    with_fixture(Fixture::cookies, |fixture| {
        let (access, refresh) = fixture.sign_in("alice");
        let age = Duration::from_secs(u64::from(u16::from_be_bytes([*age_high, *age_low])));
        fixture.clock.advance(age);

        let invalid = kinds % 4 == 1;
        let access = match kinds % 4 {
            0 => Some(access),
            1 => Some(broken(&access, *how)),
            _ => None,
        };
        let refreshing = kinds / 4 % 3 == 0;
        let refresh = match kinds / 4 % 3 {
            0 => Some(refresh),
            1 => Some(broken(&refresh, *how)),
            _ => None,
        };
        let cookies = [(ACCESS, &access), (REFRESH, &refresh)].map(|(name, token)| {
            token.as_ref().and_then(|token| HeaderValue::try_from(format!("{name}={token}")).ok())
        });
        let others = fields.split(|byte| *byte == b'\n').filter_map(|line| {
            let (which, value) = line.split_first()?;
            let name = FIELDS[usize::from(*which) % FIELDS.len()];
            Some((name, HeaderValue::from_bytes(value).ok()?))
        });
        let cookies = cookies.into_iter().flatten().map(|value| ("cookie", value));
        let mut request = request(cookies.chain(others));
        let method = METHODS[usize::from(*method) % METHODS.len()];
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");

        let (passes, session) = fixture.begin(&request);
        let present = session.status() == SessionStatus::Present;
        let over = age.as_secs() > 900 + 30;
        if !refreshing {
            assert!(!present || (kinds % 4 == 0 && !over), "without a token that counts");
        }
        if invalid && passes {
            assert!(!present, "an invalid token passed");
        }
        if method == "OPTIONS" {
            assert!(!session.is_refreshed(), "a preflight refreshes nothing");
        }
        if present {
            assert_eq!(session.subject().as_deref(), Some("alice"));
            let now = Timestamp::from_secs(START).plus(age).minus(Duration::from_secs(30));
            assert!(session.expires_at().is_some_and(|at| at > now));
        }
        fixture.clock.set_wall(Timestamp::from_secs(START));
    });
});
