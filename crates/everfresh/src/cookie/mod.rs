//! A cookie that everfresh sets: its name and attributes, checked by `build()`, and its rendering.

pub(crate) mod chunks;

use std::time::Duration;

use cookie::time::OffsetDateTime;
use cookie::{Cookie, Expiration, SameSite as CookieSameSite};
use http::HeaderValue;

use crate::error::ConfigError;

/// Name and value together may have this many octets (RFC 6265bis section 5.6).
pub(crate) const MAX_NAME_AND_VALUE: usize = 4096;

/// An attribute's value may have this many octets (RFC 6265bis section 5.6).
const MAX_ATTRIBUTE: usize = 1024;

/// The longest time that a browser keeps a cookie (RFC 6265bis section 5.5).
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// When a browser sends a cookie with a request that another site caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never. A user who follows a link from a mail looks signed out.
    Strict,
    /// With top-level navigations by a safe method. The default.
    #[default]
    Lax,
    /// Always. Needs Secure.
    None,
}

/// A cookie that carries a token: Secure, `HttpOnly`, `SameSite=Lax`, `Path=/`, no Domain.
///
/// A combination that a browser would drop is an error of `build()` (RFC 6265bis sections 4.1.3 and
/// 5.7). The exception is a Domain that is a public suffix with a dot, such as `co.uk`, which
/// `build()` can't recognize.
///
/// ```
/// use everfresh::{CookieSpec, SameSite};
///
/// let cookie = CookieSpec::new("__Host-at").same_site(SameSite::Strict);
/// assert_eq!(cookie.name(), "__Host-at");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSpec {
    name: String,
    same_site: SameSite,
    path: String,
    domain: Option<String>,
    secure: bool,
    partitioned: bool,
}

impl CookieSpec {
    /// Makes a cookie of this name. A name that begins with `__Host-` binds the cookie to its host.
    pub fn new(name: impl Into<String>) -> Self {
        let same_site = SameSite::default();
        let (path, domain, secure, partitioned) = ("/".into(), None, true, false);
        Self { name: name.into(), same_site, path, domain, secure, partitioned }
    }

    /// Sets `SameSite`.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Sets Path. A path is no boundary between applications (RFC 6265bis section 8.5).
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets Domain, a host name with a dot, which shares the cookie with every subdomain. A
    /// `__Host-` cookie can't have one.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets Partitioned: a browser keeps one such cookie for each site whose pages embed this one
    /// (CHIPS, draft-cutler-httpbis-partitioned-cookies). It is for an app in a frame of another
    /// site, together with [`SameSite::None`]. It needs Secure; use a `__Host-` name.
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Returns the cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the same cookie for a further piece of a token that is larger than a cookie.
    pub(crate) fn piece(&self, index: usize) -> Self {
        Self { name: format!("{}.{index}", self.name), ..self.clone() }
    }

