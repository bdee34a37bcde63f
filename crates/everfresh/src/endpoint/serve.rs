//! A dialect's server side: what a request presents, and the answer in the dialect's own words.
//!
//! Rules
//! 1. A token counts here as it does anywhere: signature or tag first, then its session.
//! 2. An access token alone never yields a refresh token, and moves no generation.
//! 3. Cookies of a request that another site caused don't count.
//! 4. The session's end is told in the dialect's words; an outage is a plain 503 with
//!    `Retry-After`, which no client takes for a sign-out.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{PRAGMA, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::clients::{Basic, Unknown, basic};
use super::dialect::{
    Dialect, DialectError, Failed, Fixed, Kind, Place, Source, Successor, TokenKind,
};
use super::{Reply, json};
use crate::carrier::{Carriers, CookieFinder, Location};
use crate::cookie::CookieSpec;
use crate::engine::{Core, Engine};
use crate::extract::{cookie_values, credential};
use crate::head::{HeaderFields as _, RequestHead};
use crate::mint::Grant;
use crate::origin;
use crate::refresh::flight::within;
use crate::refresh::{Admitted, Context, Failure, Presented, RefreshToken, Renewal, Tokens};
use crate::reject::{Rejection, RejectionKind};
use crate::session::{ClaimSet, Session};
use crate::verify::{MAX_TOKEN, Verified, verify};

/// How many tokens in one request are looked at.
const MAX_TOKENS: usize = 4;

/// A dialect that the engine serves, with what reading needs prepared.
#[derive(Debug)]
pub(crate) struct Served {
    dialect: Dialect,
    finders: Vec<Option<CookieFinder>>,
    access_cookie: Option<CookieSpec>,
    refresh_cookie: Option<CookieSpec>,
}

/// What a request's head says.
#[derive(Debug)]
pub(super) struct Asked {
    tokens: Vec<Zeroizing<String>>,
    /// By HTTP Basic: id and secret. An error if it can't be read.
    basic: Option<Basic>,
    wants_body: bool,
}

impl Asked {
    pub(super) fn wants_body(&self) -> bool {
        self.wants_body
    }
}

/// Why there is no token, in the words of [`super::dialect::Errors`].
#[derive(Clone, Copy)]
enum Why {
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

impl From<Unknown> for Why {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Malformed => Self::Malformed,
            Unknown::Client { basic } => Self::Client { basic },
        }
    }
}

impl From<Failure> for Why {
    fn from(failure: Failure) -> Self {
        match failure {
            // Of what the request came with nothing can be said but that it does not count now.
            Failure::Rejected | Failure::InDoubt | Failure::UnreadClaims => Self::Expired,
            Failure::Foreign => Self::Invalid,
            Failure::Unavailable { retry_after } => Self::Later(retry_after),
            Failure::NoRuntime => Self::Later(Duration::from_secs(1)),
            Failure::Misconfigured => Self::Later(Duration::from_secs(60)),
        }
    }
}

/// The tokens of a good answer, and what is known of their session.
struct Granted {
    tokens: Tokens,
    attributes: BTreeMap<String, String>,
}

impl Served {
    /// Prepares a dialect. A cookie that a carrier of the engine has too has its attributes.
    pub(crate) fn new(
        dialect: Dialect,
        carriers: &Carriers,
        insecure: bool,
    ) -> Result<Self, DialectError> {
        dialect.check()?;
        let cookie = |name: &str| {
            let mut known = carriers.cookies().map(|(_, cookie, _)| cookie);
            let known = known.find(|cookie| cookie.name() == name).cloned();
            known.unwrap_or_else(|| match CookieSpec::new(name) {
                spec if insecure => spec.insecure(),
                spec => spec,
            })
        };
        let access_cookie = dialect.answer.access_cookie.as_deref().map(cookie);
        let refresh_cookie = match &dialect.answer.successor {
            Successor::Cookie(name) => Some(cookie(name)),
            _ => None,
        };
        let finders = dialect.places.iter().map(|place| match place {
            Place::Cookie(name) => Some(CookieFinder::new(name)),
            _ => None,
        });
        Ok(Self { finders: finders.collect(), dialect, access_cookie, refresh_cookie })
    }

