//! What is taken over from a verified access token: for a refresher, and for the next token.

use std::time::Duration;

use super::VerifiedToken;
use crate::mint::{ClaimSet, ClaimsObject, SessionClaims};
use crate::verify::Verified;

/// The end of a session that the token does not tell.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a client confirms when it presents the next token: the generation in the claim `gen`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirms {
    /// Nothing. The token may be for calls to other services, and only a token that the client
    /// itself presents confirms a rotation.
    Nothing,
    /// What this token confirms, because the next one takes its place at the client.
    TheSame,
}

impl<C> Verified<C> {
    /// Returns what a refresher needs to know of the token.
    pub(crate) fn as_verified_token(&self) -> VerifiedToken<'_> {
        // Another issuer's tokens carry no end of the session, because that issuer decides on it.
        let session_expires = self.session_expires.unwrap_or_else(|| self.expires.plus(YEAR));
        VerifiedToken {
            sid: &self.sid,
            fingerprint: self.fingerprint,
            expires: self.expires,
            session_expires,
        }
    }

    /// Returns the app's claims, as the next token will carry them.
    pub(crate) fn claims_object(&self) -> Option<ClaimsObject>
    where
        C: ClaimSet,
    {
        match &self.claims {
            Ok(claims) => ClaimsObject::new(&**claims).ok(),
            Err(unread) => ClaimsObject::new(unread.json()).ok(),
        }
    }

    /// Returns the lifetime that the token was issued for.
    pub(crate) fn lifetime(&self, default: Duration) -> Duration {
        self.issued.map_or(default, |issued| self.expires.since(issued))
    }

    /// Returns what a next access token of the session is minted from. `None` if the token names no
    /// session.
    pub(crate) fn session_claims(&self, confirms: Confirms) -> Option<SessionClaims>
    where
        C: ClaimSet,
    {
        Some(SessionClaims {
            subject: self.subject.as_deref()?.into(),
            sid: (*self.sid).into(),
            claims: self.claims_object()?,
            auth_time: self.auth_time?,
            session_expires: self.session_expires?,
            generation: match confirms {
                Confirms::Nothing => None,
                Confirms::TheSame => self.generation,
            },
            persistent: self.persistent,
        })
    }
}
