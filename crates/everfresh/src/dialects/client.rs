//! Client authentication at another server's token endpoint (RFC 6749 section 2.3, RFC 7523).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::DialectError;
use crate::mint::new_sid;
use crate::verify::Key;

/// How long a client assertion is valid.
const ASSERTION_LIFE: Duration = Duration::from_secs(60);

/// How the app authenticates as a client at another server's token endpoint. A request uses exactly
/// one method.
#[derive(Clone)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// A public client. The id is sent in the body.
    None {
        /// The client's id.
        id: String,
    },
    /// Id and secret are sent by HTTP Basic, each encoded as a form value.
    Basic {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: ClientSecret,
    },
    /// Id and secret are sent in the body.
    Post {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: ClientSecret,
    },
    /// A client assertion that a private key signs (`private_key_jwt`).
    PrivateKeyJwt {
        /// The client's id.
        id: String,
        /// The key that signs the assertion.
        key: Arc<Key>,
        /// The audience of the assertion (`aud`): the endpoint's URL, or the issuer.
        audience: String,
    },
}

/// A client's secret. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(Zeroizing<String>);

impl From<String> for ClientSecret {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl From<&str> for ClientSecret {
    fn from(secret: &str) -> Self {
        Self::from(secret.to_owned())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

impl ClientAuthentication {
    /// Writes the client's parameters into the body, or returns the value of `Authorization`.
    pub(super) fn write(
        &self,
        path: &str,
        now: Timestamp,
        body: &mut Vec<(&str, String)>,
    ) -> Result<Option<String>, DialectError> {
        match self {
            Self::None { id } => body.push(("client_id", id.clone())),
            Self::Basic { id, secret } => {
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let pair = Zeroizing::new(format!("{}:{}", encode(id), encode(&secret.0)));
                return Ok(Some(format!("Basic {}", STANDARD.encode(pair.as_bytes()))));
            }
            Self::Post { id, secret } => {
                body.push(("client_id", id.clone()));
                body.push(("client_secret", secret.0.to_string()));
            }
            Self::PrivateKeyJwt { id, key, audience } => {
                const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let assertion = assertion(id, key, audience, now).ok_or_else(|| {
                    DialectError::new("client_authentication", format!("no key signs for {path}"))
                })?;
                body.push(("client_id", id.clone()));
                body.push(("client_assertion_type", TYPE.to_owned()));
                body.push(("client_assertion", assertion));
            }
        }
        Ok(None)
    }
}

/// Signs a client assertion (RFC 7523 section 3). Issuer and subject are the client, the `jti` is
/// new, and the assertion is valid for one minute.
fn assertion(id: &str, key: &Key, audience: &str, now: Timestamp) -> Option<String> {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut header = json!({"alg": key.algorithm(), "typ": "JWT"});
    if let Some(kid) = key.kid() {
        header["kid"] = kid.into();
    }
    let claims = json!({
        "iss": id,
        "sub": id,
        "aud": audience,
        "jti": new_sid().ok()?,
        "iat": now.as_secs(),
        "exp": now.plus(ASSERTION_LIFE).as_secs(),
    });
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(signed.as_bytes())?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, id) = match self {
            Self::None { id } => ("None", id),
            Self::Basic { id, .. } => ("Basic", id),
            Self::Post { id, .. } => ("Post", id),
            Self::PrivateKeyJwt { id, .. } => ("PrivateKeyJwt", id),
        };
        f.debug_struct(name).field("id", id).finish_non_exhaustive()
    }
}
