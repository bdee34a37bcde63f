//! everfresh in actix-web: [`Refresh`] as a middleware, [`Claims`] and [`Session`] as extractors.
//!
//! # Rules
//! 1. Wrap the app in [`Refresh`]. It reads, verifies and refreshes, and rejects nothing. Tokens
//!    leave with whatever comes from inside, an error of another middleware too.
//! 2. A handler that takes [`Claims<User>`](Claims) is for people who are signed in; others get
//!    401, 403 or 503 with a problem+json body, and a 401 names its challenge.
//! 3. A handler that takes [`OptionalClaims<User>`](OptionalClaims) is for everybody: `None` where
//!    nobody is signed in (any more). Only where a session may be good but can't be refreshed at
//!    the moment it is not called, and the answer is 503: nobody is shown a signed-out page by
//!    mistake. `Option<Claims<User>>` can't tell these apart: actix-web makes `None` of every
//!    error, that of a missing middleware too.
//! 4. A handler that takes [`Session<User>`](Session) can sign in, sign out and refresh.
//! 5. [`endpoints`] brings refresh, the list of a person's sessions and the public keys, to be
//!    configured in the app inside the middleware.
//! 6. [`require`] is a second middleware, inside the first, for a scope where everything must be
//!    signed in.
//!
//! # Caveats
//! * Build the engine once, outside of the closure that `HttpServer::new` takes, and in a runtime
//!   that lives as long as the server (`#[actix_web::main]` or `#[tokio::main]` has one): refreshes
//!   run there, and not on a worker that may end.
//! * A limit (a timeout) that sits inside [`Refresh`] is held while a request waits for a refresh:
//!   put limits outside, which in actix-web means in a later `wrap`.
//! * A middleware outside of [`Refresh`] that calls `cookies()` makes actix-web remember them for
//!   the request, and handlers find the refresh token among them: put it inside.
//!
//! # Example
//! ```
//! use actix_web::{App, HttpServer, web::{self, Form, Redirect}};
//! use everfresh::{Engine, Keys, Resign};
//! use everfresh_actix::{Claims, Error, Refresh, Session};
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
//!     Ok(Redirect::to("/me").see_other())
//! }
//!
//! async fn me(Claims(user): Claims<User>) -> String {
//!     user.name.clone()
//! }
//!
//! async fn logout(session: Session<User>) -> Result<Redirect, Error> {
//!     session.sign_out().await?;
//!     Ok(Redirect::to("/").see_other())
//! }
//!
//! # fn main() -> Result<(), everfresh::ConfigError> {
//! let auth = Engine::<User>::builder(Keys::hs256("0123456789abcdef-0123456789abcdef")?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Resign::new())
//!     .build()?;
//! let server = HttpServer::new(move || {
//!     App::new()
//!         .route("/login", web::post().to(login))
//!         .route("/me", web::get().to(me))
//!         .route("/logout", web::post().to(logout))
//!         .wrap(Refresh::new(auth.clone()))
//! });
//! # let _ = server;
//! # Ok(())
//! # }
//! ```

mod bridge;
mod endpoints;
mod middleware;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};
use everfresh::{ClaimSet, SessionError};

pub use endpoints::endpoints;
pub use middleware::{Refresh, RefreshService, require};

/// The claims of whoever is signed in.
///
/// Rejects with 401, 403 or 503, and with 500 where [`Refresh`] is missing.
#[derive(Debug)]
pub struct Claims<C>(pub Arc<C>);

/// The claims of whoever is signed in, if anybody is.
///
/// Rejects with 503 where a session may be good but can't be refreshed, and with 500 where
/// [`Refresh`] is missing.
#[derive(Debug)]
pub struct OptionalClaims<C>(pub Option<Claims<C>>);

/// The session of this request: [`everfresh::Session`], to which it dereferences.
///
/// Rejects only where [`Refresh`] is missing.
pub struct Session<C>(pub everfresh::Session<C>);

/// A rejection as an error of actix-web.
#[derive(Clone, Debug)]
pub struct Rejection(pub everfresh::Rejection);

/// For handlers that use `?` on what [`everfresh::Session`] answers: an error that is a response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// From `sign_in`, `sign_out`, `refresh` and `access_token`.
    Session(SessionError),
    /// From `claims` and `require`.
    Rejection(everfresh::Rejection),
}

const MISSING: &str = "There is no everfresh session in this request: add \
                       `.wrap(Refresh::new(auth))` to the app, with the same claims type.";

impl<C: ClaimSet> FromRequest for Session<C> {
    type Error = Rejection;
    type Future = Ready<Result<Self, Rejection>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(session(request).map(Self))
    }
}

impl<C: ClaimSet> FromRequest for Claims<C> {
    type Error = Rejection;
    type Future = Ready<Result<Self, Rejection>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let claims = session(request).and_then(|session| session.claims().map_err(Rejection));
        ready(claims.map(Self))
    }
}

impl<C: ClaimSet> FromRequest for OptionalClaims<C> {
    type Error = Rejection;
    type Future = Ready<Result<Self, Rejection>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let claims =
            session(request).and_then(|session| session.optional_claims().map_err(Rejection));
        ready(claims.map(|claims| Self(claims.map(Claims))))
    }
}

fn session<C: ClaimSet>(request: &HttpRequest) -> Result<everfresh::Session<C>, Rejection> {
    let session = request.extensions().get().cloned();
    session.ok_or_else(|| Rejection(everfresh::Rejection::missing_layer().with_detail(MISSING)))
}

impl ResponseError for Rejection {
    fn status_code(&self) -> StatusCode {
        bridge::status(self.0.status())
    }

    fn error_response(&self) -> HttpResponse {
        bridge::response(self.0.clone().into_response())
    }
}

impl Error {
    fn rejection(&self) -> Rejection {
        Rejection(match self.clone() {
            Self::Session(error) => error.into(),
            Self::Rejection(rejection) => rejection,
        })
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.rejection().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        self.rejection().error_response()
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<everfresh::Rejection> for Error {
    fn from(rejection: everfresh::Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

impl From<everfresh::Rejection> for Rejection {
    fn from(rejection: everfresh::Rejection) -> Self {
        Self(rejection)
    }
}

impl<C> Deref for Session<C> {
    type Target = everfresh::Session<C>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<C> Deref for Claims<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C> Clone for Session<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Rejection(rejection) => rejection.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
