//! Secret text: tokens. It is wiped on drop and never printed.

use std::fmt;

use zeroize::Zeroizing;

/// A signed access token, ready to be sent.
///
/// `Debug` shows its first four characters and its length, which is enough to tell two tokens apart
/// in a log and too little to use one. There is no `Display`. [`expose`](Self::expose) marks the
/// places where the text is used.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// Wraps a token's text.
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// Returns the token itself. A party that holds it can act as the user until it expires.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(4).collect();
        write!(f, "AccessToken({shown}.., {} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::dialect::AccessTokenResponse;
    use crate::mint::{ClaimsObject, SessionClaims};
    use crate::refresh::UpstreamAccessToken;
    use crate::refresh::{RefreshRequest, ReissueRequest, SessionInfo, SignInRequest};
    use crate::refresher::RefreshToken;
    use crate::session::SignIn;
    use crate::store::{
        Loaded, NewSession, NewUpstreamTokens, Publication, Rotation, SessionId,
        StoredUpstreamTokens,
    };
    use crate::testing::START;
    use crate::verify::{Received, Verified};
    use crate::{Revalidated, Revalidation};

    #[test]
    fn debug_shows_four_characters_and_a_length() {
        let token = AccessToken::new("eyJhbGciOiJIUzI1NiJ9.e30.c2ln".into());
        assert_eq!(format!("{token:?}"), "AccessToken(eyJh.., 29 bytes)");
    }

    /// Every type that holds a salt, a user's name, claims or attributes.
    // Rows: L2.
    #[test]
    fn debug_shows_no_salt_subject_claims_or_attributes() {
        const SALT: [u8; 16] = [0xa7; 16];
        let subject = || "the-subject".to_owned();
        let text = || r#"{"claim":"the-claims"}"#.to_owned();
        let value = || serde_json::json!({"claim": "the-claims"});
        let attributes = || BTreeMap::from([("device".to_owned(), "the-attribute".to_owned())]);
        let issued = || {
            let mut issued = AccessTokenResponse::new(AccessToken::new("eyJ0aGUtdG9rZW4".into()))
                .with_refresh_token(RefreshToken::new("the-refresh-token".into()));
            issued.members = attributes();
            issued
        };
        let session_claims = || {
            let claims = ClaimsObject::from_text(&text()).unwrap();
            SessionClaims::new(subject(), "the-sid", claims, START, START)
        };
        let sid = SessionId::from_bytes([1; 16]);
        let upstream =
            || NewUpstreamTokens { sealed: b"the-sealed".to_vec(), expires_in: Duration::ZERO };
        let new = NewSession {
            sid,
            subject: subject(),
            key_id: 7,
            idle_lifetime: Duration::from_secs(1),
            absolute_lifetime: Duration::from_secs(1),
            persistent: true,
            claims: text(),
            attributes: attributes(),
            salt: SALT,
            upstream: Some(upstream()),
        };
        let record = new.clone().into_record(START);
        let held: StoredUpstreamTokens = upstream().into_stored(START);
        let opening = SignInRequest {
            session_claims: session_claims(),
            attributes: attributes(),
            issued: Some(issued()),
            former: Some("the-former-sid".into()),
        };
        let refresh = || Some(RefreshToken::new("the-refresh-token".into()));
        let rotation =
            Rotation { sid, from: 1, to: 2, key_id: 7, claims: Some(text()), user_activity: true };
        let publication = Publication { sid, seq: 1, tokens: upstream(), claims: Some(text()) };
        let info = SessionInfo {
            sid: "the-sid".into(),
            subject: subject(),
            signed_in_at: START,
            last_used_at: START,
            expires_at: START,
            attributes: attributes(),
        };
        let revalidation =
            Revalidation { subject: subject(), sid: "the-sid".into(), claims: Ok(value()) };
        let received =
            Received { subject: Some(subject()), lifetime: Duration::ZERO, claims: value() };
        let sign_in = SignIn::new(subject(), value())
            .attribute("device", "the-attribute")
            .backed_by(issued());
        let verified = Verified {
            claims: Ok(value().into()),
            subject: Some(subject().into()),
            sid: "the-sid".into(),
            auth_time: None,
            issued: None,
            valid_from: START,
            expires: START,
            session_expires: None,
            persistent: true,
            generation: None,
            fingerprint: 0,
            reported: crate::verify::Reported::default(),
        };
        let shown = [
            format!("{new:?}"),
            format!("{:?}", Loaded { record, now: START }),
            format!("{held:?}"),
            format!("{opening:?}"),
            format!("{rotation:?}"),
            format!("{publication:?}"),
            format!("{info:?}"),
            format!("{revalidation:?}"),
            format!("{:?}", Revalidated::Replace(value())),
            format!("{received:?}"),
            format!("{sign_in:?}"),
            format!("{verified:?}"),
            format!("{:?}", issued()),
            format!("{:?}", UpstreamAccessToken::new(AccessToken::new(text()), attributes())),
            format!("{:?}", RefreshRequest::new(Some(session_claims()), refresh(), true)),
            format!(
                "{:?}",
                ReissueRequest {
                    session_claims: Some(session_claims()),
                    refresh: refresh(),
                    ..ReissueRequest::default()
                }
            ),
        ];
        let salt = format!("{}", SALT[0]);
        for one in &shown {
            for secret in
                ["the-subject", "the-claims", "the-attribute", "the-refresh", "the-sealed", &salt]
            {
                assert!(!one.contains(secret), "{secret}: {one}");
            }
        }
    }
}
