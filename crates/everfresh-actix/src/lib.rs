//! everfresh in actix-web: [`Refresh`] as a middleware, [`Claims`] and [`Session`] as extractors.
//!
//! # Rules
//! 1. Wrap the app in [`Refresh`]. The middleware reads, verifies and refreshes tokens. It rejects
//!    no request. New tokens go out with every response from inside, including the response of
//!    another middleware's error.
//! 2. A handler that takes [`Claims<User>`](Claims) requires a signed-in user. Other requests get
//!    401, 403 or 503 with a problem+json body, and a 401 names its challenge.
//! 3. A handler that takes [`OptionalClaims<User>`](OptionalClaims) serves every request, with
//!    `None` if no user is signed in or the session has ended. The one exception is a session that
//!    may be valid but can't be refreshed at the moment: the handler is not called and the response
//!    is 503, so that a signed-in user never gets a signed-out page by mistake.
//!    `Option<Claims<User>>` can't make this distinction, because actix-web turns every error into
//!    `None`, including the error for a missing middleware.
//! 4. A handler that takes [`Session<User>`](Session) can sign in, sign out and refresh.
//! 5. [`endpoints`] adds the refresh endpoint, the list of a user's sessions and the public keys.
//!    Pass it to `configure` of the app inside the middleware.
//! 6. [`require`] is a second middleware for a scope whose routes all require a signed-in user. It
//!    goes inside the first middleware.
//!
//! # Caveats
//! * Build the engine once, outside of the closure that `HttpServer::new` takes, and in a runtime
//!   that lives as long as the server (`#[actix_web::main]` and `#[tokio::main]` provide one).
//!   Refreshes run on that runtime, and not on a worker that may end.
//! * Extractors select the engine by the type of the claims. If two engines cover a route, give
//!   each engine its own claims type. [`require`] and [`endpoints`] take the engine itself.
//! * A limit (a timeout) inside [`Refresh`] is held while a request waits for a refresh. Put limits
//!   outside, which in actix-web means in a later `wrap`.
//! * If a middleware outside of [`Refresh`] calls `cookies()`, actix-web caches the cookies for the
//!   request, and handlers find the refresh token among them. Put such a middleware inside.
//!
//! # Example
//! ```
//! use actix_web::{App, HttpServer, web::{self, Form, Redirect}};
//! use everfresh::{Engine, Keys, Reissue};
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
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<User>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Reissue::new())
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

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};
use everfresh::ClaimSet;

pub use endpoints::endpoints;
pub use middleware::{Refresh, RefreshService, require};

everfresh::adapter::handler_types!(Session);

/// The claims of the signed-in user, or `None` if no user is signed in.
///
/// Rejects with 503 if the session may be valid but can't be refreshed at the moment, and with 500
/// if [`Refresh`] is missing.
#[derive(Debug)]
pub struct OptionalClaims<C>(pub Option<Claims<C>>);

const MISSING: &str = "The request has no everfresh session: add \
                       `.wrap(Refresh::new(auth))` to the app, with the same claims type.";

macro_rules! extractor {
    ($type:ident, $read:expr) => {
        impl<C: ClaimSet> FromRequest for $type<C> {
            type Error = Rejection;
            type Future = Ready<Result<Self, Rejection>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(session(request).and_then($read))
            }
        }
    };
}

extractor!(Session, |session| Ok(Self(session)));
extractor!(Claims, |session| Ok(Self(session.claims()?)));
extractor!(OptionalClaims, |session| Ok(Self(session.optional_claims()?.map(Claims))));

fn session<C: ClaimSet>(request: &HttpRequest) -> Result<everfresh::Session<C>, Rejection> {
    let session = request.extensions().get().cloned();
    session.ok_or_else(|| Rejection(everfresh::Rejection::missing_layer().with_detail(MISSING)))
}

impl ResponseError for Rejection {
    fn status_code(&self) -> StatusCode {
        self.error_response().status()
    }

    fn error_response(&self) -> HttpResponse {
        bridge::response(self.0.clone().into_response())
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.error_response().status()
    }

    fn error_response(&self) -> HttpResponse {
        self.clone().into_rejection().error_response()
    }
}
