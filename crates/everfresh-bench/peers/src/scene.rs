//! The measured cases: an algorithm, and the transport of its token.

use everfresh::{Engine, Reissue, Session, Transport};
use everfresh::refresher::Refresher;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::{Material, NAME, User};

/// The cookie that carries the token, for every subject.
pub const TOKEN_COOKIE: &str = "__Host-access_token";

/// How a token travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// In `Authorization`.
    Bearer,
    /// In a cookie, among the given number of cookies.
    Cookie(usize),
}

impl Carried {
    /// The compared transports.
    pub const ALL: [Self; 4] = [Self::Bearer, Self::Cookie(1), Self::Cookie(10), Self::Cookie(50)];

    /// The name in the records.
    pub fn name(self) -> String {
        match self {
            Self::Bearer => "bearer".into(),
            Self::Cookie(others) => format!("cookie among {others}"),
        }
    }
}

/// One token of one algorithm, and the head of the request that carries it.
pub struct Scene {
    /// The key, and with it the algorithm.
    pub material: Material,
    /// How the token travels.
    pub carried: Carried,
    /// The token.
    pub token: String,
}

impl Scene {
    /// Creates a scene with a new key and a token that stays fresh for a day.
    pub async fn new(alg: crate::Alg, carried: Carried) -> Self {
        let material = Material::new(alg);
        let token = sign_in(&engine(&material, 0)).await;
        Self { material, carried, token }
    }

    /// The fields of each request.
    pub fn fields(&self) -> HeaderMap {
        self.fields_with(TOKEN_COOKIE, &self.token)
    }

    /// The same with another cookie, for subjects whose sessions are not tokens.
    pub fn fields_with(&self, cookie: &str, value: &str) -> HeaderMap {
        match self.carried {
            Carried::Bearer => {
                let value = HeaderValue::from_str(&format!("Bearer {value}"));
                HeaderMap::from_iter([(AUTHORIZATION, value.expect("a header value"))])
            }
            Carried::Cookie(_) => self.fields_of(&[format!("{cookie}={value}")]),
        }
    }

    /// Other cookies, with these in the middle.
    pub fn fields_of(&self, ours: &[String]) -> HeaderMap {
        let others = if let Carried::Cookie(others) = self.carried { others } else { 0 };
        let mut pairs: Vec<_> =
            (0..others).map(|n| format!("cookie_{n}=value-of-some-length-{n}")).collect();
        pairs.splice(others / 2..others / 2, ours.iter().cloned());
        let value = HeaderValue::from_str(&pairs.join("; "));
        HeaderMap::from_iter([(COOKIE, value.expect("a header value"))])
    }
}

/// An engine that caches the given number of tokens and stores no sessions.
pub fn engine(material: &Material, token_cache: usize) -> Engine<User> {
    engine_of(material, token_cache, Reissue::new())
}

/// The same with any refresher.
pub fn engine_of(
    material: &Material,
    token_cache: usize,
    refresher: impl Refresher,
) -> Engine<User> {
    Engine::builder(material.keys())
        .issuer("https://app.example")
        .audience("app")
        .transports([Transport::cookies(), Transport::headers()])
        .access_lifetime(std::time::Duration::from_secs(24 * 60 * 60))
        .refresh_with(refresher)
        .token_cache(token_cache)
        .build()
        .expect("a good configuration")
}

/// Signs in and returns the access token.
pub async fn sign_in(auth: &Engine<User>) -> String {
    let cookie = signed_in_cookies(auth).await.swap_remove(0);
    cookie.split_once('=').expect("a pair").1.to_owned()
}

/// Signs in and returns the cookies, as a browser sends them.
pub async fn signed_in_cookies(auth: &Engine<User>) -> Vec<String> {
    let handler = service_fn(|request: Request<()>| async move {
        let session = request.extensions().get::<Session<User>>().expect("in a layer").clone();
        session.sign_in("user-4711", User { name: NAME.into() }).await.expect("signed in");
        Ok::<_, std::convert::Infallible>(Response::new(()))
    });
    let service = ServiceBuilder::new().layer(auth.layer()).service(handler);
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let pair = |field: &HeaderValue| {
        let text = field.to_str().expect("text");
        text.split(';').next().expect("a pair").to_owned()
    };
    response.headers().get_all(SET_COOKIE).iter().map(pair).collect()
}
