//! One refresh per session at a time, in a task of its own, that others join.
//!
//! Rules
//! 1. A flight is keyed by session and by the very token that was presented: only who holds that
//!    token starts it, joins it or takes its result.
//! 2. It is detached: it ends even if every waiter hangs up. It has its own limit (30 s), longer
//!    than that of a waiter.
//! 3. A result is given again to late twins for `overlap`. A failure is not kept, but a session
//!    whose refresh failed is left alone for a while (`backoff.rs`).
//! 4. Everything is bounded: flights that run, and results that are kept.
//! 5. The fresh path never comes here.
//! 6. Each has a span of its own, `everfresh.refresh`, without a parent: it may outlive the request
//!    that started it, and with it would keep that one's span open. It follows from it.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{Instrument as _, Span};

use super::backoff::Backoff;
use super::{Admission, Admitted, Context, Failure, Tokens};
use crate::engine::Core;
use crate::observe::Event;
use crate::observe::metrics::How;

/// How long a refresh may take.
pub(crate) const FLIGHT_LIMIT: Duration = Duration::from_secs(30);

/// How many may run at once; what comes on top is answered as unavailable.
const MAX_RUNNING: usize = 4096;

/// How many results are kept. The oldest give way; they are made again when asked for.
const MAX_RESULTS: usize = 16 * 1024;

/// How a flight ended.
pub(crate) type Landing = Result<Tokens, Failure>;

/// What spans say of an end.
pub(crate) fn outcome_of(landing: &Landing) -> &'static str {
    landing.as_ref().map_or_else(Failure::name, |_| "refreshed")
}

/// A flight as somebody sees who started or joined it.
#[derive(Clone, Debug)]
pub(crate) enum Flight {
    Running(watch::Receiver<Option<Landing>>),
    Landed(Landing),
}

impl Flight {
    /// How it ended, if it has.
    pub(crate) fn landed(&self) -> Option<Landing> {
        match self {
            Self::Landed(landing) => Some(landing.clone()),
            Self::Running(result) => result.borrow().clone(),
        }
    }

    /// Waits for the end, for `limit` at most.
    pub(crate) async fn land(self, core: &Core, limit: Duration) -> Landing {
        let mut result = match self {
            Self::Landed(landing) => return landing,
            Self::Running(result) => result,
        };
        if !can_wait(core) {
            return self_evident(&result);
        }
        let end = within(core, limit, result.wait_for(Option::is_some)).await;
        match end.as_ref().map(|end| end.as_deref()) {
            Some(Ok(Some(landing))) => landing.clone(),
            // The limit is over, or the runtime that flew it is gone.
            _ => Err(Failure::SOON),
        }
    }
}

/// The timer of whoever waits, so that it does not depend on who drives a flight.
fn timer(core: &Core) -> Option<Handle> {
    Handle::try_current().ok().filter(has_timer).or_else(|| core.runtime.clone())
}

fn can_wait(core: &Core) -> bool {
    timer(core).is_some()
}

/// What comes out of `work` within `limit`. Without a timer there is no limit.
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

/// Without a runtime there is nothing to wait for: it has landed, or it never will.
fn self_evident(result: &watch::Receiver<Option<Landing>>) -> Landing {
    result.borrow().clone().unwrap_or(Err(Failure::SOON))
}

/// tokio says that a runtime has no timer only by a panic.
pub(crate) fn has_timer(runtime: &Handle) -> bool {
    let _context = runtime.enter();
    std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// All flights of an engine.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    running: HashMap<Admission, watch::Receiver<Option<Landing>>>,
    results: HashMap<Admission, (Tokens, Duration)>,
    /// The results in the order of their end, which is that of their making.
    ends: VecDeque<(Admission, Duration)>,
    backoff: Backoff,
    /// The engine shuts down: what flies may land, nothing takes off.
    closed: bool,
}

/// Whether the one who asks waits for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Runs beside the request.
    Beside,
    /// The request waits: what needs no waiting is done at once, without a task.
    Awaited,
}

