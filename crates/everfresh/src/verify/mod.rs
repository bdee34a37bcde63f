//! Step 2: what a token is worth.
//!
//! Rules, in the order in which they are applied:
//! 1. At most 8 KiB; three parts; base64url without padding, spare bits or white space.
//! 2. The header as [`jws::Header::parse`] has it.
//! 3. The key decides the algorithm, and the signature is checked before any claim is read.
//! 4. The claims: `exp` required; `iss` ours; `aud` ours or holding ours; `nbf` honoured; `iat`
//!    at most a day ahead; no `cnf` that nobody proved; `typ` that of an access token, and where
//!    that names no kind, no claim of another kind.
//! 5. A token is *expired* only if all of this held.

mod cache;
mod claims;
mod crypto;
mod foreign;
mod json;
mod jws;
mod key;
mod keys;
mod source;
#[cfg(test)]
mod tests;
mod unread;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Timestamp;
use claims::Expected;

pub(crate) use cache::Cache;
pub(crate) use claims::{REGISTERED, look_like_another_kind, parse_own, read_own};
pub(crate) use crypto::same_bytes;
pub use foreign::{NotRead, Received, TrustedIssuer};
pub(crate) use json::{Name, Names};
pub(crate) use jws::MAX_TOKEN;
pub use key::{Key, KeyError};
pub(crate) use key::{MacKey, SealKey};
pub(crate) use keys::KeySet;
pub use keys::Keys;
pub use source::{KeySource, Seek};
pub use unread::UnreadClaims;

/// Why a token does not count. For events and logs, never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// More than 8 KiB.
    TooLong,
    /// Not three non-empty parts of strict base64url.
    Malformed,
    /// The header is not one we accept: an unknown `alg`, a `crit`, a member twice, more than 16
    /// members or 4 KiB.
    Header,
    /// The `typ` is not that of an access token, or a claim says that it is something else.
    Type,
    /// No key of ours has this algorithm and `kid`.
    UnknownKey,
    /// The signature is not good.
    Signature,
    /// A claim is missing, has a wrong type, or appears twice; or the app's type does not take its
    /// claims, see [`UnreadClaims`].
    Claims,
    /// Another issuer's.
    Issuer,
    /// For another audience.
    Audience,
    /// `nbf` or `iat` lie in the future.
    NotYetValid,
    /// Bound to a key of the client (`cnf`), which a bearer did not prove.
    SenderConstrained,
    /// Of a session that this node knows to be over.
    Revoked,
    /// A session's token without `sid`, `auth_time` and `session_exp`.
    NoSession,
    /// Two tokens of different sessions in one place; neither counts.
    Conflict,
    /// More tokens in one place than anyone has a reason to send.
    TooMany,
    /// A header field that must be there once came several times, or with several credentials.
    Duplicated,
}

impl InvalidReason {
    /// All of them, in the order in which they stand above.
    pub(crate) const ALL: [Self; 16] = [
        Self::TooLong,
        Self::Malformed,
        Self::Header,
        Self::Type,
        Self::UnknownKey,
        Self::Signature,
        Self::Claims,
        Self::Issuer,
        Self::Audience,
        Self::NotYetValid,
        Self::SenderConstrained,
        Self::Revoked,
        Self::NoSession,
        Self::Conflict,
        Self::TooMany,
        Self::Duplicated,
    ];

    /// Its name, as metrics and logs have it: `too_long`, `signature`, ...
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYetValid => "not_yet_valid",
            Self::SenderConstrained => "sender_constrained",
            Self::Revoked => "revoked",
            Self::NoSession => "no_session",
            Self::Conflict => "conflict",
            Self::TooMany => "too_many",
            Self::Duplicated => "duplicated",
        }
    }
}

/// Which tokens count as access tokens, by the header's `typ` (RFC 8725 section 3.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProfile {
    /// `at+jwt`, what the engine mints itself. The default.
    #[default]
    AtJwt,
    /// RFC 9068 to the letter: `at+jwt` with `sub`, `client_id`, `iat` and `jti` as well.
    Rfc9068,
    /// `JWT` or no `typ`, for issuers that don't name their access tokens.
    ///
    /// Nothing but claims then tells kinds of tokens apart (RFC 8725 section 3.12). Refused is what
    /// calls itself something else in a claim `token_type`, `token_use` or `typ`, and what has a
    /// claim of ID tokens (`nonce`, `at_hash`, `c_hash`, `s_hash`) or of logout tokens (`events`);
    /// a `nonce` is taken where one of the three claims names an access token, as Keycloak's did up
    /// to version 24.
    ///
    /// An ID token that has none of these is told by its audience alone, which is the client's id
    /// (OpenID Connect Core section 2). So the engine's `audience` must not be the id of a client:
    /// register an API or resource of its own with the issuer.
    Jwt,
}

