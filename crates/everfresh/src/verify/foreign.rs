//! Tokens of another issuer, verified when the app receives them from it.

use std::fmt;
use std::time::Duration;

use super::{InvalidReason, Keys, Kind, Rules, Seek, TokenProfile, Verified, lacks_key, verify};
use crate::clock::Timestamp;

/// The leeway for the issuer's clock. The tokens were issued a moment ago, so a clock that differs
/// is no reason to refuse them.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Another issuer, whose tokens are verified when the app receives them from it.
///
/// The rules are the same as for tokens in requests, except for the time, because the issuer issued
/// the tokens a moment ago.
///
/// The audience of ID tokens is the client's id, and the audience of access tokens is not. For an
/// issuer of both, use two values of this type.
///
/// ```
/// use everfresh::{Keys, TrustedIssuer};
///
/// # fn main() -> Result<(), everfresh::KeyError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// # let keys = Keys::hs256(secret)?;
/// let issuer = TrustedIssuer::new(keys, "https://id.example", "app");
/// # let _ = issuer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TrustedIssuer {
    keys: Keys,
    rules: Rules,
}

/// The contents of a token of another issuer.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The token's subject: the claim `sub`.
    pub subject: Option<String>,
    /// The token's lifetime from `iat` to `exp`. Without `iat`, the remaining lifetime.
    pub lifetime: Duration,
    /// The claims except the registered ones that everfresh reads itself.
    pub claims: serde_json::Value,
}

/// Why a received token was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRead {
    /// The token is not trusted.
    Refused(InvalidReason),
    /// The token's key is not available now, so it is unknown whether the token is trusted.
    Unavailable,
}

impl TrustedIssuer {
    /// Trusts tokens that are signed by one of these keys, from this issuer (`iss`, compared as a
    /// whole string) and for this audience (`aud`).
    pub fn new(keys: Keys, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let rules = Rules {
            issuer: issuer.into(),
            audience: audience.into(),
            audience_in_client_id: false,
            kind: Kind::Access(TokenProfile::Jwt),
            leeway: SKEW,
            needs_session: false,
        };
        Self { keys, rules }
    }

    /// Expects access tokens without `aud`. They are for the client that `client_id` names, and the
    /// audience of this value is its id. See [`EngineBuilder::audience_in_client_id`].
    ///
    /// The rules for ID tokens stay the same.
    ///
    /// [`EngineBuilder::audience_in_client_id`]: crate::EngineBuilder::audience_in_client_id
    pub fn audience_in_client_id(mut self) -> Self {
        self.rules.audience_in_client_id = true;
        self
    }

    /// Verifies an access token.
    ///
    /// The token's `typ` is `at+jwt`, or as [`TokenProfile::Jwt`] defines. `now` determines the
    /// lifetime of a token without `iat`. If the token is signed by a key that the set lacks and
    /// the set has a source, this function fetches the keys once and waits for them. Limit the
    /// wait.
    ///
    /// # Errors
    ///
    /// Returns [`NotRead::Refused`] if the token is not trusted, and [`NotRead::Unavailable`] if
    /// its key is not available.
    pub async fn read(&self, token: &str, now: Timestamp) -> Result<Received, NotRead> {
        // Issuers use one or the other for their access tokens.
        let kinds = [TokenProfile::Jwt, TokenProfile::AtJwt].map(Kind::Access);
        self.read_as(&kinds, token, now).await
    }

    /// Verifies an ID token (OpenID Connect Core section 2), as [`read`](Self::read) verifies an
    /// access token. The audience is the client's id. A token that names itself an access token is
    /// refused, and so is a logout token. The caller must compare the `nonce`, which is among the
    /// claims.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`read`](Self::read).
    pub async fn read_id_token(&self, token: &str, now: Timestamp) -> Result<Received, NotRead> {
        self.read_as(&[Kind::Id], token, now).await
    }

    async fn read_as(
        &self,
        kinds: &[Kind],
        token: &str,
        now: Timestamp,
    ) -> Result<Received, NotRead> {
        match self.verify_as(kinds, token, now) {
            Err(reason) if lacks_key(token.as_bytes(), reason, &self.keys) => {
                match self.keys.seek() {
                    Seek::NotFound => Err(NotRead::Refused(reason)),
                    Seek::Unavailable { .. } => Err(NotRead::Unavailable),
                    Seek::InFlight(fetch) => {
                        fetch.await;
                        self.verify_as(kinds, token, now).map_err(|reason| {
                            match lacks_key(token.as_bytes(), reason, &self.keys) {
                                true => NotRead::Unavailable,
                                false => NotRead::Refused(reason),
                            }
                        })
                    }
                }
            }
            verified => verified.map_err(NotRead::Refused),
        }
    }

    /// Verifies the token as the first of these kinds that its type allows.
    fn verify_as(
        &self,
        kinds: &[Kind],
        token: &str,
        now: Timestamp,
    ) -> Result<Received, InvalidReason> {
        let read = |kind: &Kind| {
            let mut rules = Rules { kind: *kind, ..self.rules.clone() };
            rules.audience_in_client_id &= *kind != Kind::Id;
            verify::<serde_json::Value>(token.as_bytes(), &self.keys.current(), &rules, now)
        };
        let mut read = kinds.iter().map(read);
        let verified = read.find(|read| !matches!(read, Err(InvalidReason::Type)));
        let verified = verified.unwrap_or(Err(InvalidReason::Type))?;
        let Verified { claims, subject, issued, expires, .. } = verified;
        Ok(Received {
            subject: subject.map(Into::into),
            lifetime: expires.since(issued.unwrap_or(now)),
            // `Value` can be deserialized from any object.
            claims: claims.map_or_else(|unread| unread.json().clone(), |claims| (*claims).clone()),
        })
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuer")
            .field("issuer", &self.rules.issuer)
            .field("audience", &self.rules.audience)
            .finish_non_exhaustive()
    }
}