    pub(super) fn path(&self) -> &str {
        &self.dialect.path
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    pub(super) fn read(&self, core: &Core, head: &impl RequestHead) -> Asked {
        let own_site =
            core.csrf_handled_elsewhere || !origin::is_cross_site(head, &core.trusted_origins);
        let fields = head.fields();
        let mut found: Vec<&[u8]> = Vec::new();
        let mut in_body = self.dialect.ttl.is_some();
        for (place, finder) in self.dialect.places.iter().zip(&self.finders) {
            match (place, finder) {
                (Place::Cookie(_), Some(finder)) if own_site => {
                    found.extend(cookie_values(fields, finder).take(MAX_TOKENS));
                }
                (Place::Authorization(scheme), _) => {
                    found.extend(credential(fields, scheme).ok().flatten());
                }
                (Place::Header(name), _) => {
                    let name = HeaderName::from_bytes(name.as_bytes()).ok();
                    found.extend(name.and_then(|name| fields.values(&name).next()));
                }
                (Place::Json(_) | Place::Form(_), _) => in_body = true,
                _ => {}
            }
        }
        let text = |token: &[u8]| {
            let small = !token.is_empty() && token.len() <= MAX_TOKEN;
            let text = small.then(|| std::str::from_utf8(token).ok()).flatten()?;
            Some(Zeroizing::new(text.to_owned()))
        };
        let tokens = found.into_iter().filter_map(text).take(MAX_TOKENS).collect();
        let basic = self.dialect.client_authentication.then(|| basic(head)).flatten();
        Asked { tokens, basic, wants_body: in_body || self.dialect.client_authentication }
    }

    pub(super) async fn answer<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        mut asked: Asked,
        body: &[u8],
        session: Option<&Session<C>>,
    ) -> Reply {
        // The layer keeps refresh tokens from what is inside it, these endpoints too.
        if let Some(session) = session.filter(|_| self.dialect.token == TokenKind::Refresh) {
            match session.refresh_token_from(|location| self.looks_at(location)) {
                Ok(kept) => {
                    let kept = kept.map(|token| Zeroizing::new(token.expose().to_owned()));
                    asked.tokens.extend(kept);
                }
                Err(()) if asked.tokens.is_empty() => return self.bad(&engine.core, Why::Invalid),
                Err(()) => {}
            }
        }
        // What is under way ends in a task of its own; the client waits as it does anywhere.
        let core = &engine.core;
        match within(core, core.waiter_limit, self.grant(engine, asked, body)).await {
            Some(Ok(granted)) => self.good(engine, &granted),
            Some(Err(why)) => self.bad(core, why),
            None => self.bad(core, Failure::SOON.into()),
        }
    }

    /// Whether a carrier's location is one of the places.
    fn looks_at(&self, location: &Location) -> bool {
        self.dialect.places.iter().any(|place| match (place, location) {
            (Place::Cookie(name), Location::Cookie(cookie)) => cookie.name() == name,
            (Place::Authorization(scheme), Location::Authorization(own)) => {
                scheme.eq_ignore_ascii_case(own)
            }
            (Place::Header(name), Location::Header(own)) => name.eq_ignore_ascii_case(own.as_str()),
            _ => false,
        })
    }

