//! everfresh keeps people signed in.
//!
//! A Tower layer that reads the JWT each request brings in a cookie or a header, verifies it,
//! refreshes it before or after it expires, hands the claims to the service inside, and sends the
//! new token back on the same response.
//!
//! # Rules
//! 1. A token counts if its signature is good for one of our keys, its issuer and audience are
//!    ours, and its time is not over. The order of those checks is that of [`InvalidReason`].
//! 2. From a quarter of its lifetime before expiry a token is refreshed beside the request; from a
//!    twentieth, or after it, the request waits for the refresh, 3 s at the most. However many
//!    requests bring one token, there is one refresh.
//! 3. Tokens go back the way they came ([`Transport`]), on whatever response the handler makes. What
//!    the handler does with the session, or with our cookies, wins.
//! 4. The layer never rejects. The session says what a request is entitled to ([`SessionStatus`]);
//!    [`Session::claims`], [`Engine::require`] and the extractors of the adapters answer for it.
//! 5. Nobody is signed out by a race or an outage: while a session may be good, the answer is 503
//!    with `Retry-After`, and no cookie is touched.
//! 6. A session in a cookie does not count for an unsafe request that another site caused.
//! 7. What is wrong with a configuration is an error of [`EngineBuilder::build`], and none later.
//!    No token is in a log, an event, an error or a `Debug` output.
//!
//! # Caveats
//! * With [`Reissue`] nothing is kept on the server: sign-out clears cookies and nothing else, and who
//!   is away for longer than a token and its grace has to sign in again. [`Rotate`] has neither.
//! * Limits (timeouts, concurrency) that sit inside the layer are held while a request waits for
//!   a refresh; put them outside.
//! * Refreshes run on the tokio runtime around [`EngineBuilder::build`]. Build the engine once, in
//!   the runtime that lives as long as the server, and call [`Engine::shutdown`] at its end. Where
//!   there was none, or it has ended, the runtime around a request takes its place.
//! * Cookies are Secure. For plain `http://` on your own machine there is
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
//! `auth.layer()` needs nothing of the service inside but that it is `Clone`. A handler signs in
//! with `session.sign_in("user-17", User { .. }).await?`.
//!
//! # Where things are
//! * How fresh tokens are made: [`Reissue`], [`Rotate`] over a [`SessionStore`], and
//!   `everfresh-upstream` for sessions that rest on another server's tokens.
//! * Frameworks: `everfresh-axum`, `everfresh-actix` and `everfresh-warp` have extractors and mount
//!   what [`Engine::endpoints`] brings; this crate alone is enough for Tower and hyper.
//! * Stores: [`MemoryStore`] here; SQLite and PostgreSQL in `everfresh-sqlx`, Redis and Valkey in
//!   `everfresh-redis`.
//! * Other servers' refresh endpoints, to be served or called: [`Dialect`].
//! * What happened: [`Event`], by [`EngineBuilder::on_event`] and as `tracing` events of the target
//!   `everfresh`; counters through the `metrics` facade.
//! * Tests of your own: [`ManualClock`] here, a browser's jar and the suites in
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
//! * `tower` (default): the Tower layer and service. `everfresh-actix` does without.
//! * `aws-lc` (default): signs and verifies with aws-lc-rs. Without it, making a key is an error.

mod adapter;
mod carrier;
mod clock;
mod config;
mod cookie;
mod decide;
mod endpoint;
mod engine;
mod error;
mod extract;
mod forward;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(all(doc, not(doctest)))]
pub mod guide;
mod head;
#[cfg(feature = "tower")]
mod layer;
mod mint;
mod node;
mod observe;
mod origin;
mod refresh;
mod reject;
mod respond;
mod runtime;
mod secret;
mod sentence;
mod session;
mod store;
mod sync;
#[cfg(test)]
mod testing;
#[cfg(test)]
#[path = "../../everfresh-testkit/src/texts.rs"]
#[expect(unreachable_pub, reason = "the testkit's, for all other crates; it stands on this one")]
mod texts;
mod verify;

// The public interface is:
pub use carrier::{Location, Transport};
pub use clock::{Clock, ManualClock, Timestamp};
pub use config::{ConfigError, EngineBuilder, Revalidated, Revalidation};
pub use cookie::{CookieSpec, SameSite};
pub use endpoint::{
    AccessTokenResponse, BODY_LIMIT, Call, ClientAuthentication, ClientSecret, Dialect,
    DialectError, Endpoint, NativeEndpoint, NativePaths, RefreshOutcome, Reply, dialect,
};
pub use engine::{Engine, PendingSession, Progress, RevocationFeed};
pub use error::{SessionError, SessionErrorKind};
pub use forward::InnerToken;
pub use head::{HeaderFields, RequestHead, ResponseHead};
pub use jsonwebtoken::Algorithm;
pub use jsonwebtoken::jwk::{Jwk, JwkSet};
#[cfg(feature = "tower")]
pub use layer::{Refresh, RefreshLayer, Require, RequireFuture, RequireLayer, ResponseFuture};
pub use mint::{ClaimsObject, SessionClaims};
pub use observe::{Event, METRICS, Metric, MetricKind};
pub use refresh::{
    AtMaxSessions, Closing, Context, Failure, FlightKey, KeyRing, Presented, RefreshRequest,
    RefreshToken, Refresher, Reissue, ReissueRequest, Rotate, Sealer, SessionInfo, Setup,
    SignInRequest, Tokens, UnsealError, UpstreamTokenKeeper, VerifiedToken,
};
pub use reject::{Rejection, RejectionKind};
pub use respond::CachePolicy;
pub use secret::AccessToken;
pub use session::{
    ClaimSet, Deferred, EndReason, FinishFuture, InFlight, Session, SessionStatus, SessionWatch,
    SignIn,
};
pub use store::{
    FeedEvent, Loaded, MemoryStore, NewSession, NewUpstreamTokens, Publication, Reservation,
    ReservationId, RevocationSink, Rotation, SessionId, SessionRecord, SessionStore, StoreError,
    StoredUpstreamTokens, UpstreamTokenStore,
};
pub use verify::{
    InvalidReason, Key, KeyError, KeySource, Keys, NotRead, Received, Seek, TokenProfile,
    TrustedIssuer, UnreadClaims,
};
