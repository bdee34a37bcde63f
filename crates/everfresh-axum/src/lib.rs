//! everfresh in axum: [`Claims`] and [`Session`] as extractors.
//!
//! # Rules
//! 1. Put `auth.layer()` around the router. It reads, verifies and refreshes, and rejects nothing.
//! 2. A handler that takes [`Claims<User>`](Claims) is for people who are signed in; others get
//!    401, 403 or 503 with a problem+json body, and a 401 names its challenge.
//! 3. A handler that takes `Option<Claims<User>>` is for everybody: `None` where nobody is signed
//!    in (any more). Only where a session may be good but can't be refreshed at the moment it
//!    is not called, and the answer is 503: nobody is shown a signed-out page by mistake.
//! 4. A handler that takes [`Session<User>`](Session) can sign in, sign out and refresh.
//! 5. [`endpoints`] brings refresh, the list of a person's sessions and the public keys, to be
//!    merged into the router inside the layer.
//! 6. `auth.require()` is a second layer, inside the first, where everything must be signed in.
//!
//! # Caveats
//! * `.layer(..)` is around the routes that were added before it, and not around later ones.
//! * A limit (a timeout, a concurrency limit) that sits inside the layer is held while a request
//!   waits for a refresh: put limits outside, which in axum means after `.layer(auth.layer())`.
//! * Extractors go by the type of the claims: where two engines stand around a route, give each a
//!   type of its own. `auth.require()` and [`endpoints`] go by the engine.
//! * A CORS layer goes outside, too: it answers preflights, and names what scripts may read.
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
use everfresh::{BODY_LIMIT, ClaimSet, Endpoint, Engine};
use http::request::Parts;

everfresh::handler_types!(Session);

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

/// The endpoints that everfresh brings: `POST /auth/refresh`, `GET /auth/sessions`, `DELETE
/// /auth/sessions/{sid}`, `POST /auth/logout-all`, `GET /.well-known/jwks.json`, and the dialects
/// that the engine serves. [`NativePaths`](everfresh::NativePaths) moves or leaves out the first five.
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

fn session<C: ClaimSet>(parts: &Parts) -> Result<&everfresh::Session<C>, Rejection> {
    let session = parts.extensions.get();
    session.ok_or_else(|| Rejection(everfresh::Rejection::missing_layer()))
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
