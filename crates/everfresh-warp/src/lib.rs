//! everfresh in warp: [`serve`] puts the layer around your routes, and [`claims`],
//! [`optional_claims`], [`session`] and [`require`] are filters inside it.
//!
//! # Rules
//! 1. `everfresh_warp::serve(routes, auth)` replaces `warp::serve(routes)`. It reads, verifies and
//!    refreshes tokens, and rejects no request. New tokens go out with every response, including
//!    the response of a rejected route.
//! 2. A route with [`claims::<User>()`](claims) requires a signed-in user. Other requests get
//!    401, 403 or 503 with a problem+json body, and a 401 names its challenge.
//! 3. A route with [`optional_claims::<User>()`](optional_claims) serves every request, with `None`
//!    if no user is signed in or the session has ended. The one exception is a session that may be
//!    valid but can't be refreshed at the moment: the handler is not called and the response is
//!    503, so that a signed-in user never gets a signed-out page by mistake.
//! 4. A route with [`session::<User>()`](session) can sign in, sign out and refresh. Pass its
//!    handler to `then`, and return `Result<_, everfresh_warp::Error>` from it.
//! 5. [`require(&auth)`](require) extracts nothing. It goes before routes that all require a user
//!    who is signed in by that engine: `warp::path("members").and(require(&auth)).and(members)`.
//! 6. [`endpoints`] is one more route, with the refresh endpoint, the list of a user's sessions and
//!    the public keys.
//! 7. No `recover` is necessary: `serve` answers everfresh's rejections, even if other routes of an
//!    `or` chain rejected the request for another reason (a 404, a 405).
//!
//! # Caveats
//! * After a rejection, everfresh's included, warp tries the next `or`. Put these filters after
//!   the path and the method: a filter before them applies to every request, and turns a 404 into a
//!   401. A later route that matches every request, such as a page for 404, also gets the requests
//!   of users who are not signed in.
//! * [`claims`], [`optional_claims`] and [`session`] select the engine by the type of the claims.
//!   If two engines cover a route, give each engine its own claims type. [`require`] and
//!   [`endpoints`] take the engine itself.
//! * An app that recovers every rejection puts [`recover`] before its own `recover`, or calls
//!   [`answer`] in it. The same applies inside `warp::log` and `warp::cors`, which see a rejection
//!   before `serve` does.
//! * `warp::addr::remote()` extracts no address inside `serve`. Use [`remote`].
//!
//! # Example
//! ```no_run
//! use everfresh::{Engine, Keys, Reissue};
//! use everfresh_warp::{Claims, Error, Session, claims, session};
//! use serde::{Deserialize, Serialize};
//! use warp::http::Uri;
//! use warp::{Filter, Reply};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { name: String }
//!
//! #[derive(Deserialize)]
//! struct Login { name: String }
//!
//! async fn login(session: Session<User>, form: Login) -> Result<impl Reply, Error> {
//!     session.sign_in(form.name.clone(), User { name: form.name }).await?;
//!     Ok(warp::redirect::see_other(Uri::from_static("/me")))
//! }
//!
//! fn me(Claims(user): Claims<User>) -> String {
//!     user.name.clone()
//! }
//!
//! async fn logout(session: Session<User>) -> Result<impl Reply, Error> {
//!     session.sign_out().await?;
//!     Ok(warp::redirect::see_other(Uri::from_static("/")))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<User>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Reissue::new())
//!     .build()?;
//! let form = warp::body::content_length_limit(4096).and(warp::body::form());
//! let login = warp::path!("login").and(warp::post()).and(session()).and(form).then(login);
//! let me = warp::path!("me").and(warp::get()).and(claims()).map(me);
//! let logout = warp::path!("logout").and(warp::post()).and(session()).then(logout);
//! everfresh_warp::serve(login.or(me).or(logout), auth).run(([127, 0, 0, 1], 3000)).await?;
//! # Ok(())
//! # }
//! ```

mod endpoints;
mod server;

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;

use everfresh::{ClaimSet, Engine};
use warp::reply::Response;
use warp::{Filter, Reply};

pub use endpoints::endpoints;
pub use everfresh::Session;
pub use server::{Listener, Server, serve, service};

everfresh::adapter::handler_types!();

/// Extracts the session of this request, which can sign in, sign out and refresh.
///
/// Rejects with 500 if [`serve`] is missing, and for no other reason.
pub fn session<C: ClaimSet>() -> impl Filter<Extract = (Session<C>,), Error = warp::Rejection> + Copy
{
    extract(Ok::<Session<C>, _>)
}

