//! What responses of a refresh endpoint have, and what they mean.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::dialect::{List, Text, is_default, one_or_many};
#[cfg(feature = "schema")]
use super::schema::{self, OneOrMany};

/// A successful response, as a client reads it. The body is a JSON object, or a form if its
/// `Content-Type` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::response_format))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ResponseFormat {
    /// Where the access token is. The first source that has a text counts.
    #[serde(deserialize_with = "one_or_many")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Source>"))]
    pub access_token: List<Source>,
    /// Where the next refresh token is. If a response has none, the refresh token stays the same.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Source>"))]
    pub refresh_token: List<Source>,
    /// Where the ID token is (OpenID Connect Core 1.0 section 12.2).
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Source>"))]
    pub id_token: List<Source>,
    /// The members that hold the access token's lifetime. The first with a number counts, or a text
    /// that is a number.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<ExpiresIn>"))]
    pub expires_in: List<ExpiresIn>,
    /// The [paths](crate::dialect::Dialect#paths) of members that hold the time at which the access token expires:
    /// seconds since 1970 or, from 10^11 on, milliseconds; or a date as in RFC 3339 or HTTP. They
    /// count if no member of `expires_in` does.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Text>"))]
    pub expires_at: List<Text>,
    /// The [paths](crate::dialect::Dialect#paths) of other members to keep, such as `instance_url`:
    /// [`AccessTokenResponse::members`](crate::dialect::AccessTokenResponse::members) has them,
    /// handlers read them
    /// ([`UpstreamAccessToken::kept`](crate::upstream::UpstreamAccessToken::kept)), and a later request can
    /// send them ([`FixedValue::Kept`](crate::dialect::FixedValue::Kept)). A member that a response
    /// lacks keeps its former value.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Text>"))]
    pub keep: List<Text>,
}

impl ResponseFormat {
    /// Makes a response that has an access token at this source, and nothing else.
    pub fn new(access_token: Source) -> Self {
        Self {
            access_token: vec![access_token].into(),
            refresh_token: List::default(),
            id_token: List::default(),
            expires_in: List::default(),
            expires_at: List::default(),
            keep: List::default(),
        }
    }
}

/// Where a response carries a token. In a file it is a member's path, `{"cookie": "name"}` or
/// `{"header": "name"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "snake_case", transform = schema::source))]
#[non_exhaustive]
pub enum Source {
    /// The cookie of this name, which the response sets.
    Cookie(Text),
    /// The header field of this name. A scheme before the token (`Bearer`) is taken off.
    Header(Text),
    /// The member of the body at this [path](crate::dialect::Dialect#paths).
    #[cfg_attr(feature = "schema", schemars(untagged))]
    Member(Text),
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let (kind, name) = match self {
            Self::Member(path) => return serializer.serialize_str(path),
            Self::Cookie(name) => ("cookie", name),
            Self::Header(name) => ("header", name),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(kind, name)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;

        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's path, {\"cookie\": name} or {\"header\": name}")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Source, E> {
                Ok(Source::Member(path.to_owned().into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source, A::Error> {
                let Some((kind, name)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                let source = match &*kind {
                    "cookie" => Source::Cookie(name.into()),
                    "header" => Source::Header(name.into()),
                    other => return Err(de::Error::unknown_field(other, &["cookie", "header"])),
                };
                match map.next_key::<String>()? {
                    None => Ok(source),
                    Some(_) => Err(de::Error::invalid_length(2, &self)),
                }
            }
        }

        deserializer.deserialize_any(SourceVisitor)
    }
}

/// A member that holds a lifetime. In a file it is the member's path, or
/// `{"member": path, "unit": unit}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiresIn {
    /// The member's [path](crate::dialect::Dialect#paths).
    pub member: Text,
    /// The unit. Seconds if the file does not say.
    pub unit: Unit,
}

/// The unit of a lifetime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    #[default]
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

impl Unit {
    /// Returns the unit in seconds.
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Self::Milliseconds => 0.001,
            Self::Seconds => 1.0,
            Self::Minutes => 60.0,
            Self::Hours => 3600.0,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::expires_in_member))]
