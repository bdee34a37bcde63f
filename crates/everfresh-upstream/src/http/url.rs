//! URLs to which the client may send a token or a secret.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// An absolute `https` URL, or an `http` URL of this machine.
///
/// # Rules
/// 1. The scheme is `https`, or `http` with a loopback address (`127.0.0.0/8`, `[::1]`) or
///    `localhost`.
/// 2. A user, a password or a fragment is refused, because secrets don't belong into URLs.
/// 3. A host that is a number in a notation other than a full IP address (`2130706433`, `0x7f.1`)
///    is refused, because resolvers read it as an address.
///
/// # Example
/// ```
/// use everfresh_upstream::SecureUrl;
///
/// # fn main() -> Result<(), everfresh_upstream::UrlError> {
/// let url: SecureUrl = "https://id.example/token".parse()?;
/// assert!("http://id.example/token".parse::<SecureUrl>().is_err());
/// # let _ = url;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecureUrl {
    uri: Uri,
    text: Box<str>,
}

/// The error of a URL that is not a [`SecureUrl`]. Its text says what is wrong and what to do.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlError {
    found: String,
    problem: &'static str,
}

impl SecureUrl {
    /// Returns the URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// Returns the path of an issuer's URL, without a trailing slash. A query is an error (RFC 8414
    /// section 2).
    pub(crate) fn issuer_path(&self) -> Result<&str, UrlError> {
        match self.uri.query() {
            None => Ok(self.uri.path().strip_suffix('/').unwrap_or(self.uri.path())),
            Some(_) => Err(error(
                &self.text,
                "the issuer has a query, which OpenID Connect Discovery does not allow; remove \
                 the query",
            )),
        }
    }

    /// Returns the URL of another path on the same server.
    pub(crate) fn with_path(&self, path: &str) -> Result<Self, UrlError> {
        let scheme = self.uri.scheme_str().unwrap_or("https");
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}{path}").parse()
    }

    /// Checks an endpoint that a document from `source` names. A document must not direct the
    /// client to a server that the document's author can't reach (server-side request forgery).
    ///
    /// The host of `source` is allowed, and so are loopback hosts if `source` is one. Any other
    /// host must be a name, and not a name of this machine.
    pub(crate) fn named_by(self, source: &Self) -> Result<Self, UrlError> {
        let own = self.host().eq_ignore_ascii_case(source.host());
        let both_here = self.is_loopback() && source.is_loopback();
        if own || both_here {
            return Ok(self);
        }
        if self.is_loopback() {
            return Err(error(
                &self.text,
                "the address is this machine's, and only a document from this machine may name it",
            ));
        }
        if self.host().parse::<IpAddr>().is_ok() {
            return Err(error(
                &self.text,
                "it leads to an address that is not its author's; a host's name may be named",
            ));
        }
        Ok(self)
    }
}

impl FromStr for SecureUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = |problem| Err(error(text, problem));
        if text.contains('#') {
            return refuse(
                "the address has a fragment, which clients never send to servers; remove the \
                 fragment",
            );
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("it is not a URL; write `https://` and a host");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return refuse("it is not absolute; write `https://` and a host");
        };
        if authority.as_str().contains('@') {
            return Err(UrlError {
                // The text before the `@` may be a password.
                found: format!("{scheme}://..@{}", authority.host()),
                problem: "the address contains a user; remove it, because URLs must hold no secrets",
            });
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() || is_odd_number(host) {
            return refuse("its host is neither a name nor an address; write one of them in full");
        }
        if *scheme != Scheme::HTTPS && !(*scheme == Scheme::HTTP && is_loopback(host)) {
            return refuse("it must be https, or http on this very machine (127.0.0.1)");
        }
        Ok(Self { uri, text: text.into() })
    }
}

fn error(found: &str, problem: &'static str) -> UrlError {
    UrlError { found: found.chars().take(200).collect(), problem }
}

pub(super) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

/// Returns whether a host is a number that is not a full IP address. Many resolvers read
/// `2130706433` and `0x7f.1` as 127.0.0.1; [`IpAddr`] does not parse them.
fn is_odd_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let number = hex.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()));
    number && host.parse::<IpAddr>().is_err()
}

impl fmt::Display for SecureUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SecureUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecureUrl").field(&self.text).finish()
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} can't be called: {}", self.found, self.problem)
    }
}

everfresh::debug_is_display!(UrlError);

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<SecureUrl, String> {
        text.parse::<SecureUrl>().map_err(|error| error.to_string())
    }

    // Rows: S37, S64.
    #[test]
    fn https_or_this_very_machine() {
        for good in [
            "https://id.example",
            "https://id.example:8443/a/b?c=d",
            "https://10.0.0.7/token",
            "http://127.0.0.1:8080/token",
            "http://127.8.9.10/",
            "http://[::1]:80/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost:3000/token",
            "http://LOCALHOST./",
            "https://0x.example/",
        ] {
            assert_eq!(url(good).unwrap().as_str(), good);
        }
        for (bad, says) in [
            ("http://id.example/token", "https"),
            ("http://10.0.0.7/", "https"),
            ("http://169.254.169.254/latest/meta-data", "https"),
            ("http://0.0.0.0/", "https"),
            ("http://localhost.example/", "https"),
            ("http://127.0.0.1.example/", "https"),
            ("ftp://127.0.0.1/", "https"),
            ("file:///etc/passwd", "URL"),
            ("/token", "absolute"),
            ("id.example", "absolute"),
            ("", "URL"),
            ("https://", "URL"),
            ("https:// id.example", "URL"),
            ("https://id.example/\r\nx: y", "URL"),
            ("https://id.example/#x", "fragment"),
            ("https://2130706433/", "neither a name nor an address"),
            ("https://0x7f.1/", "neither a name nor an address"),
            ("https://127.1/", "neither a name nor an address"),
            ("https://0x7f000001./", "neither a name nor an address"),
            ("https://127.0.0.1./", "neither a name nor an address"),
        ] {
            let problem = url(bad).unwrap_err();
            assert!(problem.contains(says), "{bad}: {problem}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_shown() {
        let problem = url("https://user:hunter2@id.example/").unwrap_err();
        assert!(problem.contains("id.example") && !problem.contains("hunter2"), "{problem}");
    }

    // Rows: F114.
    #[test]
    fn a_document_can_not_direct_calls_to_another_host() {
        let leads = |from: &str, to: &str| url(to).unwrap().named_by(&url(from).unwrap()).is_ok();
        for to in ["https://id.example/x", "https://www.keys.example/x", "https://ID.EXAMPLE/x"] {
            assert!(leads("https://id.example/realm", to), "{to}");
        }
        assert!(leads("https://10.0.0.7/", "https://10.0.0.7:8443/x"), "the author's own");
        assert!(leads("http://127.0.0.1:1/", "http://localhost:2/x"), "both are here");
        for to in [
            "http://127.0.0.1/x",
            "https://127.0.0.1/x",
            "https://localhost/x",
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.7/x",
            "https://[fd00::1]/x",
            "https://[::ffff:169.254.169.254]/x",
        ] {
            assert!(!leads("https://id.example/", to), "{to}");
        }
        assert!(!leads("http://127.0.0.1:1/", "https://169.254.169.254/x"));
    }

    #[test]
    fn another_path_of_the_same_server() {
        let moved = url("https://id.example:8443/a?b=c").unwrap().with_path("/d").unwrap();
        assert_eq!(moved.as_str(), "https://id.example:8443/d");
    }
}
