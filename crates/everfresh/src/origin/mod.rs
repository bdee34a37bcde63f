//! Whether another site caused a request. Cookies travel with such a request all the same, so a
//! session in a cookie does not count for it.
//!
//! Rules, for methods other than GET, HEAD, OPTIONS and TRACE, and for a GET that opens a
//! WebSocket, which no rule of CORS holds back and with which a browser always sends `Origin`
//! (RFC 6455 sections 4.1 and 10.2):
//! 1. An `Origin` named as trusted is ours, everywhere or at the paths that it is trusted for.
//! 2. `Sec-Fetch-Site: same-origin` or `none` is ours, any other value is not.
//! 3. Without it, an `Origin` is ours if its host and port are those of the request.
//! 4. Without both, the client is no browser, and nothing was forged.
//!
//! A sibling subdomain (`same-site`) is another origin: whoever can write there could plant a
//! request. These are the rules of Go's `CrossOriginProtection` and of `tower_http::csrf`.

mod local;
mod trusted;

use http::HeaderName;
use http::header::{HOST, ORIGIN, UPGRADE};

use crate::head::{HeaderFields, RequestHead, members};

pub(crate) use local::{check_host, is_local};
pub(crate) use trusted::Trusted;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// RFC 9110 section 9.2.1.
pub(crate) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Whether another site caused this request, by the rules above.
pub(crate) fn is_cross_site(head: &impl RequestHead, trusted: &[Trusted]) -> bool {
    let fields = head.fields();
    if is_safe(head.method()) && !members(fields, &UPGRADE).any(is_websocket) {
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

/// Whether a member of `Upgrade` is this protocol, of whatever version (RFC 9110 section 7.8).
fn is_websocket(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next();
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"))
}

fn only<'h>(fields: &'h impl HeaderFields, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = fields.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// The scheme is not compared: behind a proxy that ends TLS we can't know ours.
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
