//! Reads the registered claims strictly, and the app's own claims, in one pass.

use std::fmt;

use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny,
    MapAccess, SeqAccess, Visitor,
};

use super::json::{Name, Names, twice};
use super::unread::UnreadClaims;

/// The claim names that the engine reads and writes itself. An app's claims must not use them.
pub(crate) const REGISTERED: [&str; 17] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "sid",
    "gen",
    "auth_time",
    "session_exp",
    "session_persistent",
    "client_id",
    "cnf",
    "token_type",
    "token_use",
    "typ",
];

/// The latest date that a claim may hold: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// The registered claims of one token, typed but not yet checked. Dates are in seconds.
#[derive(Default)]
pub(crate) struct RawClaims {
    pub(crate) issuer_matches: bool,
    pub(crate) has_audience: bool,
    pub(crate) audience_matches: bool,
    pub(crate) sub: Option<String>,
    pub(crate) exp: Option<u64>,
    pub(crate) nbf: Option<u64>,
    pub(crate) iat: Option<u64>,
    pub(crate) has_jti: bool,
    pub(crate) sid: Option<String>,
    pub(crate) generation: Option<u64>,
    pub(crate) auth_time: Option<u64>,
    pub(crate) session_exp: Option<u64>,
    pub(crate) session_persistent: Option<bool>,
    pub(crate) has_client_id: bool,
    /// Whether `client_id` is the expected audience.
    pub(crate) client_id_matches: bool,
    /// Whether there is a `cnf`: the token is bound to a key that its bearer must prove (RFC 7800).
    pub(crate) confirmation: bool,
    /// The kinds of token that `token_type`, `token_use` and the claim `typ` name. They may differ.
    pub(crate) called_access: bool,
    pub(crate) called_id: bool,
    pub(crate) called_other: bool,
    /// Claims of ID tokens (OpenID Connect Core sections 2 and 3.3.2.11) and of security event
    /// tokens, such as logout tokens (RFC 8417 section 2.2). They are not in [`REGISTERED`]: an app
    /// may have claims with these names if `typ` distinguishes the kinds of tokens.
    pub(crate) has_nonce: bool,
    pub(crate) has_hash: bool,
    pub(crate) has_events: bool,
}

impl fmt::Debug for RawClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawClaims").field("exp", &self.exp).finish_non_exhaustive()
    }
}

/// The issuer and the audience that a token must have.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'x> {
    pub(crate) issuer: &'x str,
    pub(crate) audience: &'x str,
}

/// Reads a payload: the registered claims into one struct, and all others into `C`.
///
/// `C` is deserialized from a JSON object without the registered names, so `deny_unknown_fields`
/// works in it.
///
/// # Errors
///
/// Returns an error if a name appears twice, a claim has a wrong type, or anything follows the
/// object.
pub(crate) fn parse<C: DeserializeOwned>(
    payload: &str,
    expected: Expected<'_>,
) -> Result<(RawClaims, C), serde_json::Error> {
    let mut raw = RawClaims::default();
    let mut json = serde_json::Deserializer::from_str(payload);
    let own = C::deserialize(Split { inner: &mut json, raw: &mut raw, expected })?;
    json.end()?;
    Ok((raw, own))
}

/// Reads the app's own claims alone, as they are stored beside the registered ones.
pub(crate) fn parse_own<C: DeserializeOwned>(claims: &str) -> Result<C, serde_json::Error> {
    parse(claims, Expected { issuer: "", audience: "" }).map(|(_, own)| own)
}

/// Reads the app's own claims as [`parse_own`] does, or returns the claims that the app's type
/// can't be deserialized from.
pub(crate) fn read_own<C: DeserializeOwned>(claims: &str) -> Result<C, UnreadClaims> {
    parse_own(claims).map_err(|error| {
        UnreadClaims::new::<C>(serde_json::from_str(claims).unwrap_or_default(), &error)
    })
}

/// Returns whether an app's claims hold a name by which
/// [`TokenProfile::Jwt`](super::TokenProfile::Jwt) recognises other kinds of tokens.
pub(crate) fn look_like_another_kind(claims: &str) -> bool {
    let read = parse::<()>(claims, Expected { issuer: "", audience: "" });
    read.is_ok_and(|(raw, ())| raw.has_nonce || raw.has_hash || raw.has_events)
}

/// A deserializer for `C` that hides the registered claims from it.
struct Split<'r, D> {
    inner: D,
    raw: &'r mut RawClaims,
    expected: Expected<'r>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Split<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(SplitVisitor { visitor, raw: self.raw, expected: self.expected })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    /// The claims type `()` means that the app has no claims of its own. The object is still read
    /// to its end.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(IgnoreVisitor)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_unit(visitor)
    }

    /// An enum in serde's default representation: an object of one member, which has the variant's
    /// name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_any(VariantVisitor(visitor))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct VariantVisitor<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for VariantVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of one member, which has the name of a variant")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let value = self.0.visit_enum(MapAccessDeserializer::new(&mut map))?;
        match map.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(A::Error::custom("a member beside the variant")),
        }
    }
}

