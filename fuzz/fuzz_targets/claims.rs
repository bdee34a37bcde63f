//! Any header and any payload, signed with our key. An accepted token satisfies every rule, as
//! checked by a lenient JSON parser.

#![no_main]

use everfresh::SessionStatus;
use everfresh_fuzz::{AUDIENCE, Fixture, ISSUER, START, request, sign, with_fixture};
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else { return };
    with_fixture(Fixture::headers, |fixture| {
        let value = HeaderValue::try_from(format!("Bearer {}", sign(header, payload)));
        let Ok(value) = value else { return };
        let (passes, session) = fixture.begin(&request([("authorization", value)]));
        if session.status() != SessionStatus::Present {
            assert!(
                session.subject().is_none() && !matches!(session.optional_claims(), Ok(Some(_)))
            );
            return;
        }
        let read = |text| serde_json::from_slice::<Value>(text).expect("what we read is JSON");
        let (header, payload) = (read(header), read(payload));
        assert_eq!(header["alg"], "HS256");
        let typ = header["typ"].as_str().expect("a type").to_ascii_lowercase();
        assert!(["at+jwt", "application/at+jwt"].contains(&&*typ));
        for name in ["crit", "b64", "jwk", "enc", "zip"] {
            assert!(header.get(name).is_none(), "{name}");
        }
        assert_eq!(payload["iss"], ISSUER);
        let listed = payload["aud"].as_array().is_some_and(|all| all.contains(&AUDIENCE.into()));
        assert!(payload["aud"] == AUDIENCE || listed);
        let date = |name: &str| payload.get(name).map(|date| date.as_f64().expect("a date"));
        let now = START as f64;
        let exp = date("exp").expect("exp");
        // An expired token is accepted within the leeway, 30 s, if nothing refreshes it.
        assert!(exp > now - 30.0 && (exp > now || !passes || session.expires_at().is_some()));
        assert!(date("session_exp").expect("session_exp") > now - 30.0);
        assert!(date("nbf").is_none_or(|nbf| nbf < now + 31.0));
        assert!(date("iat").expect("iat") < exp);
        assert_eq!(payload["sub"].as_str(), session.subject().as_deref());
        assert!(payload["sid"].is_string() && payload.get("cnf").is_none());
    });
});
