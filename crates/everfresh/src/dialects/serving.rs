//! What only a server of a dialect needs.

use serde::{Deserialize, Serialize};

use super::dialect::{List, Text, is_default};
#[cfg(feature = "schema")]
use super::schema;

/// How an engine serves a dialect. A dialect for calling another server needs none of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::serving))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Serving {
    /// Whether a refresh replaces the refresh token. If not, the refresh token stays good, and a
    /// refresh issues an access token.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rotates: bool,
    /// The members of the successful response, which is status 200 and a JSON object. A member for
    /// which there is no value is left out.
    pub members: List<ServedMember>,
    /// The cookie that holds the access token.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access_cookie: Option<Text>,
    /// The cookie that holds the refresh token, if the refresh replaced it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refresh_cookie: Option<Text>,
    /// The responses to requests that get no token.
    pub errors: Errors,
}

/// A member of a successful response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::served_member))]
#[serde(deny_unknown_fields)]
pub struct ServedMember {
    /// The member's [path](crate::dialect::Dialect#paths).
    pub name: Text,
    /// Its value.
    pub value: ServedValue,
}

/// The value of a member of a successful response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServedValue {
    /// The new access token.
    AccessToken,
    /// The refresh token that the client has to use next: the new one, or else the one that it
    /// presented.
    RefreshToken,
    /// The access token's lifetime in seconds.
    ExpiresIn,
    /// The time at which the access token expires, in seconds since 1970.
    ExpiresAt,
    /// This text.
    Text(Text),
    /// The session's subject.
    Subject,
    /// The session's id.
    Sid,
    /// The attribute of this name that the app set at sign-in, or else the claim of this name, as a
    /// string.
    Attribute(Text),
    /// The same as an integer. A value that is not an integer is left out.
    IntegerAttribute(Text),
}

/// The responses to requests that get no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The request presents no token.
    pub missing: ErrorResponse,
    /// The token is not everfresh's, or not of this kind.
    pub invalid: ErrorResponse,
    /// The token was valid, and its session is over.
    pub expired: ErrorResponse,
    /// The app ended the session because the user is gone, or is not allowed to continue.
    pub user_gone: ErrorResponse,
    /// The body can't be read, or a member has a wrong type.
    pub malformed: ErrorResponse,
    /// The client did not authenticate, or its credentials are wrong.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client: Option<ErrorResponse>,
    /// A fixed member has another value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unsupported: Option<ErrorResponse>,
    /// The request asks for more scope than was granted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scope: Option<ErrorResponse>,
}

/// A response without a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::error_response))]
#[serde(deny_unknown_fields)]
pub struct ErrorResponse {
    /// The status code: 400 to 599.
    pub status: u16,
    /// The body, as the text of a JSON value.
    pub body: Text,
}
