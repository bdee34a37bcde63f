//! What the engine serves besides the app's own routes.

use std::sync::Arc;

use super::clients::Clients;
use super::dialect::{Dialect, Place, Successor};
use crate::cookie::CookieSpec;
use crate::error::DialectError;
use crate::paths::NativeEndpoint;
use crate::transport::{CookieFinder, Transports};

/// Everfresh's own endpoints with their paths, the dialects, and the clients that these
/// authenticate.
pub(crate) struct ServedEndpoints {
    pub(crate) native: Vec<(NativeEndpoint, Arc<str>)>,
    pub(crate) dialects: Vec<Arc<Served>>,
    pub(crate) clients: Clients,
}

/// A dialect that the engine serves, with its cookies prepared for reading and setting.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) dialect: Dialect,
    pub(crate) finders: Vec<Option<CookieFinder>>,
    pub(crate) access_cookie: Option<CookieSpec>,
    pub(crate) refresh_cookie: Option<CookieSpec>,
}

impl Served {
    /// Prepares a dialect. A cookie that a transport of the engine also uses gets the attributes of
    /// the transport's cookie.
    pub(crate) fn new(
        dialect: Dialect,
        transports: &Transports,
        insecure: bool,
    ) -> Result<Self, DialectError> {
        dialect.check()?;
        let cookie = |name: &str| {
            let mut known = transports.cookies().map(|(_, cookie, _)| cookie);
            let known = known.find(|cookie| cookie.name() == name).cloned();
            known.unwrap_or_else(|| match CookieSpec::new(name) {
                spec if insecure => spec.insecure(),
                spec => spec,
            })
        };
        let access_cookie = dialect.answer.access_cookie.as_deref().map(cookie);
        let refresh_cookie = match &dialect.answer.successor {
            Successor::Cookie(name) => Some(cookie(name)),
            _ => None,
        };
        let finders = dialect.places.iter().map(|place| match place {
            Place::Cookie(name) => Some(CookieFinder::new(name)),
            _ => None,
        });
        Ok(Self { finders: finders.collect(), dialect, access_cookie, refresh_cookie })
    }

    pub(crate) fn path(&self) -> &str {
        &self.dialect.path
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Returns the names of the cookies that the dialect reads and sets.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        let read = self.dialect.places.iter().filter_map(|place| match place {
            Place::Cookie(name) => Some(&**name),
            _ => None,
        });
        let set = [&self.access_cookie, &self.refresh_cookie].into_iter().flatten();
        read.chain(set.map(CookieSpec::name))
    }
}
