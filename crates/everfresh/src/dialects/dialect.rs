//! The wire format of a refresh endpoint, as data. The server and the client side use the same
//! value.

use std::borrow::Cow;

use http::{HeaderName, StatusCode, Uri};
use serde::{Deserialize, Deserializer, Serialize};

use crate::cookie::is_token_byte;
use crate::error::DialectError;

/// Text in a dialect: borrowed in a constant, owned if it was read from a file.
pub type Text = Cow<'static, str>;

/// A list in a dialect.
pub type List<T> = Cow<'static, [T]>;

/// The wire format of a refresh endpoint.
///
/// Six dialects are constants, each named after the product or standard that defines it. A dialect
/// of your own is a value of this type, written in Rust or read from a file
/// ([`from_json`](Self::from_json), or any other format that serde supports).
///
/// The types of a dialect can be written as constants, so a release that adds a member is a new
/// major version for a dialect that names all of them. One that changes a constant, as below, goes
/// on compiling.
///
/// ```
/// use everfresh::dialect::Dialect;
///
/// # fn main() -> Result<(), everfresh::dialect::DialectError> {
/// let mut own = Dialect::OAUTH2.clone();
/// own.path = "/token".into();
/// own.check()?;
/// let file = serde_json::to_string(&own).unwrap_or_default();
/// assert_eq!(Dialect::from_json(&file)?, own);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// The dialect's name in logs and errors.
    pub name: Text,
    /// The endpoint's absolute path. The method is POST.
    pub path: Text,
    /// Which token the client presents.
    pub token: TokenKind,
    /// Where the request may carry the token. The server looks in this order, and the client uses
    /// the first place.
    pub places: List<Place>,
    /// Members of the request's body that must have a fixed value, such as `grant_type`.
    #[serde(default)]
    pub fixed: List<Fixed>,
    /// The member of a JSON body that asks for a shorter lifetime of the new access token, in
    /// seconds.
    #[serde(default)]
    pub ttl: Option<Text>,
    /// Whether the client authenticates (RFC 6749 section 2.3).
    #[serde(default)]
    pub client_authentication: bool,
    /// The successful response.
    pub answer: Answer,
    /// The error responses.
    pub errors: Errors,
    /// Which responses mean that the session is over. Any other error leaves the session as it is.
    pub rejected: List<Rejected>,
}

/// Which token the client presents to a refresh endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// The refresh token.
    Refresh,
    /// The access token, valid or expired at most `expired_for` seconds ago. The endpoint renews
    /// only sessions whose sign-in allows it
    /// ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)).
    Access {
        /// How long ago the token may have expired, in seconds. 0 accepts only a valid token.
        expired_for: u32,
    },
}

/// Where a request to a refresh endpoint carries the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A cookie of this name.
    Cookie(Text),
    /// The `Authorization` header with this scheme.
    Authorization(Text),
    /// A header field of this name.
    Header(Text),
    /// A member of a JSON body, by name.
    Json(Text),
    /// A field of a form body, by name.
    Form(Text),
}

/// A member with a fixed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// The member's name.
    pub name: Text,
    /// The member's value.
    pub value: Text,
}

/// A successful response: status 200 and a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The member that holds the access token.
    pub access_token: Text,
    /// The cookie that also holds the access token.
    #[serde(default)]
    pub access_cookie: Option<Text>,
    /// The member that names the token's type, and its value. Optional in a response that the
    /// client reads.
    #[serde(default)]
    pub token_type: Option<Fixed>,
    /// The member that holds the access token's lifetime in seconds. Optional in a response that
    /// the client reads.
    #[serde(default)]
    pub expires_in: Option<Text>,
    /// Where the response carries the next refresh token.
    #[serde(default)]
    pub successor: Successor,
    /// More members, taken from the session. A member for which the session has no value is left
    /// out.
    #[serde(default)]
    pub members: List<Member>,
}

/// Where a successful response carries the next refresh token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Successor {
    /// Nowhere: a refresh issues an access token, and the refresh token stays the same.
    #[default]
    Nowhere,
    /// In this member. If a response lacks the member, the old refresh token stays valid.
    Member(Text),
    /// In this cookie.
    Cookie(Text),
}

/// A member of a successful response that is taken from the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The member's name.
    pub name: Text,
    /// Where the member's value comes from.
    pub from: Source,
    /// The member's type.
    #[serde(default)]
    pub kind: Kind,
}

