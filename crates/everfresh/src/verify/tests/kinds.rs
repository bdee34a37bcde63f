//! Rows S23 and S25: kinds of tokens without a `typ` of their own, and audiences in other claims.

use super::*;

fn by_kind(kind: Kind, header: &Value, claims: &Value) -> Result<(), InvalidReason> {
    let rules = Rules { kind, needs_session: false, ..rules() };
    check_by(&rules, sign(header, claims)).map(|_| ())
}

fn as_jwt(claims: &Value) -> Result<(), InvalidReason> {
    by_kind(Kind::Access(TokenProfile::Jwt), &json!({"typ": "JWT", "alg": "HS256"}), claims)
}

fn as_id(claims: &Value) -> Result<(), InvalidReason> {
    by_kind(Kind::Id, &json!({"alg": "HS256"}), claims)
}

/// A claim of another kind of token, with a typical value.
fn foreign() -> [(&'static str, Value); 5] {
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    [
        ("nonce", json!("n-0S6_WzA2Mj")),
        ("at_hash", json!("77QmUPtjPfzWtF2AnpK9RQ")),
        ("c_hash", json!("LDktKdoQak3Pk0cnXxCltA")),
        ("s_hash", json!("bOhtX8F73IMjSPeVAqxyTQ")),
        ("events", event),
    ]
}

// Rows: M13.
#[test]
fn id_tokens_and_logout_tokens_are_no_access_tokens() {
    assert_eq!(as_jwt(&claims()), Ok(()));
    for (name, value) in foreign() {
        let token = with(claims(), name, value.clone());
        assert_eq!(as_jwt(&token), Err(InvalidReason::Type), "{name}");
        let at_jwt = Kind::Access(TokenProfile::AtJwt);
        assert_eq!(by_kind(at_jwt, &header(), &token), Ok(()), "`typ` says what it is: {name}");
        let expected = if name == "events" { Err(InvalidReason::Type) } else { Ok(()) };
        assert_eq!(as_id(&token), expected, "{name}");
        // The claim's name counts, with any value.
        assert_eq!(as_jwt(&with(claims(), name, json!(null))), Err(InvalidReason::Type), "{name}");
    }
}

// Rows: M13.
#[test]
fn a_nonce_beside_the_name_of_an_access_token_is_keycloaks() {
    for (name, kind) in [("typ", "Bearer"), ("token_use", "access"), ("token_type", "at+jwt")] {
        let named = with(claims(), name, json!(kind));
        for (claim, value) in foreign() {
            let expected = if claim == "nonce" { Ok(()) } else { Err(InvalidReason::Type) };
            assert_eq!(as_jwt(&with(named.clone(), claim, value)), expected, "{name} and {claim}");
        }
        let both = with(with(named.clone(), "nonce", json!("x")), "events", json!({}));
        assert_eq!(as_jwt(&both), Err(InvalidReason::Type));
        assert_eq!(as_id(&named), Err(InvalidReason::Type), "{name}");
    }
    for (name, kind) in [("typ", "ID"), ("token_use", "id")] {
        let named = with(claims(), name, json!(kind));
        assert_eq!((as_jwt(&named), as_id(&named)), (Err(InvalidReason::Type), Ok(())), "{name}");
    }
    for kind in ["Refresh", "Offline", "Logout"] {
        let named = with(claims(), "typ", json!(kind));
        let refused = Err(InvalidReason::Type);
        assert_eq!((as_jwt(&named), as_id(&named)), (refused, refused), "{kind}");
    }
}

// Rows: M13.
#[test]
fn a_typ_that_names_another_kind_is_refused_in_every_profile() {
    let others = [
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
    ];
    for typ in others {
        for kind in [
            Kind::Access(TokenProfile::AtJwt),
            Kind::Access(TokenProfile::Rfc9068),
            Kind::Access(TokenProfile::Jwt),
            Kind::Id,
        ] {
            for typ in [typ.to_owned(), format!("application/{typ}")] {
                let header = json!({"typ": typ, "alg": "HS256"});
                assert_eq!(by_kind(kind, &header, &claims()), Err(InvalidReason::Type), "{typ}");
            }
        }
    }
}

/// An access token of Amazon Cognito, from its developer guide.
fn cognito() -> Value {
    json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "device_key": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["testgroup"],
        "iss": "https://app.example",
        "version": 2,
        "client_id": "app",
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "auth_time": NOW - 100,
        "exp": NOW + 3500,
        "iat": NOW - 100,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "username": "my-test-user",
        "name": "Alice",
    })
}

// Rows: R15.
#[test]
fn an_audience_in_client_id_counts_where_that_was_configured_and_nowhere_else() {
    let rules = |audience_in_client_id| Rules {
        kind: Kind::Access(TokenProfile::Jwt),
        needs_session: false,
        audience_in_client_id,
        ..rules()
    };
    let read = |configured: bool, claims: &Value| {
        let token = sign(&json!({"alg": "HS256"}), claims);
        check_by(&rules(configured), token).map(|verified| verified.subject)
    };
    let subject = Some("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee".into());
    assert_eq!(read(true, &cognito()), Ok(subject));
    assert_eq!(read(false, &cognito()), Err(InvalidReason::Audience));

    let refused =
        |claims: Value| assert_eq!(read(true, &claims), Err(InvalidReason::Audience), "{claims}");
    refused(with(cognito(), "client_id", json!("another")));
    refused(with(cognito(), "client_id", json!("App")));
    refused(with(cognito(), "client_id", None));
    refused(with(cognito(), "token_use", None));
    for aud in [json!("app"), json!(["app"]), json!([]), json!("https://api.example")] {
        refused(with(cognito(), "aud", aud));
    }
    // The ID token of the same pool: its `aud` is that id, and it has no `client_id`.
    let id = with(with(cognito(), "aud", json!("app")), "token_use", json!("id"));
    refused(id.clone());
    refused(with(id, "client_id", None));
    refused(with(cognito(), "token_use", json!("id")));
}
