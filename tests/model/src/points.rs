//! Injects faults at each step of a run in turn, until a run has no further step.
//!
//! A test defines its steps: calls of the store ([`PointStore`]), of the app's revalidation, or of
//! another server. [`at_each_step`] finds the steps from the runs themselves:
//!
//! ```
//! use everfresh_model::points::{Fault, Points, at_each_step};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let hits = at_each_step(Fault::Refuse, async |aim| {
//!     let points = Points::new();
//!     points.arm(aim);
//!     let works = async || points.step("work", async { Ok::<_, &str>(()) }, |lost| lost).await;
//!     let both = (works().await, works().await);
//!     points.disarm();
//!     (points, both)
//! });
//! let refused = Err("it was refused");
//! assert_eq!(hits.await, [("work", (refused, Ok(()))), ("work", (Ok(()), refused))]);
//! # });
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, RevocationSink, Rotation, SessionRecord,
    SessionStore, StoreError, UpstreamTokenStore,
};
use everfresh::{ManualClock, SessionId};
use tokio::sync::watch;

/// The fault that happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails without an effect.
    Refuse,
    /// The call takes effect, and its answer is lost.
    Mute,
    /// The client disconnects before the call takes effect.
    HangUp,
    /// The client disconnects after the call took effect.
    HangUpAfter,
    /// The process is paused before the call: 40 s by the clock, more than a reuse interval.
    Stall,
    /// The answer takes 4 s by tokio's clock, longer than a request waits.
    Hold,
}

/// How long a process is paused.
const STALL: Duration = Duration::from_secs(40);

/// How long an answer is held.
const HOLD: Duration = Duration::from_secs(4);

/// The step that fails in a run, and its fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aim(Option<(&'static str, usize, Fault)>);

/// Runs a test once without a fault. Then, for each step name that any run has had, runs it with
/// the fault at the first step of that name, the second, and so on, until a run has no further
/// step. The order of the steps may differ between runs.
///
/// Returns the step that each fault hit, with the result of that run.
pub async fn at_each_step<T>(
    fault: Fault,
    run: impl AsyncFn(Aim) -> (Points, T),
) -> Vec<(&'static str, T)> {
    let (points, _) = run(Aim(None)).await;
    let mut names = points.names();
    let (mut hits, mut at) = (Vec::new(), 0);
    while let Some(name) = names.get(at).copied() {
        for nth in 0.. {
            let (points, outcome) = run(Aim(Some((name, nth, fault)))).await;
            let new = points.names().into_iter().filter(|name| !names.contains(name));
            names.extend(new.collect::<Vec<_>>());
            match points.hit() {
                Some(hit) => hits.push((hit, outcome)),
                None => break,
            }
        }
        at += 1;
    }
    hits
}

/// The steps of a run, and the one that fails. A handle: clones share the state.
#[derive(Clone, Debug)]
pub struct Points {
    state: Arc<Mutex<State>>,
    hung_up: watch::Sender<bool>,
    clock: Option<ManualClock>,
}

#[derive(Debug, Default)]
struct State {
    aim: Option<Aim>,
    /// The number of steps by name, in the order of first occurrence.
    passed: Vec<(&'static str, usize)>,
    hit: Option<&'static str>,
}

impl Points {
    /// Counts no step and injects no fault until [`arm`](Self::arm).
    pub fn new() -> Self {
        Self { state: Arc::default(), hung_up: watch::Sender::new(false), clock: None }
    }

    /// The clock that advances while a process is paused. Without a clock [`Fault::Stall`] has no
    /// effect.
    pub fn with_clock(clock: ManualClock) -> Self {
        Self { clock: Some(clock), ..Self::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts counting steps, and injects the fault at the step in `aim`.
    pub fn arm(&self, aim: Aim) {
        *self.state() = State { aim: Some(aim), ..State::default() };
        self.hung_up.send_replace(false);
    }

    /// Stops counting steps and injecting faults.
    pub fn disarm(&self) {
        self.state().aim = None;
    }

    /// The name of the step that failed; `None` if the run had no such step.
    pub fn hit(&self) -> Option<&'static str> {
        self.state().hit
    }

    /// The names of the steps since [`arm`](Self::arm).
    fn names(&self) -> Vec<&'static str> {
        self.state().passed.iter().map(|(name, _)| *name).collect()
    }

