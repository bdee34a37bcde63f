//! What the engine serves besides the app's own routes.

use std::sync::Arc;

use super::clients::Clients;
use super::dialect::{Dialect, Text};
use super::request::Place;
use super::serving::Serving;
use crate::cookie::CookieSpec;
use crate::error::DialectError;
use crate::paths::NativeEndpoint;
use crate::transport::{CookieFinder, Transports};

/// Everfresh's own endpoints with their paths, the dialects, and the clients that these
/// authenticate.
pub(crate) struct ServedEndpoints {
    pub(crate) native: Vec<(NativeEndpoint, Arc<str>)>,
    /// One for each path.
    pub(crate) dialects: Vec<Arc<Served>>,
    pub(crate) clients: Clients,
}

/// A dialect that the engine serves at a path, with its cookies prepared for reading and setting.
#[derive(Debug)]
pub(crate) struct Served {
    path: Text,
    pub(crate) dialect: Dialect,
    pub(crate) serving: Serving,
    pub(crate) finders: Vec<Option<CookieFinder>>,
    pub(crate) access_cookie: Option<CookieSpec>,
    pub(crate) refresh_cookie: Option<CookieSpec>,
}

impl Served {
    /// Prepares a dialect, for each of its paths. A cookie that a transport of the engine also uses
    /// gets the attributes of the transport's cookie.
    pub(crate) fn new(
        dialect: &Dialect,
        transports: &Transports,
        insecure: bool,
    ) -> Result<Vec<Self>, DialectError> {
        dialect.check()?;
        let missing = || {
            DialectError::new("serving", "is missing: the dialect is for calling another server")
        };
        let serving = dialect.serving.as_ref().ok_or_else(missing)?;
        let cookie = |name: &str| {
            let mut known = transports.cookies().map(|(_, cookie, _)| cookie);
            let known = known.find(|cookie| cookie.name() == name).cloned();
            known.unwrap_or_else(|| match CookieSpec::new(name) {
                spec if insecure => spec.insecure(),
                spec => spec,
            })
        };
        let finder = |place: &Place| match place {
            Place::Cookie(name) => Some(CookieFinder::new(name)),
            _ => None,
        };
        let at = |path: &Text| Self {
            path: path.clone(),
            dialect: dialect.clone(),
            serving: serving.clone(),
            finders: dialect.request.places.iter().map(finder).collect(),
            access_cookie: serving.access_cookie.as_deref().map(cookie),
            refresh_cookie: serving.refresh_cookie.as_deref().map(cookie),
        };
        Ok(dialect.paths.iter().map(at).collect())
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Returns the method in the format of the `Allow` header.
    pub(crate) fn methods(&self) -> &'static str {
        self.dialect.request.method.name()
    }

    /// Returns the names of the cookies that the dialect reads and sets.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        let read = self.dialect.request.places.iter().filter_map(|place| match place {
            Place::Cookie(name) => Some(&**name),
            _ => None,
        });
        let set = [&self.access_cookie, &self.refresh_cookie].into_iter().flatten();
        read.chain(set.map(CookieSpec::name))
    }
}