/// Joins the flight of this key, takes its result, or starts it.
///
/// `admitted` says what to refresh; it is asked only by whoever starts. Gives how the one who asks
/// came to the flight, too.
pub(crate) fn fly(
    core: &Arc<Core>,
    key: &Admission,
    admitted: impl FnOnce() -> Admitted,
    haste: Haste,
) -> (Flight, How) {
    let (flight, how, announce) = find_or_announce(core, key);
    core.metrics.flies(how);
    if let Some(announce) = announce {
        take_off(core, key, admitted(), haste, announce);
    }
    (flight, how)
}

/// What the board has for this key. With a sender: the flight to be started.
fn find_or_announce(
    core: &Core,
    key: &Admission,
) -> (Flight, How, Option<watch::Sender<Option<Landing>>>) {
    let mut board = core.flights.lock();
    if let Some(flight) = board.find(key, core.clock.monotonic()) {
        let how = match flight {
            Flight::Running(_) => How::Joined,
            Flight::Landed(_) => How::Replayed,
        };
        return (flight, how, None);
    }
    if let Some(retry_after) = board.backoff.left(&key.sid, core.clock.monotonic()) {
        let failure = Failure::Unavailable { retry_after };
        return (Flight::Landed(Err(failure)), How::BackedOff, None);
    }
    if board.closed || board.running.len() >= MAX_RUNNING {
        return (Flight::Landed(Err(Failure::SOON)), How::Full, None);
    }
    let (announce, result) = watch::channel(None);
    board.running.insert(key.clone(), result.clone());
    (Flight::Running(result), How::Started, Some(announce))
}

