//! The response future: named states, boxed only if a request waits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::engine::Engine;
use crate::flow::{FinishFuture, InFlight, PendingSession};
use crate::mint::ClaimSet;
use crate::session::Session;

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
        /// The request waits for a refresh, or for the key of its token. The service that was
        /// polled ready and the request are boxed, so that the future of other requests stays
        /// small.
        PendingSession {
            settle: Pin<Box<dyn Future<Output = Session<C>> + Send>>,
            ready: Option<Box<(Engine<C>, S, Req)>>,
        },
        /// The inner service has been called. `in_flight` is `None` if a layer further outside
        /// finishes the session.
        Calling {
            in_flight: Option<InFlight<C>>,
            #[pin]
            inner: S::Future,
        },
        /// The response's head is being completed.
        FinishFuture { finishing: FinishFuture<C, S::Response> },
    }
}

impl<S, Req, C> ResponseFuture<S, Req, C>
where
    S: Service<Req>,
    C: ClaimSet,
{
    pub(super) fn calling(in_flight: InFlight<C>, inner: S::Future) -> Self {
        Self { state: State::Calling { in_flight: Some(in_flight), inner } }
    }

    pub(super) fn passing(inner: S::Future) -> Self {
        Self { state: State::Calling { in_flight: None, inner } }
    }

    pub(super) fn waiting(
        engine: Engine<C>,
        waiting: PendingSession<C>,
        service: S,
        request: Req,
    ) -> Self {
        let settle = Box::pin(waiting.settle());
        let ready = Some(Box::new((engine, service, request)));
        Self { state: State::PendingSession { settle, ready } }
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
                StateProj::PendingSession { settle, ready } => {
                    let session = ready!(settle.as_mut().poll(cx));
                    // PANIC: taken once, since the state is replaced below in the same poll.
                    let ready = ready.take().expect("polled after completion");
                    let (engine, mut service, mut request) = *ready;
                    let in_flight = engine.attach(session, &mut request);
                    request.extensions_mut().insert(in_flight.session().clone());
                    let inner = service.call(request);
                    this.state.set(State::Calling { in_flight: Some(in_flight), inner });
                }
                StateProj::Calling { in_flight, inner } => {
                    let response = ready!(inner.poll(cx))?;
                    let Some(in_flight) = in_flight.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    let mut finishing = in_flight.finish(response);
                    // Nearly always ready at once, so that the response is not moved into a state.
                    match Pin::new(&mut finishing).poll(cx) {
                        Poll::Ready(response) => return Poll::Ready(Ok(response)),
                        Poll::Pending => this.state.set(State::FinishFuture { finishing }),
                    }
                    return Poll::Pending;
                }
                StateProj::FinishFuture { finishing } => {
                    return Pin::new(finishing).poll(cx).map(Ok);
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
