//! Layers around one Tower service.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use everfresh::{KeyRing, Rotate, Session};
use futures::FutureExt as _;
use futures::executor::block_on;
use http::{Extensions, HeaderMap, Request, Response};
use jwt_authorizer::layer::JwtSource;
use jwt_authorizer::{IntoLayer as _, JwtAuthorizer, Validation};
use tower::{Layer as _, Service};
use tower_sessions::{MemoryStore, SessionManagerLayer};

use super::{BARE, Subject};
use crate::keys::SECRET;
use crate::scene::{TOKEN_COOKIE, engine, engine_of, signed_in_cookies};
use crate::{Alg, Carried, NAME, Scene, User};

/// Answers at once, with 200 if it finds the name.
struct Inner<R> {
    knows: fn(&Extensions) -> bool,
    answer: fn(u16) -> R,
}

impl<R> Clone for Inner<R> {
    fn clone(&self) -> Self {
        Self { knows: self.knows, answer: self.answer }
    }
}

impl<B, R> Service<Request<B>> for Inner<R> {
    type Response = R;
    type Error = Infallible;
    type Future = Ready<Result<R, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let status = if (self.knows)(request.extensions()) { 200 } else { 401 };
        ready(Ok((self.answer)(status)))
    }
}

fn plain(status: u16) -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = status.try_into().expect("a status");
    response
}

fn plain_07(status: u16) -> Response<axum_07::body::Body> {
    plain(status).map(|_| axum_07::body::Body::empty())
}

fn subject<S, R>(
    name: &'static str,
    host: &'static str,
    fields: HeaderMap,
    mut service: S,
) -> Subject
where
    S: Service<Request<axum::body::Body>, Response = Response<R>> + 'static,
{
    let serve = move || {
        let mut request = Request::new(axum::body::Body::empty());
        *request.headers_mut() = fields.clone();
        match service.call(black_box(request)).now_or_never() {
            Some(Ok(response)) => response.status().as_u16(),
            _ => 0,
        }
    };
    Subject { name, host, serve: Box::new(serve) }
}

pub(super) fn subjects(scene: &Scene) -> Vec<Subject> {
    const HOST: &str = "tower";
    let fields = || scene.fields();
    let inner = |knows| Inner { knows, answer: plain };
    let signed_in = |extensions: &Extensions| {
        let session = extensions.get::<Session<User>>();
        session.and_then(|session| session.claims().ok()).is_some_and(|user| user.name == NAME)
    };
    let cached = engine(&scene.material, 10_000).layer();
    let uncached = engine(&scene.material, 0).layer();
    let mut subjects = vec![
        subject(BARE, HOST, fields(), inner(|_| true)),
        subject("everfresh", HOST, fields(), cached.layer(inner(signed_in))),
        subject("everfresh without its cache", HOST, fields(), uncached.layer(inner(signed_in))),
        jwt_authorizer(scene),
    ];
    subjects.extend(tower_sessions(scene));
    subjects.extend(rotating(scene, inner(signed_in)));
    subjects
}

/// Both cookies, as in most apps. Bearer clients send their refresh token only to refresh.
fn rotating(scene: &Scene, inner: Inner<Response<axum::body::Body>>) -> Option<Subject> {
    if scene.carried == Carried::Bearer {
        return None;
    }
    let ring = KeyRing::new(b"a ring of its own, of 32 bytes or more").expect("a good secret");
    let refresher = Rotate::new(everfresh::MemoryStore::new()).key_ring(ring);
    let auth = engine_of(&scene.material, 10_000, refresher);
    let cookies = block_on(signed_in_cookies(&auth));
    let service = auth.layer().layer(inner);
    Some(subject("everfresh with `Rotate`", "tower", scene.fields_of(&cookies), service))
}

fn jwt_authorizer(scene: &Scene) -> Subject {
    let pem = &*scene.material.public_pem;
    let builder = match scene.material.alg {
        Alg::HS256 => JwtAuthorizer::<User>::from_secret(SECRET),
        Alg::RS256 => JwtAuthorizer::<User>::from_rsa_pem_text(pem),
        Alg::ES256 => JwtAuthorizer::<User>::from_ec_pem_text(pem),
        Alg::EdDSA => JwtAuthorizer::<User>::from_ed_pem_text(pem),
    };
    let source = match scene.carried {
        Carried::Bearer => JwtSource::AuthorizationHeader,
        Carried::Cookie(_) => JwtSource::Cookie(TOKEN_COOKIE.into()),
    };
    let validation = Validation::new().iss(&["https://app.example"]).aud(&["app"]);
    let authorizer = builder.jwt_source(source).validation(validation).build();
    let layer = block_on(authorizer).expect("a good configuration").into_layer();
    let inner = Inner {
        knows: |extensions| {
            let data = extensions.get::<jsonwebtoken_9::TokenData<User>>();
            data.is_some_and(|data| data.claims.name == NAME)
        },
        answer: plain_07,
    };
    subject("jwt-authorizer", "tower", scene.fields(), layer.layer(inner))
}

/// Sessions in memory, found by a random id in a cookie. It has no bearer tokens.
fn tower_sessions(scene: &Scene) -> Option<Subject> {
    if scene.carried == Carried::Bearer {
        return None;
    }
    let layer = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let service = layer.layer(tower::service_fn(|request: Request<axum::body::Body>| async move {
        let session = request.extensions().get::<tower_sessions::Session>().expect("in a layer");
        let status = match request.headers().contains_key("x-sign-in") {
            true => {
                let user = User { name: NAME.into() };
                session.insert("user", user).await.map_or(500, |()| 200)
            }
            false => match session.get::<User>("user").await {
                Ok(Some(user)) if user.name == NAME => 200,
                _ => 401,
            },
        };
        Ok::<_, Infallible>(plain(status))
    }));
    let mut first = Request::new(axum::body::Body::empty());
    first.headers_mut().insert("x-sign-in", "1".parse().expect("a value"));
    let response = service.clone().call(first).now_or_never()?.ok()?;
    let cookie = response.headers().get("set-cookie")?.to_str().ok()?;
    let (name, rest) = cookie.split_once('=')?;
    let fields = scene.fields_with(name, rest.split(';').next()?);
    Some(subject("tower-sessions", "tower", fields, service))
}
