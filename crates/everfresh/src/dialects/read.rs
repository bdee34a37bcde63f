//! A dialect's client side: interprets the response.
//!
//! Rules
//! 1. There is one attempt. The caller that sends the request follows no redirect and does not
//!    retry.
//! 2. Only a response that a rule of the dialect calls rejected ends a session. Any other response
//!    keeps it.
//! 3. Tokens in a successful response that matches no rule count, whatever else is odd about it: the
//!    request may have spent the only copy of a one-time token.
//! 4. If it is unknown whether the server used the token, the outcome is
//!    [`RefreshOutcome::InDoubt`].
//! 5. A value that the response leaves out stays the same, in particular the refresh token (RFC
//!    6749 section 6).

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Number, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::dialect::Dialect;
use super::path::find;
use super::response::{Condition, ExpiresIn, Outcome, Rule, Source, Test};
use crate::clock::Timestamp;
use crate::refresh::{AccessTokenResponse, RefreshToken};
use crate::secret::AccessToken;

/// The longest lifetime of an access token that is accepted, in seconds: a year.
const MAX_LIFE: u64 = 365 * 24 * 60 * 60;

/// The longest pause that a server may ask for by `Retry-After`: an hour.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a refresh endpoint's response means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// The server issued new tokens.
    Issued(Box<AccessTokenResponse>),
    /// The session is over.
    Rejected,
    /// The server does not accept the request as configured. The session may still be valid.
    Misconfigured,
    /// The server can't answer now, and did not use the token.
    Unavailable {
        /// How long to wait before the next request, if the server said so. At most an hour.
        retry_after: Option<Duration>,
    },
    /// The server refuses the request, by an error that neither a rule nor the standard knows. The
    /// session may still be valid.
    Refused {
        /// How long to wait before the next request, if the server said so. At most an hour.
        retry_after: Option<Duration>,
    },
    /// The answer is complete, is a success, and is not the server's own: a page of a proxy, or
    /// nothing. The token is as good as it was.
    NotIssued,
    /// It is unknown whether the server used the token.
    InDoubt,
}

/// A response's body, as far as it could be read.
struct ReadBody<'b> {
    /// The body, where bytes that are not UTF-8 are replaced: tokens are ASCII (RFC 6749 appendix
    /// A), and other members may have any text.
    text: Cow<'b, str>,
    /// The JSON value that the body is, or the object of a form's members.
    value: Option<Value>,
}

impl<'b> ReadBody<'b> {
    fn new(headers: &HeaderMap, body: &'b [u8]) -> Self {
        // Some servers send a byte order mark, which is not JSON.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let text = String::from_utf8_lossy(body);
        let is_form = headers.get(CONTENT_TYPE).is_some_and(|field| {
            let media = field.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            media.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        });
        let value = serde_json::from_str(&text).ok().or_else(|| {
            let form = form_urlencoded::parse(body);
            is_form.then(|| {
                form.map(|(name, value)| (name.into_owned(), Value::from(value))).collect()
            })
        });
        Self { text, value }
    }

    fn object(&self) -> Option<&Map<String, Value>> {
        self.value.as_ref()?.as_object()
    }

    fn member(&self, path: &str) -> Option<&Value> {
        self.object().and_then(|object| find(object, path)).filter(|found| !found.is_null())
    }

    /// Returns whether the body says that it is no success: an `error` (RFC 6749 section 5.2), or
    /// `ok` or `success` that is false.
    fn refuses(&self) -> bool {
        let said = |name| self.member(name).filter(|said| **said != Value::Bool(false));
        let denied = |name| self.member(name) == Some(&Value::Bool(false));
        said("error").is_some() || denied("ok") || denied("success")
    }
}

