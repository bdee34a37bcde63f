//! Extractors in an axum handler.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum_extra::TypedHeader;
use axum_extra::extract::cookie::CookieJar;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use axum_jwt_auth::{CookieTokenExtractor, LocalDecoder, define_cookie_extractor};
use futures::FutureExt as _;
use http::{HeaderMap, Request};
use tower::{Layer as _, Service};

use super::{BARE, Subject};
use crate::scene::{TOKEN_COOKIE, engine};
use crate::{Carried, NAME, Scene, User};

const HOST: &str = "axum";

fn subject<S>(name: &'static str, fields: HeaderMap, mut service: S) -> Subject
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + 'static,
{
    let serve = move || {
        let mut request = Request::new(Body::empty());
        *request.headers_mut() = fields.clone();
        match service.call(black_box(request)).now_or_never() {
            Some(Ok(response)) => response.status().as_u16(),
            _ => 0,
        }
    };
    Subject { name, host: HOST, serve: Box::new(serve) }
}

fn status(user: &User) -> StatusCode {
    if user.name == NAME { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

pub(super) fn subjects(scene: &Scene) -> Vec<Subject> {
    let fields = || scene.fields();
    let claims =
        |everfresh_axum::Claims(user): everfresh_axum::Claims<User>| async move { status(&user) };
    let cached = engine(&scene.material, 10_000).layer();
    let uncached = engine(&scene.material, 0).layer();
    vec![
        subject(BARE, fields(), (|| async { StatusCode::OK }).with_state(())),
        subject("everfresh", fields(), cached.layer(claims.with_state(()))),
        subject("everfresh without its cache", fields(), uncached.layer(claims.with_state(()))),
        by_hand(scene),
        axum_jwt_auth(scene),
    ]
}

/// Typical hand-written code: `jsonwebtoken` in an extractor, with a key and rules that are created
/// once.
struct ByHand(User);

#[derive(Clone)]
struct ByHandState {
    key: Arc<(jsonwebtoken::DecodingKey, jsonwebtoken::Validation)>,
    cookie: bool,
}

impl FromRequestParts<ByHandState> for ByHand {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &ByHandState,
    ) -> Result<Self, StatusCode> {
        let refused = StatusCode::UNAUTHORIZED;
        let (key, validation) = &*state.key;
        let decode = |token: &str| {
            let data = jsonwebtoken::decode::<User>(token, key, validation);
            data.map(|data| Self(data.claims)).map_err(|_| refused)
        };
        if state.cookie {
            let jar = CookieJar::from_headers(&parts.headers);
            return decode(jar.get(TOKEN_COOKIE).ok_or(refused)?.value());
        }
        let bearer = TypedHeader::<Authorization<Bearer>>::from_request_parts(parts, state).await;
        decode(bearer.map_err(|_| refused)?.token())
    }
}

fn by_hand(scene: &Scene) -> Subject {
    let cookie = scene.carried != Carried::Bearer;
    let state = ByHandState { key: Arc::new(scene.material.decoding()), cookie };
    let handler = |ByHand(user): ByHand| async move { status(&user) };
    subject("jsonwebtoken by hand", scene.fields(), handler.with_state(state))
}

define_cookie_extractor!(TokenCookie, "__Host-access_token");

#[derive(Clone)]
struct Decoding(axum_jwt_auth::Decoder<User>);

impl FromRef<Decoding> for axum_jwt_auth::Decoder<User> {
    fn from_ref(state: &Decoding) -> Self {
        state.0.clone()
    }
}

fn axum_jwt_auth(scene: &Scene) -> Subject {
    type ByBearer = axum_jwt_auth::Claims<User>;
    type ByCookie = axum_jwt_auth::Claims<User, CookieTokenExtractor<TokenCookie>>;

    let (key, validation) = scene.material.decoding_10();
    let decoder = LocalDecoder::new(vec![key], validation).expect("a good configuration");
    let state = Decoding(Arc::new(decoder));
    let bearer = |claims: ByBearer| async move { status(&claims.claims) };
    let cookie = |claims: ByCookie| async move { status(&claims.claims) };
    const NAME: &str = "axum-jwt-auth";
    match scene.carried {
        Carried::Bearer => subject(NAME, scene.fields(), bearer.with_state(state)),
        Carried::Cookie(_) => subject(NAME, scene.fields(), cookie.with_state(state)),
    }
}
