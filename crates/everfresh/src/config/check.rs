//! What `build()` checks of settings that stand by themselves.

use std::sync::Arc;
use std::time::Duration;

use super::ConfigError;
use crate::carrier::Carriers;
use crate::endpoint::dialect::TokenKind;
use crate::endpoint::{Clients, Dialect, Served, is_native};

/// Prepares the dialects, each at a path of its own.
pub(super) fn endpoints(
    dialects: Vec<Dialect>,
    carriers: &Carriers,
    clients: &Clients,
    keeps: bool,
    insecure: bool,
) -> Result<Vec<Arc<Served>>, ConfigError> {
    let mut served: Vec<Arc<Served>> = Vec::new();
    for dialect in dialects {
        if dialect.token == TokenKind::Refresh && !keeps {
            return Err(ConfigError::Unfit {
                setting: "refresh_with",
                found: format!(
                    "has no refresh tokens, and `dialect` {:?} takes them",
                    dialect.name
                ),
                remedy: "use a refresher that has some, such as `Rotate`",
            });
        }
        if dialect.client_authentication && clients.is_empty() {
            return Err(ConfigError::Missing {
                setting: "client",
                remedy: "clients of this dialect say who they are, so name each of them by \
                         `.client(id, secret)`",
            });
        }
        let one = Served::new(dialect, carriers, insecure).map_err(ConfigError::Dialect)?;
        let path = &one.dialect().path;
        if served.iter().any(|other| other.dialect().path == *path) || is_native(path) {
            return Err(ConfigError::EndpointClash { path: path.to_string() });
        }
        served.push(Arc::new(one));
    }
    Ok(served)
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

/// Tokens count in whole seconds (RFC 7519 section 2, `NumericDate`).
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