struct IgnoreVisitor;

impl<'de> Visitor<'de> for IgnoreVisitor {
    type Value = IgnoredAny;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<IgnoredAny, A::Error> {
        Ok(IgnoredAny)
    }
}

struct SplitVisitor<'r, V> {
    visitor: V,
    raw: &'r mut RawClaims,
    expected: Expected<'r>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for SplitVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self { visitor, raw, expected } = self;
        let mut split = SplitMap { map, raw, expected, seen: 0, names: Names::of_claims() };
        let value = visitor.visit_map(&mut split)?;
        // A visitor may stop early. The rules also hold for the remaining members.
        while split.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

struct SplitMap<'r, 'de, A> {
    map: A,
    raw: &'r mut RawClaims,
    expected: Expected<'r>,
    /// Bits for the names in [`REGISTERED`] that were read, by their index there.
    seen: u32,
    /// The app's own names that were read.
    names: Names<'de>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SplitMap<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(Name(name)) = self.map.next_key()? {
            if let Some(place) = REGISTERED.iter().position(|known| *known == name) {
                let former = self.seen;
                self.seen |= 1 << place;
                if self.seen == former {
                    return Err(twice());
                }
                self.take_registered(&name)?;
                continue;
            }
            match &*name {
                "nonce" => self.raw.has_nonce = true,
                "at_hash" | "c_hash" | "s_hash" => self.raw.has_hash = true,
                "events" => self.raw.has_events = true,
                _ => {}
            }
            self.names.insert(name.clone())?;
            return seed.deserialize(CowStrDeserializer::new(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>> SplitMap<'_, 'de, A> {
    fn take_registered(&mut self, name: &str) -> Result<(), A::Error> {
        let Self { map, raw, expected, .. } = self;
        match name {
            "iss" => raw.issuer_matches = map.next_value::<Name<'de>>()?.0 == expected.issuer,
            "aud" => {
                raw.audience_matches = map.next_value_seed(Audience(expected.audience))?;
                raw.has_audience = true;
            }
            "sub" => raw.sub = Some(map.next_value()?),
            "exp" => raw.exp = Some(map.next_value::<NumericDate>()?.0),
            "nbf" => raw.nbf = Some(map.next_value::<NumericDate>()?.0),
            "iat" => raw.iat = Some(map.next_value::<NumericDate>()?.0),
            "auth_time" => raw.auth_time = Some(map.next_value::<NumericDate>()?.0),
            "session_exp" => raw.session_exp = Some(map.next_value::<NumericDate>()?.0),
            "session_persistent" => raw.session_persistent = Some(map.next_value()?),
            "jti" => {
                map.next_value::<Name<'de>>()?;
                raw.has_jti = true;
            }
            "sid" => raw.sid = Some(map.next_value()?),
            "gen" => raw.generation = Some(map.next_value()?),
            "client_id" => {
                raw.client_id_matches = map.next_value::<Name<'de>>()?.0 == expected.audience;
                raw.has_client_id = true;
            }
            "cnf" => {
                map.next_value::<IgnoredAny>()?;
                raw.confirmation = true;
            }
            "token_type" | "token_use" | "typ" => {
                let Name(kind) = map.next_value()?;
                let is = |name: &str| kind.eq_ignore_ascii_case(name);
                match () {
                    () if is("access") || is("bearer") || is("at+jwt") => raw.called_access = true,
                    () if is("id") => raw.called_id = true,
                    () => raw.called_other = true,
                }
            }
            other => return Err(A::Error::custom(format_args!("{other:?} is not read"))),
        }
        Ok(())
    }
}

/// Seconds since the epoch, possibly with a fraction, which is truncated (RFC 7519 section 2).
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `deserialize_any` passes a number as a map if any crate in the tree enables
        // `serde_json/arbitrary_precision`.
        deserializer.deserialize_f64(DateVisitor)
    }
}

struct DateVisitor;

impl Visitor<'_> for DateVisitor {
    type Value = NumericDate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds from 0 to the year 9999")
    }

    fn visit_u64<E: de::Error>(self, secs: u64) -> Result<NumericDate, E> {
        if secs > LAST_SECOND {
            return Err(E::custom("out of range"));
        }
        Ok(NumericDate(secs))
    }

    fn visit_f64<E: de::Error>(self, secs: f64) -> Result<NumericDate, E> {
        if !(0.0..=LAST_SECOND as f64).contains(&secs) {
            return Err(E::custom("out of range"));
        }
        Ok(NumericDate(secs as u64))
    }
}

/// The expected audience. The claim `aud` is one string, or an array of strings that holds it (RFC
/// 7519 section 4.1.3).
struct Audience<'x>(&'x str);

impl<'de> DeserializeSeed<'de> for Audience<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Audience<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, audience: &str) -> Result<bool, E> {
        Ok(audience == self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(Name(audience)) = seq.next_element()? {
            found |= audience == self.0;
        }
        Ok(found)
    }
}
