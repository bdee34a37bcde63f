//! Kinds of tokens, and what each has to have.

use super::*;

// Rows: S25.
#[test]
fn kinds_of_tokens_are_kept_apart() {
    for typ in ["JWT", "rt+jwt", "at+jwt ", "application/jwt", "logout+jwt", "dpop+jwt", ""] {
        let header = with(header(), "typ", json!(typ));
        assert_eq!(refusal(sign(&header, &claims())), InvalidReason::Type, "{typ}");
    }
    assert_eq!(refusal(sign(&with(header(), "typ", None), &claims())), InvalidReason::Type);
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(check(sign(&with(header(), "typ", json!(typ)), &claims())).is_ok(), "{typ}");
    }

    let jwt = Rules { kind: Kind::Access(TokenProfile::Jwt), ..rules() };
    for typ in [Some(json!("JWT")), Some(json!("jwt")), None] {
        let token = sign(&with(header(), "typ", typ.clone()), &claims());
        assert!(check_by(&jwt, token).is_ok(), "{typ:?}");
    }
    let access_for_jwt = sign(&header(), &claims());
    assert_eq!(check_by(&jwt, access_for_jwt).unwrap_err(), InvalidReason::Type);
    let plain = with(header(), "typ", json!("JWT"));
    for (name, kind) in [("token_type", "refresh"), ("token_use", "id"), ("typ", "Refresh")] {
        let token = sign(&plain, &with(claims(), name, json!(kind)));
        assert_eq!(check_by(&jwt, token).unwrap_err(), InvalidReason::Type, "{name}={kind}");
    }
    for (one, other) in [("token_type", "typ"), ("typ", "token_use")] {
        let both = with(with(claims(), one, json!("refresh")), other, json!("Bearer"));
        assert_eq!(check_by(&jwt, sign(&plain, &both)).unwrap_err(), InvalidReason::Type);
    }
    let access = sign(&plain, &with(claims(), "token_type", json!("access")));
    assert!(check_by(&jwt, access).is_ok());
}

// Rows: S26.
#[test]
fn rfc_9068_wants_every_claim_of_its_list() {
    let kind = Kind::Access(TokenProfile::Rfc9068);
    let strict = Rules { kind, needs_session: false, ..rules() };
    assert!(check_by(&strict, sign(&header(), &claims())).is_ok());
    for name in ["iss", "aud", "exp", "sub", "client_id", "iat", "jti"] {
        let token = sign(&header(), &with(claims(), name, None));
        assert!(check_by(&strict, token).is_err(), "{name}");
    }
}
