//! everfresh in axum: [`Claims`] and [`Session`] as extractors.
//!
//! # Rules
//! 1. Put `auth.layer()` around the router. The layer reads, verifies and refreshes tokens. It
//!    rejects no request.
//! 2. A handler that takes [`Claims<User>`](Claims) requires a signed-in user. Other requests get
//!    401, 403 or 503 with a problem+json body, and a 401 names its challenge.
//! 3. A handler that takes `Option<Claims<User>>` serves every request, with `None` if no user is
//!    signed in or the session has ended. The one exception is a session that may be valid but
//!    can't be refreshed at the moment: the handler is not called and the response is 503, so that
//!    a signed-in user never gets a signed-out page by mistake.
//! 4. A handler that takes [`Session<User>`](Session) can sign in, sign out and refresh.
//! 5. [`endpoints`] returns a router with the refresh endpoint, the list of a user's sessions and
//!    the public keys. Merge it into the router inside the layer.
//! 6. [`require(&auth)`](require) is a second layer for routes that all require a signed-in user. It
//!    goes inside the first layer.
//!
//! # Caveats
//! * `.layer(..)` covers the routes that were added before it, and not the routes added later.
//! * A limit (a timeout, a concurrency limit) inside the layer is held while a request waits for a
//!   refresh. Put limits outside, which in axum means after `.layer(auth.layer())`.
//! * Extractors select the engine by the type of the claims. If two engines cover a route, give
//!   each engine its own claims type. [`require`] and [`endpoints`] take the engine itself.
//! * A CORS layer goes outside as well, because it answers preflight requests and names the header
//!   fields that scripts may read.
//!
//! # Example
//! ```
//! use axum::{Form, Router, response::Redirect, routing::{get, post}};
//! use everfresh::{Engine, Keys, Reissue};
//! use everfresh_axum::{Claims, Error, Session};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { name: String }
//!
//! #[derive(Deserialize)]
//! struct Login { name: String }
//!
//! async fn login(session: Session<User>, Form(form): Form<Login>) -> Result<Redirect, Error> {
//!     session.sign_in(form.name.clone(), User { name: form.name }).await?;
//!     Ok(Redirect::to("/me"))
//! }
//!
//! async fn me(Claims(user): Claims<User>) -> String {
//!     user.name.clone()
//! }
//!
//! async fn logout(session: Session<User>) -> Result<Redirect, Error> {
//!     session.sign_out().await?;
//!     Ok(Redirect::to("/"))
//! }
//!
//! # fn main() -> Result<(), everfresh::ConfigError> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<User>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Reissue::new())
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/login", post(login))
//!     .route("/me", get(me))
//!     .route("/logout", post(logout))
//!     .layer(auth.layer());
//! # let _ = app;
//! # Ok(())
//! # }
//! ```

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::routing::any;
use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum_core::response::{IntoResponse, Response};
use everfresh::adapter::{BODY_LIMIT, Endpoint};
use everfresh::layer::RequireLayer;
use everfresh::{ClaimSet, Engine};
use http::request::Parts;

everfresh::adapter::handler_types!(Session);

impl<C: ClaimSet, S: Sync> FromRequestParts<S> for Session<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        session(parts).cloned().map(Self)
    }
}

impl<C: ClaimSet, S: Sync> FromRequestParts<S> for Claims<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        session(parts)?.claims().map(Self).map_err(Rejection)
    }
}

impl<C: ClaimSet, S: Sync> OptionalFromRequestParts<S> for Claims<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        let claims = session::<C>(parts)?.optional_claims().map_err(Rejection)?;
        Ok(claims.map(Self))
    }
}

/// Returns a router with everfresh's endpoints: `POST /auth/refresh`, `GET /auth/sessions`,
/// `DELETE /auth/sessions/{sid}`, `POST /auth/logout-all`, `GET /.well-known/jwks.json`, and the
/// dialects that the engine serves. [`NativePaths`](everfresh::NativePaths) moves or omits the
/// first five.
///
/// ```
/// # use axum::Router;
/// # use everfresh::{Engine, Keys, MemoryStore, Rotate};
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// let auth = Engine::<()>::builder(Keys::hs256(secret)?)
///     .issuer("https://app.example")
///     .audience("app")
///     .refresh_with(Rotate::new(MemoryStore::new()))
///     .build()?;
/// let app: Router = Router::new().merge(everfresh_axum::endpoints(&auth)).layer(auth.layer());
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
pub fn endpoints<C: ClaimSet, S>(auth: &Engine<C>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    auth.endpoints().into_iter().fold(Router::new(), |router, endpoint| {
        let path = endpoint.path().to_owned();
        router.route(&path, any(move |request| answer(endpoint, request)))
    })
}

async fn answer<C: ClaimSet>(endpoint: Endpoint<C>, request: Request) -> Response {
    let call = endpoint.read(&request);
    let (parts, body) = request.into_parts();
    let body = match call.wants_body() {
        true => to_bytes(body, BODY_LIMIT).await.ok(),
        false => Some(Bytes::new()),
    };
    let session = session(&parts).map_err(|rejection| rejection.0);
    endpoint.answer(call, body.as_deref(), session).await.map(Body::from)
}

/// Returns a second layer, for routes that all require a signed-in user. It goes inside the first
/// layer, and is the same as `auth.require()`.
///
/// It answers in place of the handler with 401, 403 or 503, and with 500 if the layer of the same
/// engine is missing.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use everfresh::{Engine, Keys, Reissue};
/// use everfresh_axum::require;
///
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// # let auth = Engine::<()>::builder(Keys::hs256(secret)?)
/// #     .issuer("https://app.example").audience("app").refresh_with(Reissue::new()).build()?;
/// let members = Router::new().route("/", get(|| async { "members" })).layer(require(&auth));
/// let app: Router = Router::new().nest("/members", members).layer(auth.layer());
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
pub fn require<C: ClaimSet>(auth: &Engine<C>) -> RequireLayer<C> {
    auth.require()
}

const MISSING: &str = "The request has no everfresh session: add `.layer(auth.layer())` \
                       to the router, after its routes, with the same claims type.";

fn session<C: ClaimSet>(parts: &Parts) -> Result<&everfresh::Session<C>, Rejection> {
    let session = parts.extensions.get();
    session.ok_or_else(|| Rejection(everfresh::Rejection::missing_layer().with_detail(MISSING)))
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.0.into_response::<Body>()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.into_rejection().into_response()
    }
}

#[cfg(test)]
mod tests;
