//! Origins that the app trusts, everywhere or at some paths.

use crate::error::ConfigError;

/// An origin whose requests count as same-origin.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    origin: String,
    /// The path that this origin is trusted for, or all paths below it if it ends with a slash.
    /// None: all paths.
    at: Option<String>,
}

impl Trusted {
    pub(crate) fn new(origin: String, at: Option<String>) -> Self {
        Self { origin, at }
    }

    pub(super) fn covers(&self, origin: &[u8], path: &str) -> bool {
        self.origin.as_bytes().eq_ignore_ascii_case(origin)
            && self.at.as_deref().is_none_or(|at| match at.ends_with('/') {
                true => path.starts_with(at),
                false => path == at,
            })
    }

    /// Checks that the origin is written as browsers write it: scheme, host, and the port if it is
    /// not the default. A path must be written as requests have it.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let uri: Option<http::Uri> = self.origin.parse().ok();
        let whole = uri.is_some_and(|uri| {
            let plain = uri.path() == "/" && uri.query().is_none() && !self.origin.ends_with('/');
            uri.scheme().is_some() && uri.authority().is_some() && plain
        });
        if !whole {
            return Err(ConfigError::TrustedOrigin { found: self.origin.clone() });
        }
        let is_path = |path: &str| {
            path.starts_with('/') && path.parse::<http::Uri>().is_ok_and(|uri| uri.path() == path)
        };
        match self.at.as_deref() {
            Some(path) if !is_path(path) => Err(ConfigError::Unfit {
                setting: "trusted_origin_for",
                found: format!("has the path {:?}", path.chars().take(40).collect::<String>()),
                remedy: "write it as requests have it, such as `/auth/callback`, without a query",
            }),
            _ => Ok(()),
        }
    }
}
