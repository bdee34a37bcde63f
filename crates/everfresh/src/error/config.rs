//! The errors of a configuration.

use std::fmt;
use std::time::Duration;

use http::HeaderName;

use super::DialectError;
use crate::paths::NativeEndpoint;
use crate::verify::KeyError;

/// An error in a configuration: which setting, what was found, what is allowed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A text setting is missing or empty.
    Missing {
        /// The builder's method.
        setting: &'static str,
        /// What the setting is for, and how to set it.
        remedy: &'static str,
    },
    /// A setting contradicts another one, or its value is not allowed.
    Unfit {
        /// The builder's method.
        setting: &'static str,
        /// What was found, as a phrase that begins with a verb.
        found: String,
        /// What is allowed, or what to do.
        remedy: &'static str,
    },
    /// A duration is out of its range.
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// The duration that was found.
        found: Duration,
        /// The least that is allowed.
        least: Duration,
        /// The most that is allowed.
        most: Duration,
    },
    /// `token_cache` is above its limit.
    CacheSize {
        /// The number of tokens that was found.
        found: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// Something is wrong with the keys.
    Key(KeyError),
    /// The refresher mints tokens, and no key signs.
    NoSigningKey,
    /// `transports` holds none, or more than 4.
    TransportCount {
        /// How many there are.
        found: usize,
    },
    /// Two tokens are in locations that can't be told apart.
    TransportClash {
        /// The location.
        location: String,
    },
    /// A cookie that browsers would drop, or that could not be read back.
    Cookie {
        /// The cookie's name.
        name: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// An authentication scheme that is not an RFC 9110 token.
    Scheme {
        /// The scheme that was found.
        found: String,
    },
    /// A header that has another meaning: `Authorization` or `Cookie`.
    HeaderLocation {
        /// The header's name.
        name: HeaderName,
    },
    /// A trusted origin that no browser would send.
    TrustedOrigin {
        /// The origin that was found.
        found: String,
    },
    /// A dialect that can't be served.
    Dialect(DialectError),
    /// Two endpoints have the same path.
    EndpointClash {
        /// The path.
        path: String,
        /// Everfresh's own endpoint at that path. None: another dialect is there.
        native: Option<NativeEndpoint>,
    },
    /// The tokio runtime has no timer, so that no wait could have a limit.
    NoTimer,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { setting, remedy } => write!(f, "`{setting}` is missing; {remedy}"),
            Self::Unfit { setting, found, remedy } => write!(f, "`{setting}` {found}; {remedy}"),
            Self::OutOfRange { setting, found, least, most } => write!(
                f,
                "`{setting}` is {found:?}; allowed are {} s to {} s",
                least.as_secs(),
                most.as_secs()
            ),
            Self::CacheSize { found, most } => {
                write!(f, "`token_cache` is {found}; allowed are 0 to {most} tokens")
            }
            Self::Key(error) => write!(f, "`keys`: {error}"),
            Self::NoSigningKey => f.write_str(
                "`keys` can only verify, but the refresher mints tokens; pass a private key or a \
                 secret as the first key",
            ),
            Self::TransportCount { found } => {
                write!(f, "`transports` holds {found} transports; allowed are 1 to 4")
            }
            Self::TransportClash { location } => write!(
                f,
                "`transports` uses {location} for two tokens, which the engine could not \
                 distinguish; give each its own"
            ),
            Self::Cookie { name, problem } => {
                write!(f, "`transports`: the cookie {name:?}: {problem}")
            }
            Self::Scheme { found } => write!(
                f,
                "`transports`: `Location::Authorization({found:?})` is no scheme; it must be an \
                 RFC 9110 token such as `Bearer`"
            ),
            Self::HeaderLocation { name } => write!(
                f,
                "`transports`: `Location::Header({:?})` means something else; use \
                 `Location::Authorization`, `Location::Cookie` or another header",
                name.as_str()
            ),
            Self::TrustedOrigin { found } => {
                // The text before an `@` may be a password.
                let shown = found.rsplit_once('@').map_or(&**found, |(_, host)| host);
                write!(
                    f,
                    "`trusted_origin`: {shown:?} is not an origin; write it as browsers do, such \
                     as `https://app.example` or `http://localhost:5173`"
                )
            }
            Self::Dialect(error) => error.fmt(f),
            Self::EndpointClash { path, native: None } => {
                write!(f, "`dialect`: two dialects at {path:?}; give one of them another `path`")
            }
            Self::EndpointClash { path, native: Some(native) } => write!(
                f,
                "`dialect`: everfresh's own endpoint for {} is at {path:?}; move that or leave it \
                 out by `native_paths`, or give the dialect another `path`",
                native.name()
            ),
            Self::NoTimer => f.write_str(
                "`runtime`: the tokio runtime has no timer; build it with `enable_time()` or \
                 `enable_all()` (tokio reports this by a panic, whose text may be printed above)",
            ),
        }
    }
}

crate::debug_is_display!(ConfigError);

impl std::error::Error for ConfigError {}

impl From<KeyError> for ConfigError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}