fn take_off(
    core: &Arc<Core>,
    key: &Admission,
    admitted: Admitted,
    haste: Haste,
    announce: watch::Sender<Option<Landing>>,
) {
    let span = tracing::info_span!(
        target: "everfresh",
        parent: None,
        "everfresh.refresh",
        sid = &*key.sid,
        outcome = tracing::field::Empty,
    );
    span.follows_from(Span::current());
    core.metrics.took_off();
    let guard = Running { core: core.clone(), key: key.clone(), announce, span: span.clone() };
    let mut task = Box::pin(guard.run(admitted).instrument(span));
    let Some(runtime) = &core.runtime else {
        // Without a runtime only what is ready at once can be had; dropping the rest ends it.
        let _ = task.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        return;
    };
    if haste == Haste::Awaited {
        let _context = runtime.enter();
        if task.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    runtime.spawn(task);
}

impl Flights {
    /// Drops what is kept of a session that was signed out. A flight of it that lands later is
    /// told that the session is over, whatever it brought.
    pub(crate) fn forget(&self, sid: &str) {
        let mut board = self.lock();
        board.results.retain(|key, _| *key.sid != *sid);
        board.running.retain(|key, _| *key.sid != *sid);
    }

    /// Lets nothing take off any more and waits for what is in the air, for a flight's limit at
    /// the most. Says how many had not landed by then.
    pub(crate) async fn drain(&self, core: &Core) -> usize {
        let in_the_air: Vec<_> = {
            let mut board = self.lock();
            board.closed = true;
            board.running.values().cloned().collect()
        };
        let began = core.clock.monotonic();
        let mut left = 0;
        for result in in_the_air {
            let rest = FLIGHT_LIMIT.saturating_sub(core.clock.monotonic().saturating_sub(began));
            let flight = Flight::Running(result.clone());
            let _ = flight.land(core, rest).await;
            left += usize::from(result.borrow().is_none());
        }
        left
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn find(&self, key: &Admission, now: Duration) -> Option<Flight> {
        if let Some(result) = self.running.get(key) {
            return Some(Flight::Running(result.clone()));
        }
        let (tokens, until) = self.results.get(key)?;
        (now < *until).then(|| Flight::Landed(Ok(tokens.clone())))
    }

    fn keep(&mut self, key: Admission, tokens: Tokens, now: Duration, overlap: Duration) {
        let until = now + overlap;
        let full = |board: &Self| board.ends.len() >= MAX_RESULTS;
        while full(self) || self.ends.front().is_some_and(|(_, end)| *end <= now) {
            let Some((oldest, end)) = self.ends.pop_front() else { break };
            // It may have been forgotten, or kept anew, meanwhile.
            if self.results.get(&oldest).is_some_and(|(_, until)| *until == end) {
                self.results.remove(&oldest);
            }
        }
        self.ends.push_back((key.clone(), until));
        self.results.insert(key, (tokens, until));
    }
}

/// A flight in the air. Dropped without landing (its runtime ended), it leaves no trace.
struct Running {
    core: Arc<Core>,
    key: Admission,
    announce: watch::Sender<Option<Landing>>,
    span: Span,
}

impl Running {
    async fn run(self, admitted: Admitted) {
        let began = self.core.clock.monotonic();
        let refresher = self.core.refresher.clone();
        let context = Context::new(self.core.clone());
        let refresh = refresher.refresh(context.clone(), admitted);
        let limited = async {
            match self.core.runtime {
                None => refresh.await,
                Some(_) => match tokio::time::timeout(FLIGHT_LIMIT, refresh).await {
                    Ok(landing) => landing,
                    Err(_) => Err(Failure::SOON),
                },
            }
        };
        // A panic in the app's hook, or of a timer whose runtime ended, ends this flight and
        // nothing else.
        let landing = AssertUnwindSafe(limited).catch_unwind().await.unwrap_or(Err(Failure::SOON));
        if let Ok(tokens) = &landing {
            self.core.learn_key(&tokens.access).await;
        }
        if landing.as_ref().err() == Some(&Failure::Rejected) {
            self.core.revoke_here(&self.key.sid);
        }
        self.core.metrics.flew(self.core.clock.monotonic().saturating_sub(began));
        let landing = self.land(landing, context.is_untried());
        self.span.record("outcome", outcome_of(&landing));
        let sid = &self.key.sid;
        self.core.emit(&match &landing {
            Ok(_) => Event::Refreshed { sid },
            Err(failure) => Event::RefreshFailed { sid, failure: *failure },
        });
        self.announce.send_replace(Some(landing));
    }

    /// Takes the flight off the board and keeps its result, unless the session was signed out.
    fn land(&self, landing: Landing, untried: bool) -> Landing {
        let Self { core, key, .. } = self;
        let now = core.clock.monotonic();
        let mut random = [0];
        let random = getrandom::fill(&mut random).map_or(u8::MAX, |()| random[0]);
        let mut board = core.flights.lock();
        match landing {
            Err(failure) if untried => board.backoff.hold(&key.sid, failure, now),
            _ => board.backoff.note(&key.sid, landing.as_ref().err().copied(), now, random),
        }
        if !self.take_off_board(&mut board) {
            return Err(Failure::Rejected);
        }
        if let Ok(tokens) = &landing
            && !core.overlap.is_zero()
        {
            board.keep(key.clone(), tokens.clone(), now, core.overlap);
        }
        landing
    }

    /// False if it is no longer there: forgotten, and perhaps another one in its place.
    fn take_off_board(&self, board: &mut Board) -> bool {
        let ours = |result: &watch::Receiver<_>| result.same_channel(&self.announce.subscribe());
        let there = board.running.get(&self.key).is_some_and(ours);
        if there {
            board.running.remove(&self.key);
        }
        there
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.take_off_board(&mut self.core.flights.lock());
        self.core.metrics.came_down();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::secret::AccessToken;

    /// Keeps `n` results of sessions that nobody asks for again.
    pub(in crate::refresh) fn fill<C>(auth: &Engine<C>, n: u64) {
        let core = &auth.core;
        for mark in 0..n {
            let key = Admission { sid: format!("{mark}").into(), mark };
            let access = AccessToken::new(String::new());
            let session_expires = core.clock.now();
            let (refresh, persistent, recheck_at) = (None, true, None);
            let tokens = Tokens { access, refresh, session_expires, persistent, recheck_at };
            core.flights.lock().keep(key, tokens, core.clock.monotonic(), core.overlap);
        }
    }

    /// How many results are kept, and how many ends are remembered.
    pub(in crate::refresh) fn sizes<C>(auth: &Engine<C>) -> (usize, usize) {
        let board = auth.core.flights.lock();
        (board.results.len(), board.ends.len())
    }
}
