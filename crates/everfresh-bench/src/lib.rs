//! What the benchmarks and the counts share: one bare service, and the layer around it.

use std::convert::Infallible;

use everfresh::{Carrier, Engine, EngineBuilder, Keys, Resign, Session};
use http::header::{AUTHORIZATION, COOKIE};
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use tower::{Service, ServiceExt as _};

/// The app's own claims, as small as they usually are.
#[derive(Debug, Serialize, Deserialize)]
pub struct User {
    /// What the person is called.
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
    Keys::hs256("0123456789abcdef-0123456789abcdef").expect("a good secret")
}

/// An engine that signs with HS256 and reads cookies and bearer tokens.
pub fn engine() -> Engine<User> {
    engine_with(keys())
}

/// The same with other keys.
pub fn engine_with(keys: Keys) -> Engine<User> {
    build(Engine::builder(keys))
}

/// The same, which verifies each token at each request.
pub fn engine_without_cache() -> Engine<User> {
    build(Engine::builder(keys()).token_cache(0))
}

fn build(builder: EngineBuilder<User>) -> Engine<User> {
    builder
        .issuer("https://app.example")
        .audience("app")
        .carriers([Carrier::cookies(), Carrier::headers()])
        .refresh_with(Resign::new())
        .build()
        .expect("a good configuration")
}

/// A token that stays fresh for a quarter of an hour.
pub async fn token(auth: &Engine<User>) -> String {
    let service = tower::ServiceBuilder::new().layer(auth.layer()).service(tower::service_fn(
        |request: Request<()>| async move {
            let session = request.extensions().get::<Session<User>>().expect("in a layer").clone();
            let user = User { name: "Ada Lovelace".into() };
            session.sign_in("user-4711", user).await.expect("signed in");
            Ok::<_, Infallible>(Response::new(()))
        },
    ));
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    cookie.split(['=', ';']).nth(1).expect("a value").to_owned()
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

/// A copy of a request's head, as each round of a measurement needs one.
pub fn copy(request: &Request<()>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.headers_mut() = request.headers().clone();
    copy
}
