//! Step 2: verifies a token.
//!
//! Rules, in the order in which they are applied:
//! 1. The token has at most 8 KiB and three parts in base64url without padding, spare bits or white
//!    space.
//! 2. The header passes the rules of [`jws::Header::parse`].
//! 3. The key determines the algorithm. The signature is checked before any claim is read.
//! 4. The claims: `exp` is required. `iss` is the configured issuer. `aud` is the configured
//!    audience, or an array that holds it. `nbf` is honoured. `iat` is at most a day ahead. There
//!    is no `cnf`, because a bearer does not prove the key. `typ` is the type of an access token.
//!    If `typ` names no kind of token, no claim names another kind.
//! 5. A token is *expired* only if it passes all these rules.

mod algorithm;
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

pub use algorithm::Algorithm;
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

/// Why a token does not count. It is for events and logs, and never sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// The token is longer than 8 KiB.
    TooLong,
    /// The token does not have three non-empty parts of strict base64url.
    Malformed,
    /// The header is not accepted. For example, it has an unknown `alg`, a `crit`, a member twice,
    /// more than 16 members, or more than 4 KiB.
    Header,
    /// The `typ` is not the type of an access token, or a claim names another kind of token.
    Type,
    /// No key in the set has this algorithm and `kid`.
    UnknownKey,
    /// The signature is not valid.
    Signature,
    /// A claim is missing, has a wrong type, or appears twice, or the app's type can't be
    /// deserialized from the claims (see [`UnreadClaims`]).
    Claims,
    /// The token is from another issuer.
    Issuer,
    /// The token is for another audience.
    Audience,
    /// `nbf` or `iat` is in the future.
    NotYetValid,
    /// The token is bound to a key of the client (`cnf`), which a bearer does not prove.
    SenderConstrained,
    /// The token's session is over, and this node knows it.
    Revoked,
    /// The token lacks a claim that a token of a session must have: `sid`, `auth_time`,
    /// `session_exp`, `sub` or `iat`.
    NoSession,
    /// One place has tokens of different sessions. None of them counts.
    Conflict,
    /// One place has more tokens than a client has a reason to send.
    TooMany,
    /// A header field that is allowed once came several times, or with several credentials.
    Duplicated,
}

impl InvalidReason {
    /// All reasons, in the order of the variants.
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

    /// Returns the reason's name in metrics and logs: `too_long`, `signature`, ...
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
    /// `at+jwt`, the type that the engine mints itself. The default.
    #[default]
    AtJwt,
    /// All of RFC 9068: `at+jwt`, and the claims `sub`, `client_id`, `iat` and `jti`.
    Rfc9068,
    /// `JWT` or no `typ`, for issuers that do not mark their access tokens.
    ///
    /// Only claims then distinguish the kinds of tokens (RFC 8725 section 3.12). The engine refuses
    /// a token that names another kind in a claim `token_type`, `token_use` or `typ`. It also
    /// refuses a token that has a claim of ID tokens (`nonce`, `at_hash`, `c_hash`, `s_hash`) or of
    /// logout tokens (`events`). It accepts a `nonce` if one of the three claims names an access
    /// token, as in Keycloak's access tokens up to version 24.
    ///
    /// Only the audience, which is the client's id, distinguishes an ID token that has none of
    /// these claims (OpenID Connect Core section 2). Therefore the engine's `audience` must not be
    /// the id of a client. Register a separate API or resource with the issuer.
    Jwt,
}

/// Which kind of token is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Access(TokenProfile),
    Id,
}

/// The rules by which `verify` checks every token.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// The audience is in `client_id`, and there is no `aud`.
    pub(crate) audience_in_client_id: bool,
    pub(crate) kind: Kind,
    pub(crate) leeway: Duration,
    /// Tokens must have `sid`, `auth_time` and `session_exp`, as well as `sub` and `iat`. Another
    /// issuer's tokens need not: each is then a session of its own, without a link to the next
    /// token.
    pub(crate) needs_session: bool,
}