impl Dialect {
    /// Returns what a response to that request means.
    ///
    /// The first of the dialect's [rules](Self::rules) that the response matches counts. For other
    /// responses:
    ///
    /// | response | outcome |
    /// |---|---|
    /// | 2xx with an access token | `Issued` |
    /// | 2xx with a JSON object, cut or whole, that has no access token and no error | `InDoubt` |
    /// | 2xx with a JSON object that has an error: `error`, or `ok` or `success` that is false | `Refused`, with the pause that `Retry-After` asks for |
    /// | any other 2xx: a page of a proxy, or nothing | `NotIssued` |
    /// | 408, 504 | `InDoubt` |
    /// | 400 or 401 `invalid_client`, `unauthorized_client`, `unsupported_grant_type` or `invalid_scope` | `Misconfigured` |
    /// | 411, 413, 414, 415, 422, a redirect | `Misconfigured` |
    /// | 425, 429 | `Unavailable`, with that pause |
    /// | any other 4xx | `Refused`, with that pause |
    /// | any other | `Unavailable`, with that pause |
    pub fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> RefreshOutcome {
        let body = ReadBody::new(headers, body);
        let unavailable = || RefreshOutcome::Unavailable { retry_after: retry_after(headers, now) };
        let refused = || RefreshOutcome::Refused { retry_after: retry_after(headers, now) };
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(status, &body)) {
            return match rule.outcome {
                Outcome::Rejected => RefreshOutcome::Rejected,
                Outcome::Unavailable => unavailable(),
                Outcome::Misconfigured => RefreshOutcome::Misconfigured,
                Outcome::InDoubt => RefreshOutcome::InDoubt,
            };
        }
        if status.is_success() {
            return match self.issued(headers, &body, now) {
                Some(issued) => RefreshOutcome::Issued(Box::new(issued)),
                None if body.refuses() => refused(),
                // An object may have the token by a name that the dialect lacks, or be cut.
                None if body.text.trim_start().starts_with('{') => RefreshOutcome::InDoubt,
                None => RefreshOutcome::NotIssued,
            };
        }
        let error = body.member("error").and_then(Value::as_str);
        match status.as_u16() {
            408 | 504 => RefreshOutcome::InDoubt,
            411 | 413..=415 | 422 => RefreshOutcome::Misconfigured,
            400 | 401 if error.is_some_and(|error| CONFIGURATION.contains(&error)) => {
                RefreshOutcome::Misconfigured
            }
            300..=399 => RefreshOutcome::Misconfigured,
            425 | 429 => unavailable(),
            400..=499 => refused(),
            _ => unavailable(),
        }
    }

    /// Returns whether a response means that the session is over: whether the first of the
    /// [rules](Self::rules) that it matches says so.
    ///
    /// An outage, a proxy's error page or a rate limit never ends a session.
    pub fn is_rejected(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        let body = ReadBody::new(headers, body);
        let rule = self.rules.iter().find(|rule| rule.matches(status, &body));
        rule.is_some_and(|rule| rule.outcome == Outcome::Rejected)
    }

    fn issued(
        &self,
        headers: &HeaderMap,
        body: &ReadBody<'_>,
        now: Timestamp,
    ) -> Option<AccessTokenResponse> {
        let text = |sources: &[Source]| sources.iter().find_map(|one| one.text(headers, body));
        let response = &self.response;
        let access_token = AccessToken::new(text(&response.access_token)?);
        let expires_in = response.expires_in.iter().find_map(|one| one.read(body));
        let until = || {
            let found = response.expires_at.iter().find_map(|path| time(body.member(path)?));
            let left = found.map(|at| at.since(now)).filter(|left| !left.is_zero());
            left.map(|left| left.min(Duration::from_secs(MAX_LIFE)))
        };
        let kept = response.keep.iter().filter_map(|path| {
            let text = match body.member(path)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number_text(number),
                other => other.to_string(),
            };
            Some((path.to_string(), text))
        });
        Some(AccessTokenResponse {
            access_token,
            refresh_token: text(&response.refresh_token).map(RefreshToken::new),
            id_token: text(&response.id_token).map(AccessToken::new),
            expires_in: expires_in.or_else(until),
            members: kept.collect(),
        })
    }
}

/// Errors by which a server says that a client is not set up as the server has it (RFC 6749
/// section 5.2).
const CONFIGURATION: [&str; 4] =
    ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"];