/// Which tokens are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access(TokenProfile),
    Id,
}

/// What `verify` holds every token against.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// The audience stands in `client_id`, and there is no `aud`.
    pub(crate) audience_in_client_id: bool,
    pub(crate) kind: Kind,
    pub(crate) leeway: Duration,
    /// Tokens must carry `sid`, `auth_time` and `session_exp`. Where another issuer makes them they
    /// need not: each is a session of its own, of which its successor knows nothing.
    pub(crate) needs_session: bool,
}

/// A token whose signature and claims are good. Expired or not is for [`crate::decide`] to say.
pub(crate) struct Verified<C> {
    /// The app's claims, or what its type does not take.
    pub(crate) claims: Result<Arc<C>, UnreadClaims>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) sid: Box<str>,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) issued: Option<Timestamp>,
    /// What `nbf` and `iat` allow, by rule 4: before this it would be refused.
    pub(crate) valid_from: Timestamp,
    /// `exp`, or the session's end if that comes first.
    pub(crate) expires: Timestamp,
    pub(crate) session_expires: Option<Timestamp>,
    /// Whether the session's cookies outlive the browser. A token that does not say so is of one
    /// whose cookies do.
    pub(crate) persistent: bool,
    /// The generation of the session that came with this token, if one did.
    pub(crate) generation: Option<u64>,
    /// Tells two tokens of one session apart: the first bytes of the signature.
    pub(crate) fingerprint: u64,
    /// What of its generation this node has reported, so that nobody has to look it up.
    pub(crate) reported: Reported,
}

impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("sid", &self.sid)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Whether the store knows that a generation was shown, and that a person showed it.
#[derive(Debug, Default)]
pub(crate) struct Reported(AtomicU8);

impl Reported {
    const fn bit(user_activity: bool) -> u8 {
        1 << user_activity as u8
    }

    pub(crate) fn is(&self, user_activity: bool) -> bool {
        self.0.load(Ordering::Relaxed) & Self::bit(user_activity) != 0
    }

    pub(crate) fn note(&self, user_activity: bool) {
        self.0.fetch_or(Self::bit(user_activity), Ordering::Relaxed);
    }
}

/// Checks one token, as text, by the rules above.
pub(crate) fn verify<C: DeserializeOwned>(
    token: &[u8],
    keys: &KeySet,
    rules: &Rules,
    now: Timestamp,
) -> Result<Verified<C>, InvalidReason> {
    let compact = jws::Compact::split(token)?;
    let mut read = None;
    let header = match keys.cached_header(compact.header) {
        Some(header) => header,
        None => &*read.insert(jws::Header::parse(compact.header)?),
    };
    check_typ(header.typ.as_deref(), rules.kind)?;

    let mut buffer = jws::SignatureBuffer::new();
    let signature = compact.signature(&mut buffer)?;
    let key = check_signature(&compact, header, signature, keys)?;
    if let Some(header) = read {
        key.cache_header(compact.header, header);
    }
    let fingerprint = signature.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));

    let payload = compact.payload()?;
    let expected = Expected { issuer: &rules.issuer, audience: &rules.audience };
    let (raw, own) = match claims::parse::<C>(&payload, expected) {
        Ok((raw, own)) => (raw, Ok(Arc::new(own))),
        Err(error) => {
            // What takes any claims: if it reads the token, only the app's type does not.
            let any = claims::parse::<Value>(&payload, expected);
            let (raw, json) = any.map_err(|_| InvalidReason::Claims)?;
            (raw, Err(UnreadClaims::new::<C>(json, &error)))
        }
    };
    judge(raw, own, fingerprint, rules, now)
}

/// When a token expires by its own words. Nothing about it is checked.
pub(crate) fn expiry(token: &[u8]) -> Option<Timestamp> {
    let payload = jws::Compact::split(token).ok()?.payload().ok()?;
    let nothing = Expected { issuer: "", audience: "" };
    let (raw, ()) = claims::parse(&payload, nothing).ok()?;
    raw.exp.map(Timestamp::from_secs)
}

/// Whether this token, refused for `reason`, may be signed by a key that the set lacks: none of its
/// keys has signed the token, and none for its algorithm has the name that the token gives. Only a set with a source
/// can get to know another one.
pub(crate) fn lacks_key(token: &[u8], reason: InvalidReason, keys: &Keys) -> bool {
    let unsigned = matches!(reason, InvalidReason::UnknownKey | InvalidReason::Signature);
    if !unsigned || !keys.has_source() {
        return false;
    }
    let header = jws::Compact::split(token).and_then(|token| jws::Header::parse(token.header));
    let known = |header: &jws::Header, kid: &str| keys.current().names(header.alg, kid);
    header.is_ok_and(|header| header.kid.as_deref().is_none_or(|kid| !known(&header, kid)))
}