/// Extracts the claims of the signed-in user.
///
/// Rejects with 401, 403 or 503, and with 500 if [`serve`] is missing.
pub fn claims<C: ClaimSet>() -> impl Filter<Extract = (Claims<C>,), Error = warp::Rejection> + Copy
{
    extract(|session: Session<C>| session.claims().map(Claims))
}

/// Extracts the claims of the signed-in user, or `None` if no user is signed in or the session has
/// ended.
///
/// Rejects with 503 if the session may be valid but can't be refreshed at the moment, and with 500
/// if [`serve`] is missing.
pub fn optional_claims<C: ClaimSet>()
-> impl Filter<Extract = (Option<Claims<C>>,), Error = warp::Rejection> + Copy {
    extract(|session: Session<C>| Ok(session.optional_claims()?.map(Claims)))
}

/// Extracts nothing, and rejects as [`claims`] does if no user is signed in. Also rejects with 500
/// if the session belongs to another engine.
pub fn require<C: ClaimSet>(
    auth: &Engine<C>,
) -> impl Filter<Extract = (), Error = warp::Rejection> + Clone + use<C> {
    let auth = auth.clone();
    let admit = move |session| ready(auth.admit(&session).map_err(rejected));
    session().and_then(admit).untuple_one()
}

fn extract<C: ClaimSet, T: Send + 'static>(
    read: impl Fn(Session<C>) -> Result<T, everfresh::Rejection> + Copy + Send + Sync + 'static,
) -> impl Filter<Extract = (T,), Error = warp::Rejection> + Copy {
    warp::ext::optional().and_then(move |session: Option<Session<C>>| {
        let session = session.ok_or_else(|| {
            everfresh::Rejection::missing_layer().with_detail(
                "The request has no everfresh session: serve these routes with \
                 `everfresh_warp::serve(routes, auth)`, with the same claims type.",
            )
        });
        ready(session.and_then(read).map_err(rejected))
    })
}

fn rejected(rejection: everfresh::Rejection) -> warp::Rejection {
    warp::reject::custom(Rejection(rejection))
}

/// Extracts the address of the client, or of the proxy in front of it. It replaces
/// `warp::addr::remote()` for routes inside [`serve`].
///
/// Extracts `None` for a connection over a Unix socket. If you run [`service`] in your own server,
/// put a [`SocketAddr`] into the extensions of each request.
pub fn remote() -> impl Filter<Extract = (Option<SocketAddr>,), Error = Infallible> + Copy {
    warp::ext::optional()
}

/// Returns the response to a rejection by everfresh, for use in your own `recover`. Returns `None`
/// if everfresh did not reject the request.
///
/// If both a handler and a filter rejected the request, the handler's error takes precedence. For a
/// response in other words, look for a [`Rejection`] in the rejection, which has a kind.
///
/// ```
/// use std::convert::Infallible;
/// use warp::http::StatusCode;
/// use warp::{Filter, Rejection, Reply, reply::Response};
///
/// async fn own(rejection: Rejection) -> Result<Response, Infallible> {
///     Ok(match everfresh_warp::answer(&rejection) {
///         Some(answer) => answer,
///         None if rejection.is_not_found() => StatusCode::NOT_FOUND.into_response(),
///         None => StatusCode::BAD_REQUEST.into_response(),
///     })
/// }
///
/// let me = warp::path("me").and(everfresh_warp::claims::<()>()).map(|_| "you");
/// let routes = me.recover(own);
/// # let _ = routes;
/// ```
pub fn answer(rejection: &warp::Rejection) -> Option<Response> {
    let by_handler = rejection.find::<Error>().cloned().map(Error::into_rejection);
    by_handler.or_else(|| rejection.find().cloned()).map(Rejection::into_response)
}

/// Answers everfresh's rejections and passes on the others: `routes.recover(recover)`.
///
/// [`serve`] applies this filter around all routes. Apply it further inside if another filter would
/// see the rejection first: your own `recover`, `warp::log`, `warp::cors`.
pub async fn recover(rejection: warp::Rejection) -> Result<Response, warp::Rejection> {
    answer(&rejection).ok_or(rejection)
}

impl warp::reject::Reject for Rejection {}

impl warp::reject::Reject for Error {}

impl Reply for Rejection {
    fn into_response(self) -> Response {
        self.0.into_response::<Vec<u8>>().into_response()
    }
}

impl Reply for Error {
    fn into_response(self) -> Response {
        self.into_rejection().into_response()
    }
}

#[cfg(test)]
mod tests;
