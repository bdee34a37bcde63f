//! The hosts that a request may name if cookies have no Secure (`insecure_dev_only`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::HOST;

use crate::error::ConfigError;
use crate::head::{HeaderFields as _, RequestHead};

/// Whether a request is for this machine, or for a host that the app named, on any port. A request
/// that names no host is accepted, because browsers always name one.
pub(crate) fn is_local(head: &impl RequestHead, named: &[String]) -> bool {
    let local = |authority: &[u8]| {
        let host = std::str::from_utf8(authority).map(host_of).unwrap_or_default();
        is_loopback(host) || named.iter().any(|one| one.eq_ignore_ascii_case(host))
    };
    head.authority().is_none_or(|authority| local(authority.as_bytes()))
        && head.fields().values(&HOST).all(local)
}

/// Returns the host without its port, and an IPv6 address without its brackets.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether the host is `localhost` or a name below it (RFC 6761 section 6.3), or a loopback
/// address.
fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || host.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback())
}

/// Checks that a host is a name or an address, as `Host` has it, without a port.
pub(crate) fn check_host(host: &str) -> Result<(), ConfigError> {
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_name || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(ConfigError::Unfit {
        setting: "insecure_dev_host",
        found: format!("is {:?}", host.chars().take(40).collect::<String>()),
        remedy: "give a host's name or address without a port, such as `dev.example`",
    })
}
