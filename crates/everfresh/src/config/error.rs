//! Everything that can be wrong with a configuration.

use std::fmt;
use std::time::Duration;

use http::HeaderName;

use crate::endpoint::{DialectError, NativeEndpoint};
use crate::verify::KeyError;

/// What is wrong with a configuration: which setting, what was found, what is allowed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A text setting is missing or empty.
    Missing {
        /// The builder's method.
        setting: &'static str,
        /// What it is for and how to set it.
        remedy: &'static str,
    },
    /// A setting does not go together with another one.
    Unfit {
        /// The builder's method.
        setting: &'static str,
        /// What was found: a verb and the rest.
        found: String,
        /// What is allowed, or what to do.
        remedy: &'static str,
    },
    /// A duration is out of its range.
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// What was found.
        found: Duration,
        /// The least that is allowed.
        least: Duration,
        /// The most that is allowed.
        most: Duration,
    },
    /// More tokens to be remembered than anybody has a use for.
    CacheSize {
        /// What was found.
        found: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// Something is wrong with the keys.
    Key(KeyError),
    /// The refresher mints tokens, and no key signs.
    NoSigningKey,
    /// Not 1 to 4 carriers.
    CarrierCount {
        /// How many there are.
        found: usize,
    },
    /// Two locations that can't be told apart.
    CarrierClash {
        /// Which.
        location: String,
    },
    /// A cookie that browsers would drop or nobody could read back.
    Cookie {
        /// Its name.
        name: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// An authentication scheme that is not an RFC 9110 token.
    Scheme {
        /// What was found.
        found: String,
    },
    /// A header that means something else.
    HeaderLocation {
        /// Which.
        name: HeaderName,
    },
    /// A trusted origin that no browser would send.
    TrustedOrigin {
        /// What was found.
        found: String,
    },
    /// A dialect that can't be served.
    Dialect(DialectError),
    /// Two endpoints at one path.
    EndpointClash {
        /// Which.
        path: String,
        /// The one of everfresh's own that is there. None: another dialect.
        native: Option<NativeEndpoint>,
    },
    /// The tokio runtime has no timer, so no wait could be limited.
    NoTimer,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { setting, remedy } => write!(f, "`{setting}` is missing: {remedy}"),
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
                "`keys` only verify, but the refresher mints tokens: give a private key or a \
                 secret as the first key",
            ),
            Self::CarrierCount { found } => {
                write!(f, "`carriers` holds {found} carriers; allowed are 1 to 4")
            }
            Self::CarrierClash { location } => write!(
                f,
                "`carriers` uses {location} for two tokens that could not be told apart; give \
                 each its own"
            ),
            Self::Cookie { name, problem } => {
                write!(f, "`carriers`: the cookie {name:?}: {problem}")
            }
            Self::Scheme { found } => write!(
                f,
                "`carriers`: `Location::Authorization({found:?})` is no scheme; it must be an RFC \
                 9110 token such as `Bearer`"
            ),
            Self::HeaderLocation { name } => write!(
                f,
                "`carriers`: `Location::Header({:?})` means something else; use \
                 `Location::Authorization`, `Location::Cookie` or another header",
                name.as_str()
            ),
            Self::TrustedOrigin { found } => {
                // What stands before an `@` may be a password.
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
                 `enable_all()` (tokio says so by a panic, whose text may stand above)",
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
