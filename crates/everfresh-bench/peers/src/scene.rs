//! What is measured: an algorithm, and how its token travels.

use everfresh::{Carrier, Engine, Resign, Session};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::{Material, NAME, User};

/// The cookie that carries the token, for everybody.
pub const TOKEN_COOKIE: &str = "__Host-access_token";

/// How a token travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// In `Authorization`.
    Bearer,
    /// In a cookie, among so many others.
    Cookie(usize),
}

impl Carried {
    /// Those that are compared.
    pub const ALL: [Self; 4] = [Self::Bearer, Self::Cookie(1), Self::Cookie(10), Self::Cookie(50)];

    /// As it is recorded.
    pub fn name(self) -> String {
        match self {
            Self::Bearer => "bearer".into(),
            Self::Cookie(others) => format!("cookie among {others}"),
        }
    }
}

/// One token of one algorithm, and the head of the request that brings it.
pub struct Scene {
    /// The key, and with it the algorithm.
    pub material: Material,
    /// How the token travels.
    pub carried: Carried,
    /// The token.
    pub token: String,
}

impl Scene {
    /// A scene with a new key and a token that is fresh for a day.
    pub async fn new(alg: crate::Alg, carried: Carried) -> Self {
        let material = Material::new(alg);
        let token = sign_in(&engine(&material, 0)).await;
        Self { material, carried, token }
    }

    /// The fields of each request.
    pub fn fields(&self) -> HeaderMap {
        self.fields_with(TOKEN_COOKIE, &self.token)
    }

    /// The same with another cookie, for those whose sessions are no tokens.
    pub fn fields_with(&self, cookie: &str, value: &str) -> HeaderMap {
        let text = |text: String| HeaderValue::from_str(&text).expect("a header value");
        let mut fields = HeaderMap::new();
        match self.carried {
            Carried::Bearer => {
                fields.insert(AUTHORIZATION, text(format!("Bearer {value}")));
            }
            Carried::Cookie(others) => {
                let mut pairs: Vec<_> =
                    (0..others).map(|n| format!("cookie_{n}=value-of-some-length-{n}")).collect();
                pairs.insert(others / 2, format!("{cookie}={value}"));
                fields.insert(COOKIE, text(pairs.join("; ")));
            }
        }
        fields
    }
}

/// An engine that remembers so many tokens.
pub fn engine(material: &Material, token_cache: usize) -> Engine<User> {
    Engine::builder(material.keys())
        .issuer("https://app.example")
        .audience("app")
        .carriers([Carrier::cookies(), Carrier::headers()])
        .access_lifetime(std::time::Duration::from_secs(24 * 60 * 60))
        .refresh_with(Resign::new())
        .token_cache(token_cache)
        .build()
        .expect("a good configuration")
}

/// Signs in and gives the access token.
pub async fn sign_in(auth: &Engine<User>) -> String {
    let handler = service_fn(|request: Request<()>| async move {
        let session = request.extensions().get::<Session<User>>().expect("in a layer").clone();
        session.sign_in("user-4711", User { name: NAME.into() }).await.expect("signed in");
        Ok::<_, std::convert::Infallible>(Response::new(()))
    });
    let service = ServiceBuilder::new().layer(auth.layer()).service(handler);
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    cookie.split(['=', ';']).nth(1).expect("a value").to_owned()
}
