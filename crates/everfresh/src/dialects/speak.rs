//! A dialect's client side, without a network: builds the request, and interprets the response.
//!
//! Rules
//! 1. There is one attempt. The caller that sends the request follows no redirect and does not
//!    retry.
//! 2. Only a response that the dialect lists as rejected ends a session. Any other response keeps
//!    it.
//! 3. If it is unknown whether the server used the token, the outcome is
//!    [`RefreshOutcome::InDoubt`].
//! 4. A value that the response leaves out stays the same, in particular the refresh token (RFC
//!    6749 section 6).

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use serde_json::{Map, Number, Value};

use super::client::ClientAuthentication;
use super::dialect::{Dialect, Fixed, Place, Successor};
use crate::clock::Timestamp;
use crate::cookie::is_cookie_octet;
use crate::error::DialectError;
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
    /// It is unknown whether the server used the token.
    InDoubt,
}

impl Dialect {
    /// Builds the request that presents this token.
    ///
    /// The request's URI is the path alone. The caller that sends the request adds the server.
    /// `now` dates a client assertion.
    ///
    /// # Errors
    ///
    /// Returns an error if the token can't be written in the place that the dialect wants, if the
    /// dialect authenticates clients and `client` is `None`, or if the client's key can't sign the
    /// assertion.
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
        // A token that the server would read as a different text is not sent.
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

    /// Returns what a response to that request means.
    ///
    /// | response | outcome |
    /// |---|---|
    /// | any for which [`is_rejected`](Self::is_rejected) is true | `Rejected` |
    /// | 2xx with an access token | `Issued` |
    /// | 2xx that can't be read, 408, 504 | `InDoubt` |
    /// | 401 `invalid_client`, 422, a redirect | `Misconfigured` |
    /// | any other | `Unavailable`, with the pause that `Retry-After` asks for |
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
        // Some servers send a byte order mark, which is not JSON.
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
            // RFC 6749 section 5.1: the type is case-insensitive.
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

/// Reads a lifetime (F63): a number of seconds, or the text of one. A missing value, zero or a
/// negative number sets no lifetime.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // The comparison also excludes NaN.
    (seconds >= 1.0).then(|| Duration::from_secs((seconds.min(MAX_LIFE as f64)) as u64))
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