/// A token whose signature and claims are valid. [`crate::decide`] checks whether it is expired.
pub(crate) struct Verified<C> {
    /// The app's claims, or the claims that the app's type can't be deserialized from.
    pub(crate) claims: Result<Arc<C>, UnreadClaims>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) sid: Box<str>,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) issued: Option<Timestamp>,
    /// The earliest time that `nbf` and `iat` allow by rule 4. Before it the token is refused.
    pub(crate) valid_from: Timestamp,
    /// `exp`, or the session's end if that comes first.
    pub(crate) expires: Timestamp,
    pub(crate) session_expires: Option<Timestamp>,
    /// Whether the session's cookies outlive the browser. True if the token does not say.
    pub(crate) persistent: bool,
    /// The generation of the session that the token names, if it names one.
    pub(crate) generation: Option<u64>,
    /// The first bytes of the signature, which distinguish two tokens of one session.
    pub(crate) fingerprint: u64,
    /// What this node has reported about the token's generation, which avoids a lookup.
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

/// Whether the store knows that a generation was presented: one bit for a presentation with user
/// activity, and one for a presentation without it.
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

/// Checks one token, as text, by the rules of this module.
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
            // `Value` accepts any claims. If it reads them, only the app's type is the problem.
            let any = claims::parse::<Value>(&payload, expected);
            let (raw, json) = any.map_err(|_| InvalidReason::Claims)?;
            (raw, Err(UnreadClaims::new::<C>(json, &error)))
        }
    };
    check_claims(raw, own, fingerprint, rules, now)
}

/// Returns the token's `exp`. The token is not verified.
pub(crate) fn expiry(token: &[u8]) -> Option<Timestamp> {
    let payload = jws::Compact::split(token).ok()?.payload().ok()?;
    let unchecked = Expected { issuer: "", audience: "" };
    let (raw, ()) = claims::parse(&payload, unchecked).ok()?;
    raw.exp.map(Timestamp::from_secs)
}

/// Returns whether this token, refused for `reason`, may be signed by a key that the set lacks.
///
/// That is so if no key of the set has signed the token, and no key for the token's algorithm has
/// the `kid` that the token names. Only a set with a source can get another key.
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
        // RFC 9068 section 2.1: the media type may be written in its short form.
        Kind::Access(TokenProfile::AtJwt | TokenProfile::Rfc9068) => {
            is("at+jwt") || is("application/at+jwt")
        }
        Kind::Access(TokenProfile::Jwt) | Kind::Id => {
            typ.is_none() || is("JWT") || is("application/jwt")
        }
    };
    if good { Ok(()) } else { Err(InvalidReason::Type) }
}

/// Returns the key that signed the token.
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

/// Returns whether the claims fit this kind of token (RFC 8725 section 3.12). `check_typ` has
/// checked the header's `typ` before.
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

/// Returns the session id for a token without one. An issuer would not write such an id.
fn nameless(fingerprint: u64) -> Box<str> {
    format!("~{fingerprint:016x}").into()
}

/// Returns whether `sid` stands for a token without a session id.
pub(crate) fn is_nameless(sid: &str) -> bool {
    sid.starts_with('~')
}

/// Checks the claims by rule 4.
fn check_claims<C>(
    raw: claims::RawClaims,
    claims: Result<Arc<C>, UnreadClaims>,
    fingerprint: u64,
    rules: &Rules,
    now: Timestamp,
) -> Result<Verified<C>, InvalidReason> {
    /// Clocks of issuers may be off by hours (an hour is common), but not by a day.
    const FAR_FUTURE: Duration = Duration::from_secs(24 * 60 * 60);

    if !raw.issuer_matches {
        return Err(InvalidReason::Issuer);
    }
    let for_us = match rules.audience_in_client_id {
        false => raw.audience_matches,
        // A token with an `aud` may be an ID token, whose audience is the same id.
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
