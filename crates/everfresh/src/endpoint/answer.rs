//! The response of a dialect's endpoint, in the format that the dialect defines.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{PRAGMA, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::{Reply, json};
use crate::core::Core;
use crate::dialects::dialect::{Failed, Fixed, Kind, Source, Successor};
use crate::dialects::{Served, Unknown};
use crate::engine::Engine;
use crate::error::Failure;
use crate::mint::ClaimSet;
use crate::refresh::Tokens;
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
            Failure::Rejected | Failure::InDoubt | Failure::UnreadClaims => Self::Expired,
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
    pub(super) attributes: BTreeMap<String, String>,
}

impl Served {
    pub(super) fn good<C: ClaimSet>(&self, engine: &Engine<C>, granted: &Granted) -> Reply {
        let (core, now) = (&engine.core, engine.core.now());
        let Granted { tokens, attributes } = granted;
        let verified = match core.verify_own::<C>(&tokens.access, now) {
            Ok(verified) => verified,
            Err(failure) => return self.bad(core, failure.into()),
        };
        let answer = &self.dialect.answer;
        let mut body = Map::new();
        body.insert(answer.access_token.to_string(), tokens.access.expose().into());
        if let Some(Fixed { name, value }) = &answer.token_type {
            body.insert(name.to_string(), value.as_ref().into());
        }
        if let Some(name) = &answer.expires_in {
            let left = verified.expires.since(now).as_secs();
            body.insert(name.to_string(), left.into());
        }
        if let (Successor::Member(name), Some(refresh)) = (&answer.successor, &tokens.refresh) {
            body.insert(name.to_string(), refresh.expose().into());
        }
        let claims = match &verified.claims {
            Ok(claims) => serde_json::to_value(&**claims).unwrap_or_default(),
            Err(unread) => unread.json().clone(),
        };
        for member in &*answer.members {
            let text = match &member.from {
                Source::Subject => verified.subject.as_deref().map(str::to_owned),
                Source::Sid => Some(verified.sid.to_string()),
                Source::Attribute(name) => attributes.get(&**name).cloned().or_else(|| {
                    let claim = claims.get(&**name)?;
                    Some(claim.as_str().map_or_else(|| claim.to_string(), str::to_owned))
                }),
            };
            let value = match (text, member.kind) {
                (Some(text), Kind::String) => Some(Value::from(text)),
                (Some(text), Kind::Integer) => text.parse::<i64>().ok().map(Value::from),
                (None, _) => None,
            };
            body.extend(value.map(|value| (member.name.to_string(), value)));
        }
        let mut reply = super::reply(&body);
        reply.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
        let rest = tokens.session_expires.since(now);
        let max_age = tokens.persistent.then_some(rest);
        let access = self.access_cookie.as_ref().map(|cookie| (cookie, tokens.access.expose()));
        let refresh = self.refresh_cookie.as_ref().zip(tokens.refresh.as_ref());
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
        let errors = &self.dialect.errors;
        let failed: &Failed = match error {
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
        // `Failed::check` checked the status when the engine was built.
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
