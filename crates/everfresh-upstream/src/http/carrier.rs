//! The transport of requests: everfresh's own client or a Tower service, behind one trait.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::body::{BoxError, Incoming, Permission, SentFlag, incoming};
use super::error::{self, HttpError};

/// Sends a request to its server, once.
pub(super) trait Carrier: Send + Sync {
    fn carry(
        &self,
        request: Request<Bytes>,
        permission: Option<Permission>,
        departure: SentFlag,
    ) -> BoxFuture<'static, Result<Response<Incoming>, HttpError>>;
}

/// The application's own Tower service. The permission is polled once the service is ready. From
/// then on the service alone controls the request, which counts as sent.
pub(super) struct Given<S>(pub(super) Mutex<S>);

impl<S, B> Carrier for Given<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn carry(
        &self,
        request: Request<Bytes>,
        permission: Option<Permission>,
        departure: SentFlag,
    ) -> BoxFuture<'static, Result<Response<Incoming>, HttpError>> {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map_err(|error| classify(&*error.into(), &departure))?;
            if let Some(permission) = permission
                && !permission.await
            {
                return Err(departure.withhold());
            }
            departure.depart();
            match service.call(request.map(Full::new)).await {
                Ok(answer) => Ok(answer.map(incoming)),
                Err(error) => Err(classify(&*error.into(), &departure)),
            }
        })
    }
}

/// Returns the [`HttpError`] for an error, which depends on how far the request had got.
pub(super) fn classify(
    error: &(dyn std::error::Error + 'static),
    departure: &SentFlag,
) -> HttpError {
    if departure.is_withheld() {
        return HttpError::Withheld;
    }
    // The connector or the application's service classified the error itself.
    if let Some(known) = error::find::<HttpError>(error) {
        return known.clone();
    }
    let cause = error::root_cause(error);
    #[cfg(feature = "client")]
    {
        use hyper_util::client::legacy;

        if error::find::<legacy::Error>(error).is_some_and(legacy::Error::is_connect) {
            return match error::find::<rustls::Error>(error) {
                Some(_) => HttpError::Tls { cause },
                None => HttpError::Connect { cause },
            };
        }
        if departure.has_departed()
            && error::find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
        {
            return HttpError::Garbled { cause };
        }
    }
    match departure.has_departed() {
        true => HttpError::Lost { cause },
        false => HttpError::Unsent { cause },
    }
}
