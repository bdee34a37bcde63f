//! The shared part of the benchmarks and the counts: one bare service, and the layer around it.

use std::convert::Infallible;

use everfresh::{Engine, EngineBuilder, Keys, MemoryStore, Reissue, Rotate, Session, Transport};
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, Response};
use serde::{Deserialize, Serialize};
use tower::{Service, ServiceExt as _};

/// The app's own claims, of a typical small size.
#[derive(Debug, Serialize, Deserialize)]
pub struct User {
    /// The user's name.
    pub name: String,
}

/// Answers at once, without looking at the request.
#[derive(Clone, Debug)]
pub struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(())))
    }
}

/// A key set of one secret.
pub fn keys() -> Keys {
    Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").expect("a good secret")
}

/// An engine that signs with HS256 and reads cookies and bearer tokens.
pub fn engine() -> Engine<User> {
    engine_with(keys())
}

/// The same with other keys.
pub fn engine_with(keys: Keys) -> Engine<User> {
    build(Engine::builder(keys))
}

/// The same without a token cache, so each request verifies its token.
pub fn engine_without_cache() -> Engine<User> {
    build(Engine::builder(keys()).token_cache(0))
}

/// An engine with rotating sessions in memory.
pub fn rotating_engine() -> Engine<User> {
    let builder = Engine::builder(keys()).refresh_with(Rotate::new(MemoryStore::new()));
    finish(builder)
}

fn build(builder: EngineBuilder<User>) -> Engine<User> {
    finish(builder.refresh_with(Reissue::new()))
}

fn finish(builder: EngineBuilder<User>) -> Engine<User> {
    builder
        .issuer("https://app.example")
        .audience("app")
        .transports([Transport::cookies(), Transport::headers()])
        .build()
        .expect("a good configuration")
}

/// A token that stays fresh for a quarter of an hour.
pub async fn token(auth: &Engine<User>) -> String {
    let cookie = cookies(auth).await.swap_remove(0);
    cookie.split_once('=').expect("a pair").1.to_owned()
}

/// The cookies of a user who has just signed in, as a browser sends them.
pub async fn cookies(auth: &Engine<User>) -> Vec<String> {
    let service = tower::ServiceBuilder::new().layer(auth.layer()).service(tower::service_fn(
        |request: Request<()>| async move {
            let session = request.extensions().get::<Session<User>>().expect("in a layer").clone();
            let user = User { name: "Ada Lovelace".into() };
            session.sign_in("user-4711", user).await.expect("signed in");
            Ok::<_, Infallible>(Response::new(()))
        },
    ));
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let pair = |field: &HeaderValue| {
        let text = field.to_str().expect("text");
        text.split(';').next().expect("a pair").to_owned()
    };
    response.headers().get_all(SET_COOKIE).iter().map(pair).collect()
}

/// A request with all cookies of a signed-in user.
pub fn with_cookies(cookies: &[String]) -> Request<()> {
    let mut request = Request::new(());
    request.headers_mut().insert(COOKIE, cookies.join("; ").parse().expect("a header value"));
    request
}

/// A request with `others` cookies around the one that carries the token.
pub fn with_cookie(token: &str, others: usize) -> Request<()> {
    let mut pairs: Vec<_> =
        (0..others).map(|n| format!("cookie_{n}=value-of-some-length-{n}")).collect();
    pairs.insert(others / 2, format!("__Host-access_token={token}"));
    let mut request = Request::new(());
    request.headers_mut().insert(COOKIE, pairs.join("; ").parse().expect("a header value"));
    request
}

/// A request with the token in `Authorization`.
pub fn with_bearer(token: &str) -> Request<()> {
    let mut request = Request::new(());
    let value = format!("Bearer {token}").parse().expect("a header value");
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

/// A copy of a request's head, which each round of a measurement needs.
pub fn copy(request: &Request<()>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.headers_mut() = request.headers().clone();
    copy
}