/// Where a member's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The session's subject.
    Subject,
    /// The session's id.
    Sid,
    /// The attribute of this name that the app set at sign-in, or else the claim of this name.
    Attribute(Text),
}

/// A member's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A string.
    #[default]
    String,
    /// An integer. A value that is not an integer is left out.
    Integer,
}

/// The responses to requests that get no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The request presents no token.
    pub missing: Failed,
    /// The token is not everfresh's, or not of this kind.
    pub invalid: Failed,
    /// The token was valid, and its session is over.
    pub expired: Failed,
    /// The app ended the session because the user is gone, or is not allowed to continue.
    pub user_gone: Failed,
    /// The body can't be read, or a member has a wrong type.
    pub malformed: Failed,
    /// The client did not authenticate, or its credentials are wrong.
    #[serde(default)]
    pub client: Option<Failed>,
    /// A fixed member has another value.
    #[serde(default)]
    pub unsupported: Option<Failed>,
    /// The request asks for more scope than was granted.
    #[serde(default)]
    pub scope: Option<Failed>,
}

/// A response without a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The status code: 400 to 599.
    pub status: u16,
    /// The body, as the text of a JSON value.
    pub body: Text,
}

/// Responses that mean that the session is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// The lowest status code, from 400 to 499.
    pub from: u16,
    /// The highest status code, up to 499.
    pub to: u16,
    /// What the JSON body must hold. All of these must match.
    #[serde(default)]
    pub body: List<Expected>,
}

/// A member that a body must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The path of the member: names joined by dots.
    pub at: Text,
    /// What the member must be.
    pub is: Is,
}

/// What a member of a body must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    /// Present, with any value.
    Present,
    /// A string.
    String,
    /// An integer.
    Integer,
    /// One of these strings.
    OneOf(List<Text>),
}

impl Is {
    fn holds(&self, value: &serde_json::Value) -> bool {
        match self {
            Self::Present => true,
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::OneOf(texts) => texts.iter().any(|text| value == &**text),
        }
    }
}

/// Returns whether an endpoint can have this path: absolute, without query or parameters.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#{}*".contains(&byte))
        // A client must be able to write the path into a request.
        && path.parse::<Uri>().is_ok_and(|uri| uri.path() == path)
}

/// The field that an error names if it concerns no single field.
const WHOLE: &str = "the file";

