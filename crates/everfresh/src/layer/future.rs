//! The response future: named states, boxed only where a request waits for a refresh.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::engine::Waiting;
use crate::session::{ClaimSet, Session};

pin_project! {
    /// The future of [`Refresh`](super::Refresh).
    pub struct ResponseFuture<S, Req, C>
    where
        S: Service<Req>,
        C: ClaimSet,
    {
        #[pin]
        state: State<S, Req, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, C>
    where
        S: Service<Req>,
        C: ClaimSet,
    {
        /// The request waits for a refresh; the inner service is ready and holds still.
        Waiting {
            settle: Pin<Box<dyn Future<Output = Session<C>> + Send>>,
            ready: Option<(S, Req)>,
        },
        /// The response took long: its tokens are looked at again.
        Late {
            recheck: Pin<Box<dyn Future<Output = ()> + Send>>,
            session: Sealing<C>,
            response: Option<S::Response>,
        },
        /// The inner service has been called.
        Calling {
            session: Sealing<C>,
            #[pin]
            inner: S::Future,
        },
    }
}

impl<S, Req, C> ResponseFuture<S, Req, C>
where
    S: Service<Req>,
    C: ClaimSet,
{
    pub(super) fn calling(session: Session<C>, inner: S::Future) -> Self {
        Self { state: State::Calling { session: Sealing(session), inner } }
    }

    pub(super) fn waiting(waiting: Waiting<C>, service: S, request: Req) -> Self {
        let settle = Box::pin(waiting.settle());
        Self { state: State::Waiting { settle, ready: Some((service, request)) } }
    }
}

/// Seals the session when the response's future ends, however it does: a client that hangs up, or
/// a service that fails, gets no response that a later sign-in could leave with.
struct Sealing<C: ClaimSet>(Session<C>);

impl<C: ClaimSet> Drop for Sealing<C> {
    fn drop(&mut self) {
        self.0.seal();
    }
}

impl<S, B, R, C> Future for ResponseFuture<S, Request<B>, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: ClaimSet,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Waiting { settle, ready } => {
                    let session = ready!(settle.as_mut().poll(cx));
                    // PANIC: taken once, since the state is replaced below in the same poll.
                    let (mut service, mut request) = ready.take().expect("polled after completion");
                    session.attach(&mut request);
                    request.extensions_mut().insert(session.clone());
                    let inner = service.call(request);
                    this.state.set(State::Calling { session: Sealing(session), inner });
                }
                StateProj::Calling { session, inner } => {
                    let mut response = ready!(inner.poll(cx))?;
                    if !session.0.is_late() {
                        session.0.finish(&mut response);
                        return Poll::Ready(Ok(response));
                    }
                    let session = session.0.clone();
                    let checked = session.clone();
                    let recheck = Box::pin(async move { checked.recheck().await });
                    let (session, response) = (Sealing(session), Some(response));
                    this.state.set(State::Late { recheck, session, response });
                }
                StateProj::Late { recheck, session, response } => {
                    ready!(recheck.as_mut().poll(cx));
                    // PANIC: taken once, since a future is not polled after it was ready.
                    let mut response = response.take().expect("polled after completion");
                    session.0.finish(&mut response);
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req, C: ClaimSet> fmt::Debug for ResponseFuture<S, Req, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
