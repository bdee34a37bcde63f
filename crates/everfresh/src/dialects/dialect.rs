//! A dialect: the wire format of a refresh endpoint as data. The server and the client side use the
//! same value.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{I64Deserializer, MapAccessDeserializer, StrDeserializer, U64Deserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::request::{FixedValue, RequestFormat};
use super::response::{ResponseFormat, Rule};
#[cfg(feature = "schema")]
use super::schema::{self, OneOrMany};
use super::serving::Serving;
use crate::error::DialectError;

/// Text in a dialect: borrowed in a constant, owned if it was read from a file.
pub type Text = Cow<'static, str>;

/// A list in a dialect.
pub type List<T> = Cow<'static, [T]>;

/// The wire format of a refresh endpoint.
///
/// Six dialects are constants, each named after the product or standard that defines it. A dialect
/// of your own is a file ([`from_json`](Self::from_json), or any other format that serde supports),
/// or a value of this type.
///
/// # Paths
/// A path names a member of a JSON object: `access_token`, or `data.tokens.0.value` for a member of
/// a member, where a number is the index of an array's element. A member whose name is the whole
/// text comes first, so that a name with dots can be named too.
///
/// The types of a dialect can be written as constants, so a release that adds a member is a new
/// major version for a dialect that names all of them. One that changes a constant, as below, goes
/// on compiling.
///
/// ```
/// use everfresh::dialect::Dialect;
///
/// # fn main() -> Result<(), everfresh::dialect::DialectError> {
/// let acme = Dialect::from_json(
///     r#"{
///         "name": "acme",
///         "request": {"places": [{"body": "refresh_token"}]},
///         "response": {"access_token": ["data.access_token", "token"]},
///         "rules": [{"status": 401, "outcome": "rejected"}]
///     }"#,
/// )?;
/// assert_eq!(acme.name, "acme");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = schema::dialect))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Dialect {
    /// The address of the JSON Schema by which editors check the file. It is not read.
    #[serde(rename = "$schema", default, skip_serializing_if = "is_default")]
    pub schema: Option<Text>,
    /// The dialect's name in logs and errors.
    pub name: Text,
    /// The address of the vendor's document that the dialect follows. It is not read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub document: Option<Text>,
    /// The endpoint's absolute paths, 4 at the most: an engine serves each, and a client uses the
    /// first. A dialect for calling needs none if the app gives the whole URL.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(with = "OneOrMany<Text>"))]
    pub paths: List<Text>,
    /// The request.
    pub request: RequestFormat,
    /// The successful response, as a client reads it.
    pub response: ResponseFormat,
    /// What responses mean. See [`read`](Self::read) for responses that match none of these rules.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: List<Rule>,
    /// The request that ends a session at the other server. `None`: the request of RFC 7009.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sign_out: Option<RequestFormat>,
    /// What an engine needs to serve the dialect. `None`: the dialect is for calling alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub serving: Option<Serving>,
}

/// The field that an error names if it concerns no single field.
const WHOLE: &str = "the file";

impl Dialect {
    /// Makes a dialect for calling: this request, this response, and no rules.
    pub fn new(name: impl Into<Text>, request: RequestFormat, response: ResponseFormat) -> Self {
        Self {
            schema: None,
            name: name.into(),
            document: None,
            paths: List::default(),
            request,
            response,
            rules: List::default(),
            sign_out: None,
            serving: None,
        }
    }

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

    /// Returns the names of the settings that requests of this dialect need.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        let requests = std::iter::once(&self.request).chain(&self.sign_out);
        let fixed = requests.flat_map(|one| [&one.members, &one.query, &one.headers]);
        fixed.flat_map(|list| list.iter()).filter_map(|fixed| match &fixed.value {
            FixedValue::Setting(name) => Some(&**name),
            _ => None,
        })
    }

    /// Returns where a successful response has the access token, as the dialect's file says it. For
    /// logs about a response that has none there.
    pub fn wanted(&self) -> String {
        serde_json::to_string(&self.response.access_token).unwrap_or_default()
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a list, or a single value in place of a list of one.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<List<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Clone + 'static,
{
    struct ListVisitor<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Clone + 'static> Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value or a list of values")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(one) = seq.next_element()? {
                list.push(one);
            }
            Ok(list)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![T::deserialize(StrDeserializer::new(text))?])
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Vec<T>, E> {
            Ok(vec![T::deserialize(U64Deserializer::new(number))?])
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Vec<T>, E> {
            Ok(vec![T::deserialize(I64Deserializer::new(number))?])
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
        }
    }

    deserializer.deserialize_any(ListVisitor(std::marker::PhantomData)).map(Into::into)
}
