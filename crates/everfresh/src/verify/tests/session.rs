//! A token's claims about its session.

use super::*;

#[test]
fn a_session_token_names_its_session() {
    for name in ["sid", "auth_time", "session_exp", "sub", "iat"] {
        let token = sign(&header(), &with(claims(), name, None));
        assert_eq!(refusal(token), InvalidReason::NoSession, "{name}");
    }
    let past = with(claims(), "session_exp", json!(NOW + 5));
    let verified = check(sign(&header(), &past)).unwrap();
    assert_eq!(verified.expires, Timestamp::from_secs(NOW + 5), "the session's end comes first");
}

#[test]
fn a_token_without_a_session_id_gets_an_id_that_no_issuer_would_write() {
    let foreign = Rules { needs_session: false, ..rules() };
    let sid = |claims: &Value| check_by(&foreign, sign(&header(), claims)).unwrap().sid;
    assert_eq!(&*sid(&claims()), "s1");
    assert!(!is_nameless("s1"));
    let bare = |jti: &str| {
        let claims = with(claims(), "jti", json!(jti));
        ["sid", "auth_time", "session_exp"]
            .into_iter()
            .fold(claims, |of, name| with(of, name, None))
    };
    assert!(is_nameless(&sid(&bare("a"))));
    assert_eq!(sid(&bare("a")), sid(&bare("a")));
    assert_ne!(sid(&bare("a")), sid(&bare("b")), "one for each token");
    assert_eq!(refusal(sign(&header(), &bare("a"))), InvalidReason::NoSession);
}

#[test]
fn a_reported_repeat_is_distinguished_by_the_client_that_presented_it() {
    for user_activity in [false, true] {
        let reported = Reported::default();
        assert!(!reported.is(user_activity));
        reported.note(user_activity);
        assert!(reported.is(user_activity) && !reported.is(!user_activity));
        reported.note(user_activity);
        assert!(reported.is(user_activity), "twice is once");
        reported.note(!user_activity);
        assert!(reported.is(user_activity) && reported.is(!user_activity));
    }
}
