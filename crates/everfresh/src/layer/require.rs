//! A layer that answers in place of the inner service if no user is signed in.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::engine::Engine;
use crate::mint::ClaimSet;
use crate::reject::Rejection;

/// Wraps a service in [`Require`]. Returned by [`Engine::require`](crate::Engine::require).
pub struct RequireLayer<C>(Engine<C>);

impl<C> RequireLayer<C> {
    pub(super) fn new(engine: Engine<C>) -> Self {
        Self(engine)
    }
}

impl<S, C> Layer<S> for RequireLayer<C> {
    type Service = Require<S, C>;

    fn layer(&self, inner: S) -> Require<S, C> {
        Require { engine: self.0.clone(), inner }
    }
}

/// Calls the inner service for requests with a signed-in user of its engine, and answers the others
/// itself.
///
/// Answers 500 [`MissingLayer`](crate::RejectionKind::MissingLayer) if no
/// [`Refresh`](super::Refresh) of the same engine is around it, or if a [`Refresh`](super::Refresh)
/// of another engine with the same claims type is between the two.
pub struct Require<S, C> {
    engine: Engine<C>,
    inner: S,
}

impl<S, C, B, R> Service<Request<B>> for Require<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Vec<u8>>,
    C: ClaimSet,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let session = request.extensions().get().ok_or_else(Rejection::missing_layer);
        match session.and_then(|session| self.engine.admit(session)) {
            Ok(()) => RequireFuture::Calling { inner: self.inner.call(request) },
            Err(rejection) => RequireFuture::Rejected { rejection: Some(rejection) },
        }
    }
}

pin_project! {
    /// The future of [`Require`].
    #[project = RequireProj]
    #[allow(missing_docs)]
    pub enum RequireFuture<F> {
        /// The inner service has been called.
        Calling { #[pin] inner: F },
        /// The request is not entitled to the inner service.
        Rejected { rejection: Option<Rejection> },
    }
}

impl<F, R, E> Future for RequireFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Vec<u8>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            RequireProj::Calling { inner } => inner.poll(cx),
            RequireProj::Rejected { rejection } => {
                // PANIC: a future is not polled after it was ready.
                let rejection = rejection.take().expect("polled after completion");
                Poll::Ready(Ok(rejection.into_response()))
            }
        }
    }
}

impl<S: Clone, C> Clone for Require<S, C> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), inner: self.inner.clone() }
    }
}

impl<C> Clone for RequireLayer<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Require<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for RequireLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequireLayer")
    }
}

impl<F> fmt::Debug for RequireFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}
