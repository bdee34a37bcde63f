//! Step 6, for every adapter: the response's head is completed, or never comes.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use super::debug::Account;
use super::late::Leaving;
use crate::clock::Timestamp;
use crate::head::ResponseHead;
use crate::mint::ClaimSet;
use crate::respond::{self, Outgoing, Sent};
use crate::session::Session;

/// The status by which pages and clients know that the user has to sign in.
const UNAUTHORIZED: u16 = 401;

/// A request that the inner service is processing. For adapters; returned by
/// [`Engine::attach`](crate::Engine::attach).
///
/// Dropping it seals the session, because a client that disconnects, or a service that fails, gets
/// no response that a later sign-in could be sent with. An adapter therefore holds it for as long
/// as there may be a response.
#[must_use = "the session is sealed when this is dropped"]
pub struct InFlight<C>(pub(super) Session<C>);

/// A future of the response with a complete head: returned by [`InFlight::finish`].
///
/// Ready at the first poll, unless the response took so long that its tokens have to be checked
/// again, which takes up to the refresh timeout (3 s), or it has to wait for a refresh whose result
/// is kept nowhere else.
#[must_use = "futures do nothing unless they are polled"]
pub struct FinishFuture<C, R> {
    in_flight: InFlight<C>,
    response: Option<R>,
    recheck: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<C: ClaimSet> InFlight<C> {
    /// Returns the session, for the request's extensions.
    pub fn session(&self) -> &Session<C> {
        &self.0
    }

    /// Step 6: seals the session and writes the tokens or cleared cookies into the response's head.
    pub fn finish<R: ResponseHead>(self, response: R) -> FinishFuture<C, R> {
        FinishFuture { in_flight: self, response: Some(response), recheck: None }
    }

    /// Step 6 for a response that is created later, and perhaps several times, such as an error's:
    /// seals the session now. Returns `None` if nothing has to be sent with the response.
    pub async fn defer(self) -> Option<Deferred<C>> {
        let session = self.session();
        if session.needs_time() {
            session.wait_for_only_copy().await;
        }
        let leaving = session.close_at().map(|(leaving, _)| leaving);
        let leaving = leaving.filter(|leaving| !leaving.is_empty());
        (leaving.is_some() || session.explains()).then(|| {
            let (session, reported) = (session.clone(), AtomicBool::new(false));
            Deferred { session, leaving, reported }
        })
    }
}

impl<C: ClaimSet> Session<C> {
    /// Seals the session. Returns what is sent with its response, if the session was changed, and
    /// the time of that.
    fn close_at(&self) -> Option<(Leaving, Timestamp)> {
        self.close().then(|| {
            let now = self.core().now();
            (self.leaving(now), now)
        })
    }

    /// Writes the changes into the response's head. `tell`: emits the event of the outcome.
    fn deliver(
        &self,
        response: &mut impl ResponseHead,
        leaving: Leaving,
        tell: bool,
        now: Timestamp,
    ) -> Sent {
        let outgoing = match leaving.outgoing {
            // A page with status 401 for a session that is over: its cookies are of no use any
            // more.
            Outgoing::Nothing if leaving.dead && response.status() == UNAUTHORIZED => {
                Outgoing::Clear { dead: true }
            }
            outgoing => outgoing,
        };
        respond::apply(&self.0.core, response, outgoing, tell, now)
    }

    fn explain(&self, response: &mut impl ResponseHead, sent: Sent) {
        if self.explains() {
            self.account(sent).write(response.fields_mut());
        }
    }

    /// Returns whether every response has the headers of `debug_headers`.
    fn explains(&self) -> bool {
        self.0.core.settings.debug_headers
    }

    /// Returns what `debug_headers` shows of this request.
    fn account(&self, sent: Sent) -> Account<'_> {
        let (core, request) = (&self.0.core, &self.0.request);
        let (status, reason) = self.view(|view| (view.status, view.reason));
        let flight_outcome = self.lock().flight_outcome.as_deref().copied();
        let generation = self.generation();
        Account {
            transport: request.transport,
            by: &core.transports.get(request.transport).access,
            verdict: request.verdict,
            decision: request.decision,
            flight_outcome,
            status,
            reason,
            generation,
            sent,
        }
    }
}

/// What has to be sent with a response that is created later: returned by [`InFlight::defer`].
pub struct Deferred<C> {
    session: Session<C>,
    leaving: Option<Leaving>,
    /// The result was reported.
    reported: AtomicBool,
}

impl<C: ClaimSet> Deferred<C> {
    /// Writes it into the response's head, the same into each response.
    pub fn write(&self, response: &mut impl ResponseHead) {
        let sent = self.leaving.clone().map_or(Sent::Nothing, |leaving| {
            let tell = !self.reported.swap(true, Ordering::Relaxed);
            let now = self.session.core().now();
            self.session.deliver(response, leaving, tell, now)
        });
        self.session.explain(response, sent);
    }
}

impl<C> fmt::Debug for Deferred<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deferred").field(&self.session).finish()
    }
}

impl<C: ClaimSet, R: ResponseHead> Future for FinishFuture<C, R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = &mut *self;
        let session = this.in_flight.session();
        if this.recheck.is_none() && session.needs_time() {
            let session = session.clone();
            this.recheck = Some(Box::pin(async move { session.wait_for_only_copy().await }));
        }
        if let Some(recheck) = &mut this.recheck {
            ready!(recheck.as_mut().poll(cx));
        }
        // PANIC: taken once, since a future is not polled after it was ready.
        let mut response = this.response.take().expect("polled after completion");
        let sent = match session.close_at() {
            None => Sent::Nothing,
            Some((leaving, now)) => session.deliver(&mut response, leaving, true, now),
        };
        session.explain(&mut response, sent);
        Poll::Ready(response)
    }
}

/// The response is never pinned.
impl<C, R> Unpin for FinishFuture<C, R> {}

impl<C> Drop for InFlight<C> {
    fn drop(&mut self) {
        self.0.seal();
    }
}

impl<C> fmt::Debug for InFlight<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.0).finish()
    }
}

impl<C, R> fmt::Debug for FinishFuture<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinishFuture").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}
