//! The types of claims that can be used for a sign-in.

use std::collections::BTreeMap;

use http::Request;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{ClaimSet, TokenProfile};

/// Signs a user in with these claims, and parses them from the issued token.
async fn claims_that_travel<C: ClaimSet + PartialEq + std::fmt::Debug>(
    claims: C,
    profile: TokenProfile,
) -> Result<(), SessionError> {
    let auth = Engine::<C>::builder(Keys::new(named_key("k")).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .transports([Transport::headers()])
        .token_profile(profile)
        .refresh_with(Reissue::new())
        .build()
        .unwrap();
    let begin = |request: &Request<()>| match auth.begin(request) {
        Progress::Pass(session) => session,
        Progress::Wait(_) => panic!("there is nothing to wait for"),
    };
    let signed_in = begin(&get(&[]));
    let expected = serde_json::to_value(&claims).unwrap();
    signed_in.sign_in("alice", claims).await?;
    let token = signed_in.access_token()?;
    let session = begin(&bearer(token.expose()));
    assert_eq!(serde_json::to_value(&*session.claims().unwrap()).unwrap(), expected);
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Role {
    Admin { level: u8 },
    Pair(u8, u8),
    Of(Box<User>),
    Guest,
}

// Rows: R8.
#[tokio::test]
async fn an_enums_variants_with_members_are_claims_and_one_without_is_refused_in_words() {
    for role in [Role::Admin { level: 3 }, Role::Pair(1, 2), Role::Of(Box::new(user("alice")))] {
        claims_that_travel(role, TokenProfile::AtJwt).await.unwrap();
    }
    let refused = claims_that_travel(Role::Guest, TokenProfile::AtJwt).await.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::Claims);
    let text = refused.to_string();
    assert!(text.contains("a string") && text.contains("variant without members"), "{text}");
}

/// Serialized under one name and deserialized under another.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Lopsided {
    #[serde(rename(serialize = "role"))]
    level: u8,
}

// Rows: R8.
#[tokio::test]
async fn claims_that_cant_be_read_back_are_refused_in_words() {
    let refused = claims_that_travel(Lopsided { level: 1 }, TokenProfile::AtJwt).await.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::Claims);
    let text = refused.to_string();
    assert!(text.contains("can't be deserialized") && text.contains("`level`"), "{text}");
}

// Rows: M13.
#[tokio::test]
async fn claims_of_other_kinds_are_refused_where_typ_does_not_tell() {
    for name in ["nonce", "at_hash", "c_hash", "s_hash", "events"] {
        let claims = || BTreeMap::from([(name.to_owned(), 7)]);
        claims_that_travel(claims(), TokenProfile::AtJwt).await.unwrap();
        let refused = claims_that_travel(claims(), TokenProfile::Jwt).await.unwrap_err();
        assert_eq!(refused.kind(), SessionErrorKind::Claims, "{name}");
        assert!(refused.to_string().contains(&format!("`{name}`")), "{refused}");
    }
}
