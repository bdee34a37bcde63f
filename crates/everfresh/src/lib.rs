//! everfresh keeps people signed in.
//!
//! A Tower layer that reads the JWT that each request carries in a cookie or a header, verifies it,
//! and refreshes it before or after it expires. The layer hands the claims to the inner service and
//! sends the new token back on the same response.
//!
//! # Rules
//! 1. An access token counts if one of the engine's keys verifies its signature, its issuer and
//!    audience are the configured ones, and it has not expired. The checks run in the order of the
//!    variants of [`InvalidReason`].
//! 2. From a quarter of its lifetime before expiry, a token is refreshed beside the request. From a
//!    twentieth of its lifetime before expiry, and after expiry, the request waits for the refresh,
//!    3 s at the most. All requests with the same token share one refresh.
//! 3. Tokens go back by the [`Transport`] that they came by, on any response that the handler
//!    returns. What the handler does with the session, or with everfresh's cookies, takes
//!    precedence.
//! 4. The layer never rejects a request. [`SessionStatus`] states what the request is entitled to.
//!    [`Session::claims`], [`Engine::require`] and the extractors of the adapters answer in the
//!    handler's place.
//! 5. A race or an outage signs no user out: while a session may be good, the response is 503 with
//!    `Retry-After`, and no cookie is touched.
//! 6. A session in a cookie does not count for an unsafe request that another site caused.
//! 7. An error in the configuration is an error of [`EngineBuilder::build`], and none appears
//!    later. No log, event, error or `Debug` output contains a token.
//!
//! # Caveats
//! * [`Reissue`] keeps nothing on the server. A sign-out clears cookies and has no other effect,
//!   and a user who is away for longer than the token's lifetime and its grace has to sign in
//!   again. [`Rotate`] has neither limit.
//! * Limits (timeouts, concurrency) inside the layer are held while a request waits for a refresh.
//!   Put them outside the layer.
//! * Refreshes run on the tokio runtime around [`EngineBuilder::build`]. Build the engine once, in
//!   the runtime that lives as long as the server, and call [`Engine::shutdown`] at its end. If
//!   there was no runtime, or it has ended, the runtime around a request takes its place.
//! * Cookies are Secure. For plain `http://` on your own machine, use
//!   [`EngineBuilder::insecure_dev_only`].
//!
//! # Example
//! ```
//! use std::convert::Infallible;
//! use everfresh::{Engine, Keys, Reissue, Session};
//! use http::{Request, Response};
//! use serde::{Deserialize, Serialize};
//! use tower::{ServiceBuilder, service_fn};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { name: String }
//!
//! # fn main() -> Result<(), everfresh::ConfigError> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<User>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Reissue::new())
//!     .build()?;
//!
//! let existing = service_fn(|request: Request<Vec<u8>>| async move {
//!     let session = request.extensions().get::<Session<User>>().cloned();
//!     let name = session.and_then(|session| Some(session.claims().ok()?.name.clone()));
//!     Ok::<_, Infallible>(Response::new(name.unwrap_or_default()))
//! });
//! let service = ServiceBuilder::new().layer(auth.layer()).service(existing);
//! # let _ = service;
//! # Ok(())
//! # }
//! ```
//!
//! `auth.layer()` requires only that the inner service is `Clone`. A handler signs a user in with
//! `session.sign_in("user-17", User { .. }).await?`.
//!
//! # Where things are
//! The root has what an app needs; the modules have the rest, each for the authors that it names.
//! * Refreshers, which make fresh tokens: [`Reissue`], [`Rotate`] over a
//!   [`SessionStore`](store::SessionStore), and `everfresh-upstream` for sessions that depend on
//!   another server's tokens. Your own: [`refresher`].
//! * Frameworks: `everfresh-axum`, `everfresh-actix` and `everfresh-warp` have extractors and mount
//!   the endpoints of [`Engine::endpoints`]. This crate alone is enough for Tower and hyper:
//!   [`layer`]. Another framework: [`adapter`].
//! * Stores: [`MemoryStore`] here; SQLite and PostgreSQL in `everfresh-sqlx`, Redis and Valkey in
//!   `everfresh-redis`. Your own: [`store`].
//! * Other servers' refresh endpoints, to serve or to call: [`dialect`]. Other servers' tokens and
//!   keys: `everfresh-upstream`, or [`upstream`] for a client of your own.
//! * Observability: [`Event`], by [`EngineBuilder::on_event`] and as `tracing` events of the target
//!   `everfresh`; counters through the `metrics` facade, listed in [`metrics`].
//! * Tests of your app: [`ManualClock`] here, a browser's cookie jar and test suites in
//!   `everfresh-testkit`.
//!
//! # Guides
#![cfg_attr(
    all(doc, not(doctest)),
    doc = "[Choosing a refresher](guide::refreshers), [cookies and CSRF](guide::cookies),
[single-page apps and mobile clients](guide::clients), [dialects](guide::dialects),
[behind a CDN or a proxy](guide::proxies), [key rotation](guide::keys),
[many nodes](guide::scaling), [WebSockets and event streams](guide::sockets),
[observability](guide::observability), [testing your app](guide::testing),
[troubleshooting](guide::troubleshooting), [moving to everfresh](guide::migrating)."
)]
//!
//! # Features
//! * `tower` (default): the Tower layer and service. `everfresh-actix` does not need it.
//! * `aws-lc` (default): signs and verifies with aws-lc-rs. Without it every key is refused with
//!   [`KeyError::NoBackend`], whose text names this feature.
//! * `schema`: `JsonSchema` of schemars for [`dialect::Dialect`], and the JSON Schema of its files.

mod clock;
mod config;
mod cookie;
mod core;
mod decide;
mod dialects;
mod endpoint;
mod engine;
mod error;
mod extract;
mod flow;
mod forward;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(all(doc, not(doctest)))]
pub mod guide;
mod handler_types;
mod head;
#[cfg(feature = "tower")]
pub mod layer;
mod mint;
mod node;
mod observe;
mod origin;
mod paths;
mod policy;
mod public;
mod refresh;
mod reject;
mod respond;
mod runtime;
mod secret;
mod sentence;
mod session;
pub mod store;
mod sync;
#[cfg(test)]
mod testing;
mod transport;
mod verify;

// The public interface is the public modules above, and in the root what an app needs:
pub use clock::{Clock, ManualClock, Timestamp};
pub use config::{EngineBuilder, Revalidated, Revalidation};
pub use cookie::{CookieSpec, SameSite};
pub use engine::Engine;
pub use error::{ConfigError, Failure, SessionError, SessionErrorKind};
pub use mint::ClaimSet;
pub use node::RevocationFeed;
pub use observe::Event;
pub use paths::{NativeEndpoint, NativePaths};
pub use policy::{CachePolicy, InnerToken};
pub use public::{adapter, dialect, metrics, refresher, upstream};
pub use refresh::{AtMaxSessions, KeyRing, Reissue, Rotate, SessionInfo};
pub use reject::{Rejection, RejectionKind};
pub use secret::AccessToken;
pub use session::{EndReason, Session, SessionStatus, SessionWatch, SignIn};
#[doc(inline)]
pub use store::{MemoryStore, SessionId};
pub use transport::{Location, Transport};
pub use verify::{
    Algorithm, InvalidReason, Key, KeyError, Keys, TokenProfile, TrustedIssuer, UnreadClaims,
};
