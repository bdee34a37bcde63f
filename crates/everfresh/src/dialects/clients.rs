//! Authenticates the clients that call everfresh's token endpoints (RFC 6749 section 2.3).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::path::find;
use super::request::ClientMembers;
use crate::error::ConfigError;
use crate::extract::credential;
use crate::head::{HeaderFields as _, RequestHead};
use crate::verify::same_bytes;

/// The clients that may use endpoints with client authentication, by id. A public client has no
/// secret.
#[derive(Clone, Default)]
pub(crate) struct Clients(BTreeMap<String, Option<Zeroizing<Vec<u8>>>>);

/// A client's id and secret by HTTP Basic. An error if they can't be read.
pub(crate) type Basic = Result<(String, Zeroizing<String>), ()>;

/// Why a client is not authenticated.
#[derive(Clone, Copy)]
pub(crate) enum Unknown {
    /// The client authenticates in two ways.
    Malformed,
    /// The client does not authenticate, or its credentials are wrong. `basic` is true if the
    /// client used HTTP Basic.
    Client { basic: bool },
}

/// Reads a client's id and secret by HTTP Basic, each encoded as a form value (RFC 6749 section
/// 2.3.1).
pub(crate) fn basic(head: &impl RequestHead) -> Option<Basic> {
    head.fields().values(&AUTHORIZATION).next()?;
    let read = || {
        let encoded = credential(head.fields(), "Basic").ok().flatten()?;
        let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let value = |text: &str| {
            let pair = format!("v={text}");
            let value = form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value);
            value.map(Cow::into_owned)
        };
        Some((value(id)?, Zeroizing::new(value(secret)?)))
    };
    Some(read().ok_or(()))
}

/// A client as the app configured it: its id, and its secret if the client is confidential.
pub(crate) type Named = (String, Option<Zeroizing<Vec<u8>>>);

/// The shortest secret in bytes: guessing it must take 2^128 attempts (RFC 6749 section 10.10).
const LEAST_SECRET: usize = 16;

impl Clients {
    /// Collects the clients that the app configured.
    ///
    /// # Errors
    ///
    /// Returns an error if an id is empty, a secret is shorter than 16 bytes, or two clients have
    /// the same id.
    pub(crate) fn build(named: Vec<Named>) -> Result<Self, ConfigError> {
        let unfit = |found, remedy| Err(ConfigError::Unfit { setting: "client", found, remedy });
        let mut clients = BTreeMap::new();
        for (id, secret) in named {
            let shown: String = id.chars().take(40).collect();
            if id.trim().is_empty() {
                let found = format!("has the id {shown:?}");
                return unfit(found, "give each client a name, such as `backend`");
            }
            if let Some(secret) = &secret
                && secret.len() < LEAST_SECRET
            {
                return unfit(
                    format!("{shown:?} has a secret of {} bytes", secret.len()),
                    "give at least 16 random bytes, for example from `openssl rand -hex 32`, or \
                     `None` for a public client",
                );
            }
            if clients.insert(id, secret).is_some() {
                return unfit(format!("{shown:?} is there twice"), "name each client once");
            }
        }
        Ok(Self(clients))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the id of the client that sent the request. The client authenticates by HTTP Basic
    /// or in the body, and never by both (RFC 6749 section 2.3).
    pub(crate) fn authenticate(
        &self,
        basic: Option<Basic>,
        members: &ClientMembers,
        body: &Map<String, Value>,
    ) -> Result<String, Unknown> {
        let member = |path: &str| find(body, path).and_then(Value::as_str);
        let by_basic = basic.is_some();
        let refused = Unknown::Client { basic: by_basic };
        let (id, secret) = match basic {
            Some(_) if member(&members.secret).is_some() => return Err(Unknown::Malformed),
            Some(basic) => basic.map(|(id, secret)| (id, Some(secret))).map_err(|()| refused)?,
            None => {
                let id = member(&members.id).ok_or(refused)?;
                let secret = member(&members.secret);
                (id.to_owned(), secret.map(|secret| Zeroizing::new(secret.to_owned())))
            }
        };
        let known = match (self.0.get(&id).ok_or(refused)?, &secret) {
            (Some(known), Some(secret)) => same_bytes(known, secret.as_bytes()),
            (None, None) => true,
            _ => false,
        };
        if known { Ok(id) } else { Err(refused) }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
