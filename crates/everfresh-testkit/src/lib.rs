//! Tools to test code that uses everfresh: apps, adapters and stores.
//!
//! * [`Jar`]: a browser's cookie jar by the rules of RFC 6265bis, on a manual clock.
//! * [`Browser`]: an HTTP client with a jar, over real sockets.
//! * [`adapter_suite!`]: the cases that every adapter passes, one test each.
//! * [`store_suite!`]: the cases that every session store passes.
//! * [`fault`]: a proxy that cuts, resets, holds or garbles requests and responses, on command.
//! * [`contract`]: the small application that the adapter suite drives.
//!
//! # Rules
//! 1. Time is an [`everfresh::ManualClock`]: an expiry takes one line, and no test sleeps. Pass the
//!    clock to the engine, to its store and to the [`Browser`].
//! 2. Operations that fail panic with a message, because the caller is a test.
//! 3. A [`Browser`] trusts loopback as browsers do: it returns Secure and `__Host-` cookies over
//!    plain `http://127.0.0.1`.
//! 4. Every server listens on loopback, on a free port.
//!
//! # Caveats
//! * The engine's waits (3 s for a refresh) use tokio's time, and not the manual clock. If they
//!   matter to a test, pause tokio's time with `#[tokio::test(start_paused = true)]`.
//! * An access token lives up to 5 % shorter than its configured lifetime, at random. Move the
//!   clock past the whole lifetime.
//!
//! # Example
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use everfresh::{Engine, Keys, ManualClock, MemoryStore, Rotate, Session, Timestamp};
//! use everfresh_testkit::{Jar, Site};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt as _, service_fn};
//!
//! /// Signs in each client that has no session.
//! async fn app(request: Request<()>) -> Result<Response<String>, Infallible> {
//!     let session = request.extensions().get::<Session<()>>().expect("in a layer").clone();
//!     if session.claims().is_err() {
//!         session.sign_in("ada", ()).await.expect("signed in");
//!     }
//!     Ok(Response::new(session.sid().unwrap_or_default()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
//! let store = MemoryStore::new().clock(clock.clone());
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<()>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .clock(clock.clone())
//!     .refresh_with(Rotate::new(store))
//!     .build()?;
//! let app = ServiceBuilder::new().layer(auth.layer()).service(service_fn(app));
//!
//! let (site, mut jar) = (Site::https("app.example", "/"), Jar::new());
//! let mut sids = Vec::new();
//! for _ in 0..3 {
//!     let request = Request::builder().header("cookie", jar.header(&site, clock.now()));
//!     let response = app.clone().oneshot(request.body(())?).await?;
//!     for cookie in response.headers().get_all("set-cookie") {
//!         jar.store(cookie.to_str()?, &site, clock.now()).expect("a cookie that a browser takes");
//!     }
//!     sids.push(response.into_body());
//!     clock.advance(Duration::from_secs(15 * 60)); // the access token expires
//! }
//! assert!(sids.iter().all(|sid| *sid == sids[0]), "one session, refreshed twice");
//! # Ok(())
//! # }
//! ```
//!
//! The guide "Testing your app" in everfresh's documentation has an example over real sockets, in
//! axum.

mod browser;
pub mod contract;
pub mod fault;
mod jar;
pub mod store;
pub mod suite;

pub use browser::{Answer, Browser};
pub use jar::{Jar, Refused, Site};
