//! A token endpoint's answer: dialect, status, fields, an empty line, a body.

#![no_main]

use std::time::Duration;

use everfresh::Timestamp;
use everfresh::dialect::{Dialect, RefreshOutcome};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [which, high, low, rest @ ..] = data else { return };
    let dialect = Dialect::ALL[usize::from(*which) % Dialect::ALL.len()];
    let code = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let Ok(status) = StatusCode::from_u16(code) else { return };
    let mut headers = HeaderMap::new();
    let mut rest = rest;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let answered = dialect.read(status, &headers, rest, Timestamp::from_secs(1_800_000_000));
    match &answered {
        RefreshOutcome::Issued(issued) => {
            assert!(status.is_success());
            let access = issued.access_token.expose();
            assert!(!access.is_empty());
            let most = Duration::from_secs(365 * 24 * 60 * 60);
            assert!(issued.expires_in.is_none_or(|life| !life.is_zero() && life <= most));
            let refresh = issued.refresh_token.as_ref().map(|token| token.expose());
            assert!(refresh.is_none_or(|refresh| !refresh.is_empty()));
            // Longer than any text that is printed anyway.
            if access.len() > 40 {
                assert!(!format!("{answered:?}").contains(access), "a token is printed");
            }
        }
        RefreshOutcome::Rejected => assert!(status.is_client_error(), "{status} ends a session"),
        RefreshOutcome::Unavailable { retry_after } => {
            assert!(retry_after.is_none_or(|pause| pause <= Duration::from_secs(3600)));
        }
        RefreshOutcome::InDoubt => {
            let by_rule = dialect.name == "jwt_auth_pro" && status.is_client_error();
            assert!(by_rule || status.is_success() || [408, 504].contains(&code));
        }
        RefreshOutcome::NotIssued => assert!(status.is_success()),
        RefreshOutcome::Misconfigured => assert!(!status.is_success() && !status.is_server_error()),
        _ => {}
    }
    // Only an answer that the dialect calls a rejection ends a session.
    let rejected = dialect.is_rejected(status, &headers, rest);
    assert_eq!(answered == RefreshOutcome::Rejected, rejected);
});
