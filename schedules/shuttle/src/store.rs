//! A store in memory whose steps take turns, with a record of the steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, Rotation, SessionRecord, SessionStore,
    StoreError, UpstreamTokenStore,
};
use everfresh::{MemoryStore, SessionId};

use crate::turns::Turns;

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) memory: MemoryStore,
    turns: Turns,
    rotations: Arc<AtomicUsize>,
}

type Done<T> = Result<T, StoreError>;

impl Store {
    pub(crate) fn new(memory: MemoryStore, turns: Turns) -> Self {
        Self { memory, turns, rotations: Arc::default() }
    }

    /// How often a session got a new generation.
    pub(crate) fn rotations(&self) -> usize {
        self.rotations.load(Ordering::SeqCst)
    }

    async fn step<T>(&self, step: impl Future<Output = Done<T>>) -> Done<T> {
        self.turns.turn().await;
        let done = step.await;
        self.turns.turn().await;
        done
    }
}

impl SessionStore for Store {
    async fn create(&self, new: NewSession) -> Done<()> {
        self.step(self.memory.create(new)).await
    }

    async fn load(&self, sid: SessionId) -> Done<Option<Loaded>> {
        self.step(self.memory.load(sid)).await
    }

    async fn rotate(&self, rotation: Rotation) -> Done<bool> {
        let on = usize::from(rotation.to > rotation.from);
        self.step(async {
            let changed = self.memory.rotate(rotation).await?;
            self.rotations.fetch_add(on * usize::from(changed), Ordering::SeqCst);
            Ok(changed)
        })
        .await
    }

    async fn confirm(&self, sid: SessionId, generation: u64, user_activity: bool) -> Done<()> {
        self.step(self.memory.confirm(sid, generation, user_activity)).await
    }

    async fn revoke(&self, sid: SessionId) -> Done<bool> {
        self.step(self.memory.revoke(sid)).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Done<Vec<SessionId>> {
        self.step(self.memory.revoke_subject(subject, except)).await
    }

    async fn list(&self, subject: &str) -> Done<Vec<SessionRecord>> {
        self.step(self.memory.list(subject)).await
    }

    async fn sweep(&self, limit: usize) -> Done<usize> {
        self.step(self.memory.sweep(limit)).await
    }
}

impl UpstreamTokenStore for Store {
    async fn reserve(&self, claim: Reservation) -> Done<bool> {
        self.step(self.memory.reserve(claim)).await
    }

    async fn release(&self, claim: Reservation) -> Done<bool> {
        self.step(self.memory.release(claim)).await
    }

    async fn publish(&self, new: Publication) -> Done<bool> {
        self.step(self.memory.publish(new)).await
    }

    async fn end(&self, sid: SessionId) -> Done<Option<SessionRecord>> {
        self.step(self.memory.end(sid)).await
    }
}
