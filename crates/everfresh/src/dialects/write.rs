//! Builds the request that a client sends to a refresh endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::client::ClientAuthentication;
use super::dialect::Dialect;
use super::path::insert;
use super::request::{Body, Fixed, FixedValue, Method, Place, RequestFormat};
use crate::clock::Timestamp;
use crate::cookie::is_cookie_octet;
use crate::error::DialectError;

/// The values of a request to a refresh endpoint.
///
/// ```
/// use std::time::SystemTime;
/// use everfresh::dialect::{Dialect, RequestValues};
///
/// # fn main() -> Result<(), everfresh::dialect::DialectError> {
/// let values = RequestValues::new("the refresh token");
/// let request = Dialect::FREDDY.request(&values, SystemTime::now().into())?;
/// assert_eq!(request.body(), br#"{"refresh_token":"the refresh token"}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RequestValues<'v> {
    /// The token that the dialect presents.
    pub token: &'v str,
    /// The access token, for a dialect that presents both.
    pub access_token: Option<&'v str>,
    /// How the client authenticates.
    pub client: Option<&'v ClientAuthentication>,
    /// The lifetime to ask for, if the dialect can.
    pub lifetime: Option<Duration>,
    /// The values of [settings](FixedValue::Setting), by name.
    pub settings: Option<&'v BTreeMap<String, Zeroizing<String>>>,
    /// The values of [kept members](FixedValue::Kept), by path.
    pub kept: Option<&'v BTreeMap<String, String>>,
}

impl<'v> RequestValues<'v> {
    /// Makes the values of a request that presents this token, and has nothing else.
    pub fn new(token: &'v str) -> Self {
        Self { token, access_token: None, client: None, lifetime: None, settings: None, kept: None }
    }

    /// Sets the access token, for a dialect that presents both tokens.
    pub fn access_token(mut self, token: &'v str) -> Self {
        self.access_token = Some(token);
        self
    }

    /// Sets how the client authenticates.
    pub fn client(mut self, client: &'v ClientAuthentication) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets the lifetime to ask for.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Sets the values of settings, by name.
    pub fn settings(mut self, settings: &'v BTreeMap<String, Zeroizing<String>>) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Sets the values of kept members, by path.
    pub fn kept(mut self, kept: &'v BTreeMap<String, String>) -> Self {
        self.kept = Some(kept);
        self
    }
}

impl fmt::Debug for RequestValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestValues").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Dialect {
    /// Builds the request that presents this token.
    ///
    /// The request's URI is `/`, with the query if the dialect has one. The caller that sends the
    /// request adds the server and the path. A request that may have a body and has none says so by
    /// `Content-Length: 0` (RFC 9110 section 8.6). `now` dates a client assertion.
    ///
    /// # Errors
    ///
    /// Returns an error if a token can't be written in the place that the dialect wants, if a value
    /// that the dialect needs is not given, or if the client's key can't sign the assertion. The
    /// error names the field, and no value.
    pub fn request(
        &self,
        values: &RequestValues<'_>,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, DialectError> {
        self.request.write(values, now)
    }
}

/// A request that is being built.
struct Draft {
    headers: HeaderMap,
    query: Vec<(String, String)>,
    format: Body,
    json: Map<String, Value>,
    /// In order, since a form may have a name twice (RFC 8707 section 2).
    form: Vec<(String, String)>,
}

impl RequestFormat {
    /// Builds a request of this format: see [`Dialect::request`].
    ///
    /// # Errors
    ///
    /// Returns an error as [`Dialect::request`] does.
    pub fn write(
        &self,
        values: &RequestValues<'_>,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, DialectError> {
        let mut draft = Draft {
            headers: HeaderMap::new(),
            query: Vec::new(),
            format: self.body,
            json: Map::new(),
            form: Vec::new(),
        };
        draft.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Without the field any coding is acceptable (RFC 9110 section 12.5.3).
        draft.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for Fixed { name, value } in &*self.members {
            if let Some(value) = value.resolve("members", values)? {
                draft.member(name, value);
            }
        }
        for Fixed { name, value } in &*self.query {
            if let Some(value) = value.resolve("query", values)? {
                draft.query.push((name.to_string(), as_text(&value)));
            }
        }
        for Fixed { name, value } in &*self.headers {
            if let Some(value) = value.resolve("headers", values)? {
                draft.named(name, &as_text(&value), "headers")?;
            }
        }
        let place = self.places.first().ok_or_else(|| wrong("places", "there is none"))?;
        draft.token(place, values.token)?;
        if let Some(place) = &self.access_token {
            let missing = || wrong("access_token", "the dialect presents it too; none is given");
            draft.token(place, values.access_token.ok_or_else(missing)?)?;
        }
        if let (Some(life), Some(asked)) = (&self.lifetime, values.lifetime) {
            let seconds = asked.as_secs().clamp(life.min.into(), life.max.into());
            draft.member(&life.member, seconds.into());
        }
        if let Some(members) = &self.client {
            let missing = || wrong("client", "the dialect wants a client; none is given");
            let client = values.client.ok_or_else(missing)?;
            let mut add = |name: &str, value: String| draft.member(name, value.into());
            if let Some(value) = client.write(members, now, &mut add)? {
                if draft.headers.contains_key(AUTHORIZATION) {
                    let problem = "`Authorization` has another value; send id and secret by `Post`";
                    return Err(wrong("client", problem));
                }
                draft.field(AUTHORIZATION, &value, "client")?;
            }
        }
        draft.finish(self)
    }
}

impl FixedValue {
    /// Returns the value to send. A kept member that there is none of is left out.
    fn resolve(
        &self,
        field: &str,
        values: &RequestValues<'_>,
    ) -> Result<Option<Value>, DialectError> {
        Ok(match self {
            Self::Text(text) => Some(text.as_ref().into()),
            Self::Integer(integer) => Some((*integer).into()),
            Self::Bool(value) => Some((*value).into()),
            Self::Kept(path) => {
                values.kept.and_then(|kept| kept.get(&**path)).map(|text| text.as_str().into())
            }
            Self::Setting(name) => {
                let found = values.settings.and_then(|settings| settings.get(&**name));
                let missing =
                    || wrong(field, &format!("wants the setting `{name}`; none is given"));
                Some(found.ok_or_else(missing)?.as_str().into())
            }
        })
    }
}

impl Draft {
    fn member(&mut self, path: &str, value: Value) {
        match self.format {
            Body::Json => insert(&mut self.json, path, value),
            // A form's members have names, and no paths.
            Body::Form => self.form.push((path.to_owned(), as_text(&value))),
        }
    }

