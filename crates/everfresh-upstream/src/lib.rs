//! everfresh's client side: sessions that rest on another server's tokens, and another issuer's
//! keys.
//!
//! * [`Upstream`]: refreshes sessions at another server, once per expiry, however many requests and
//!   nodes ask. Its own page has the rules of that.
//! * [`JwksUrl`] and [`RemoteKeys`]: keys that are fetched, kept fresh, and fetched when a token
//!   names one that came up meanwhile.
//! * [`Provider`]: what an issuer says of itself, by OpenID Connect Discovery or RFC 8414.
//! * [`HttpClient`]: one attempt per call, within limits, and errors that tell what certainly was
//!   not sent from what may have been processed.
//!
//! # Rules
//! 1. Only addresses from your configuration are called, and those that an issuer's own metadata
//!    name: `https`, or `http` on this very machine. Nothing in a token is followed.
//! 2. Nothing is sent twice, no redirect is followed, and everything has a limit: 5 s to connect,
//!    10 s in all, 64 KiB of an answer, 64 keys.
//! 3. Keys are fetched at start, by a call that says what was wrong; then in the background; and
//!    once in 30 s, however many tokens name keys that the set lacks. The last good set is kept
//!    through every failure.
//! 4. A request whose token names a new key waits for it, 3 s at the most. One whose key is known
//!    costs what it costs with keys of your own.
//!
//! # Caveats
//! * An engine whose keys are another issuer's only verifies. Its refresher's
//!   [`mints`](everfresh::Refresher::mints) returns `false`, as in the guide on refreshers. The tokens
//!   then need no `sid`, `auth_time` and `session_exp`, which other issuers don't write. An engine that
//!   mints demands all three of each access token, also where its sessions rest on another server's
//!   tokens: what travels there are access tokens of its own.
//! * Certificates are checked against those that the machine trusts, so private authorities count
//!   where the system knows them. A container without any needs `ca-certificates`, or
//!   [`HttpClientBuilder::trust_pem`].
//! * Without the feature `client` (on by default) there is no client of our own and no TLS:
//!   [`HttpClient::over`] takes yours.
//!
//! # Example
//! ```
//! use everfresh::{Engine, EngineBuilder};
//! use everfresh_upstream::{HttpClient, Provider};
//!
//! async fn auth() -> Result<EngineBuilder<serde_json::Value>, Box<dyn std::error::Error>> {
//!     let client = HttpClient::new()?;
//!     let provider = Provider::discover(&client, "https://id.example").await?;
//!     let remote = provider.jwks()?.fetch(&client).await?;
//!     Ok(Engine::builder(remote.keys()).issuer(provider.issuer()).audience("app"))
//! }
//! # let _ = auth;
//! ```

#[cfg(test)]
mod error_tests;
mod fetch;
mod http;
mod keys;
mod provider;
#[cfg(test)]
mod testing;
mod upstream;

// The public interface is:
pub use crate::fetch::{FetchError, FetchProblem};
pub use crate::http::{Answer, Call, HttpClient, HttpError, SecureUrl, UrlError};
#[cfg(feature = "client")]
pub use crate::http::{ClientError, HttpClientBuilder};
pub use crate::keys::{JwksUrl, RemoteKeys};
pub use crate::provider::{DiscoveryError, Provider};
pub use crate::upstream::{InCookies, Replay, Upstream};
