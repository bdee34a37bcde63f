//! The forms of claims and numbers, in a build with any features of `serde_json`.

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Person {
    Admin { level: u8 },
    Member(User),
    Pair(u8, String),
    Guest,
}

// Rows: R8.
#[test]
fn an_enum_as_serde_writes_it_is_read_wherever_its_member_stands() {
    for (member, person) in [
        (r#""Admin":{"level":1}"#, Person::Admin { level: 1 }),
        (r#""Member":{"name":"Alice"}"#, Person::Member(User { name: "Alice".into() })),
        (r#""Pair":[7,"x"]"#, Person::Pair(7, "x".into())),
        (r#""Guest":null"#, Person::Guest),
    ] {
        let registered = r#""iss":"https://app.example","sub":"alice""#;
        for payload in [
            format!("{{{member},{registered}}}"),
            format!("{{{registered},{member}}}"),
            format!(r#"{{"aud":"app",{member},{registered}}}"#),
        ] {
            let expected = Expected { issuer: "https://app.example", audience: "app" };
            let (raw, own) = claims::parse::<Person>(&payload, expected).unwrap();
            assert_eq!(own, person, "{payload}");
            assert_eq!(
                (raw.sub.as_deref(), raw.issuer_matches),
                (Some("alice"), true),
                "{payload}"
            );
        }
    }
    for payload in [
        "{}",
        r#"{"sub":"alice"}"#,
        r#"{"Unknown":{}}"#,
        r#"{"Admin":{"level":1},"Guest":null}"#,
        r#"{"Admin":{"level":1},"Admin":{"level":2}}"#,
        r#"{"Admin":{"level":1},"sub":"alice","sub":"bob"}"#,
        r#"{"Admin":{"level":1},"sub":7}"#,
        r#"{"Admin":7}"#,
        r#""Guest""#,
    ] {
        assert!(parse_own::<Person>(payload).is_err(), "{payload}");
    }
}

// Rows: R6.
#[test]
fn dates_with_a_fraction_or_an_exponent_are_numbers_in_every_build() {
    let payload = |exp: &str| {
        let text = with(with(claims(), "exp", None), "iat", None).to_string();
        format!(r#"{},"exp":{exp},"iat":{}.25}}"#, text.strip_suffix('}').unwrap(), NOW - 9)
    };
    for exp in ["1800000600", "1800000600.0", "1800000600.5", "1.8000006e9", "18000006E+2"] {
        let token = sign_text(&hs256(), &header().to_string(), &payload(exp));
        let verified = check(token).unwrap();
        assert_eq!(verified.expires, Timestamp::from_secs(NOW + 600), "{exp}");
        assert_eq!(verified.issued, Some(Timestamp::from_secs(NOW - 9)));
    }
    for exp in ["-1", "-0.5", "1e12", "1e999", "\"1800000600\"", "null", "{}", "[1800000600]"] {
        let token = sign_text(&hs256(), &header().to_string(), &payload(exp));
        assert_eq!(refusal(token), InvalidReason::Claims, "{exp}");
    }
}

// Rows: R6.
#[test]
fn numbers_in_a_header_are_read_alike_in_every_build() {
    let header = |value: &str| format!(r#"{{"typ":"at+jwt","alg":"HS256","x":{value}}}"#);
    let payload = claims().to_string();
    for value in
        ["7", "-7.5e-3", "1e300", "[0,[1.5]]", r#"{"a":1,"b":{"c":2}}"#, "18446744073709551616"]
    {
        assert!(check(sign_text(&hs256(), &header(value), &payload)).is_ok(), "{value}");
    }
    for value in ["1e999", "[-1e999]", r#"{"a":1e999}"#, "01", "1.", "+1"] {
        let token = sign_text(&hs256(), &header(value), &payload);
        assert_eq!(refusal(token), InvalidReason::Header, "{value}");
    }
}
