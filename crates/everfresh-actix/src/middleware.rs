//! The path of a request through actix-web's services.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::InternalError;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage as _};
use everfresh::{ClaimSet, Engine};

use crate::bridge::Bridge;
use crate::{Rejection, session};

/// Reads, verifies and refreshes the token of each request, and puts a session into it.
///
/// 1. It goes around the whole app. What is given to `wrap` later is further outside.
/// 2. The body of what is inside can be anything, and stays what it is.
/// 3. An error of a middleware inside is made a response here, so that tokens leave with it, and
///    stays an error: an [`InternalError`] around it.
#[derive(Debug)]
pub struct Refresh<C>(Engine<C>);

/// The service that [`Refresh`] puts around an app.
#[derive(Debug)]
pub struct RefreshService<S, C> {
    auth: Engine<C>,
    inner: Rc<S>,
}

impl<C: ClaimSet> Refresh<C> {
    /// With this engine: a handle, shared by all workers.
    pub fn new(auth: Engine<C>) -> Self {
        Self(auth)
    }
}

impl<S, C, B> Transform<S, ServiceRequest> for Refresh<C>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    C: ClaimSet,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = RefreshService<S, C>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(RefreshService { auth: self.0.clone(), inner: Rc::new(inner) }))
    }
}

impl<S, C, B> Service<ServiceRequest> for RefreshService<S, C>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    C: ClaimSet,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    forward_ready!(inner);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let (auth, inner) = (self.auth.clone(), self.inner.clone());
        Box::pin(async move {
            let session = auth.begin(&Bridge(&mut request)).settle().await;
            let underway = auth.attach(session, &mut Bridge(&mut request));
            request.extensions_mut().insert(underway.session().clone());
            match inner.call(request).await {
                Ok(mut response) => {
                    underway.finish(Bridge(response.response_mut().head_mut())).await;
                    Ok(response)
                }
                Err(error) => {
                    let mut response = error.error_response();
                    underway.finish(Bridge(response.head_mut())).await;
                    Err(InternalError::from_response(error, response).into())
                }
            }
        })
    }
}

/// A second middleware, inside of [`Refresh`], where everything must be signed in: it answers in
/// place of the service inside, with 401, 403 or 503, and with 500 where [`Refresh`] is missing.
///
/// ```
/// # use actix_web::{App, web};
/// # use everfresh::{Engine, Keys, Resign};
/// # use everfresh_actix::{Refresh, require};
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let auth = Engine::<()>::builder(Keys::hs256("0123456789abcdef-0123456789abcdef")?)
/// #     .issuer("https://app.example").audience("app").refresh_with(Resign::new()).build()?;
/// let members = web::scope("/members").wrap(require(&auth));
/// let app = App::new().service(members).wrap(Refresh::new(auth));
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
pub fn require<S, B, C>(
    _: &Engine<C>,
) -> impl Transform<
    S,
    ServiceRequest,
    Response = ServiceResponse<EitherBody<B>>,
    Error = Error,
    InitError = (),
> + use<S, B, C>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    C: ClaimSet,
{
    from_fn(async |request: ServiceRequest, next: Next<B>| {
        match session::<C>(request.request()).and_then(|one| one.require().map_err(Rejection)) {
            Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
            Err(rejection) => Ok(request.error_response(rejection).map_into_right_body()),
        }
    })
}
