//! Client authentication at another server's token endpoint (RFC 6749 section 2.3, RFC 7523).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

use super::request::ClientMembers;
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
    /// Id and secret are sent by HTTP Basic as they are, for servers that don't decode them as form
    /// values.
    RawBasic {
        /// The client's id. It must not have a colon.
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
        /// The SHA-1 thumbprint of the key's certificate in base64url (`x5t`, RFC 7515 section
        /// 4.1.7), for servers that find the key by it, such as Microsoft Entra ID.
        x5t: Option<String>,
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
    /// Writes the client's parameters by `add`, or returns the value of `Authorization`.
    pub(super) fn write(
        &self,
        members: &ClientMembers,
        now: Timestamp,
        add: &mut impl FnMut(&str, String),
    ) -> Result<Option<String>, DialectError> {
        let wrong = |problem: &str| Err(DialectError::new("request.client", problem));
        let basic = |pair: Zeroizing<String>| {
            Ok(Some(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
        };
        match self {
            Self::None { id } => add(&members.id, id.clone()),
            Self::Basic { id, secret } => {
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                return basic(Zeroizing::new(format!("{}:{}", encode(id), encode(&secret.0))));
            }
            Self::RawBasic { id, .. } if id.contains(':') => {
                return wrong("the id has a colon, which HTTP Basic can't carry; use `Basic`");
            }
            Self::RawBasic { id, secret } => {
                return basic(Zeroizing::new(format!("{id}:{}", &*secret.0)));
            }
            Self::Post { id, secret } => {
                add(&members.id, id.clone());
                add(&members.secret, secret.0.to_string());
            }
            Self::PrivateKeyJwt { id, key, audience, x5t } => {
                const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                match assertion(id, key, audience, x5t.as_deref(), now) {
                    Some(assertion) => {
                        add(&members.id, id.clone());
                        add("client_assertion_type", TYPE.to_owned());
                        add("client_assertion", assertion);
                    }
                    None => return wrong("the client's key signs no assertion"),
                }
            }
        }
        Ok(None)
    }
}

/// Signs a client assertion (RFC 7523 section 3). Issuer and subject are the client, the `jti` is
/// new, and the assertion is valid for one minute.
fn assertion(
    id: &str,
    key: &Key,
    audience: &str,
    x5t: Option<&str>,
    now: Timestamp,
) -> Option<String> {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut header = json!({"alg": key.algorithm(), "typ": "JWT"});
    if let Some(kid) = key.kid() {
        header["kid"] = kid.into();
    }
    if let Some(x5t) = x5t {
        header["x5t"] = x5t.into();
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
            Self::RawBasic { id, .. } => ("RawBasic", id),
            Self::Post { id, .. } => ("Post", id),
            Self::PrivateKeyJwt { id, .. } => ("PrivateKeyJwt", id),
        };
        f.debug_struct(name).field("id", id).finish_non_exhaustive()
    }
}
