//! Tokens that another issuer made for us, as they were received from it.

use std::fmt;
use std::time::Duration;

use super::{InvalidReason, Keys, Kind, Rules, Seek, TokenProfile, Verified, lacks_key, verify};
use crate::clock::Timestamp;

/// Whose tokens these are is settled when they come; clocks that differ are no reason to refuse
/// what was issued a moment ago.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Another issuer, whose tokens are read when they are received: by the rules that requests' tokens
/// are held against, but for the time, since they were made a moment ago.
///
/// The audience of ID tokens is the client's id, that of access tokens is not: one issuer of both
/// is two of these.
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

/// What a token of another issuer says.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// Whose it is: the claim `sub`.
    pub subject: Option<String>,
    /// How long it was made for; without `iat`, how long it still lives.
    pub lifetime: Duration,
    /// The claims that are not registered.
    pub claims: serde_json::Value,
}

/// Why a received token was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotRead {
    /// It is not what we trust.
    Refused(InvalidReason),
    /// Its key can't be had at the moment, so nobody knows.
    Unavailable,
}

impl TrustedIssuer {
    /// Tokens signed by one of these keys, of this issuer (`iss`, the whole string) and for this
    /// audience (`aud`).
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

    /// The access tokens have no `aud`: they are for the client that `client_id` names, and the
    /// audience given is its id. See [`EngineBuilder::audience_in_client_id`].
    ///
    /// ID tokens are read as before.
    ///
    /// [`EngineBuilder::audience_in_client_id`]: crate::EngineBuilder::audience_in_client_id
    pub fn audience_in_client_id(mut self) -> Self {
        self.rules.audience_in_client_id = true;
        self
    }

    /// Reads an access token; `now` says how long it lives if it does not. If it is signed by a key
    /// that the set lacks, the key is fetched once, where the set has a source: limit the wait.
    ///
    /// Its `typ` is `at+jwt`, or as [`TokenProfile::Jwt`] has it. Errors: see [`NotRead`].
    pub async fn read(&self, token: &str, now: Timestamp) -> Result<Received, NotRead> {
        // Issuers call their access tokens one or the other.
        let kinds = [TokenProfile::Jwt, TokenProfile::AtJwt].map(Kind::Access);
        self.read_as(&kinds, token, now).await
    }

    /// Reads an ID token (OpenID Connect Core section 2), as [`read`](Self::read) reads an access
    /// token; the audience is the client's id. What calls itself an access token is refused, and
    /// so is a logout token. The `nonce` is for the caller to compare, among the claims.
    ///
    /// Errors: see [`NotRead`].
    pub async fn read_id_token(&self, token: &str, now: Timestamp) -> Result<Received, NotRead> {
        self.read_as(&[Kind::Id], token, now).await
    }

    async fn read_as(
        &self,
        kinds: &[Kind],
        token: &str,
        now: Timestamp,
    ) -> Result<Received, NotRead> {
        match self.judge(kinds, token, now) {
            Err(reason) if lacks_key(token.as_bytes(), reason, &self.keys) => {
                match self.keys.seek() {
                    Seek::InVain => Err(NotRead::Refused(reason)),
                    Seek::Unavailable { .. } => Err(NotRead::Unavailable),
                    Seek::InFlight(fetch) => {
                        fetch.await;
                        self.judge(kinds, token, now).map_err(|reason| {
                            match lacks_key(token.as_bytes(), reason, &self.keys) {
                                true => NotRead::Unavailable,
                                false => NotRead::Refused(reason),
                            }
                        })
                    }
                }
            }
            judged => judged.map_err(NotRead::Refused),
        }
    }

    /// As the first of these kinds that it can be.
    fn judge(
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
            // Any object is a value.
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
