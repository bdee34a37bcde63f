//! The compact serialization (RFC 7515 section 3.1), and a strict reader for headers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::crypto::MAX_SIGNATURE;
use super::json::{AnyValue, Name, Names};
use super::key::is_kid;
use super::{Algorithm, InvalidReason};

/// The longest token that is read, in bytes. A longer one costs one comparison.
pub(crate) const MAX_TOKEN: usize = 8 * 1024;

/// The longest header that is read, in bytes of its encoded form: 4 KiB of JSON. Issuers' headers
/// have 50 to 400 bytes. The rest is for `x5c`, whose certificates have 1 to 3 KB each.
const MAX_HEADER: usize = (4 * 1024 * 4_usize).div_ceil(3);

/// A compact JWS, split at its dots. Nothing is decoded.
pub(crate) struct Compact<'t> {
    pub(crate) header: &'t str,
    payload: &'t str,
    signature: &'t str,
    signed: &'t str,
}

impl<'t> Compact<'t> {
    /// Splits a token into exactly three parts, none of them empty.
    ///
    /// Five parts would be a JWE. A wrong number of parts is refused before any other work
    /// (CVE-2025-30204, CVE-2025-27144).
    pub(crate) fn split(token: &'t [u8]) -> Result<Self, InvalidReason> {
        if token.len() > MAX_TOKEN {
            return Err(InvalidReason::TooLong);
        }
        let token = std::str::from_utf8(token).map_err(|_| InvalidReason::Malformed)?;
        let mut dots = memchr::memchr_iter(b'.', token.as_bytes());
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(InvalidReason::Malformed);
        };
        let parts = Self {
            header: &token[..first],
            payload: &token[first + 1..second],
            signature: &token[second + 1..],
            signed: &token[..second],
        };
        // A token with `alg` `none` has an empty signature. In a JWT the other two parts are never
        // empty.
        if parts.header.is_empty() || parts.payload.is_empty() || parts.signature.is_empty() {
            return Err(InvalidReason::Malformed);
        }
        Ok(parts)
    }

    /// Returns the signed bytes: the encoded header and payload.
    pub(crate) fn signed(&self) -> &'t [u8] {
        self.signed.as_bytes()
    }

    /// Decodes the signature into `buffer` and returns its bytes.
    pub(crate) fn signature<'b>(
        &self,
        buffer: &'b mut SignatureBuffer,
    ) -> Result<&'b [u8], InvalidReason> {
        let SignatureBuffer { short, long } = buffer;
        let buffer = match base64::decoded_len_estimate(self.signature.len()) <= short.len() {
            true => short.as_mut_slice(),
            false => long.insert([0; MAX_SIGNATURE]).as_mut_slice(),
        };
        let length =
            B64.decode_slice(self.signature, buffer).map_err(|_| InvalidReason::Malformed)?;
        Ok(&buffer[..length])
    }

    /// Decodes the payload as text. Call this only after the signature was verified.
    pub(crate) fn payload(&self) -> Result<String, InvalidReason> {
        decode_text(self.payload)
    }
}

/// A buffer for a signature. All algorithms except RSA need only the short part. The long part is
/// not even cleared for them.
pub(crate) struct SignatureBuffer {
    short: [u8; 128],
    long: Option<[u8; MAX_SIGNATURE]>,
}

impl SignatureBuffer {
    pub(crate) fn new() -> Self {
        Self { short: [0; 128], long: None }
    }
}

/// The members of a header that everfresh uses.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
}

impl Header {
    /// Reads the first part of a token.
    ///
    /// 1. The header is a JSON object of at most 4 KiB. It and every object in it have at most 16
    ///    members and no name twice. Every value is well-formed to the last byte.
    /// 2. `alg` is a known algorithm in its exact spelling. `none` is not known.
    /// 3. `crit` and `b64` are refused with any value (RFC 7515 section 4.1.11, RFC 7797).
    /// 4. `jwk` is refused, and `jku`, `x5u` and `x5c` are ignored, because a token must not supply
    ///    its own key (RFC 8725 section 3.10, CVE-2018-0114).
    /// 5. `enc` and `zip` belong to JWE and are refused.
    pub(crate) fn parse(encoded: &str) -> Result<Self, InvalidReason> {
        if encoded.len() > MAX_HEADER {
            return Err(InvalidReason::Header);
        }
        let text = decode_text(encoded)?;
        serde_json::from_str(&text).map_err(|_| InvalidReason::Header)
    }
}

fn decode_text(encoded: &str) -> Result<String, InvalidReason> {
    let bytes = B64.decode(encoded).map_err(|_| InvalidReason::Malformed)?;
    String::from_utf8(bytes).map_err(|_| InvalidReason::Malformed)
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut alg, mut kid, mut typ) = (None, None, None);
        let mut names = Names::of_header();
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "alg" => {
                    let Name(text) = map.next_value()?;
                    alg = Some(text.parse::<Algorithm>().map_err(A::Error::custom)?);
                }
                "kid" => {
                    let text: String = map.next_value()?;
                    if !is_kid(&text) {
                        return Err(A::Error::custom("kid"));
                    }
                    kid = Some(text);
                }
                "typ" => typ = Some(map.next_value()?),
                "crit" | "b64" | "jwk" | "enc" | "zip" => return Err(A::Error::custom("refused")),
                // These are defined as text, and ignored. A header with another type is refused.
                "cty" | "jku" | "x5u" | "x5t" | "x5t#S256" | "url" | "nonce" => {
                    map.next_value::<Option<Name<'de>>>()?;
                }
                "x5c" => drop(map.next_value::<Option<Vec<Name<'de>>>>()?),
                _ => {
                    map.next_value::<AnyValue>()?;
                }
            }
            names.insert(name)?;
        }
        let alg = alg.ok_or_else(|| A::Error::missing_field("alg"))?;
        Ok(Header { alg, kid, typ })
    }
}
