//! The client side of everfresh: sessions that are backed by another server's tokens, and another
//! issuer's keys.
//!
//! * [`Upstream`] refreshes sessions at another server. It sends one refresh per expiry, for any
//!   number of requests and nodes. Its page has the rules.
//! * [`JwksUrl`] and [`RemoteKeys`] fetch an issuer's keys, keep them fresh, and fetch them again
//!   if a token names a key that the set lacks.
//! * [`Provider`] reads an issuer's metadata (OpenID Connect Discovery 1.0 or RFC 8414).
//! * [`HttpClient`] makes one attempt per call, within limits. Its errors distinguish a request
//!   that was certainly not sent from a request that the server may have processed.
//!
//! # Rules
//! 1. The client calls only addresses from your configuration and the endpoints that an issuer's
//!    own metadata names. The scheme is `https`, or `http` for this machine. An address in a token
//!    is never called.
//! 2. The client sends nothing twice and follows no redirect. Everything has a limit: 5 s to
//!    connect, 10 s in all, 64 KiB for an answer, 64 keys for a key set.
//! 3. Keys are fetched at start, by a call that returns what was wrong; then in the background; and
//!    at most once in 30 s because of tokens that name keys that the set lacks. The last good set
//!    stays in use through every failure.
//! 4. A request whose token names a new key waits for the key, 3 s at the most. A request whose key
//!    is known costs the same as with local keys.
//!
//! # Caveats
//! * An engine that uses another issuer's keys only verifies. Its refresher's
//!   [`mints`](everfresh::refresher::Refresher::mints) returns `false`, as in the guide on refreshers. Tokens
//!   then need no `sid`, `auth_time` and `session_exp`, which other issuers don't write. An engine
//!   that mints requires all three in each access token, even if its sessions are backed by another
//!   server's tokens, because its clients hold access tokens that the engine itself issued.
//! * The client checks certificates against the authorities that the machine trusts, which includes
//!   a private authority that is installed in the system. A container without certificates needs
//!   `ca-certificates` or [`HttpClientBuilder::trust_pem`].
//! * Without the feature `client` (on by default), the crate has no HTTP client and no TLS. Pass
//!   your own client to [`HttpClient::over`].
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
