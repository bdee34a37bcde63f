//! The path of a request as a Tower service: a short match.

use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use crate::engine::Engine;
use crate::flow::Progress;
use crate::mint::ClaimSet;

/// Reads, verifies and refreshes the token of each request. Returned by [`Engine::layer`].
pub struct Refresh<S, C> {
    engine: Engine<C>,
    inner: S,
}

impl<S, C> Refresh<S, C> {
    pub(super) fn new(engine: Engine<C>, inner: S) -> Self {
        Self { engine, inner }
    }
}

impl<S, C, B, R> Service<Request<B>> for Refresh<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: ClaimSet,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<B>, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.engine.has_begun(request.extensions().get()) {
            return ResponseFuture::passing(self.inner.call(request));
        }
        match self.engine.begin(&request) {
            Progress::Pass(session) => {
                let in_flight = self.engine.attach(session, &mut request);
                request.extensions_mut().insert(in_flight.session().clone());
                ResponseFuture::calling(in_flight, self.inner.call(request))
            }
            Progress::Wait(waiting) => {
                // Calls the service that was polled ready, because its clone was not polled.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::waiting(self.engine.clone(), waiting, ready, request)
            }
        }
    }
}

impl<S: Clone, C> Clone for Refresh<S, C> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), inner: self.inner.clone() }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Refresh<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").field("inner", &self.inner).finish_non_exhaustive()
    }
}