impl Rule {
    fn matches(&self, status: StatusCode, body: &ReadBody<'_>) -> bool {
        self.status.iter().any(|one| one.contains(status.as_u16()))
            && self.when.iter().all(|condition| condition.holds(body))
    }
}

impl Condition {
    fn holds(&self, body: &ReadBody<'_>) -> bool {
        let whole;
        let member = match &*self.member {
            "" => {
                whole = Value::from(&*body.text);
                Some(&whole)
            }
            path => body.member(path),
        };
        let passes = |test: &Test| member.is_some_and(|member| test.passes(member));
        self.is.as_ref().is_none_or(passes) && !self.is_not.as_ref().is_some_and(passes)
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        let text = match value {
            Value::Array(elements) if !matches!(self, Self::Present | Self::String) => {
                return elements.iter().any(|element| self.passes(element));
            }
            Value::String(text) => Cow::Borrowed(&**text),
            Value::Bool(_) => Cow::Owned(value.to_string()),
            Value::Number(number) => Cow::Owned(number_text(number)),
            _ => Cow::Borrowed(""),
        };
        match self {
            Self::Present => true,
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::OneOf(texts) => texts.iter().any(|wanted| text == **wanted),
            Self::StartsWith(texts) => texts.iter().any(|wanted| text.starts_with(&**wanted)),
            Self::Contains(texts) => texts.iter().any(|wanted| text.contains(&**wanted)),
        }
    }
}

impl Source {
    /// Returns the text at this source. An empty text counts as none.
    fn text(&self, headers: &HeaderMap, body: &ReadBody<'_>) -> Option<String> {
        let text = match self {
            Self::Member(path) => body.member(path)?.as_str()?.to_owned(),
            Self::Cookie(name) => cookie(headers, name)?,
            Self::Header(name) => {
                let text = headers.get(&**name)?.to_str().ok()?.trim();
                text.rsplit(' ').next().unwrap_or(text).to_owned()
            }
        };
        (!text.is_empty()).then_some(text)
    }
}

impl ExpiresIn {
    /// Reads a lifetime (F63): a number, or the text of one. A missing value, zero or a negative
    /// number sets no lifetime.
    fn read(&self, body: &ReadBody<'_>) -> Option<Duration> {
        let seconds = number(body.member(&self.member)?)? * self.unit.seconds();
        // The comparison also excludes NaN.
        (seconds >= 1.0).then(|| Duration::from_secs((seconds.min(MAX_LIFE as f64)) as u64))
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Reads a time: seconds since 1970 or, from 10^11 on, milliseconds; or a date as in RFC 3339 or
/// HTTP (RFC 9110 section 5.6.7).
fn time(value: &Value) -> Option<Timestamp> {
    const FIRST_MILLISECONDS: f64 = 1e11;
    if let Some(number) = number(value) {
        let seconds = if number < FIRST_MILLISECONDS { number } else { number / 1000.0 };
        return (seconds >= 1.0).then(|| Timestamp::from_secs(seconds as u64));
    }
    let text = value.as_str()?.trim();
    let date = httpdate::parse_http_date(text).ok().or_else(|| rfc3339(text));
    date.map(Timestamp::from)
}

/// Reads a date of RFC 3339. Without a zone it is taken for UTC, as vendors that leave it out mean.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    read(text).or_else(|| read(&format!("{text}Z"))).map(SystemTime::from)
}

/// Returns a number's text, the same whether or not `serde_json/arbitrary_precision` keeps the
/// original text.
fn number_text(number: &Number) -> String {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), ..) => number.to_string(),
        (_, Some(number), _) => number.to_string(),
        (.., Some(number)) => Value::from(number).to_string(),
        _ => number.to_string(),
    }
}

/// Returns the value of a cookie that a response sets.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(SET_COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let parsed = values.filter_map(|value| cookie::Cookie::parse(value).ok());
    let mut ours = parsed.filter(|cookie| cookie.name() == name && !cookie.value().is_empty());
    ours.next().map(|cookie| cookie.value().to_owned())
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date: SystemTime = httpdate::parse_http_date(text).ok()?;
            Timestamp::from(date).since(now)
        }
    };
    Some(pause.min(MAX_PAUSE))
}