    fn pass(&self, name: &'static str) -> Option<Fault> {
        let mut state = self.state();
        let aim = state.aim?.0;
        let nth = match state.passed.iter_mut().find(|(passed, _)| *passed == name) {
            Some((_, so_many)) => {
                *so_many += 1;
                *so_many - 1
            }
            None => {
                state.passed.push((name, 1));
                0
            }
        };
        let (_, _, fault) = aim.filter(|(aimed, at, _)| *aimed == name && *at == nth)?;
        state.hit = Some(name);
        Some(fault)
    }

    /// Takes a step. `error` turns a description of the fault into an error.
    pub async fn step<T, E>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
        error: impl FnOnce(&'static str) -> E,
    ) -> Result<T, E> {
        match self.pass(name) {
            None => work.await,
            Some(Fault::Refuse) => Err(error("it was refused")),
            Some(Fault::Mute) => {
                work.await?;
                Err(error("the answer was lost"))
            }
            Some(Fault::HangUp) => {
                self.hang_up().await;
                work.await
            }
            Some(Fault::HangUpAfter) => {
                let done = work.await;
                self.hang_up().await;
                done
            }
            Some(Fault::Stall) => {
                if let Some(clock) = &self.clock {
                    clock.advance(STALL);
                }
                work.await
            }
            Some(Fault::Hold) => {
                let done = work.await;
                tokio::time::sleep(HOLD).await;
                done
            }
        }
    }

    /// The client has disconnected, and the server has noticed.
    async fn hang_up(&self) {
        self.hung_up.send_replace(true);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// Runs a request until a step disconnects its client, which drops the request. Returns `None`
    /// then.
    pub async fn request<F: Future>(&self, request: F) -> Option<F::Output> {
        let mut hung_up = self.hung_up.subscribe();
        let mut hung_up = pin!(hung_up.wait_for(|hung_up| *hung_up));
        let mut request = Some(Box::pin(request));
        poll_fn(move |cx| {
            if hung_up.as_mut().poll(cx).is_ready() {
                request = None;
            }
            match &mut request {
                Some(request) => request.as_mut().poll(cx).map(Some),
                None => Poll::Ready(None),
            }
        })
        .await
    }
}

impl Default for Points {
    fn default() -> Self {
        Self::new()
    }
}

/// A store. Each call to it is a step.
#[derive(Clone, Debug)]
pub struct PointStore<S> {
    store: S,
    points: Points,
}

impl<S> PointStore<S> {
    /// This store, with these points.
    pub fn new(store: S, points: Points) -> Self {
        Self { store, points }
    }

    async fn step<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.points.step(name, call, StoreError::new).await
    }
}

impl<S: SessionStore> SessionStore for PointStore<S> {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.step("create", self.store.create(new)).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        self.step("load", self.store.load(sid)).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        self.step("rotate", self.store.rotate(rotation)).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.step("confirm", self.store.confirm(sid, generation, user_activity)).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.step("revoke", self.store.revoke(sid)).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.step("revoke_subject", self.store.revoke_subject(subject, except)).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.step("list", self.store.list(subject)).await
    }

    async fn newest(&self, subject: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        self.step("newest", self.store.newest(subject, limit)).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.step("sweep", self.store.sweep(limit)).await
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        self.store.watch_revocations(sink).await
    }
}

impl<S: UpstreamTokenStore> UpstreamTokenStore for PointStore<S> {
    async fn reserve(&self, reservation: Reservation) -> Result<bool, StoreError> {
        self.step("claim", self.store.reserve(reservation)).await
    }

    async fn release(&self, reservation: Reservation) -> Result<bool, StoreError> {
        self.step("release", self.store.release(reservation)).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        self.step("publish", self.store.publish(new)).await
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.step("end", self.store.end(sid)).await
    }
}