    /// Removes Secure and the prefixes that need it.
    pub(crate) fn insecure(mut self) -> Self {
        for prefix in ["__Host-Http-", "__Http-", "__Host-", "__Secure-"] {
            if let Some(rest) = self.name.strip_prefix(prefix) {
                self.name = rest.into();
            }
        }
        self.secure = false;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |problem: &str| {
            Err(ConfigError::Cookie { name: self.name.clone(), problem: problem.into() })
        };
        // The found text may have any length, so the error shows its start.
        let start = |text: &str| text.chars().take(40).collect::<String>();
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return wrong(
                "the name must be an RFC 9110 token: letters, digits and !#$%&'*+-.^_`|~",
            );
        }
        if self.name.len() > 256 {
            return Err(ConfigError::Cookie {
                name: format!("{}..", start(&self.name)),
                problem: format!("the name has {} octets; allowed are 256", self.name.len()),
            });
        }
        if !self.path.starts_with('/') || !is_attribute(&self.path) {
            return wrong(&format!(
                "the path is {:?}; it must begin with `/`, hold no `;` and no control character, \
                 and have 1024 octets at the most",
                start(&self.path)
            ));
        }
        let lower = self.name.to_ascii_lowercase();
        let host_only = lower.starts_with("__host-");
        if host_only && self.domain.is_some() {
            return wrong(
                "a `__Host-` cookie has no Domain; leave out `.domain(..)` or the prefix",
            );
        }
        if host_only && self.path != "/" {
            return wrong("a `__Host-` cookie has Path=/; leave out `.path(..)` or the prefix");
        }
        let prefixed = ["__host-", "__secure-", "__http-"].iter().any(|p| lower.starts_with(p));
        if prefixed && !self.secure {
            return wrong(
                "its prefix needs the attribute Secure, which `insecure_dev_only` removes; use a \
                 name without a prefix",
            );
        }
        if self.same_site == SameSite::None && !self.secure {
            return wrong("SameSite=None needs Secure; use Lax with `insecure_dev_only()`");
        }
        if self.partitioned && !self.secure {
            return wrong("Partitioned needs Secure; leave it out with `insecure_dev_only()`");
        }
        let Some(domain) = self.domain.as_deref() else { return Ok(()) };
        if !is_domain(domain) {
            return wrong(&format!(
                "the domain is {:?}; it must be a host name such as `example.com`, without port, \
                 scheme, or a dot at either end",
                start(domain)
            ));
        }
        if is_address(domain) {
            return wrong(&format!(
                "the domain is {:?}, an address, which has no subdomains; leave out `.domain(..)`",
                start(domain)
            ));
        }
        if !domain.contains('.') {
            return wrong(&format!(
                "the domain is {:?}, and browsers drop a cookie for a name without a dot; write a \
                 name such as `example.com`, or leave out `.domain(..)`",
                start(domain)
            ));
        }
        Ok(())
    }

    /// Returns whether the value fits this cookie, by its size and by its bytes (RFC 6265bis
    /// section 4.1.1). A value that doesn't fit is thus found before it is committed.
    pub(crate) fn fits(&self, value: &str) -> bool {
        self.name.len() + value.len() <= MAX_NAME_AND_VALUE && value.bytes().all(is_cookie_octet)
    }

    /// Returns `Set-Cookie` with a value that the browser keeps for `max_age`, or, without one,
    /// until the browser is closed.
    ///
    /// It has Max-Age and not Expires, which browsers compare with their own clocks.
    pub(crate) fn set<'s>(
        &'s self,
        value: &'s str,
        max_age: Option<Duration>,
    ) -> Option<HeaderValue> {
        if !self.fits(value) {
            return None;
        }
        let mut cookie = Cookie::build((&*self.name, value));
        if let Some(max_age) = max_age {
            let seconds = i64::try_from(max_age.min(MAX_AGE).as_secs()).ok()?;
            cookie = cookie.max_age(time::Duration::seconds(seconds));
        }
        self.render(cookie.build())
    }

    /// Returns `Set-Cookie` that deletes the cookie, with the same name, path, domain and flags.
    /// Without Partitioned it would delete another cookie.
    pub(crate) fn delete(&self) -> Option<HeaderValue> {
        let gone = Cookie::build((&*self.name, ""))
            .max_age(time::Duration::ZERO)
            .expires(Expiration::DateTime(OffsetDateTime::UNIX_EPOCH));
        self.render(gone.build())
    }

    fn render<'s>(&'s self, mut cookie: Cookie<'s>) -> Option<HeaderValue> {
        cookie.set_path(&self.path);
        cookie.set_http_only(true);
        cookie.set_secure(self.secure);
        cookie.set_same_site(match self.same_site {
            SameSite::Strict => CookieSameSite::Strict,
            SameSite::Lax => CookieSameSite::Lax,
            SameSite::None => CookieSameSite::None,
        });
        if self.partitioned {
            cookie.set_partitioned(true);
        }
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.as_str());
        }
        let mut value = HeaderValue::from_str(&cookie.to_string()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Returns whether browsers accept a cookie of this name only from its own host (RFC 6265bis
/// section 4.1.3.2). A sibling subdomain can plant a cookie of any other name.
pub(crate) fn is_host_only(name: &str) -> bool {
    name.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("__Host-"))
}

/// Whether the byte may stand in a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether the byte may stand in a cookie's value (RFC 6265bis section 4.1.1).
pub(crate) fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

fn is_attribute(text: &str) -> bool {
    text.len() <= MAX_ATTRIBUTE && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';')
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether a host is an IPv4 address: its last label is a number (WHATWG URL, "ends in a number").
/// IPv6 addresses are no host names.
fn is_address(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
