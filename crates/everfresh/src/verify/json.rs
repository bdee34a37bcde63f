//! Strict JSON: rejects what `serde_json` accepts in values that are not deserialized.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The maximum number of members in the claims.
const MAX_CLAIMS: usize = 256;

/// How many names are compared one by one. Further names are hashed, so that the work grows
/// linearly with the number of names.
pub(super) const FEW: usize = 16;

/// The name of the member as which `serde_json` passes a number, if any crate in the tree enables
/// its feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

/// A member name, borrowed if it has no escapes.
pub(crate) struct Name<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The member names of one object. Each is allowed once (RFC 7515 section 4, RFC 7519 section 4).
pub(crate) struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    more: Option<HashSet<Cow<'de, str>>>,
    most: usize,
}

impl<'de> Names<'de> {
    /// Creates an empty set for the names of claims.
    pub(crate) fn of_claims() -> Self {
        Self { few: Vec::new(), more: None, most: MAX_CLAIMS }
    }

    /// Creates an empty set for the names of a header, or of an object inside a header.
    pub(super) fn of_header() -> Self {
        Self { most: FEW, ..Self::of_claims() }
    }

    pub(crate) fn insert<E: de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        let Self { few, more, most } = self;
        if few.len() + more.as_ref().map_or(0, HashSet::len) == *most {
            return Err(E::custom("too many members"));
        }
        if few.contains(&name) {
            return Err(twice());
        }
        if few.len() < FEW {
            few.push(name);
            return Ok(());
        }
        if more.get_or_insert_default().insert(name) { Ok(()) } else { Err(twice()) }
    }
}

pub(crate) fn twice<E: de::Error>() -> E {
    E::custom("a member name appears twice")
}

/// Any JSON value of a header, read to the last byte and discarded. It has no name twice, no more
/// members than a header may have, no lone surrogate, and no number out of range. `serde_json`
/// limits the depth.
pub(crate) struct AnyValue;

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = AnyValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<AnyValue, E> {
        Ok(AnyValue)
    }

    fn visit_i64<E>(self, _: i64) -> Result<AnyValue, E> {
        Ok(AnyValue)
    }

    fn visit_u64<E>(self, _: u64) -> Result<AnyValue, E> {
        Ok(AnyValue)
    }

    fn visit_f64<E>(self, _: f64) -> Result<AnyValue, E> {
        Ok(AnyValue)
    }

    fn visit_str<E>(self, _: &str) -> Result<AnyValue, E> {
        Ok(AnyValue)
    }

    fn visit_unit<E>(self) -> Result<AnyValue, E> {
        Ok(AnyValue)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AnyValue, A::Error> {
        while seq.next_element::<AnyValue>()?.is_some() {}
        Ok(AnyValue)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
        let mut names = Names::of_header();
        while let Some(Name(name)) = map.next_key()? {
            if name == NUMBER {
                let Name(number) = map.next_value()?;
                if !number.parse().is_ok_and(f64::is_finite) {
                    return Err(A::Error::custom("number out of range"));
                }
            } else {
                map.next_value::<AnyValue>()?;
            }
            names.insert(name)?;
        }
        Ok(AnyValue)
    }
}
