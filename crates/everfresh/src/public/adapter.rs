//! For authors of adapters, which put the engine into a framework. An app needs none of this:
//! `everfresh-axum`, `everfresh-actix` and `everfresh-warp` are adapters.
//!
//! An adapter holds no policy, and names no header, cookie or status. It converts the framework's
//! types by [`RequestHead`], [`ResponseHead`] and [`HeaderFields`], which `http`'s `Request` and
//! `Response` implement, and calls the engine in this order:
//! 1. [`Engine::has_begun`](crate::Engine::has_begun): the request passes as it is if a layer of
//!    the same engine stands further outside.
//! 2. [`Engine::begin`](crate::Engine::begin) reads the request. [`Progress::settle`] waits for a
//!    refresh or a key if necessary.
//! 3. [`Engine::attach`](crate::Engine::attach) changes the tokens that the inner service sees. The
//!    adapter puts [`InFlight::session`] where extractors find it.
//! 4. [`InFlight::finish`] writes the cookies and headers into the response. A framework whose
//!    errors become responses later uses [`InFlight::defer`].
//!
//! The adapter mounts [`Engine::endpoints`](crate::Engine::endpoints) inside its middleware, and
//! defines its extractors' types by [`handler_types!`]. It is complete if it passes
//! `everfresh_testkit::adapter_suite!`.
//!
//! ```
//! use everfresh::{ClaimSet, Engine};
//! use http::{Request, Response};
//!
//! /// Calls a handler inside the engine, in a framework that has the types of `http`.
//! async fn serve<C: ClaimSet>(
//!     auth: &Engine<C>,
//!     mut request: Request<Vec<u8>>,
//!     handler: impl AsyncFn(Request<Vec<u8>>) -> Response<Vec<u8>>,
//! ) -> Response<Vec<u8>> {
//!     if auth.has_begun(request.extensions().get()) {
//!         return handler(request).await;
//!     }
//!     let session = auth.begin(&request).settle().await;
//!     let in_flight = auth.attach(session, &mut request);
//!     request.extensions_mut().insert(in_flight.session().clone());
//!     let response = handler(request).await;
//!     in_flight.finish(response).await
//! }
//! # use everfresh::{Keys, Reissue, Session};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), everfresh::ConfigError> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! # let auth = Engine::<()>::builder(Keys::hs256(secret)?)
//! #     .issuer("https://app.example").audience("app").refresh_with(Reissue::new()).build()?;
//! # let response = serve(&auth, Request::default(), async |request: Request<Vec<u8>>| {
//! #     let session = request.extensions().get::<Session<()>>().unwrap();
//! #     session.sign_in("ada", ()).await.unwrap();
//! #     Response::default()
//! # }).await;
//! # assert!(response.headers().contains_key("set-cookie"));
//! # Ok(())
//! # }
//! ```

pub use crate::endpoint::{BODY_LIMIT, Call, Endpoint, Reply};
pub use crate::flow::{Deferred, FinishFuture, InFlight, PendingSession, Progress};
#[doc(inline)]
pub use crate::handler_types;
pub use crate::head::{HeaderFields, RequestHead, ResponseHead};
