//! A dialect's client side, without a network: the request to send, and what an answer means.
//!
//! Rules
//! 1. One attempt; whoever sends it follows no redirect and repeats nothing.
//! 2. Only the dialect's own words end a session. What says nothing of it keeps it.
//! 3. Whoever can't tell whether the token was used says so: [`RefreshOutcome::InDoubt`].
//! 4. What an answer leaves out stays as it was: the refresh token above all (RFC 6749 section 6).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use serde_json::{Map, Number, Value};

use super::client::ClientAuthentication;
use super::dialect::{Dialect, DialectError, Fixed, Place, Successor};
use crate::clock::Timestamp;
use crate::cookie::is_cookie_octet;
use crate::refresh::RefreshToken;
use crate::secret::AccessToken;

/// The longest life of an access token that is believed: a year.
const MAX_LIFE: u64 = 365 * 24 * 60 * 60;

/// The longest that a server may ask to be left alone: an hour.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Tokens that another server has issued: what a refresh gave, or what a sign-in there did.
///
/// ```
/// use std::time::Duration;
/// use everfresh::{AccessToken, AccessTokenResponse, RefreshToken};
///
/// let issued = AccessTokenResponse::new(AccessToken::new("..".to_owned()))
///     .with_refresh_token(RefreshToken::new("..".to_owned()))
///     .with_expires_in(Duration::from_secs(300));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessTokenResponse {
    /// The access token.
    pub access_token: AccessToken,
    /// The refresh token that takes the place of the one that was sent. None: that one stays.
    pub refresh_token: Option<RefreshToken>,
    /// The ID token, where there is one (OpenID Connect Core 1.0 section 12.2).
    pub id_token: Option<AccessToken>,
    /// How long the access token lives from now, if the answer says so.
    pub expires_in: Option<Duration>,
    /// What else the answer told of the user, by the dialect's names.
    pub members: BTreeMap<String, String>,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// New tokens.
    Issued(Box<AccessTokenResponse>),
    /// The session is over.
    Rejected,
    /// The server does not take what we are configured to send. It says nothing of the session.
    Misconfigured,
    /// Not now; the token was not used.
    Unavailable {
        /// How long to leave the server alone, if it said so: an hour at the most.
        retry_after: Option<Duration>,
    },
    /// Nobody knows whether the token was used.
    InDoubt,
}

impl AccessTokenResponse {
    /// An access token alone.
    pub fn new(access_token: AccessToken) -> Self {
        Self {
            access_token,
            refresh_token: None,
            id_token: None,
            expires_in: None,
            members: BTreeMap::new(),
        }
    }

    /// With the refresh token that was issued beside it.
    pub fn with_refresh_token(mut self, refresh_token: RefreshToken) -> Self {
        self.refresh_token = Some(refresh_token);
        self
    }

    /// With the ID token that was issued beside it.
    pub fn with_id_token(mut self, id_token: AccessToken) -> Self {
        self.id_token = Some(id_token);
        self
    }

    /// With how long the access token lives from now.
    pub fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }
}

