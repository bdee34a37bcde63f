//! A dialect's server side: reads the tokens that a request presents and issues new ones.
//!
//! Rules
//! 1. A token is checked as it is everywhere: its signature or tag first, then its session, which
//!    the refresher checks.
//! 2. An access token alone never yields a refresh token, and does not advance the generation.
//! 3. Cookies of a cross-site request are ignored.
//! 4. The end of the session is answered as the dialect defines. An outage is a plain 503 with
//!    `Retry-After`, which no client mistakes for a sign-out.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};

use super::Reply;
use super::answer::{Granted, RefreshError};
use super::shown::{Good, Shown};
use crate::cookie::chunks;
use crate::core::Core;
use crate::dialects::request::{Body, Fixed, FixedValue, Place, TokenKind};
use crate::dialects::serving::{ServedMember, ServedValue};
use crate::dialects::{Basic, Served, basic, find};
use crate::engine::Engine;
use crate::error::Failure;
use crate::extract::{cookie_values, credential};
use crate::head::{HeaderFields as _, RequestHead};
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::origin;
use crate::refresh::flight::within;
use crate::refresh::{
    Confirms, Context, FlightKey, Presented, RefreshRequest, RefreshToken, ReissueRequest, Tokens,
};
use crate::session::Session;
use crate::transport::Location;
use crate::verify::verify;

/// The place of the refresh token that the layer withholds from the services inside it.
const LAYER: usize = usize::MAX;

/// The parts of a request's head that the endpoint uses.
#[derive(Debug)]
pub(super) struct ParsedCall {
    shown: Shown,
    /// The client's id and secret by HTTP Basic. An error if they can't be read.
    basic: Option<Basic>,
    wants_body: bool,
}

impl ParsedCall {
    pub(super) fn wants_body(&self) -> bool {
        self.wants_body
    }
}

impl Served {
    pub(super) fn read(&self, core: &Core, head: &impl RequestHead) -> ParsedCall {
        let same_origin = core.settings.csrf_handled_elsewhere
            || !origin::is_cross_site(head, &core.settings.trusted_origins);
        let fields = head.fields();
        let mut shown = Shown::default();
        let request = &self.dialect.request;
        for (at, (place, finder)) in request.places.iter().zip(&self.finders).enumerate() {
            match (place, finder) {
                (Place::Cookie(_), Some(finder)) if same_origin => {
                    shown.add(at, cookie_values(fields, finder));
                }
                (Place::Authorization(scheme), _) => {
                    shown.add(at, credential(fields, scheme).ok().flatten().into_iter());
                }
                (Place::Header(name), _) => {
                    let name = HeaderName::from_bytes(name.as_bytes()).ok();
                    let first = name.and_then(|name| fields.values(&name).next());
                    shown.add(at, first.into_iter());
                }
                _ => {}
            }
        }
        let basic = request.client.as_ref().and_then(|_| basic(head));
        ParsedCall { shown, basic, wants_body: request.has_body() }
    }

