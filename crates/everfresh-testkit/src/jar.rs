//! A browser's cookie jar: the cookies that it stores, refuses and sends (RFC 6265bis section 5).

use std::time::Duration;

use cookie::{Cookie, Expiration, SameSite};
use everfresh::Timestamp;

/// The destination of a request, or the origin of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// True for `https` and for loopback, which browsers trust equally.
    pub secure: bool,
    /// The host name.
    pub host: String,
    /// The path.
    pub path: String,
}

impl Site {
    /// Returns the site of a page over https.
    pub fn https(host: &str, path: &str) -> Self {
        Self { secure: true, host: host.into(), path: path.into() }
    }

    /// Returns the site of a page over plain http.
    pub fn http(host: &str, path: &str) -> Self {
        Self { secure: false, host: host.into(), path: path.into() }
    }
}

/// The reason why a browser drops a `Set-Cookie`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The field is not a cookie, or contains control characters.
    Malformed,
    /// Name and value exceed 4,096 octets.
    TooLarge,
    /// A Secure cookie came over plain http, or the cookie breaks the rule of a name prefix.
    Insecure,
    /// The Domain attribute is neither the host nor a parent of it.
    Domain,
}

#[derive(Clone, Debug)]
struct Kept {
    name: String,
    value: String,
    /// The host, or the Domain attribute.
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    same_site: SameSite,
    expires: Option<Timestamp>,
}

/// A browser's cookies.
///
/// ```
/// use everfresh::Timestamp;
/// use everfresh_testkit::{Jar, Site};
///
/// let (site, now) = (Site::https("app.example", "/"), Timestamp::from_secs(0));
/// let mut jar = Jar::new();
/// jar.store("__Host-at=x; Secure; Path=/; Max-Age=60", &site, now).unwrap();
/// assert_eq!(jar.header(&site, now), "__Host-at=x");
/// assert_eq!(jar.header(&site, Timestamp::from_secs(60)), "");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Jar(Vec<Kept>);

/// The longest lifetime of a cookie (RFC 6265bis section 5.5).
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

impl Jar {
    /// Creates an empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores one `Set-Cookie` of a response from `site`.
    ///
    /// # Errors
    /// A browser would drop the cookie, for the reason in the error.
    pub fn store(&mut self, set_cookie: &str, site: &Site, now: Timestamp) -> Result<(), Refused> {
        if set_cookie.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
            return Err(Refused::Malformed);
        }
        let cookie = Cookie::parse(set_cookie).map_err(|_| Refused::Malformed)?;
        if cookie.name().len() + cookie.value().len() > 4096 {
            return Err(Refused::TooLarge);
        }
        let secure = cookie.secure() == Some(true);
        if secure && !site.secure {
            return Err(Refused::Insecure);
        }
        check_prefix(&cookie, secure)?;
        let (domain, host_only) = match cookie.domain().map(|domain| domain.trim_start_matches('.'))
        {
            Some(domain) if domain_matches(&site.host, domain) => (domain.to_owned(), false),
            Some(_) => return Err(Refused::Domain),
            None => (site.host.clone(), true),
        };
        let path = match cookie.path() {
            Some(path) if path.starts_with('/') => path.to_owned(),
            _ => default_path(&site.path),
        };
        let expires = match (cookie.max_age(), cookie.expires()) {
            (Some(age), _) => {
                let age = Duration::try_from(age).unwrap_or_default();
                Some(now.plus(age.min(MAX_AGE)))
            }
            (None, Some(Expiration::DateTime(at))) => {
                let secs = u64::try_from(at.unix_timestamp()).unwrap_or(0);
                Some(Timestamp::from_secs(secs).min(now.plus(MAX_AGE)))
            }
            _ => None,
        };
        let kept = Kept {
            name: cookie.name().into(),
            value: cookie.value().into(),
            domain,
            host_only,
            path,
            secure,
            same_site: cookie.same_site().unwrap_or(SameSite::Lax),
            expires,
        };
        self.0.retain(|old| !old.is_same(&kept));
        if kept.expires.is_none_or(|expires| now < expires) {
            self.0.push(kept);
        }
        Ok(())
    }

    /// Returns the `Cookie` field of a same-site request to `site`. It is empty if no cookie
    /// matches.
    pub fn header(&self, site: &Site, now: Timestamp) -> String {
        self.header_when(site, now, |_| true)
    }

    /// Returns the `Cookie` field of a request to `site` that another site caused. `top_level`
    /// stands for a navigation by GET.
    pub fn cross_site_header(&self, site: &Site, now: Timestamp, top_level: bool) -> String {
        self.header_when(site, now, |same_site| match same_site {
            SameSite::Strict => false,
            SameSite::Lax => top_level,
            SameSite::None => true,
        })
    }

    fn header_when(&self, site: &Site, now: Timestamp, sent: impl Fn(SameSite) -> bool) -> String {
        let mut fitting: Vec<_> = self.0.iter().filter(|kept| kept.goes_to(site, now)).collect();
        fitting.retain(|kept| sent(kept.same_site));
        // Longer paths first (section 5.8.3). Cookies with equally long paths stay in the order of
        // their creation.
        fitting.sort_by_key(|kept| std::cmp::Reverse(kept.path.len()));
        let pairs = fitting.iter().map(|kept| format!("{}={}", kept.name, kept.value));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Returns the value of a cookie with this name, for any site.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|kept| kept.name == name).map(|kept| &*kept.value)
    }
}

