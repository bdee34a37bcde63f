//! Everfresh's own endpoints, and their paths.

use std::sync::Arc;

/// One of everfresh's own endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NativeEndpoint {
    /// Refreshes the session now.
    Refresh,
    /// Lists the sessions of the user.
    Sessions,
    /// Ends one session of the user.
    OneSession,
    /// Ends all sessions of the user.
    LogoutAll,
    /// Serves the public keys as a JWK set.
    Jwks,
}

/// The paths of everfresh's own endpoints, for
/// [`EngineBuilder::native_paths`](crate::EngineBuilder::native_paths). `None` leaves an endpoint
/// out.
///
/// A path begins with a slash and has no query and no parameters. No two endpoints, dialects
/// included, may have the same path.
///
/// ```
/// use everfresh::NativePaths;
///
/// let mut paths = NativePaths::under("/session");
/// assert_eq!(paths.refresh.as_deref(), Some("/session/refresh"));
/// paths.logout_all = None;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NativePaths {
    /// `POST` refreshes the session now. Default: `/auth/refresh`.
    pub refresh: Option<String>,
    /// `GET` lists the sessions of the user, and `DELETE` of `{sid}` below it ends one. Default:
    /// `/auth/sessions`.
    pub sessions: Option<String>,
    /// `POST` ends all sessions of the user. Default: `/auth/logout-all`.
    pub logout_all: Option<String>,
    /// `GET` returns the public keys. Default: `/.well-known/jwks.json`.
    pub jwks: Option<String>,
}

impl NativePaths {
    /// Returns paths with `refresh`, `sessions` and `logout-all` below `prefix`, and the public
    /// keys at `/.well-known/jwks.json`. The default prefix is `/auth`.
    pub fn under(prefix: &str) -> Self {
        let below = |name: &str| Some(format!("{}/{name}", prefix.trim_end_matches('/')));
        Self {
            refresh: below("refresh"),
            sessions: below("sessions"),
            logout_all: below("logout-all"),
            jwks: Some("/.well-known/jwks.json".into()),
        }
    }

    /// Returns no paths. Set the paths that you want, or leave all endpoints out.
    pub fn none() -> Self {
        Self { refresh: None, sessions: None, logout_all: None, jwks: None }
    }

    /// Returns the endpoints that are served, each with its path.
    pub(crate) fn served(self) -> Vec<(NativeEndpoint, Arc<str>)> {
        let one_session = self.sessions.as_ref().map(|path| format!("{path}/{{sid}}"));
        [
            (NativeEndpoint::Refresh, self.refresh),
            (NativeEndpoint::Sessions, self.sessions),
            (NativeEndpoint::OneSession, one_session),
            (NativeEndpoint::LogoutAll, self.logout_all),
            (NativeEndpoint::Jwks, self.jwks),
        ]
        .into_iter()
        .filter_map(|(native, path)| Some((native, path?.into())))
        .collect()
    }
}

impl Default for NativePaths {
    fn default() -> Self {
        Self::under("/auth")
    }
}

impl NativeEndpoint {
    /// Returns the endpoint's name for error messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Sessions => "the list of sessions",
            Self::OneSession => "ending a session",
            Self::LogoutAll => "logout_all",
            Self::Jwks => "jwks",
        }
    }

    /// Returns the allowed methods in the format of the `Allow` header.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Self::Refresh | Self::LogoutAll => "POST",
            Self::Sessions | Self::Jwks => "GET, HEAD",
            Self::OneSession => "DELETE",
        }
    }
}

/// Returns whether the path of a request matches a path with parameters.
pub(crate) fn is_at(wanted: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let same = wanted.split('/').all(|wanted| match segments.next() {
        Some(found) => wanted == found || (wanted.starts_with('{') && !found.is_empty()),
        None => false,
    });
    same && segments.next().is_none()
}