impl Dialect {
    /// Reads a dialect from JSON and checks it.
    ///
    /// # Errors
    ///
    /// Returns an error if `text` is not a dialect in JSON or fails [`check`](Self::check). The
    /// error names the field, what was found and what is wanted.
    pub fn from_json(text: &str) -> Result<Self, DialectError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let dialect = Self::from_deserializer(&mut reader)?;
        reader.end().map_err(|error| DialectError::new(WHOLE, error.to_string()))?;
        Ok(dialect)
    }

    /// Reads a dialect from any other format that serde supports, such as TOML, and checks it.
    ///
    /// # Errors
    ///
    /// Returns an error as [`from_json`](Self::from_json) does.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, DialectError> {
        let dialect: Self = serde_path_to_error::deserialize(reader).map_err(|error| {
            let path = error.path().to_string();
            // There is no path, or the path of a member without a name, or no member was read yet.
            let field = if matches!(&*path, "" | "." | "?") { WHOLE } else { &path };
            DialectError::new(field, error.inner().to_string())
        })?;
        dialect.check()?;
        Ok(dialect)
    }

    /// Checks the rules that the types do not express.
    ///
    /// # Errors
    ///
    /// Returns an error for the first rule that the dialect breaks. The error names the field, what
    /// was found and what is wanted.
    pub fn check(&self) -> Result<(), DialectError> {
        let path = &*self.path;
        require("path", path, is_path(path), "an absolute path without query or parameters")?;
        require("name", &self.name, !self.name.is_empty(), "a name")?;
        if self.places.is_empty() || self.places.len() > 4 {
            let found = format!("{} places; wanted are 1 to 4", self.places.len());
            return Err(DialectError::new("places", found));
        }
        for place in &*self.places {
            place.check()?;
        }
        let is_body = |place: &Place| matches!(place, Place::Json(_) | Place::Form(_));
        let forms = self.places.iter().any(|place| matches!(place, Place::Form(_)));
        let jsons = self.places.iter().any(|place| matches!(place, Place::Json(_)));
        if forms && (jsons || self.ttl.is_some()) {
            return Err(DialectError::new(
                "places",
                "found a form and JSON in one body; wanted is a form or JSON",
            ));
        }
        if !self.fixed.is_empty() && !self.places.iter().any(is_body) {
            return Err(DialectError::new(
                "fixed",
                "found members, and no body to hold them; wanted is a place of `json` or `form`",
            ));
        }
        if self.token != TokenKind::Refresh && self.answer.successor != Successor::Nowhere {
            let problem = "an access token alone never yields a refresh token; wanted is `nowhere`";
            return Err(DialectError::new("answer.successor", problem));
        }
        if let Successor::Cookie(name) = &self.answer.successor {
            require("answer.successor", name, is_name(name), "a cookie's name")?;
        }
        if let Some(name) = &self.answer.access_cookie {
            require("answer.access_cookie", name, is_name(name), "a cookie's name")?;
        }
        let Errors { missing, invalid, expired, user_gone, malformed, client, unsupported, scope } =
            &self.errors;
        let always = [
            ("errors.missing", missing),
            ("errors.invalid", invalid),
            ("errors.expired", expired),
            ("errors.user_gone", user_gone),
            ("errors.malformed", malformed),
        ];
        let sometimes = [
            ("errors.client", client),
            ("errors.unsupported", unsupported),
            ("errors.scope", scope),
        ];
        let sometimes = sometimes.into_iter().filter_map(|(at, one)| Some((at, one.as_ref()?)));
        for (at, failed) in always.into_iter().chain(sometimes) {
            failed.check(at)?;
        }
        if self.client_authentication && client.is_none() {
            return Err(DialectError::new(
                "errors.client",
                "is missing; the dialect authenticates clients, so it needs the reply to a client \
                 that fails to authenticate",
            ));
        }
        if !self.fixed.is_empty() && unsupported.is_none() {
            return Err(DialectError::new(
                "errors.unsupported",
                "is missing; the dialect has fixed members, so it needs the reply to a request \
                 with other values",
            ));
        }
        for (at, one) in self.rejected.iter().enumerate() {
            if !(400..=499).contains(&one.from) || !(one.from..=499).contains(&one.to) {
                let found = format!("{} to {}; wanted are 400 to 499", one.from, one.to);
                return Err(DialectError::new(format!("rejected[{at}]"), found));
            }
        }
        Ok(())
    }

    /// Returns whether a response of a server of this dialect means that the session is over.
    ///
    /// Only the responses in [`rejected`](Self::rejected) do. An outage, a proxy's error page or a
    /// rate limit never ends a session.
    pub fn is_rejected(&self, status: StatusCode, body: &[u8]) -> bool {
        let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        self.rejected.iter().any(|one| {
            (one.from..=one.to).contains(&status.as_u16())
                && one.body.iter().all(|expected| {
                    let mut value = body.as_ref();
                    for name in expected.at.split('.') {
                        value = value.and_then(|value| value.get(name));
                    }
                    value.is_some_and(|value| expected.is.holds(value))
                })
        })
    }
}

impl Place {
    fn check(&self) -> Result<(), DialectError> {
        match self {
            Self::Cookie(name) => require("places.cookie", name, is_name(name), "a cookie's name"),
            Self::Authorization(scheme) => {
                require("places.authorization", scheme, is_name(scheme), "a scheme")
            }
            Self::Header(name) => {
                let good = HeaderName::from_bytes(name.as_bytes()).is_ok();
                require("places.header", name, good, "a header field's name")
            }
            Self::Json(name) => require("places.json", name, !name.is_empty(), "a member's name"),
            Self::Form(name) => require("places.form", name, !name.is_empty(), "a field's name"),
        }
    }
}

impl Failed {
    fn check(&self, at: &str) -> Result<(), DialectError> {
        let is_error = (400..=599).contains(&self.status);
        let status = self.status.to_string();
        require(&format!("{at}.status"), &status, is_error, "a status from 400 to 599")?;
        let is_json = serde_json::from_str::<serde_json::Value>(&self.body).is_ok();
        require(&format!("{at}.body"), &self.body, is_json, "the text of a JSON value")
    }
}

fn require(field: &str, found: &str, good: bool, wanted: &str) -> Result<(), DialectError> {
    if good {
        return Ok(());
    }
    Err(DialectError::new(field, format!("found {found:?}; wanted is {wanted}")))
}

/// Returns whether the text is a token (RFC 9110 section 5.6.2), as names of cookies and schemes
/// are.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}
