//! everfresh in warp: [`serve`] puts the layer around your routes, and [`claims`],
//! [`optional_claims`], [`session`] and [`require`] are filters inside it.
//!
//! # Rules
//! 1. `everfresh_warp::serve(routes, auth)` takes the place of `warp::serve(routes)`. It reads,
//!    verifies and refreshes, and rejects nothing. What it sends back leaves with every answer,
//!    that of a rejected route included.
//! 2. A route with [`claims::<User>()`](claims) is for people who are signed in; others get
//!    401, 403 or 503 with a problem+json body, and a 401 names its challenge.
//! 3. A route with [`optional_claims::<User>()`](optional_claims) is for everybody: `None` where
//!    nobody is signed in (any more). Only where a session may be good but can't be refreshed at
//!    the moment it is not called, and the answer is 503: nobody is shown a signed-out page by
//!    mistake.
//! 4. A route with [`session::<User>()`](session) can sign in, sign out and refresh. Its handler
//!    goes into `then` and answers `Result<_, everfresh_warp::Error>`.
//! 5. [`require(&auth)`](require) extracts nothing, and stands before routes where everything
//!    must be signed in by that engine: `warp::path("members").and(require(&auth)).and(members)`.
//! 6. [`endpoints`] brings refresh, the list of a person's sessions and the public keys, as one more
//!    route.
//! 7. Nothing has to be recovered: `serve` answers our rejections, whatever else the routes of an
//!    `or` chain rejected with (a 404, a 405).
//!
//! # Caveats
//! * warp goes on with the next `or` after a rejection, also after one of ours. So these filters
//!   stand after the path and the method: one that stands before them speaks for every request,
//!   and turns a 404 into a 401. And a route behind them that takes everything, such as a page for
//!   404, takes those who aren't signed in.
//! * [`claims`], [`optional_claims`] and [`session`] go by the type of the claims: where two engines
//!   stand around a route, give each a type of its own. [`require`] and [`endpoints`] go by the
//!   engine.
//! * Who recovers every rejection puts [`recover`] before it, or asks [`answer`] in it. The same
//!   holds inside of `warp::log` and `warp::cors`, which see a rejection before `serve` does.
//! * `warp::addr::remote()` knows nothing here; [`remote`] does.
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
pub use server::{Server, serve, service};

everfresh::handler_types!();

/// Extracts the session of this request, which can sign in, sign out and refresh.
///
/// Rejects only where [`serve`] is missing: 500.
pub fn session<C: ClaimSet>() -> impl Filter<Extract = (Session<C>,), Error = warp::Rejection> + Copy
{
    extract(Ok::<Session<C>, _>)
}

/// Extracts the claims of whoever is signed in.
///
/// Rejects with 401, 403 or 503, and with 500 where [`serve`] is missing.
pub fn claims<C: ClaimSet>() -> impl Filter<Extract = (Claims<C>,), Error = warp::Rejection> + Copy
{
    extract(|session: Session<C>| session.claims().map(Claims))
}

/// Extracts the claims of whoever is signed in, and `None` where nobody is (any more).
///
/// Rejects with 503 where a session may be good but can't be refreshed at the moment, and with 500
/// where [`serve`] is missing.
pub fn optional_claims<C: ClaimSet>()
-> impl Filter<Extract = (Option<Claims<C>>,), Error = warp::Rejection> + Copy {
    extract(|session: Session<C>| Ok(session.optional_claims()?.map(Claims)))
}

/// Extracts nothing, and rejects as [`claims`] does where nobody is signed in; with 500 also where
/// the session is another engine's.
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
                "There is no everfresh session in this request: serve these routes with \
                 `everfresh_warp::serve(routes, auth)`, with the same claims type.",
            )
        });
        ready(session.and_then(read).map_err(rejected))
    })
}

fn rejected(rejection: everfresh::Rejection) -> warp::Rejection {
    warp::reject::custom(Rejection(rejection))
}

/// Extracts the address of the client, or of the proxy that it came by: `warp::addr::remote()`
/// for routes inside of [`serve`].
///
/// `None` on a Unix socket. In a server of your own, put a [`SocketAddr`] into the extensions of
/// each request to [`service`].
pub fn remote() -> impl Filter<Extract = (Option<SocketAddr>,), Error = Infallible> + Copy {
    warp::ext::optional()
}

/// The answer to a rejection of ours, for use in a `recover` of your own; `None` if it holds none.
///
/// Of several, what a handler said comes before what a filter said. For an answer in other words,
/// look for a [`Rejection`] in it, which knows its kind.
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

/// Answers our rejections and leaves the others as they are: `routes.recover(recover)`.
///
/// [`serve`] does that around everything. Put it further inside where something would see the
/// rejection before: a `recover` of your own, `warp::log`, `warp::cors`.
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
