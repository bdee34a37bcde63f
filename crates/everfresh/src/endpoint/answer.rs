//! The response of a dialect's endpoint, in the format that the dialect defines.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{PRAGMA, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::{Reply, json};
use crate::core::Core;
use crate::dialects::serving::{ErrorResponse, ServedMember, ServedValue};
use crate::dialects::{Served, Unknown, insert};
use crate::engine::Engine;
use crate::error::Failure;
use crate::mint::ClaimSet;
use crate::refresh::{RefreshToken, Tokens};
use crate::reject::{Rejection, RejectionKind};

/// Why the response has no token. The variants match [`crate::dialects::dialect::Errors`].
#[derive(Clone, Copy)]
pub(super) enum RefreshError {
    Missing,
    Invalid,
    Expired,
    UserGone,
    Malformed,
    Client { basic: bool },
    Unsupported,
    Scope,
    Later(Duration),
}

impl From<Unknown> for RefreshError {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Malformed => Self::Malformed,
            Unknown::Client { basic } => Self::Client { basic },
        }
    }
}

impl From<Failure> for RefreshError {
    fn from(failure: Failure) -> Self {
        match failure {
            // All that is known of the presented token is that it does not count now.
            Failure::Rejected | Failure::InDoubt | Failure::Refused | Failure::UnreadClaims => {
                Self::Expired
            }
            Failure::Foreign => Self::Invalid,
            Failure::Unavailable { .. }
            | Failure::NoRuntime
            | Failure::Misconfigured
            | Failure::TooManySessions => Self::Later(failure.retry_after()),
        }
    }
}

/// The tokens of a successful response, and the attributes of their session.
pub(super) struct Granted {
    pub(super) tokens: Tokens,
    /// The refresh token that the client has to use next, if it presented one.
    pub(super) refresh: Option<RefreshToken>,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Served {
    pub(super) fn good<C: ClaimSet>(&self, engine: &Engine<C>, granted: &Granted) -> Reply {
        let (core, now) = (&engine.core, engine.core.now());
        let Granted { tokens, refresh, attributes } = granted;
        let verified = match core.verify_own::<C>(&tokens.access, now) {
            Ok(verified) => verified,
            Err(failure) => return self.bad(core, failure.into()),
        };
        let claims = match &verified.claims {
            Ok(claims) => serde_json::to_value(&**claims).unwrap_or_default(),
            Err(unread) => unread.json().clone(),
        };
        let attribute = |name: &str| {
            attributes.get(name).cloned().or_else(|| {
                let claim = claims.get(name)?;
                Some(claim.as_str().map_or_else(|| claim.to_string(), str::to_owned))
            })
        };
        let mut body = Map::new();
        for ServedMember { name, value } in &*self.serving.members {
            let value = match value {
                ServedValue::AccessToken => Some(tokens.access.expose().into()),
                ServedValue::RefreshToken => refresh.as_ref().map(|token| token.expose().into()),
                ServedValue::ExpiresIn => Some(verified.expires.since(now).as_secs().into()),
                ServedValue::ExpiresAt => Some(verified.expires.as_secs().into()),
                ServedValue::Text(text) => Some(text.as_ref().into()),
                ServedValue::Subject => verified.subject.as_deref().map(Value::from),
                ServedValue::Sid => Some((*verified.sid).into()),
                ServedValue::Attribute(name) => attribute(name).map(Value::from),
                ServedValue::IntegerAttribute(name) => {
                    attribute(name).and_then(|text| Some(text.parse::<i64>().ok()?.into()))
                }
            };
            if let Some(value) = value {
                insert(&mut body, name, value);
            }
        }
        let mut reply = super::reply(&body);
        reply.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
        let rest = tokens.session_expires.since(now);
        let max_age = tokens.persistent.then_some(rest);
        let access = self.access_cookie.as_ref().map(|cookie| (cookie, tokens.access.expose()));
        // Repeated if it stays the same, because clients take their next token from each answer.
        let refresh = self.refresh_cookie.as_ref().zip(refresh.as_ref());
        let refresh = refresh.map(|(cookie, token)| (cookie, token.expose()));
        for (cookie, token) in [access, refresh].into_iter().flatten() {
            match cookie.set(token, max_age) {
                Some(value) => drop(reply.headers_mut().append(SET_COOKIE, value)),
                None => return self.bad(core, Failure::Misconfigured.into()),
            }
        }
        reply
    }

    pub(super) fn bad(&self, core: &Core, error: RefreshError) -> Reply {
        let errors = &self.serving.errors;
        let failed: &ErrorResponse = match error {
            RefreshError::Missing => &errors.missing,
            RefreshError::Invalid => &errors.invalid,
            RefreshError::Expired => &errors.expired,
            RefreshError::UserGone => &errors.user_gone,
            RefreshError::Malformed => &errors.malformed,
            RefreshError::Client { .. } => errors.client.as_ref().unwrap_or(&errors.invalid),
            RefreshError::Scope => errors.scope.as_ref().unwrap_or(&errors.malformed),
            RefreshError::Unsupported => errors.unsupported.as_ref().unwrap_or(&errors.malformed),
            RefreshError::Later(retry_after) => {
                let rejection = Rejection::new(RejectionKind::Unavailable);
                let body = core.settings.rejection_body.clone();
                return rejection.retry_after(retry_after).with_body(body).into_response();
            }
        };
        // `Dialect::check` checked the status when the engine was built.
        let status = StatusCode::from_u16(failed.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut reply = json(status, failed.body.as_bytes().to_vec());
        if let RefreshError::Client { basic: true } = error {
            // RFC 6749 section 5.2.
            let challenge = HeaderValue::from_static(r#"Basic realm="token", charset="UTF-8""#);
            reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}
