//! The checks that `build()` makes of single settings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cookie::is_host_only;
use crate::dialects::request::TokenKind;
use crate::dialects::{Clients, Dialect, Served, is_path};
use crate::error::ConfigError;
use crate::paths::{NativeEndpoint, NativePaths, is_at};
use crate::refresh::ErasedRefresher;
use crate::transport::Transports;

/// Returns everfresh's own endpoints that are served, each with its own path.
pub(super) fn native(paths: NativePaths) -> Result<Vec<(NativeEndpoint, Arc<str>)>, ConfigError> {
    let unfit = |found, remedy| Err(ConfigError::Unfit { setting: "native_paths", found, remedy });
    let NativePaths { refresh, sessions, logout_all, jwks } = &paths;
    for path in [refresh, sessions, logout_all, jwks].into_iter().flatten() {
        if !is_path(path) || path.ends_with('/') {
            let start: String = path.chars().take(40).collect();
            return unfit(
                format!("has the path {start:?}"),
                "begin it with a slash, and write neither a slash at its end nor a query nor \
                 parameters",
            );
        }
    }
    let served = paths.served();
    for (index, (one, path)) in served.iter().enumerate() {
        let earlier =
            served[..index].iter().find(|(_, other)| is_at(other, path) || is_at(path, other));
        if let Some((other, _)) = earlier {
            return unfit(
                format!("has {} and {} at {path:?}", other.name(), one.name()),
                "give each a path of its own, or `None` to one that is not served",
            );
        }
    }
    Ok(served)
}

/// Prepares the dialects, each with its own path.
pub(super) fn endpoints(
    dialects: Vec<Dialect>,
    native: &[(NativeEndpoint, Arc<str>)],
    transports: &Transports,
    clients: &Clients,
    refresher: &dyn ErasedRefresher,
    insecure: bool,
) -> Result<Vec<Arc<Served>>, ConfigError> {
    let mut served: Vec<Arc<Served>> = Vec::new();
    for dialect in dialects {
        if dialect.request.token == TokenKind::Refresh && !refresher.uses_refresh_tokens() {
            return Err(ConfigError::Unfit {
                setting: "refresh_with",
                found: format!(
                    "has no refresh tokens, and `dialect` {:?} takes them",
                    dialect.name
                ),
                remedy: "use a refresher that has some, such as `Rotate`",
            });
        }
        if dialect.request.client.is_some() && !refresher.binds_clients() {
            return Err(ConfigError::Unfit {
                setting: "refresh_with",
                found: format!(
                    "binds no refresh token to its client, and `dialect` {:?} authenticates \
                     clients",
                    dialect.name
                ),
                remedy: "use a refresher that does, such as `Rotate`",
            });
        }
        if dialect.request.client.is_some() && clients.is_empty() {
            return Err(ConfigError::Missing {
                setting: "client",
                remedy: "clients of this dialect authenticate, so register each of them with \
                         `.client(id, secret)`",
            });
        }
        for one in Served::new(&dialect, transports, insecure).map_err(ConfigError::Dialect)? {
            let path = one.path();
            let own = native.iter().find(|(_, own)| is_at(own, path));
            if own.is_some() || served.iter().any(|other| other.path() == path) {
                let native = own.map(|(native, _)| *native);
                return Err(ConfigError::EndpointClash { path: path.to_owned(), native });
            }
            served.push(Arc::new(one));
        }
    }
    warn_of_cookies(&served, transports);
    Ok(served)
}

/// Warns of cookies without `__Host-`: a sibling subdomain can plant one, and a dialect's clients
/// know its name (RFC 6265bis section 8.6).
fn warn_of_cookies(served: &[Arc<Served>], transports: &Transports) {
    let names = served.iter().flat_map(|one| one.cookies());
    let plain: BTreeSet<_> = names.filter(|name| !is_host_only(name)).collect();
    if !plain.is_empty() && transports.cookies().any(|(_, cookie, _)| is_host_only(cookie.name())) {
        tracing::warn!(
            target: "everfresh",
            cookies = ?plain,
            "a dialect's cookie has no `__Host-`: a sibling subdomain can plant one of its own"
        );
    }
}

pub(super) fn required(
    setting: &'static str,
    found: &str,
    remedy: &'static str,
) -> Result<(), ConfigError> {
    if found.trim().is_empty() { Err(ConfigError::Missing { setting, remedy }) } else { Ok(()) }
}

pub(super) fn within(
    setting: &'static str,
    found: Duration,
    least: u64,
    most: u64,
) -> Result<(), ConfigError> {
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { setting, found, least, most })
}

/// Checks that a duration is in whole seconds, as times in tokens are (RFC 7519 section 2,
/// `NumericDate`).
pub(super) fn whole(setting: &'static str, found: Duration) -> Result<(), ConfigError> {
    if found.subsec_nanos() == 0 {
        return Ok(());
    }
    Err(ConfigError::Unfit {
        setting,
        found: format!("is {found:?}"),
        remedy: "tokens count in whole seconds, so give a whole number of them",
    })
}
