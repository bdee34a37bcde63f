//! The cost of a header: row S07, for the part before the signature.

use super::*;
use crate::verify::json::FEW;

/// An object with unknown members.
fn object(members: usize) -> Value {
    (0..members)
        .map(|n| (format!("member-{n:03}"), json!(n)))
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .collect()
}

fn with_members(members: usize) -> Value {
    let mut full = object(members - 2);
    full.as_object_mut().unwrap().extend(header().as_object().unwrap().clone());
    full
}

/// All of these have a valid signature, so only the limit refuses them.
// Rows: M10.
#[test]
fn a_header_has_sixteen_members_and_so_has_every_object_in_it() {
    let read = |header: &Value| check(sign(header, &claims())).map(|_| ());
    assert_eq!(read(&with_members(FEW)), Ok(()));
    assert_eq!(read(&with_members(FEW + 1)), Err(InvalidReason::Header));
    for nested in [
        |inner: Value| json!(inner),
        |inner| json!([inner]),
        |inner| json!([{"a": inner}, 1]),
        |inner| json!({"a": {"b": inner}}),
    ] {
        assert_eq!(read(&with(header(), "x", nested(object(FEW)))), Ok(()));
        assert_eq!(read(&with(header(), "x", nested(object(FEW + 1)))), Err(InvalidReason::Header));
    }
}

// Rows: M10.
#[test]
fn a_header_has_four_kilobytes() {
    let filled = |length: usize| {
        let rest = with(header(), "x5c", json!([""])).to_string().len();
        with(header(), "x5c", json!(["A".repeat(length - rest)]))
    };
    assert_eq!(filled(4096).to_string().len(), 4096);
    assert!(check(sign(&filled(4096), &claims())).is_ok());
    assert_eq!(refusal(sign(&filled(4097), &claims())), InvalidReason::Header);
    // The length is checked first. A header that is too long is not even decoded.
    let undecodable = format!("{}.e30.AAAA", "!".repeat(5463));
    assert_eq!(refusal(undecodable), InvalidReason::Header);
}

/// The headers of Entra ID (for Microsoft Graph), AD FS, Keycloak, Cognito, an AWS load balancer,
/// and one with an embedded certificate.
// Rows: M10.
#[test]
fn headers_of_real_issuers_are_read() {
    let thumbprint = "NobQ1ngsUs5WKejWuCGy5tzyGP8";
    for real in [
        json!({"nonce": "x".repeat(43), "x5t": thumbprint, "kid": thumbprint}),
        json!({"x5t": thumbprint, "x5t#S256": "x".repeat(43), "kid": thumbprint, "cty": "JWT"}),
        json!({"kid": "x".repeat(43)}),
        json!({"kid": "1234example="}),
        json!({
            "kid": "2c9f6f5e-6d5b-4d5b-9f5e-6d5b4d5b9f5e", "iss": "https://id.example",
            "client": "app", "exp": NOW,
            "signer": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/x/1",
        }),
        json!({"kid": "k", "x5t": thumbprint, "x5c": ["M".repeat(2560)]}),
        json!({"kid": "k", "x5c": ["M".repeat(1300), "M".repeat(1300), "M".repeat(1300)]}),
    ] {
        let mut full = header();
        full.as_object_mut().unwrap().extend(real.as_object().unwrap().clone());
        assert!(check(sign(&full, &claims())).is_ok(), "{full}");
    }
}

/// There may be many claims. Duplicates are found after the sixteenth as well.
// Rows: M10.
#[test]
fn a_claim_that_comes_twice_is_found_among_the_first_and_the_last() {
    let named = |names: &[usize]| {
        let members: Vec<_> = names.iter().map(|n| format!(r#""n{n}":{n}"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    let read = |names: &[usize]| parse_own::<BTreeMap<String, Value>>(&named(names));
    let all: Vec<usize> = (0..256).collect();
    assert_eq!(read(&all).unwrap().len(), 256);
    assert!(read(&(0..257).collect::<Vec<_>>()).is_err());
    for twice in [0, FEW - 1, FEW, 100, 200] {
        let again = [&all[..201], &[twice]].concat();
        let problem = read(&again).unwrap_err().to_string();
        assert!(problem.contains("twice"), "{twice}: {problem}");
    }
    for few in [2, FEW, FEW + 1] {
        let again = [&all[..few], &[few - 1]].concat();
        assert!(read(&again).unwrap_err().to_string().contains("twice"), "{few}");
    }
}
