//! Tokens that another issuer made for us, as they were received from it.

use std::fmt;
use std::time::Duration;

use super::{InvalidReason, Keys, Rules, Seek, TokenProfile, Verified, lacks_key, verify};
use crate::clock::Timestamp;

/// Whose tokens these are is settled when they come; clocks that differ are no reason to refuse
/// what was issued a moment ago.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Another issuer, whose tokens are read when they are received: by the rules that requests' tokens
/// are held against, but for the time, since they were made a moment ago.
///
/// ```
/// use everfresh::{Keys, TrustedIssuer};
///
/// # fn main() -> Result<(), everfresh::KeyError> {
/// # let keys = Keys::hs256("0123456789abcdef-0123456789abcdef")?;
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
            profile: TokenProfile::Jwt,
            leeway: SKEW,
            needs_session: false,
        };
        Self { keys, rules }
    }

    /// Reads a token; `now` says how long it lives if it does not. If it is signed by a key that
    /// the set lacks, the key is fetched once, where the set has a source: limit the wait.
    pub async fn read(&self, token: &str, now: Timestamp) -> Result<Received, NotRead> {
        match self.judge(token, now) {
            Err(reason) if lacks_key(token.as_bytes(), reason, &self.keys) => {
                match self.keys.seek() {
                    Seek::InVain => Err(NotRead::Refused(reason)),
                    Seek::Unavailable { .. } => Err(NotRead::Unavailable),
                    Seek::Underway(fetch) => {
                        fetch.await;
                        self.judge(token, now).map_err(|reason| {
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

    fn judge(&self, token: &str, now: Timestamp) -> Result<Received, InvalidReason> {
        let read = |profile| {
            let rules = Rules { profile, ..self.rules.clone() };
            verify::<serde_json::Value>(token.as_bytes(), &self.keys.current(), &rules, now)
        };
        // Issuers call their access tokens one or the other.
        let verified = match read(TokenProfile::Jwt) {
            Err(InvalidReason::Type) => read(TokenProfile::AtJwt)?,
            read => read?,
        };
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
