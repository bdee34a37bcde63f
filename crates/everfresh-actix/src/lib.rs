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
//! * Extractors go by the type of the claims: where two engines stand around a route, give each a
//!   type of its own. [`require`] and [`endpoints`] go by the engine.
//! * A limit (a timeout) that sits inside [`Refresh`] is held while a request waits for a refresh:
//!   put limits outside, which in actix-web means in a later `wrap`.
//! * A middleware outside of [`Refresh`] that calls `cookies()` makes actix-web remember them for
//!   the request, and handlers find the refresh token among them: put it inside.
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

everfresh::handler_types!(Session);

/// The claims of whoever is signed in, if anybody is.
///
/// Rejects with 503 where a session may be good but can't be refreshed, and with 500 where
/// [`Refresh`] is missing.
#[derive(Debug)]
pub struct OptionalClaims<C>(pub Option<Claims<C>>);

const MISSING: &str = "There is no everfresh session in this request: add \
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