    /// Sets the header field of this name. `of`: the member of the dialect that wants it.
    fn named(&mut self, name: &str, value: &str, of: &str) -> Result<(), DialectError> {
        let name = HeaderName::from_bytes(name.as_bytes());
        self.field(name.map_err(|_| wrong(of, "is no field's name"))?, value, of)
    }

    fn field(&mut self, name: HeaderName, value: &str, of: &str) -> Result<(), DialectError> {
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| wrong(of, "the value can't be a header field's"))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }

    fn token(&mut self, place: &Place, token: &str) -> Result<(), DialectError> {
        // A token that the server would read as a different text is not sent.
        let sound = match place {
            Place::Cookie(_) => token.bytes().all(is_cookie_octet),
            Place::Authorization(_) | Place::Header(_) => {
                token.bytes().all(|byte| byte.is_ascii_graphic())
            }
            Place::Query(_) | Place::Body(_) => true,
        };
        if !sound {
            return Err(wrong("places", "the token has bytes that can't be written there"));
        }
        match place {
            Place::Cookie(name) => {
                let pair = format!("{name}={token}");
                let both = match self.headers.get(COOKIE).and_then(|field| field.to_str().ok()) {
                    Some(other) => format!("{other}; {pair}"),
                    None => pair,
                };
                self.field(COOKIE, &both, "places")?;
            }
            Place::Authorization(scheme) => {
                self.field(AUTHORIZATION, &format!("{scheme} {token}"), "places")?;
            }
            Place::Header(name) => self.named(name, token, "places.header")?,
            Place::Query(name) => self.query.push((name.to_string(), token.to_owned())),
            Place::Body(path) => self.member(path, token.into()),
        }
        Ok(())
    }

    fn finish(mut self, format: &RequestFormat) -> Result<Request<Vec<u8>>, DialectError> {
        let bytes = match format.has_body() {
            false if format.method == Method::Get => Vec::new(),
            // Servers may refuse a request that has no length (RFC 9110 section 8.6).
            false => {
                self.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Vec::new()
            }
            true => {
                let (content_type, bytes) = match self.format {
                    Body::Json => {
                        ("application/json", serde_json::to_vec(&self.json).unwrap_or_default())
                    }
                    Body::Form => {
                        ("application/x-www-form-urlencoded", encoded(&self.form).into_bytes())
                    }
                };
                // A dialect may name its own, such as `application/x-amz-json-1.1`.
                let own = HeaderValue::from_static(content_type);
                self.headers.entry(CONTENT_TYPE).or_insert(own);
                bytes
            }
        };
        let target = match &*self.query {
            [] => "/".to_owned(),
            query => format!("/?{}", encoded(query)),
        };
        let mut request = Request::new(bytes);
        *request.method_mut() = format.method.as_http();
        *request.uri_mut() = target.parse().map_err(|_| wrong("query", "is too long for a URL"))?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

fn encoded(pairs: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn wrong(field: &str, problem: &str) -> DialectError {
    DialectError::new(format!("request.{field}"), problem)
}
