//! Addresses that a token or a secret may be sent to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// An absolute `https` URL, or an `http` one of this very machine.
///
/// 1. `https`, or `http` with a loopback address (`127.0.0.0/8`, `[::1]`) or `localhost`.
/// 2. No user or password in it, and no fragment: what is secret does not belong into a URL.
/// 3. A host that is a number in any other notation than that of an address is refused: resolvers
///    read it as one.
///
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

/// What is wrong with a URL, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    found: String,
    problem: &'static str,
}

impl SecureUrl {
    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl FromStr for SecureUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = |problem| Err(error(text, problem));
        if text.contains('#') {
            return refuse("it has a fragment, which no server is sent");
        }
        let Ok(uri) = text.parse::<Uri>() else { return refuse("it is not a URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return refuse("it is not absolute; write `https://` and a host");
        };
        if authority.as_str().contains('@') {
            return Err(UrlError {
                // What stands before the @ may be a password.
                found: format!("{scheme}://..@{}", authority.host()),
                problem: "it has a user in it; secrets don't belong into URLs",
            });
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() || is_odd_number(host) {
            return refuse("its host is neither a name nor an address");
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

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

/// `2130706433` and `0x7f.1` are 127.0.0.1 to many a resolver, and no address to us.
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

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<SecureUrl, String> {
        text.parse::<SecureUrl>().map_err(|error| error.to_string())
    }

    #[test]
    fn s37_s64_https_or_this_very_machine() {
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
}