impl Kept {
    fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.domain, self.host_only, &self.path)
            == (&other.name, &other.domain, other.host_only, &other.path)
    }

    fn goes_to(&self, site: &Site, now: Timestamp) -> bool {
        let host = match self.host_only {
            true => site.host == self.domain,
            false => domain_matches(&site.host, &self.domain),
        };
        let alive = self.expires.is_none_or(|expires| now < expires);
        host && alive && path_matches(&site.path, &self.path) && (site.secure || !self.secure)
    }
}

/// Checks the rules of the name prefixes, which are compared without case (section 5.7).
fn check_prefix(cookie: &Cookie<'_>, secure: bool) -> Result<(), Refused> {
    let lower = cookie.name().to_ascii_lowercase();
    let host = lower.starts_with("__host-");
    let http = lower.starts_with("__http-") || lower.starts_with("__host-http-");
    let host_rules = cookie.domain().is_none() && cookie.path() == Some("/");
    let broken = (host || http || lower.starts_with("__secure-")) && !secure
        || host && !host_rules
        || http && cookie.http_only() != Some(true)
        || cookie.same_site() == Some(SameSite::None) && !secure;
    if broken { Err(Refused::Insecure) } else { Ok(()) }
}

fn domain_matches(host: &str, domain: &str) -> bool {
    host.eq_ignore_ascii_case(domain)
        || host.len() > domain.len()
            && host[host.len() - domain.len()..].eq_ignore_ascii_case(domain)
            && host.as_bytes()[host.len() - domain.len() - 1] == b'.'
}

fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".into(),
        Some(end) => path[..end].into(),
    }
}

fn path_matches(path: &str, of_cookie: &str) -> bool {
    path == of_cookie
        || path
            .strip_prefix(of_cookie)
            .is_some_and(|rest| of_cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn site() -> Site {
        Site::https("app.example", "/a/b")
    }

    fn stored(set_cookie: &str) -> Result<Jar, Refused> {
        let mut jar = Jar::new();
        jar.store(set_cookie, &site(), NOW).map(|()| jar)
    }

    #[test]
    fn prefixes_bind_a_cookie_to_its_host() {
        assert!(stored("__Host-at=x; Secure; Path=/").is_ok());
        for broken in [
            "__Host-at=x; Path=/",
            "__Host-at=x; Secure",
            "__Host-at=x; Secure; Path=/a",
            "__Host-at=x; Secure; Path=/; Domain=app.example",
            "__host-at=x; Path=/",
            "__Secure-at=x",
            "at=x; SameSite=None",
            "__Host-Http-at=x; Secure; Path=/",
        ] {
            assert_eq!(stored(broken).unwrap_err(), Refused::Insecure, "{broken}");
        }
        let mut jar = Jar::new();
        let plain = Site::http("app.example", "/");
        assert_eq!(jar.store("at=x; Secure", &plain, NOW), Err(Refused::Insecure));
    }

    #[test]
    fn oversized_and_foreign_cookies_are_dropped() {
        assert_eq!(stored(&format!("at={}", "x".repeat(4095))).unwrap_err(), Refused::TooLarge);
        assert!(stored(&format!("at={}", "x".repeat(4094))).is_ok());
        assert_eq!(stored("at=x; Domain=other.example").unwrap_err(), Refused::Domain);
        assert_eq!(stored("at=x\0").unwrap_err(), Refused::Malformed);
    }

    #[test]
    fn a_deletion_matches_name_domain_and_path() {
        let mut jar = stored("at=x; Path=/").unwrap();
        jar.store("at=; Path=/a; Max-Age=0", &site(), NOW).unwrap();
        assert_eq!(jar.get("at"), Some("x"), "another path");
        jar.store("at=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", &site(), NOW).unwrap();
        assert_eq!(jar.get("at"), None);
    }

    #[test]
    fn paths_domains_and_same_site_decide_what_is_sent() {
        let mut jar = stored("root=1; Path=/; Domain=example").unwrap();
        jar.store("deep=2; Path=/a; SameSite=Strict", &site(), NOW).unwrap();
        jar.store("none=3; Path=/a; SameSite=None; Secure", &site(), NOW).unwrap();
        assert_eq!(jar.header(&site(), NOW), "deep=2; none=3; root=1");
        assert_eq!(jar.header(&Site::https("other.example", "/a"), NOW), "root=1");
        assert_eq!(jar.header(&Site::https("app.example", "/ab"), NOW), "root=1");
        assert_eq!(jar.cross_site_header(&site(), NOW, true), "none=3; root=1");
        assert_eq!(jar.cross_site_header(&site(), NOW, false), "none=3");
        assert_eq!(jar.header(&Site::http("app.example", "/a"), NOW), "deep=2; root=1");
    }
}
