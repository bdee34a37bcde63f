//! Whether another site caused a request. Browsers send cookies with such a request all the same,
//! so a session in a cookie does not count for it.
//!
//! Rules, for methods other than GET, HEAD, OPTIONS and TRACE, and for a GET that opens a
//! WebSocket. CORS does not restrict such a GET, and a browser always sends `Origin` with it
//! (RFC 6455 sections 4.1 and 10.2):
//! 1. A request from a trusted `Origin` is same-origin, everywhere or at the paths that the origin
//!    is trusted for.
//! 2. A request with `Sec-Fetch-Site: same-origin` or `none` is same-origin. With any other value
//!    it is not.
//! 3. Without `Sec-Fetch-Site`, a request is same-origin if the host and port of its `Origin` are
//!    the request's.
//! 4. Without both fields, the client is no browser, and no site forged the request.
//!
//! A sibling subdomain (`same-site`) is another origin, because a party that can publish there
//! could forge a request. These are the rules of Go's `CrossOriginProtection` and of
//! `tower_http::csrf`.

mod local;
mod trusted;

use http::HeaderName;
use http::header::{HOST, ORIGIN, UPGRADE};

use crate::head::{HeaderFields, RequestHead, members};

pub(crate) use local::{check_host, is_local};
pub(crate) use trusted::Trusted;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the method is safe (RFC 9110 section 9.2.1).
pub(crate) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Returns whether another site caused this request, by the rules above.
pub(crate) fn is_cross_site(head: &impl RequestHead, trusted: &[Trusted]) -> bool {
    let fields = head.fields();
    if is_safe(head.method()) && !opens_websocket(fields) {
        return false;
    }
    let origin = only(fields, &ORIGIN);
    if let Some(origin) = origin
        && trusted.iter().any(|ours| ours.covers(origin, head.path()))
    {
        return false;
    }
    if let Some(site) = fields.values(&SEC_FETCH_SITE).next() {
        return !matches!(site, b"same-origin" | b"none");
    }
    match origin {
        None => fields.values(&ORIGIN).next().is_some(),
        Some(origin) => {
            let host = head.authority().map(str::as_bytes).or_else(|| only(fields, &HOST));
            !host.is_some_and(|host| same_host(origin, host))
        }
    }
}

fn opens_websocket(fields: &impl HeaderFields) -> bool {
    // Nearly no request has the field, and the list is then not taken apart.
    fields.values(&UPGRADE).next().is_some() && members(fields, &UPGRADE).any(is_websocket)
}

/// Whether a member of `Upgrade` is WebSocket, of any version (RFC 9110 section 7.8).
fn is_websocket(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next();
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"))
}

fn only<'h>(fields: &'h impl HeaderFields, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = fields.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// Compares hosts and ports, and not the schemes, because the engine can't know its own scheme
/// behind a proxy that ends TLS.
fn same_host(origin: &[u8], host: &[u8]) -> bool {
    let (authority, port) = match (strip(origin, b"https://"), strip(origin, b"http://")) {
        (Some(rest), _) => (rest, &b":443"[..]),
        (_, Some(rest)) => (rest, &b":80"[..]),
        _ => return false,
    };
    let bare = |text: &[u8]| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

fn strip<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests;
