//! A key's public half as a JWK, for publication.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::Key;
use crate::verify::Algorithm;

/// The numbers of a public key, big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicParts {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { x: Vec<u8>, y: Vec<u8> },
    Ed25519(Vec<u8>),
}

impl Key {
    /// Returns the public key as the JSON text of a JWK for publication (RFC 7517, RFC 8037), or
    /// `None` for a shared secret.
    pub fn public_jwk(&self) -> Option<String> {
        self.to_public_jwk().map(|jwk| jwk.to_string())
    }

    /// Returns [`public_jwk`](Self::public_jwk) as a JSON value.
    pub(crate) fn to_public_jwk(&self) -> Option<Value> {
        let mut jwk = match self.public.as_ref()? {
            PublicParts::Rsa { n, e } => {
                json!({"kty": "RSA", "n": B64.encode(n), "e": B64.encode(e)})
            }
            PublicParts::Ec { x, y } => {
                let crv = if self.alg == Algorithm::ES256 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "x": B64.encode(x), "y": B64.encode(y)})
            }
            PublicParts::Ed25519(x) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": B64.encode(x)})
            }
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = self.alg.name().into();
        if let Some(kid) = self.kid() {
            jwk["kid"] = kid.into();
        }
        Some(jwk)
    }
}
