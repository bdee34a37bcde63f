//! Faults at the first, second, third step of a run, until a run has no such step.
//!
//! A step is whatever a test says: a call of the store ([`PointStore`]), of the app's revalidation,
//! of another server. The loop is the test's own, and its end comes from the run itself:
//!
//! ```
//! use everfresh_testkit::points::{Fault, Points};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let mut injected = 0;
//! for step in 0.. {
//!     let points = Points::new();
//!     points.arm(step, Fault::Refuse);
//!     let works = async || points.step("work", async { Ok::<_, &str>(()) }, |lost| lost).await;
//!     let _ = (works().await, works().await);
//!     let Some(hit) = points.disarm() else { break };
//!     assert_eq!(hit, "work");
//!     injected += 1;
//! }
//! assert_eq!(injected, 2);
//! # });
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use everfresh::{
    Claim, CustodyStore, Ear, Loaded, ManualClock, NewSession, Publication, Rotation, SessionId,
    SessionRecord, SessionStore, StoreError,
};
use tokio::sync::watch;

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Refuse,
    /// It is done, and the answer is lost.
    Mute,
    /// Whoever sent the request is gone before it is done.
    HangUp,
    /// Whoever sent the request is gone when it is done.
    HangUpAfter,
    /// The process is stopped before it: 40 s by the clock, more than an overlap.
    Stall,
    /// The answer takes 4 s by tokio's clock, longer than a request waits.
    Hold,
}

/// How long a process is stopped.
const STALL: Duration = Duration::from_secs(40);

/// How long an answer is held.
const HOLD: Duration = Duration::from_secs(4);

/// The steps of a run, and which of them fails. A handle: clones share them.
#[derive(Clone, Debug)]
pub struct Points {
    state: Arc<Mutex<State>>,
    hung_up: watch::Sender<bool>,
    clock: Option<ManualClock>,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<(usize, Fault)>,
    passed: usize,
    hit: Option<&'static str>,
}

impl Points {
    /// Nothing is counted and nothing fails until [`arm`](Self::arm).
    pub fn new() -> Self {
        Self { state: Arc::default(), hung_up: watch::Sender::new(false), clock: None }
    }

    /// The clock that goes on while a process is stopped. Without one [`Fault::Stall`] does nothing.
    pub fn with_clock(clock: ManualClock) -> Self {
        Self { clock: Some(clock), ..Self::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on steps are counted, from 0, and this one fails.
    pub fn arm(&self, step: usize, fault: Fault) {
        *self.state() = State { armed: Some((step, fault)), ..State::default() };
        self.hung_up.send_replace(false);
    }

    /// From now on nothing fails any more. The name of the step that did; none, if the run had not
    /// so many.
    pub fn disarm(&self) -> Option<&'static str> {
        let mut state = self.state();
        state.armed = None;
        state.hit
    }

    /// How many steps there were since [`arm`](Self::arm).
    pub fn passed(&self) -> usize {
        self.state().passed
    }

    fn pass(&self, name: &'static str) -> Option<Fault> {
        let mut state = self.state();
        let (step, fault) = state.armed?;
        let hit = state.passed == step;
        state.passed += 1;
        if hit {
            state.hit = Some(name);
        }
        hit.then_some(fault)
    }

    /// Takes a step. `error` makes an error of what happened.
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

    /// Whoever waits is gone, and has been noticed to be.
    async fn hang_up(&self) {
        self.hung_up.send_replace(true);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// A request, until a step hangs up on it; then it is dropped. None: it was.
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

/// A store each of whose calls is a step.
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
        slide: bool,
    ) -> Result<(), StoreError> {
        self.step("confirm", self.store.confirm(sid, generation, slide)).await
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

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.step("sweep", self.store.sweep(limit)).await
    }

    async fn follow(&self, ear: Ear) -> Result<(), StoreError> {
        self.store.follow(ear).await
    }
}

impl<S: CustodyStore> CustodyStore for PointStore<S> {
    async fn claim(&self, claim: Claim) -> Result<bool, StoreError> {
        self.step("claim", self.store.claim(claim)).await
    }

    async fn release(&self, claim: Claim) -> Result<bool, StoreError> {
        self.step("release", self.store.release(claim)).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        self.step("publish", self.store.publish(new)).await
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.step("end", self.store.end(sid)).await
    }
}