#[serde(deny_unknown_fields)]
pub(super) struct ExpiresInMember {
    member: Text,
    #[serde(default)]
    unit: Unit,
}

impl Serialize for ExpiresIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self { member, unit: Unit::Seconds } => serializer.serialize_str(member),
            Self { member, unit } => {
                ExpiresInMember { member: member.clone(), unit: *unit }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for ExpiresIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ExpiresInVisitor;

        impl<'de> Visitor<'de> for ExpiresInVisitor {
            type Value = ExpiresIn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's path or {\"member\": path, \"unit\": unit}")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<ExpiresIn, E> {
                Ok(ExpiresIn { member: path.to_owned().into(), unit: Unit::Seconds })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ExpiresIn, A::Error> {
                let reader = de::value::MapAccessDeserializer::new(map);
                let ExpiresInMember { member, unit } = ExpiresInMember::deserialize(reader)?;
                Ok(ExpiresIn { member, unit })
            }
        }

        deserializer.deserialize_any(ExpiresInVisitor)
    }
}

/// What certain responses mean. The first rule of a dialect that a response matches counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::rule))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The status codes.
    #[serde(deserialize_with = "one_or_many")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Statuses>"))]
    pub status: List<Statuses>,
    /// Conditions that the body must meet, all of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: List<Condition>,
    /// What such a response means.
    pub outcome: Outcome,
}

/// What a response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The session is over: the user has to sign in again.
    Rejected,
    /// The server can't answer now, and did not use the token.
    Unavailable,
    /// The server does not take what the app is configured to send, such as the client's secret.
    Misconfigured,
    /// It is unknown whether the server used the token.
    InDoubt,
}

/// Status codes. In a file: `403`, `"400-403"` or `"4xx"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest.
    pub from: u16,
    /// The highest.
    pub to: u16,
}

impl Statuses {
    /// One status code.
    pub const fn only(status: u16) -> Self {
        Self { from: status, to: status }
    }

    /// Returns the status codes of a text such as `403`, `400-403` or `4xx`.
    fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok()?;
            return Some(Self { from: class.checked_mul(100)?, to: class.checked_mul(100)? + 99 });
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some(Self { from: from.trim().parse().ok()?, to: to.trim().parse().ok()? })
    }

    pub(crate) fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self { from, to } if from == to => serializer.serialize_u16(*from),
            Self { from, to } if from % 100 == 0 && *to == from + 99 => {
                serializer.collect_str(&format_args!("{}xx", from / 100))
            }
            Self { from, to } => serializer.collect_str(&format_args!("{from}-{to}")),
        }
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusesVisitor;

        impl Visitor<'_> for StatusesVisitor {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status code such as 403, \"400-403\" or \"4xx\"")
            }

            fn visit_u64<E: de::Error>(self, status: u64) -> Result<Statuses, E> {
                let unfit = |_| E::invalid_value(de::Unexpected::Unsigned(status), &self);
                u16::try_from(status).map(Statuses::only).map_err(unfit)
            }

            fn visit_i64<E: de::Error>(self, status: i64) -> Result<Statuses, E> {
                let unfit = |_| E::invalid_value(de::Unexpected::Signed(status), &self);
                u16::try_from(status).map(Statuses::only).map_err(unfit)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
                let unfit = || E::invalid_value(de::Unexpected::Str(text), &self);
                Statuses::parse(text).ok_or_else(unfit)
            }
        }

        deserializer.deserialize_any(StatusesVisitor)
    }
}

/// A condition that a response's body must meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::condition))]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The [path](crate::dialect::Dialect#paths) of the member. Empty: the whole body, as text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub member: Text,
    /// The test that it must pass.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is: Option<Test>,
    /// A test that it must not pass.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_not: Option<Test>,
}

/// A test of a member. A number, `true` and `false` are compared by their text. Of an array, one
/// element must pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::test))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Test {
    /// It is there, and is not `null`.
    Present,
    /// It is a string.
    String,
    /// It is an integer.
    Integer,
    /// It is one of these texts.
    OneOf(List<Text>),
    /// It begins with one of these texts.
    StartsWith(List<Text>),
    /// It contains one of these texts.
    Contains(List<Text>),
}
