//! The connection to the store: it counts, fails and loses acknowledgements as a test sets it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, Rotation, SessionRecord, SessionStore,
    StoreError, UpstreamTokenStore,
};
use everfresh::{MemoryStore, SessionId};

/// How a step of the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails without an effect.
    Refused,
    /// The call takes effect, and its answer is lost.
    Mute,
    /// The answer takes the given number of milliseconds.
    Slow(u64),
}

#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) store: MemoryStore,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    down: bool,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    steps: HashMap<&'static str, usize>,
}

impl Wire {
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self { store, state: Arc::default() }
    }

    /// Whether every call fails from now on.
    pub(crate) fn down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// How the next step of this name fails.
    pub(crate) fn next(&self, step: &'static str, fault: Fault) {
        self.state.lock().unwrap().faults.entry(step).or_default().push_back(fault);
    }

    /// The number of steps.
    pub(crate) fn steps(&self) -> usize {
        self.state.lock().unwrap().steps.values().sum()
    }

    /// The number of steps of this name.
    pub(crate) fn count(&self, step: &str) -> usize {
        self.state.lock().unwrap().steps.get(step).copied().unwrap_or(0)
    }

    async fn step<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            *state.steps.entry(name).or_default() += 1;
            match state.down {
                true => Some(Fault::Refused),
                false => state.faults.get_mut(name).and_then(VecDeque::pop_front),
            }
        };
        match fault {
            Some(Fault::Refused) => Err(StoreError::new("the store is down")),
            Some(Fault::Mute) => {
                work.await?;
                Err(StoreError::new("the answer was lost"))
            }
            Some(Fault::Slow(ms)) => {
                let done = work.await;
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                done
            }
            None => work.await,
        }
    }
}

impl SessionStore for Wire {
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

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.step("sweep", self.store.sweep(limit)).await
    }
}

impl UpstreamTokenStore for Wire {
    async fn reserve(&self, claim: Reservation) -> Result<bool, StoreError> {
        self.step("claim", self.store.reserve(claim)).await
    }

    async fn release(&self, claim: Reservation) -> Result<bool, StoreError> {
        self.step("release", self.store.release(claim)).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        self.step("publish", self.store.publish(new)).await
    }
}
