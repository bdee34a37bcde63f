//! What a request to a refresh endpoint has.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::dialect::{List, Text, is_default};
#[cfg(feature = "schema")]
use super::schema;

/// A request to a refresh endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::request_format))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RequestFormat {
    /// The method. `POST` if the file does not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: Method,
    /// Which token the client presents.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token: TokenKind,
    /// Where the request may carry that token. The server looks in this order, and the client uses
    /// the first place. 1 to 4 places.
    pub places: List<Place>,
    /// Where the request carries the access token, if the client presents both tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access_token: Option<Place>,
    /// The format of the body, if there is one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub body: Body,
    /// Members of the body that have a fixed value, such as `grant_type`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub members: List<Fixed>,
    /// Parameters of the URL's query that have a fixed value. Only a client sends them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub query: List<Fixed>,
    /// Header fields that have a fixed value. Only a client sends them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub headers: List<Fixed>,
    /// How a client authenticates (RFC 6749 section 2.3). `None`: clients don't authenticate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client: Option<ClientMembers>,
    /// The member of the body that asks for a lifetime of the new access token.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lifetime: Option<LifetimeMember>,
    /// How long before the access token expires the token may be presented at the earliest, in
    /// seconds. 0: once it has expired. `None`: at any time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub earliest_before_expiry: Option<u32>,
}

impl RequestFormat {
    /// Makes a `POST` request that presents the refresh token in this place, and has nothing else.
    pub fn new(place: Place) -> Self {
        Self {
            method: Method::Post,
            token: TokenKind::Refresh,
            places: vec![place].into(),
            access_token: None,
            body: Body::default(),
            members: List::default(),
            query: List::default(),
            headers: List::default(),
            client: None,
            lifetime: None,
            earliest_before_expiry: None,
        }
    }

    /// Returns whether the request has a body.
    pub(crate) fn has_body(&self) -> bool {
        let in_body = |place: &Place| matches!(place, Place::Body(_));
        self.places.iter().chain(&self.access_token).any(in_body)
            || !self.members.is_empty()
            || self.client.is_some()
            || self.lifetime.is_some()
    }
}

/// A request's method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Method {
    /// `POST`.
    #[default]
    Post,
    /// `GET`. The request has no body.
    Get,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
}

impl Method {
    /// Returns the method as it is written on the wire: `POST`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }

    pub(super) fn as_http(self) -> http::Method {
        match self {
            Self::Post => http::Method::POST,
            Self::Get => http::Method::GET,
            Self::Put => http::Method::PUT,
            Self::Patch => http::Method::PATCH,
        }
    }
}

/// Which token the client presents to a refresh endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenKind {
    /// The refresh token.
    #[default]
    Refresh,
    /// The access token, valid or expired at most `expired_for` seconds ago. The endpoint renews
    /// only sessions whose sign-in allows it
    /// ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)).
    Access {
        /// How long ago the token may have expired, in seconds. 0 accepts only a valid token.
        expired_for: u32,
    },
}

/// Where a request to a refresh endpoint carries a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::place))]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A cookie of this name.
    Cookie(Text),
    /// The `Authorization` header with this scheme.
    Authorization(Text),
    /// A header field of this name.
    Header(Text),
    /// A parameter of the URL's query, by name. Only a client can use it: servers log URLs.
    Query(Text),
    /// A member of the body, by [path](crate::dialect::Dialect#paths).
    Body(Text),
}

/// The format of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A JSON object.
    #[default]
    Json,
    /// A form (`application/x-www-form-urlencoded`). Its members have no paths, only names.
    Form,
}

/// A member, parameter or header field that has a fixed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Its name. In a JSON body, its [path](crate::dialect::Dialect#paths).
    pub name: Text,
    /// Its value.
    pub value: FixedValue,
}

/// The value of a fixed member.
///
/// In a file it is a string, an integer, `true`, `false`, `{"setting": "name"}` or
/// `{"kept": "name"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "snake_case", transform = schema::fixed_value))]
#[non_exhaustive]
pub enum FixedValue {
    /// The value that the app's configuration has for this name, such as an API key.
    Setting(Text),
    /// The value of a member that was [kept](crate::dialect::ResponseFormat::keep) of the last response. If
    /// there is none, the member is left out.
    Kept(Text),
    /// This text.
    #[cfg_attr(feature = "schema", schemars(untagged))]
    Text(Text),
    /// This integer. In forms, queries and header fields it is sent as text.
    #[cfg_attr(feature = "schema", schemars(untagged))]
    Integer(i64),
    /// `true` or `false`. In forms, queries and header fields it is sent as text.
    #[cfg_attr(feature = "schema", schemars(untagged))]
    Bool(bool),
}

impl Serialize for FixedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let (name, value) = match self {
            Self::Text(text) => return serializer.serialize_str(text),
            Self::Integer(integer) => return serializer.serialize_i64(*integer),
            Self::Bool(value) => return serializer.serialize_bool(*value),
            Self::Setting(name) => ("setting", name),
            Self::Kept(name) => ("kept", name),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(name, value)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for FixedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = FixedValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a string, an integer, true, false, {\"setting\": name} or {\"kept\": name}",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FixedValue, E> {
                Ok(FixedValue::Text(text.to_owned().into()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<FixedValue, E> {
                Ok(FixedValue::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, integer: i64) -> Result<FixedValue, E> {
                Ok(FixedValue::Integer(integer))
            }

            fn visit_u64<E: de::Error>(self, integer: u64) -> Result<FixedValue, E> {
                let integer = i64::try_from(integer);
                integer.map(FixedValue::Integer).map_err(|_| E::custom("the integer is too large"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FixedValue, A::Error> {
                let Some((kind, name)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                let value = match &*kind {
                    "setting" => FixedValue::Setting(name.into()),
                    "kept" => FixedValue::Kept(name.into()),
                    // serde_json hands over a number with a fraction so, if another crate of the
                    // app switches `arbitrary_precision` on.
                    other if other.starts_with('$') => {
                        return Err(de::Error::invalid_type(de::Unexpected::Other(&name), &self));
                    }
                    other => return Err(de::Error::unknown_field(other, &["setting", "kept"])),
                };
                match map.next_key::<String>()? {
                    None => Ok(value),
                    Some(_) => Err(de::Error::invalid_length(2, &self)),
                }
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

/// The names by which a client sends its id and its secret, if they are sent in the body. Which
/// method a client uses is the app's choice
/// ([`ClientAuthentication`](crate::dialect::ClientAuthentication)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::client_members))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClientMembers {
    /// The member that holds the id: `client_id` if the file does not say.
    pub id: Text,
    /// The member that holds the secret: `client_secret` if the file does not say.
    pub secret: Text,
}

impl ClientMembers {
    /// `client_id` and `client_secret` (RFC 6749 section 2.3.1).
    pub const OAUTH2: Self =
        Self { id: Text::Borrowed("client_id"), secret: Text::Borrowed("client_secret") };
}

impl Default for ClientMembers {
    fn default() -> Self {
        Self::OAUTH2
    }
}

/// The member of a request's body that asks for a lifetime of the new access token, in seconds.
///
/// A server gives a lifetime of at least `min` and at most `max`, and never more than the session
/// and its configuration allow. A client sends the member if the app asks for a lifetime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::lifetime_member))]
#[serde(deny_unknown_fields)]
pub struct LifetimeMember {
    /// The member's name.
    pub member: Text,
    /// The shortest lifetime.
    pub min: u32,
    /// The longest lifetime.
    pub max: u32,
    /// The lifetime that a server gives if the request does not ask. `None`: the configured one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: Option<u32>,
}
