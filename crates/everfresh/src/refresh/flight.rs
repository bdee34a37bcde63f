//! Single flight: one refresh per session at a time, in a task of its own, which other requests
//! join.
//!
//! Rules
//! 1. A flight is keyed by the session and the exact token that was presented. Only a request that
//!    holds that token starts the flight, joins it or takes its result.
//! 2. A flight is detached: it ends even if every waiting request is cancelled. It has a limit of
//!    its own (30 s), longer than the limit of a waiting request.
//! 3. A result is returned again to late requests for the refresher's `result_window`, but for no
//!    longer than half of its access token's life. A failure is not kept, but a session whose
//!    refresh failed is backed off for a while (`backoff.rs`). An access token that has already
//!    expired when it arrives is a failure.
//! 4. Running flights and kept results are bounded.
//! 5. The fresh path never comes here.
//! 6. A flight belongs to no client. A refresher that binds refresh tokens to clients returns no
//!    tokens to a flight for a bound token, so no request can take a client's result here.
//! 7. Each flight has a span of its own, `everfresh.refresh`, without a parent. A flight may
//!    outlive the request that started it, and a child span would keep the request's span open. Its
//!    span follows from the request's.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

use super::single_flight::{Entry, Leader, Outcome};
use super::{Context, Failure, FlightKey, RefreshRequest};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::observe::Event;
use crate::observe::metrics::FlightEntry;
use crate::runtime::has_timer;
use crate::verify::expiry;

pub(crate) use super::single_flight::{FlightGroup, FlightResult};

/// How long a refresh may take.
pub(crate) const FLIGHT_LIMIT: Duration = Duration::from_secs(30);

/// Returns the name of a result in spans.
pub(crate) fn outcome_of(result: &FlightResult) -> &'static str {
    result.as_ref().map_or_else(Failure::name, |_| "refreshed")
}

/// A flight, as the requests that started or joined it see it.
#[derive(Clone, Debug)]
pub(crate) enum Flight {
    Running(Outcome),
    Done(FlightResult),
}

impl Flight {
    /// Returns the flight's result, if it has ended.
    pub(crate) fn outcome(&self) -> Option<FlightResult> {
        match self {
            Self::Done(result) => Some(result.clone()),
            Self::Running(result) => result.borrow().clone(),
        }
    }

    /// Waits for the flight's end, for `limit` at most.
    pub(crate) async fn wait(self, core: &Core, limit: Duration) -> FlightResult {
        let mut result = match self {
            Self::Done(result) => return result,
            Self::Running(result) => result,
        };
        if !can_wait(core) {
            return self_evident(&result);
        }
        let end = within(core, limit, result.wait_for(Option::is_some)).await;
        match end.as_ref().map(|end| end.as_deref()) {
            Some(Ok(Some(result))) => result.clone(),
            // The flight was dropped because its runtime has ended.
            Some(Err(_)) => {
                core.emit(&Event::RuntimeEnded);
                Err(Failure::NoRuntime)
            }
            _ => Err(Failure::SOON),
        }
    }
}

/// Returns the waiting request's own timer if it has one, so that the wait does not depend on the
/// runtime that runs the flight.
fn timer(core: &Core) -> Option<Handle> {
    Handle::try_current().ok().filter(has_timer).or_else(|| core.runtime.handle())
}

fn can_wait(core: &Core) -> bool {
    timer(core).is_some()
}

/// Returns the output of `work`, or `None` after `limit`. Without a timer there is no limit.
pub(crate) async fn within<T>(
    core: &Core,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let Some(runtime) = timer(core) else { return Some(work.await) };
    let limited = {
        let _context = runtime.enter();
        tokio::time::timeout(limit, work)
    };
    limited.await.ok()
}

/// Returns the result without waiting, because without a runtime a flight that has not ended never
/// will.
fn self_evident(result: &Outcome) -> FlightResult {
    result.borrow().clone().unwrap_or(Err(Failure::NoRuntime))
}

/// Whether the request waits for the flight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The flight runs beside the request.
    Background,
    /// The request waits. A refresh that needs no waiting is done at once, without a task.
    Blocking,
}

/// Joins the flight of this key, takes its result, or starts it. No flight starts for a session
/// that this node knows to be over.
///
/// `admitted` returns what to refresh; only the request that starts the flight calls it. Also
/// returns how the request came to the flight.
pub(crate) fn join_or_start(
    core: &Arc<Core>,
    key: &FlightKey,
    admitted: impl FnOnce() -> RefreshRequest,
    mode: Mode,
    now: Timestamp,
) -> (Flight, FlightEntry) {
    // A refresh token alone does not say that its session has ended, and a store that is down or
    // another server may not know it either.
    if core.revoked.contains(&key.sid, now) {
        core.metrics.entered(FlightEntry::Replayed);
        return (Flight::Done(Err(Failure::Rejected)), FlightEntry::Replayed);
    }
    let (flight, entry) = match core.flights.enter(key, || core.settings.clock.monotonic()) {
        Entry::Lead(running) => {
            let outcome = running.outcome();
            start(core, running, admitted(), mode);
            (Flight::Running(outcome), FlightEntry::Started)
        }
        Entry::Join(outcome) => (Flight::Running(outcome), FlightEntry::Joined),
        Entry::Cached(tokens) => (Flight::Done(Ok(tokens)), FlightEntry::Replayed),
        Entry::BackedOff(failure) => (Flight::Done(Err(failure)), FlightEntry::BackedOff),
        Entry::Full => (Flight::Done(Err(Failure::SOON)), FlightEntry::Full),
    };
    core.metrics.entered(entry);
    (flight, entry)
}

