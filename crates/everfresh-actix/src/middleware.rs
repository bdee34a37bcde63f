//! The path of a request through actix-web's services.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage as _};
use everfresh::{ClaimSet, Engine};

use crate::bridge::{Bridge, Held};
use crate::{Rejection, session};

/// Middleware that reads, verifies and refreshes the token of each request, and puts a session
/// into the request.
///
/// 1. It goes around the whole app. A middleware that is passed to `wrap` later is further outside.
/// 2. The services inside may have any body type, and the middleware keeps that type.
/// 3. An error of a middleware inside stays the same error for `Error::as_error` and for code that
///    asks for its response, once or several times. Tokens go out with each response that is made
///    from the error.
/// 4. If a service outside holds a clone of the `HttpRequest`, and a token has to be removed from
///    the request, the response is 500 and states this reason: actix-web does not allow changes to
///    a shared request, and its own panic appears in the log. The session continues.
#[derive(Debug)]
pub struct Refresh<C>(Engine<C>);

const HELD: &str = "A middleware outside of everfresh's holds a clone of this request, so its \
                    refresh token can't be kept from the handlers: drop the clone before the \
                    inner service is called, or put that middleware inside of `Refresh`.";

/// The service that [`Refresh`] puts around an app.
#[derive(Debug)]
pub struct RefreshService<S, C> {
    auth: Engine<C>,
    inner: Rc<S>,
}

impl<C: ClaimSet> Refresh<C> {
    /// Creates the middleware for this engine. The engine is a handle, which all workers share.
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
            if auth.has_begun(request.extensions().get()) {
                return inner.call(request).await;
            }
            let session = auth.begin(&Bridge(&mut request)).settle().await;
            let in_flight = auth.attach(session, &mut Bridge(&mut request));
            let held = request.extensions().contains::<Held>();
            let answer = match held {
                true => Err(Rejection(everfresh::Rejection::internal().with_detail(HELD)).into()),
                false => {
                    request.extensions_mut().insert(in_flight.session().clone());
                    inner.call(request).await
                }
            };
            match answer {
                Ok(mut response) => {
                    in_flight.finish(Bridge(response.response_mut().head_mut())).await;
                    Ok(response)
                }
                // The error stays the same. Its response is made outside, and more than once if
                // other code looks at it.
                Err(mut error) => {
                    if let Some(deferred) = in_flight.defer().await {
                        error.add_response_mapper(move |mut response| {
                            deferred.write(&mut Bridge(response.head_mut()));
                            response
                        });
                    }
                    Err(error)
                }
            }
        })
    }
}

/// Returns a second middleware, for services that all require a signed-in user. It goes inside
/// [`Refresh`].
///
/// It answers in place of the service inside with 401, 403 or 503, and with 500 if [`Refresh`] of
/// the same engine is missing.
///
/// ```
/// # use actix_web::{App, web};
/// # use everfresh::{Engine, Keys, Reissue};
/// # use everfresh_actix::{Refresh, require};
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// # let auth = Engine::<()>::builder(Keys::hs256(secret)?)
/// #     .issuer("https://app.example").audience("app").refresh_with(Reissue::new()).build()?;
/// let members = web::scope("/members").wrap(require(&auth));
/// let app = App::new().service(members).wrap(Refresh::new(auth));
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
pub fn require<S, B, C>(
    auth: &Engine<C>,
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
    let auth = auth.clone();
    from_fn(move |request: ServiceRequest, next: Next<B>| {
        let session = session::<C>(request.request());
        let admitted = session.and_then(|session| auth.admit(&session).map_err(Rejection));
        async move {
            match admitted {
                Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
                Err(rejection) => Ok(request.error_response(rejection).map_into_right_body()),
            }
        }
    })
}