    pub(super) async fn answer<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        mut asked: ParsedCall,
        body: &[u8],
        session: Option<&Session<C>>,
    ) -> Reply {
        // The layer withholds refresh tokens from the services inside it, including this endpoint.
        if let Some(session) = session.filter(|_| self.dialect.request.token == TokenKind::Refresh)
        {
            match session.refresh_token_from(|location| self.looks_at(location)) {
                Ok(kept) => {
                    let kept = kept.map(|token| token.expose().as_bytes());
                    asked.shown.add(LAYER, kept.into_iter());
                }
                Err(()) if asked.shown.is_empty() => {
                    return self.bad(&engine.core, RefreshError::Invalid);
                }
                Err(()) => {}
            }
        }
        // A refresh that has begun finishes in its own task. The client waits for the usual time.
        let core = &engine.core;
        match within(core, core.settings.refresh_timeout, self.respond_to(engine, asked, body))
            .await
        {
            Some(Ok(granted)) => self.good(engine, &granted),
            Some(Err(error)) => self.bad(core, error),
            None => self.bad(core, Failure::SOON.into()),
        }
    }

    /// Returns whether a transport's location is one of the dialect's places.
    fn looks_at(&self, location: &Location) -> bool {
        self.dialect.request.places.iter().any(|place| match (place, location) {
            (Place::Cookie(name), Location::Cookie(cookie)) => cookie.name() == name,
            (Place::Authorization(scheme), Location::Authorization(own)) => {
                scheme.eq_ignore_ascii_case(own)
            }
            (Place::Header(name), Location::Header(own)) => name.eq_ignore_ascii_case(own.as_str()),
            _ => false,
        })
    }

    async fn respond_to<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        mut asked: ParsedCall,
        body: &[u8],
    ) -> Result<Granted, RefreshError> {
        let body = self.body(body)?;
        let request = &self.dialect.request;
        let client = match &request.client {
            Some(members) => {
                let clients = &engine.served().clients;
                Some(clients.authenticate(asked.basic.take(), members, &body)?)
            }
            None => None,
        };
        for Fixed { name, value } in &*request.members {
            match find(&body, name) {
                Some(found) if is_fixed(found, value, request.body) => {}
                Some(_) => return Err(RefreshError::Unsupported),
                None => return Err(RefreshError::Malformed),
            }
        }
        for (at, place) in request.places.iter().enumerate() {
            let Place::Body(path) = place else { continue };
            match find(&body, path) {
                Some(Value::String(token)) if token.is_empty() => {}
                // A token that is too long is invalid, not missing.
                Some(Value::String(token)) if token.len() > chunks::MAX_TEXT => {
                    return Err(RefreshError::Invalid);
                }
                Some(Value::String(token)) => {
                    asked.shown.add(at, std::iter::once(token.as_bytes()));
                }
                None => {}
                Some(_) => return Err(RefreshError::Malformed),
            }
        }
        if asked.shown.is_empty() {
            return Err(RefreshError::Missing);
        }
        let lifetime = self.lifetime(&body)?;
        match request.token {
            TokenKind::Access { expired_for } => {
                let grace = Duration::from_secs(expired_for.into());
                let renewal = ReissueRequest { client, lifetime, ..ReissueRequest::default() };
                self.by_access(engine, &asked.shown, grace, renewal).await
            }
            TokenKind::Refresh => self.by_refresh(engine, &asked.shown, client, &body).await,
        }
    }

    /// Returns the lifetime that the request asks for, or else the dialect's own.
    fn lifetime(&self, body: &Map<String, Value>) -> Result<Option<Duration>, RefreshError> {
        let Some(life) = &self.dialect.request.lifetime else { return Ok(None) };
        let seconds = match find(body, &life.member) {
            None => life.default.map(u64::from),
            Some(Value::Number(asked)) if asked.is_u64() || asked.is_i64() => {
                Some(asked.as_u64().unwrap_or(0).clamp(life.min.into(), life.max.into()))
            }
            Some(_) => return Err(RefreshError::Malformed),
        };
        Ok(seconds.map(Duration::from_secs))
    }

    /// Returns the members of the body, including those that the dialect does not use. A form must
    /// not have a parameter twice.
    fn body(&self, bytes: &[u8]) -> Result<Map<String, Value>, RefreshError> {
        if self.dialect.request.body == Body::Form {
            let mut members = Map::new();
            for (name, value) in form_urlencoded::parse(bytes) {
                // RFC 6749 section 3.2: parameters must not be included more than once.
                if members.insert(name.into_owned(), value.into_owned().into()).is_some() {
                    return Err(RefreshError::Malformed);
                }
            }
            return Ok(members);
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(bytes).map_err(|_| RefreshError::Malformed)
    }

    async fn by_access<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        shown: &Shown,
        grace: Duration,
        renewal: ReissueRequest,
    ) -> Result<Granted, RefreshError> {
        let core = &engine.core;
        let now = core.now();
        let (session_claims, expires) = shown.select(|token| {
            let verified = verify::<C>(
                token.as_bytes(),
                &core.settings.keys.current(),
                &core.settings.rules,
                now,
            );
            let verified = verified.map_err(|_| RefreshError::Invalid)?;
            let session_claims =
                verified.session_claims(Confirms::TheSame).ok_or(RefreshError::Invalid)?;
            let expires = verified.expires;
            let over = now >= expires.plus(grace) || now >= session_claims.session_expires;
            if over || core.revoked.contains(&session_claims.sid, now) {
                return Err(RefreshError::Expired);
            }
            let sid = session_claims.sid.as_str().into();
            Ok(Good { sid, rank: expires.as_secs(), value: (session_claims, expires) })
        })?;
        let sid = session_claims.sid.clone();
        let renewal = ReissueRequest {
            session_claims: Some(session_claims),
            expires: Some(expires),
            ..renewal
        };
        let tokens = self.renew(engine, &sid, renewal).await?;
        let attributes = self.attributes(engine, &sid).await?;
        Ok(Granted { tokens, refresh: None, attributes })
    }

    async fn by_refresh<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        shown: &Shown,
        client: Option<String>,
        body: &Map<String, Value>,
    ) -> Result<Granted, RefreshError> {
        let core = &engine.core;
        let now = core.now();
        let (token, sid) = shown.select(|token| {
            let token = RefreshToken::new(token.to_owned());
            let identified = core.refresher.identify(Presented::with(None, Some(&token)), now);
            let FlightKey { sid, fingerprint } = identified.ok_or(RefreshError::Invalid)?;
            if core.revoked.contains(&sid, now) {
                return Err(Failure::Rejected.into());
            }
            Ok(Good { sid: sid.clone(), rank: fingerprint, value: (token, sid) })
        })?;
        let attributes = self.attributes(engine, &sid).await?;
        if client.is_some() && widens(body, &attributes) {
            return Err(RefreshError::Scope);
        }
        let refresh = Some(token.clone());
        let tokens = match self.serving.rotates {
            false => {
                let renewal = ReissueRequest { refresh, client, ..ReissueRequest::default() };
                self.renew(engine, &sid, renewal).await?
            }
            true => {
                let admitted = RefreshRequest::new(None, refresh, true).shown_by(client.as_deref());
                let tokens = self.finish_flight(engine, &sid, |cx| cx.refresh(admitted)).await?;
                core.emit(&Event::Refreshed { sid: &sid });
                tokens
            }
        };
        let refresh = tokens.refresh.clone().unwrap_or(token);
        Ok(Granted { tokens, refresh: Some(refresh), attributes })
    }

    async fn renew<C>(
        &self,
        engine: &Engine<C>,
        sid: &str,
        renewal: ReissueRequest,
    ) -> Result<Tokens, RefreshError> {
        let tokens = self.finish_flight(engine, sid, |cx| cx.reissue_access_token(renewal)).await?;
        engine.core.emit(&Event::Renewed { sid });
        Ok(tokens)
    }

    /// Runs a refresh to its end, even if the client disconnects.
    async fn finish_flight<C, F>(
        &self,
        engine: &Engine<C>,
        sid: &str,
        refresh: impl FnOnce(Context) -> F,
    ) -> Result<Tokens, RefreshError>
    where
        F: Future<Output = Result<Tokens, Failure>> + Send + 'static,
    {
        let core = &engine.core;
        let cx = Context::new(core.clone());
        let result = core.detached(refresh(cx.clone())).await;
        if let Err(failure) = result {
            core.emit(&Event::RefreshFailed { sid, failure });
        }
        if result.as_ref().err() == Some(&Failure::Rejected) {
            core.revoke_here(sid);
            if cx.ended_by_app() {
                return Err(RefreshError::UserGone);
            }
        }
        Ok(result?)
    }

    /// Returns the attributes that the app set on the session, if the dialect uses them.
    async fn attributes<C>(
        &self,
        engine: &Engine<C>,
        sid: &str,
    ) -> Result<BTreeMap<String, String>, RefreshError> {
        let shows = |member: &ServedMember| {
            matches!(member.value, ServedValue::Attribute(_) | ServedValue::IntegerAttribute(_))
        };
        if self.dialect.request.client.is_none() && !self.serving.members.iter().any(shows) {
            return Ok(BTreeMap::new());
        }
        let cx = Context::new(engine.core.clone());
        let found = engine.core.refresher.find(cx, sid.to_owned()).await?;
        Ok(found.map(|session| session.attributes).unwrap_or_default())
    }
}

/// Returns whether a member of a request's body has its fixed value. A form has texts alone.
fn is_fixed(found: &Value, fixed: &FixedValue, body: Body) -> bool {
    match (fixed, body) {
        (FixedValue::Text(text), _) => found == &**text,
        (FixedValue::Integer(integer), Body::Json) => found == integer,
        (FixedValue::Bool(value), Body::Json) => found == value,
        (FixedValue::Integer(integer), Body::Form) => found == &integer.to_string(),
        (FixedValue::Bool(value), Body::Form) => found == &value.to_string(),
        // `check` refuses to serve what only a client's configuration has.
        (FixedValue::Setting(_) | FixedValue::Kept(_), _) => false,
    }
}

/// Returns whether the request asks for more than the session's attribute `scope` holds (RFC 6749
/// section 6).
fn widens(body: &Map<String, Value>, attributes: &BTreeMap<String, String>) -> bool {
    let asked = body.get("scope").and_then(Value::as_str).unwrap_or_default();
    let granted = attributes.get("scope").map(String::as_str).unwrap_or_default();
    asked.split_ascii_whitespace().any(|one| !granted.split_ascii_whitespace().any(|g| g == one))
}