    async fn grant<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        mut asked: Asked,
        body: &[u8],
    ) -> Result<Granted, Why> {
        let body = self.body(body)?;
        let client = match self.dialect.client_authentication {
            true => Some(engine.core.clients.authenticate(asked.basic.take(), &body)?),
            false => None,
        };
        for Fixed { name, value } in &*self.dialect.fixed {
            match body.get(&**name).and_then(Value::as_str) {
                Some(found) if found == value => {}
                Some(_) => return Err(Why::Unsupported),
                None => return Err(Why::Malformed),
            }
        }
        for place in &*self.dialect.places {
            let (Place::Json(name) | Place::Form(name)) = place else { continue };
            match body.get(&**name) {
                Some(Value::String(token)) if token.is_empty() => {}
                Some(Value::String(token)) => asked.tokens.push(Zeroizing::new(token.clone())),
                None => {}
                Some(_) => return Err(Why::Malformed),
            }
        }
        if asked.tokens.is_empty() {
            return Err(Why::Missing);
        }
        let ttl = match self.dialect.ttl.as_deref().and_then(|name| body.get(name)) {
            None => None,
            Some(Value::Number(ttl)) if ttl.is_u64() || ttl.is_i64() => {
                Some(Duration::from_secs(ttl.as_u64().unwrap_or(0).max(1)))
            }
            Some(_) => return Err(Why::Malformed),
        };
        match self.dialect.token {
            TokenKind::Access { expired_for } => {
                let grace = Duration::from_secs(expired_for.into());
                self.by_access(engine, &asked.tokens, grace, ttl).await
            }
            TokenKind::Refresh => {
                self.by_refresh(engine, &asked.tokens, client.as_deref(), &body).await
            }
        }
    }

    /// The members of the body; what is not wanted is passed over. In a form nothing may come
    /// twice.
    fn body(&self, bytes: &[u8]) -> Result<Map<String, Value>, Why> {
        let places = &self.dialect.places;
        if places.iter().any(|place| matches!(place, Place::Form(_))) {
            let mut members = Map::new();
            for (name, value) in form_urlencoded::parse(bytes) {
                // RFC 6749 section 3.2: parameters must not be included more than once.
                if members.insert(name.into_owned(), value.into_owned().into()).is_some() {
                    return Err(Why::Malformed);
                }
            }
            return Ok(members);
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(bytes).map_err(|_| Why::Malformed)
    }

    async fn by_access<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        tokens: &[Zeroizing<String>],
        grace: Duration,
        ttl: Option<Duration>,
    ) -> Result<Granted, Why> {
        let core = &engine.core;
        let now = core.clock.now();
        let mut why = Why::Invalid;
        for token in tokens {
            let verified = verify::<C>(token.as_bytes(), &core.keys.current(), &core.rules, now);
            let Ok(verified) = verified else { continue };
            let Some(grant) = grant_of(&verified) else { continue };
            let over = now >= verified.expires.plus(grace) || now >= grant.session_expires;
            if over || core.revoked.contains(&grant.sid, now) {
                why = Why::Expired;
                continue;
            }
            let sid = grant.sid.clone();
            let renewal = Renewal { grant: Some(grant), refresh: None, lifetime: ttl };
            let tokens = self.land(engine, &sid, |cx| cx.renew(renewal)).await?;
            return Ok(Granted { tokens, attributes: self.attributes(engine, &sid).await? });
        }
        Err(why)
    }

    async fn by_refresh<C: ClaimSet>(
        &self,
        engine: &Engine<C>,
        tokens: &[Zeroizing<String>],
        client: Option<&str>,
        body: &Map<String, Value>,
    ) -> Result<Granted, Why> {
        let core = &engine.core;
        for token in tokens {
            let presented = Presented::new(None, Some(token.as_bytes()));
            let Some(admission) = core.refresher.admits(presented, core.clock.now()) else {
                continue;
            };
            let sid = &*admission.sid;
            let attributes = self.attributes(engine, sid).await?;
            // RFC 6749 section 6: the token is bound to the client that it was issued to.
            if client.is_some() && attributes.get("client_id").map(String::as_str) != client {
                return Err(Why::Invalid);
            }
            if client.is_some() && widens(body, &attributes) {
                return Err(Why::Scope);
            }
            let refresh = Some(RefreshToken::new(token.to_string()));
            let tokens = match self.dialect.answer.successor {
                Successor::Nowhere => {
                    let renewal = Renewal { grant: None, refresh, lifetime: None };
                    self.land(engine, sid, |cx| cx.renew(renewal)).await?
                }
                _ => {
                    let admitted = Admitted::new(None, refresh, true);
                    self.land(engine, sid, |cx| cx.refresh(admitted)).await?
                }
            };
            return Ok(Granted { tokens, attributes });
        }
        Err(Why::Invalid)
    }

    /// Runs a refresh to its end, whether or not the client is still there.
    async fn land<C, F>(
        &self,
        engine: &Engine<C>,
        sid: &str,
        refresh: impl FnOnce(Context) -> F,
    ) -> Result<Tokens, Why>
    where
        F: Future<Output = Result<Tokens, Failure>> + Send + 'static,
    {
        let core = &engine.core;
        let cx = Context::new(core.clone());
        let landing = core.detached(refresh(cx.clone())).await;
        if landing.as_ref().err() == Some(&Failure::Rejected) {
            core.revoke_here(sid);
            if cx.ended_by_app() {
                return Err(Why::UserGone);
            }
        }
        Ok(landing?)
    }

    /// What the app noted of the session.
    async fn attributes<C>(
        &self,
        engine: &Engine<C>,
        sid: &str,
    ) -> Result<BTreeMap<String, String>, Why> {
        if self.dialect.answer.members.is_empty() && !self.dialect.client_authentication {
            return Ok(BTreeMap::new());
        }
        let cx = Context::new(engine.core.clone());
        let found = engine.core.refresher.find(cx, sid.to_owned()).await?;
        Ok(found.map(|session| session.attributes).unwrap_or_default())
    }

    fn good<C: ClaimSet>(&self, engine: &Engine<C>, granted: &Granted) -> Reply {
        let core = &engine.core;
        let Granted { tokens, attributes } = granted;
        let Ok(verified) = core.verify_own::<C>(&tokens.access) else {
            return self.bad(core, Failure::Misconfigured.into());
        };
        let answer = &self.dialect.answer;
        let mut body = Map::new();
        body.insert(answer.access_token.to_string(), tokens.access.expose().into());
        if let Some(Fixed { name, value }) = &answer.token_type {
            body.insert(name.to_string(), value.as_ref().into());
        }
        if let Some(name) = &answer.expires_in {
            let left = verified.expires.since(core.clock.now()).as_secs();
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
        let rest = tokens.session_expires.since(core.clock.now());
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

    fn bad(&self, core: &Core, why: Why) -> Reply {
        let errors = &self.dialect.errors;
        let failed: &Failed = match why {
            Why::Missing => &errors.missing,
            Why::Invalid => &errors.invalid,
            Why::Expired => &errors.expired,
            Why::UserGone => &errors.user_gone,
            Why::Malformed => &errors.malformed,
            Why::Client { .. } => errors.client.as_ref().unwrap_or(&errors.invalid),
            Why::Scope => errors.scope.as_ref().unwrap_or(&errors.malformed),
            Why::Unsupported => errors.unsupported.as_ref().unwrap_or(&errors.malformed),
            Why::Later(retry_after) => {
                let rejection = Rejection::new(RejectionKind::Unavailable);
                let body = core.rejection_body.clone();
                return rejection.retry_after(retry_after).with_body(body).into_response();
            }
        };
        // Checked when the engine was built.
        let status = StatusCode::from_u16(failed.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut reply = json(status, failed.body.as_bytes().to_vec());
        if let Why::Client { basic: true } = why {
            // RFC 6749 section 5.2.
            let challenge = HeaderValue::from_static(r#"Basic realm="token", charset="UTF-8""#);
            reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}

/// What is minted for the holder of an access token. It confirms what that one did, and no more.
fn grant_of<C: ClaimSet>(verified: &Verified<C>) -> Option<Grant> {
    Some(Grant {
        subject: verified.subject.as_deref()?.into(),
        sid: (*verified.sid).into(),
        claims: verified.claims_object()?,
        auth_time: verified.auth_time?,
        session_expires: verified.session_expires?,
        generation: verified.generation,
    })
}

/// Whether more is asked for than the session's attribute `scope` holds (RFC 6749 section 6).
fn widens(body: &Map<String, Value>, attributes: &BTreeMap<String, String>) -> bool {
    let asked = body.get("scope").and_then(Value::as_str).unwrap_or_default();
    let granted = attributes.get("scope").map(String::as_str).unwrap_or_default();
    asked.split_ascii_whitespace().any(|one| !granted.split_ascii_whitespace().any(|g| g == one))
}