impl Dialect {
    /// The request that presents this token. Its URI is the path alone; whoever sends it knows the
    /// server. `now` dates a client's assertion.
    ///
    /// Errors: the token can't be written where the dialect wants it, or the dialect authenticates
    /// clients and none is given.
    pub fn request(
        &self,
        token: &str,
        client: Option<&ClientAuthentication>,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, DialectError> {
        let wrong = |field: &str, problem: &str| DialectError::new(field, problem);
        let mut request = Request::new(Vec::new());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().map_err(|_| wrong("path", "is no path"))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut body: Vec<(&str, String)> =
            self.fixed.iter().map(|fixed| (&*fixed.name, fixed.value.to_string())).collect();
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| wrong("places", "the token can't be a header field's value"))?;
            value.set_sensitive(true);
            Ok::<_, DialectError>(value)
        };
        let place = self.places.first().ok_or_else(|| wrong("places", "there is none"))?;
        // A text that the server would read as another one is not sent.
        let sound = match place {
            Place::Cookie(_) => token.bytes().all(is_cookie_octet),
            Place::Authorization(_) | Place::Header(_) => {
                token.bytes().all(|byte| byte.is_ascii_graphic())
            }
            Place::Json(_) | Place::Form(_) => true,
        };
        if !sound {
            return Err(wrong("places", "the token has bytes that can't be written there"));
        }
        match place {
            Place::Cookie(name) => {
                headers.insert(COOKIE, secret(&format!("{name}={token}"))?);
            }
            Place::Authorization(scheme) => {
                headers.insert(AUTHORIZATION, secret(&format!("{scheme} {token}"))?);
            }
            Place::Header(name) => {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| wrong("places.header", "is no field's name"))?;
                headers.insert(name, secret(token)?);
            }
            Place::Json(name) | Place::Form(name) => body.push((name, token.to_owned())),
        }
        if self.client_authentication {
            let client = client.ok_or_else(|| {
                wrong("client_authentication", "the dialect wants a client; none is given")
            })?;
            if let Some(value) = client.write(&self.path, now, &mut body)? {
                headers.insert(AUTHORIZATION, secret(&value)?);
            }
        }
        let is_form = matches!(place, Place::Form(_)) || self.client_authentication;
        if !body.is_empty() {
            let (content_type, bytes) = match is_form {
                true => {
                    let mut form = form_urlencoded::Serializer::new(String::new());
                    form.extend_pairs(&body);
                    ("application/x-www-form-urlencoded", form.finish().into_bytes())
                }
                false => {
                    let object: Map<String, Value> = body
                        .iter()
                        .map(|(name, value)| ((*name).into(), (&**value).into()))
                        .collect();
                    ("application/json", serde_json::to_vec(&object).unwrap_or_default())
                }
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            *request.body_mut() = bytes;
        }
        Ok(request)
    }

    /// What an answer to that request means.
    ///
    /// | status | means |
    /// |---|---|
    /// | what [`is_rejected`](Self::is_rejected) says | `Rejected` |
    /// | 2xx with an access token | `AccessTokenResponse` |
    /// | 2xx that can't be read, 408, 504 | `InDoubt` |
    /// | 401 `invalid_client`, 422, a redirect | `Misconfigured` |
    /// | any other | `Unavailable`, with what `Retry-After` says |
    pub fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> RefreshOutcome {
        if status.is_success() {
            return self
                .given(headers, body)
                .map_or(RefreshOutcome::InDoubt, |given| RefreshOutcome::Issued(Box::new(given)));
        }
        if self.is_rejected(status, body) {
            return RefreshOutcome::Rejected;
        }
        let error = serde_json::from_slice::<Value>(body).ok();
        let error = error.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => RefreshOutcome::InDoubt,
            StatusCode::UNPROCESSABLE_ENTITY => RefreshOutcome::Misconfigured,
            StatusCode::UNAUTHORIZED if error == Some("invalid_client") => {
                RefreshOutcome::Misconfigured
            }
            _ if status.is_redirection() => RefreshOutcome::Misconfigured,
            _ => RefreshOutcome::Unavailable { retry_after: retry_after(headers, now) },
        }
    }

    fn given(&self, headers: &HeaderMap, body: &[u8]) -> Option<AccessTokenResponse> {
        // A byte order mark is no JSON, and some servers send one.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let text = |name: &str| {
            let text = body.get(name)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let answer = &self.answer;
        let access_token = AccessToken::new(text(&answer.access_token)?);
        if let Some(Fixed { name, value }) = &answer.token_type
            && let Some(found) = body.get(&**name)
        {
            // RFC 6749 section 5.1: compared without case.
            let ours = found.as_str().is_some_and(|found| found.eq_ignore_ascii_case(value));
            ours.then_some(())?;
        }
        let refresh_token = match &answer.successor {
            Successor::Nowhere => None,
            Successor::Member(name) => text(name),
            Successor::Cookie(name) => cookie(headers, name),
        };
        let members = answer.members.iter().filter_map(|member| {
            let text = match body.get(&*member.name)? {
                Value::String(text) => text.clone(),
                Value::Null => return None,
                Value::Number(number) => number_text(number),
                other => other.to_string(),
            };
            Some((member.name.to_string(), text))
        });
        Some(AccessTokenResponse {
            access_token,
            refresh_token: refresh_token.map(RefreshToken::new),
            id_token: text("id_token").map(AccessToken::new),
            expires_in: answer.expires_in.as_deref().and_then(|name| lifetime(body.get(name)?)),
            members: members.collect(),
        })
    }
}

/// A number's text, the same whether or not `serde_json/arbitrary_precision` keeps it as it came.
fn number_text(number: &Number) -> String {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), ..) => number.to_string(),
        (_, Some(number), _) => number.to_string(),
        (.., Some(number)) => Value::from(number).to_string(),
        _ => number.to_string(),
    }
}

/// F63: a number, or the text of one; nothing, none or less than nothing say nothing.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // Also not a number.
    (seconds >= 1.0).then(|| Duration::from_secs((seconds.min(MAX_LIFE as f64)) as u64))
}

/// The value of a cookie that an answer sets.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(SET_COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let parsed = values.filter_map(|value| cookie::Cookie::parse(value).ok());
    let mut ours = parsed.filter(|cookie| cookie.name() == name && !cookie.value().is_empty());
    ours.next().map(|cookie| cookie.value().to_owned())
}

/// RFC 9110 section 10.2.3: seconds, or a date.
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

impl fmt::Debug for AccessTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}
