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
pub(super) trait HttpTransport: Send + Sync {
    fn send(
        &self,
        request: Request<Bytes>,
        permission: Option<Permission>,
        sent_flag: SentFlag,
    ) -> BoxFuture<'static, Result<Response<Incoming>, HttpError>>;
}

/// The application's own Tower service. The permission is polled once the service is ready. From
/// then on the service alone controls the request, which counts as sent.
pub(super) struct TowerTransport<S>(pub(super) Mutex<S>);

impl<S, B> HttpTransport for TowerTransport<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn send(
        &self,
        request: Request<Bytes>,
        permission: Option<Permission>,
        sent_flag: SentFlag,
    ) -> BoxFuture<'static, Result<Response<Incoming>, HttpError>> {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map_err(|error| classify(&*error.into(), &sent_flag))?;
            if let Some(permission) = permission
                && !permission.await
            {
                return Err(HttpError::Withheld);
            }
            sent_flag.mark_sent();
            match service.call(request.map(Full::new)).await {
                Ok(answer) => Ok(answer.map(incoming)),
                Err(error) => Err(classify(&*error.into(), &sent_flag)),
            }
        })
    }
}

/// Returns the [`HttpError`] for an error, which depends on how far the request had got.
pub(super) fn classify(
    error: &(dyn std::error::Error + 'static),
    sent_flag: &SentFlag,
) -> HttpError {
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
        if error::find::<h2::Error>(error).is_some_and(unprocessed) {
            return HttpError::Unsent { cause };
        }
        if sent_flag.is_sent()
            && error::find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
        {
            return HttpError::Garbled { cause };
        }
    }
    match sent_flag.is_sent() {
        true => HttpError::Lost { cause },
        false => HttpError::Unsent { cause },
    }
}

/// Returns whether an HTTP/2 server states that it did not process the request (RFC 9113 section
/// 8.7): it refused the stream, or it announced that it goes away and the stream came too late.
#[cfg(feature = "client")]
fn unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
