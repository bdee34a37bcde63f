//! The wire shape of a refresh endpoint, as data: the same value serves it and calls it.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderName, StatusCode, Uri};
use serde::{Deserialize, Deserializer, Serialize};

use crate::cookie::is_token_byte;

/// Text of a dialect: fixed in a constant, owned when it was read.
pub type Text = Cow<'static, str>;

/// A list in a dialect.
pub type List<T> = Cow<'static, [T]>;

/// The wire shape of a refresh endpoint.
///
/// Six are constants, named after whose they are. A dialect of your own is a value of this type,
/// written in Rust or read from a file ([`from_json`](Self::from_json), or any other format that
/// serde has).
///
/// ```
/// use everfresh::Dialect;
///
/// # fn main() -> Result<(), everfresh::DialectError> {
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
    /// What it is called, in logs and errors.
    pub name: Text,
    /// Where the endpoint is: an absolute path. The method is POST.
    pub path: Text,
    /// Which token is presented.
    pub token: TokenKind,
    /// Where it may travel, in the order in which servers look; clients use the first.
    pub places: List<Place>,
    /// Members of the request's body that must have this value: `grant_type`.
    #[serde(default)]
    pub fixed: List<Fixed>,
    /// The member of a JSON body that asks for a shorter life of the new access token, in seconds.
    #[serde(default)]
    pub ttl: Option<Text>,
    /// Whether the client says who it is (RFC 6749 section 2.3).
    #[serde(default)]
    pub client_authentication: bool,
    /// A good answer.
    pub answer: Answer,
    /// The other answers.
    pub errors: Errors,
    /// Which answers mean that the session is over. Any other error says nothing of it.
    pub rejected: List<Rejected>,
}

/// Which token is presented to a refresh endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// The refresh token.
    Refresh,
    /// The access token, good or expired not longer ago than this. Served only for sessions that were
    /// signed in for it
    /// ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)).
    Access {
        /// In seconds. 0: only one that is still good.
        expired_for: u32,
    },
}

/// Where a token travels to a refresh endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A cookie of this name.
    Cookie(Text),
    /// `Authorization` with this scheme.
    Authorization(Text),
    /// A header field of this name.
    Header(Text),
    /// A member of a JSON body.
    Json(Text),
    /// A field of a form body.
    Form(Text),
}

/// A member with one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Its name.
    pub name: Text,
    /// Its value.
    pub value: Text,
}

/// A good answer: 200 and a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The member that holds the access token.
    pub access_token: Text,
    /// The cookie that holds it as well.
    #[serde(default)]
    pub access_cookie: Option<Text>,
    /// The member that says which kind of token it is, and what it says. Optional when read.
    #[serde(default)]
    pub token_type: Option<Fixed>,
    /// The member that holds the access token's life in seconds. Optional when read.
    #[serde(default)]
    pub expires_in: Option<Text>,
    /// Where the next refresh token goes.
    #[serde(default)]
    pub successor: Successor,
    /// More members, from what is known of the session. Those it does not have stay out.
    #[serde(default)]
    pub members: List<Member>,
}

/// Where the next refresh token goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Successor {
    /// Nowhere: a refresh makes an access token, and the refresh token stays what it is.
    #[default]
    Nowhere,
    /// Into this member; where it is absent in an answer, the old one stays good.
    Member(Text),
    /// Into this cookie.
    Cookie(Text),
}

/// A member of a good answer that tells something of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: Text,
    /// Where it comes from.
    pub from: Source,
    /// Its type.
    #[serde(default)]
    pub kind: Kind,
}

/// Where a member comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Whose session it is.
    Subject,
    /// The session's id.
    Sid,
    /// An attribute that was noted at sign-in, or else a claim of this name.
    Attribute(Text),
}

/// A member's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text.
    #[default]
    String,
    /// A whole number; what is none stays out.
    Integer,
}

/// The answers to requests that get no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// No token was presented.
    pub missing: Failed,
    /// One that is not ours, or not of this kind.
    pub invalid: Failed,
    /// One that was good, of a session that is over.
    pub expired: Failed,
    /// The app ended the session: the user is gone, or may not go on.
    pub user_gone: Failed,
    /// The body can't be read, or a member has a wrong type.
    pub malformed: Failed,
    /// The client did not say who it is, or not truly.
    #[serde(default)]
    pub client: Option<Failed>,
    /// A fixed member has another value.
    #[serde(default)]
    pub unsupported: Option<Failed>,
    /// More scope is asked for than was granted.
    #[serde(default)]
    pub scope: Option<Failed>,
}

/// An answer without a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The status code: 400 to 599.
    pub status: u16,
    /// The body, the text of a JSON value.
    pub body: Text,
}

/// Answers that mean that the session is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// The first status code that counts.
    pub from: u16,
    /// The last one.
    pub to: u16,
    /// What the JSON body must hold, all of it.
    #[serde(default)]
    pub body: List<Expected>,
}

/// What a member of a body must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Where: names joined by dots.
    pub at: Text,
    /// What.
    pub is: Is,
}

/// What a member of a body must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    /// There, whatever it is.
    Present,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// One of these texts.
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

/// Whether an endpoint can be at this path: absolute, without query or parameters.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#{}*".contains(&byte))
        // Whoever calls it must be able to write it.
        && path.parse::<Uri>().is_ok_and(|uri| uri.path() == path)
}

/// What is wrong where no field is.
const WHOLE: &str = "the file";

impl Dialect {
    /// Reads a dialect from JSON and checks it.
    ///
    /// Errors: name the field, what was found and what is wanted.
    pub fn from_json(text: &str) -> Result<Self, DialectError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let dialect = Self::from_deserializer(&mut reader)?;
        reader.end().map_err(|error| DialectError::new(WHOLE, error.to_string()))?;
        Ok(dialect)
    }

    /// The same from any other format that serde reads, such as TOML.
    pub fn from_deserializer<'de, D: Deserializer<'de>>(reader: D) -> Result<Self, DialectError> {
        let dialect: Self = serde_path_to_error::deserialize(reader).map_err(|error| {
            let path = error.path().to_string();
            // No path, or that of a member without a name, or of none yet.
            let field = if matches!(&*path, "" | "." | "?") { WHOLE } else { &path };
            DialectError::new(field, error.inner().to_string())
        })?;
        dialect.check()?;
        Ok(dialect)
    }

    /// Checks what types can't.
    ///
    /// Errors: name the field, what was found and what is wanted.
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
                "is missing; clients authenticate, so say what those are told who fail to",
            ));
        }
        if !self.fixed.is_empty() && unsupported.is_none() {
            return Err(DialectError::new(
                "errors.unsupported",
                "is missing; members are fixed, so say what those are told who send others",
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

    /// Whether an answer of a server that speaks this dialect means that the session is over.
    ///
    /// Only what is said here does: an outage, a proxy's error page, a rate limit never end a
    /// session.
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

/// RFC 9110 section 5.6.2: cookies' names and schemes are tokens.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// What is wrong with a dialect: which field, what was found, what is wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct DialectError {
    field: String,
    problem: String,
}

impl DialectError {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The field, as a path: `errors.invalid.status`.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the dialect's `{}`: {}", self.field, self.problem)
    }
}

crate::debug_is_display!(DialectError);

impl std::error::Error for DialectError {}