fn check_typ(typ: Option<&str>, kind: Kind) -> Result<(), InvalidReason> {
    let is = |name: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(name));
    let good = match kind {
        // RFC 9068 section 2.1; the short form may stand for the media type.
        Kind::Access(TokenProfile::AtJwt | TokenProfile::Rfc9068) => {
            is("at+jwt") || is("application/at+jwt")
        }
        Kind::Access(TokenProfile::Jwt) | Kind::Id => {
            typ.is_none() || is("JWT") || is("application/jwt")
        }
    };
    if good { Ok(()) } else { Err(InvalidReason::Type) }
}

/// The key that signed the token.
fn check_signature<'k>(
    compact: &jws::Compact<'_>,
    header: &jws::Header,
    signature: &[u8],
    keys: &'k KeySet,
) -> Result<&'k Key, InvalidReason> {
    let mut reason = InvalidReason::UnknownKey;
    for key in keys.candidates(header.alg, header.kid.as_deref()) {
        if key.verify(compact.signed(), signature) {
            return Ok(key);
        }
        reason = InvalidReason::Signature;
    }
    Err(reason)
}

/// Whether the claims are those of such a token (RFC 8725 section 3.12). `typ` was looked at before.
fn is_of_kind(raw: &claims::RawClaims, kind: Kind) -> bool {
    let called_another = match kind {
        Kind::Access(_) => raw.called_id,
        Kind::Id => raw.called_access,
    };
    let has_foreign = match kind {
        Kind::Access(TokenProfile::AtJwt | TokenProfile::Rfc9068) => false,
        Kind::Access(TokenProfile::Jwt) => {
            raw.has_hash || raw.has_events || raw.has_nonce && !raw.called_access
        }
        Kind::Id => raw.has_events,
    };
    !(called_another || raw.called_other || has_foreign)
}

/// What stands for the session of a token that names none: nothing that an issuer would write.
fn nameless(fingerprint: u64) -> Box<str> {
    format!("~{fingerprint:016x}").into()
}

/// Whether a session's id is of a token that names none.
pub(crate) fn is_nameless(sid: &str) -> bool {
    sid.starts_with('~')
}

/// Rule 4.
fn judge<C>(
    raw: claims::RawClaims,
    claims: Result<Arc<C>, UnreadClaims>,
    fingerprint: u64,
    rules: &Rules,
    now: Timestamp,
) -> Result<Verified<C>, InvalidReason> {
    /// Clocks of issuers may be off by hours (an hour is common); a day is not a clock.
    const FAR_FUTURE: Duration = Duration::from_secs(24 * 60 * 60);

    if !raw.issuer_matches {
        return Err(InvalidReason::Issuer);
    }
    let for_us = match rules.audience_in_client_id {
        false => raw.audience_matches,
        // What has an `aud` may be an ID token, whose audience is that very id.
        true => raw.client_id_matches && !raw.has_audience && raw.called_access,
    };
    if !for_us {
        return Err(InvalidReason::Audience);
    }
    if raw.confirmation {
        return Err(InvalidReason::SenderConstrained);
    }
    if !is_of_kind(&raw, rules.kind) {
        return Err(InvalidReason::Type);
    }
    let exp = raw.exp.ok_or(InvalidReason::Claims)?;
    if raw.iat.is_some_and(|iat| iat >= exp) {
        return Err(InvalidReason::Claims);
    }
    let before = |date: Option<u64>, by| Timestamp::from_secs(date.unwrap_or(0)).minus(by);
    let valid_from = before(raw.nbf, rules.leeway).max(before(raw.iat, FAR_FUTURE));
    if now < valid_from {
        return Err(InvalidReason::NotYetValid);
    }
    let complete = raw.sub.is_some() && raw.iat.is_some() && raw.has_jti;
    if rules.kind == Kind::Access(TokenProfile::Rfc9068) && !(complete && raw.has_client_id) {
        return Err(InvalidReason::Claims);
    }
    let in_session = raw.sid.is_some() && raw.auth_time.is_some() && raw.session_exp.is_some();
    if rules.needs_session && !(in_session && raw.sub.is_some() && raw.iat.is_some()) {
        return Err(InvalidReason::NoSession);
    }
    Ok(Verified {
        claims,
        subject: raw.sub.map(Into::into),
        sid: raw.sid.map_or_else(|| nameless(fingerprint), Into::into),
        auth_time: raw.auth_time.map(Timestamp::from_secs),
        issued: raw.iat.map(Timestamp::from_secs),
        valid_from,
        expires: Timestamp::from_secs(exp.min(raw.session_exp.unwrap_or(exp))),
        session_expires: raw.session_exp.map(Timestamp::from_secs),
        persistent: raw.session_persistent.unwrap_or(true),
        generation: raw.generation,
        fingerprint,
        reported: Reported::default(),
    })
}
