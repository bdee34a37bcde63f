//! Middleware in an actix-web app.

use std::borrow::Cow;

use actix_jwt_auth_middleware::{AuthenticationService, Authority};
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, HttpResponse, web};
use everfresh_actix::{Claims, Refresh};
use futures::FutureExt as _;
use futures::executor::block_on;
use http::HeaderMap;
use jwt_compact::Algorithm;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa};

use super::{BARE, Subject};
use crate::keys::SECRET;
use crate::scene::{TOKEN_COOKIE, engine};
use crate::{Alg, Carried, NAME, Scene, User};

const HOST: &str = "actix-web";

fn subject<S, B>(name: &'static str, fields: &HeaderMap, service: S) -> Subject
where
    S: Service<actix_http_request::Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody,
{
    let fields: Vec<(String, Vec<u8>)> = fields
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let serve = move || {
        let mut request = TestRequest::default();
        for (name, value) in &fields {
            request = request.insert_header((name.as_str(), value.as_slice()));
        }
        match service.call(request.to_request()).now_or_never() {
            Some(Ok(response)) => response.status().as_u16(),
            Some(Err(error)) => error.as_response_error().status_code().as_u16(),
            None => 0,
        }
    };
    Subject { name, host: HOST, serve: Box::new(serve) }
}

/// actix-web does not export the request type of its services.
mod actix_http_request {
    pub(super) use actix_http::Request;
}

fn answer(user: &User) -> HttpResponse {
    HttpResponse::new(if user.name == NAME { StatusCode::OK } else { StatusCode::UNAUTHORIZED })
}

pub(super) fn subjects(scene: &Scene) -> Vec<Subject> {
    let fields = scene.fields();
    let bare = App::new().route("/", web::get().to(|| async { HttpResponse::new(StatusCode::OK) }));
    let ours = |cache: usize| {
        let auth = engine(&scene.material, cache);
        App::new()
            .wrap(Refresh::new(auth))
            .route("/", web::get().to(|Claims(user): Claims<User>| async move { answer(&user) }))
    };
    let mut subjects = vec![
        subject(BARE, &fields, block_on(init_service(bare))),
        subject("everfresh", &fields, block_on(init_service(ours(10_000)))),
        subject("everfresh without its cache", &fields, block_on(init_service(ours(0)))),
    ];
    let jwk = || scene.material.compact_jwk();
    subjects.push(match scene.material.alg {
        Alg::HS256 => theirs(scene, Hs256, Hs256Key::from(SECRET.as_bytes())),
        Alg::RS256 => theirs(scene, Rsa::rs256(), (&jwk()).try_into().expect("an RSA key")),
        Alg::ES256 => theirs(scene, P256, (&jwk()).try_into().expect("an EC key")),
        Alg::EdDSA => theirs(scene, Ed25519, (&jwk()).try_into().expect("an Ed25519 key")),
    });
    subjects
}

/// ES256 as a cloneable type, which the middleware requires.
#[derive(Clone)]
struct P256;

impl Algorithm for P256 {
    type SigningKey = <Es256 as Algorithm>::SigningKey;
    type VerifyingKey = <Es256 as Algorithm>::VerifyingKey;
    type Signature = <Es256 as Algorithm>::Signature;

    fn name(&self) -> Cow<'static, str> {
        Es256.name()
    }

    fn sign(&self, key: &Self::SigningKey, message: &[u8]) -> Self::Signature {
        Es256.sign(key, message)
    }

    fn verify_signature(
        &self,
        signature: &Self::Signature,
        key: &Self::VerifyingKey,
        message: &[u8],
    ) -> bool {
        Es256.verify_signature(signature, key, message)
    }
}

/// In its header mode, with the token in a field of its own.
fn theirs<A>(scene: &Scene, algorithm: A, key: A::VerifyingKey) -> Subject
where
    A: Algorithm + Clone + 'static,
    A::SigningKey: Clone,
    A::VerifyingKey: Clone,
{
    let bearer = scene.carried == Carried::Bearer;
    let authority = Authority::<User, A, _, _>::new()
        .refresh_authorizer(|| async { Ok(()) })
        .access_token_name(if bearer { "x-access-token" } else { TOKEN_COOKIE })
        .enable_header_tokens(bearer)
        .enable_cookie_tokens(!bearer)
        .renew_access_token_automatically(false)
        .algorithm(algorithm)
        .time_options(jwt_compact::TimeOptions::default())
        .verifying_key(key)
        .build();
    let authority = authority.unwrap_or_else(|_| panic!("a good configuration"));
    let app = App::new()
        .wrap(AuthenticationService::new(authority))
        .route("/", web::get().to(|user: User| async move { answer(&user) }));
    let mut fields = scene.fields();
    if bearer {
        fields.clear();
        fields.insert("x-access-token", scene.token.parse().expect("a value"));
    }
    subject("actix-jwt-auth-middleware", &fields, block_on(init_service(app)))
}
