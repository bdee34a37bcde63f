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
        let problem = |setting, remedy| Err(ConfigError::Missing { setting, remedy });
        if dialect.token == TokenKind::Refresh && !keeps {
            return problem(
                "refresh_with",
                "a dialect that takes refresh tokens needs a refresher that has some, such as \
                 `Rotate`",
            );
        }
        if dialect.client_authentication && clients.is_empty() {
            return problem("client", "the dialect's clients say who they are: name them");
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