fn start(core: &Arc<Core>, running: Leader, admitted: RefreshRequest, mode: Mode) {
    let span = tracing::info_span!(
        target: "everfresh",
        parent: None,
        "everfresh.refresh",
        sid = running.sid(),
        outcome = tracing::field::Empty,
    );
    span.follows_from(Span::current());
    let counted = Counted::new(core);
    let runtime = core.runtime();
    let limited = runtime.is_some();
    let task = run(counted, running, admitted, limited, span.clone());
    let mut task = Box::pin(task.instrument(span));
    let Some(runtime) = runtime else {
        // Without a runtime only a refresh that is ready at once can end; the rest is dropped.
        if task.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending() {
            core.emit(&Event::NoRuntime);
        }
        return;
    };
    if mode == Mode::Blocking {
        let _context = runtime.enter();
        if task.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    runtime.spawn(task);
}

/// Counts a running flight in the gauge until it is dropped.
struct Counted(Arc<Core>);

impl Counted {
    fn new(core: &Arc<Core>) -> Self {
        core.metrics.flight_started();
        Self(core.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.flight_ended();
    }
}

impl FlightGroup {
    /// Lets no further flight start and waits for the running ones, for a flight's limit at most.
    /// Returns how many had not ended by then.
    pub(crate) async fn drain(&self, core: &Core) -> usize {
        let began = core.settings.clock.monotonic();
        let mut left = 0;
        for result in self.close() {
            let rest =
                FLIGHT_LIMIT.saturating_sub(core.settings.clock.monotonic().saturating_sub(began));
            let flight = Flight::Running(result.clone());
            let _ = flight.wait(core, rest).await;
            left += usize::from(result.borrow().is_none());
        }
        left
    }
}

/// Runs one flight, from its start to the publication of its result. `limited`: there is a timer.
async fn run(
    counted: Counted,
    running: Leader,
    admitted: RefreshRequest,
    limited: bool,
    span: Span,
) {
    let core = &counted.0;
    let began = core.settings.clock.monotonic();
    let refresher = core.refresher.clone();
    let context = Context::new(core.clone());
    let refresh = refresher.refresh(context.clone(), admitted);
    let limited = async {
        match limited {
            false => refresh.await,
            true => match tokio::time::timeout(FLIGHT_LIMIT, refresh).await {
                Ok(result) => result,
                Err(_) => Err(Failure::SOON),
            },
        }
    };
    // A panic in the app's hook, or of a timer whose runtime ended, ends only this flight.
    let mut result = AssertUnwindSafe(limited).catch_unwind().await.unwrap_or(Err(Failure::SOON));
    let sid = running.sid();
    let mut reuse_interval = core.reuse_interval;
    if let Ok(tokens) = &result {
        core.learn_key(&tokens.access).await;
        if let Some(expires) = expiry(tokens.access.expose().as_bytes()) {
            let left = expires.since(core.now());
            reuse_interval = reuse_interval.min(left / 2);
            if left.is_zero() {
                core.emit(&Event::ExpiredOnArrival { sid });
                result = Err(Failure::SOON);
            }
        }
    }
    if result.as_ref().err() == Some(&Failure::Rejected) {
        core.revoke_here(sid);
    }
    let now = core.settings.clock.monotonic();
    core.metrics.flight_took(now.saturating_sub(began));
    let mut random = [0];
    let random = getrandom::fill(&mut random).map_or(u8::MAX, |()| random[0]);
    let result = running.complete(result, context.is_untried(), now, random, reuse_interval);
    span.record("outcome", outcome_of(&result));
    core.emit(&match &result {
        Ok(_) => Event::Refreshed { sid },
        Err(failure) => Event::RefreshFailed { sid, failure: *failure },
    });
    running.publish(result);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::refresh::Tokens;
    use crate::secret::AccessToken;

    /// Keeps `n` results of sessions that no request asks for again.
    pub(in crate::refresh) fn fill<C>(auth: &Engine<C>, n: u64) {
        let core = &auth.core;
        for fingerprint in 0..n {
            let key = FlightKey { sid: format!("{fingerprint}").into(), fingerprint };
            let access = AccessToken::new(String::new());
            let session_expires = core.settings.clock.now();
            let (refresh, persistent, recheck_at) = (None, true, None);
            let tokens = Tokens { access, refresh, session_expires, persistent, recheck_at };
            core.flights.lock().keep(
                key,
                tokens,
                core.settings.clock.monotonic(),
                core.reuse_interval,
            );
        }
    }

    /// Returns how many results are kept, and how many ends are remembered.
    pub(in crate::refresh) fn sizes<C>(auth: &Engine<C>) -> (usize, usize) {
        let (_, results, ends) = auth.core.flights.sizes();
        (results, ends)
    }
}
