//! The gate: every call of a node to the store or to the other server waits here until the schedule
//! decides its fate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, Rotation, SessionRecord, SessionStore,
    StoreError, UpstreamTokenStore,
};
use everfresh::{ManualClock, MemoryStore, SessionId};
use tokio::sync::oneshot;

use super::provider::{Provider, ProviderAnswer, ProviderKind};

/// The kind of a pending operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Reservation,
    Release,
    Publish,
    Revoke,
    /// A refresh token in transit to the other server.
    Request,
    /// The answer in transit to the node.
    Answer,
}

/// Names a pending operation, such as a node's first reservation or its second answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) node: usize,
    pub(super) kind: Kind,
    pub(super) nth: u32,
}

/// A change of the session's row.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Reservation(Reservation),
    Release(Reservation),
    Publish(Publication),
    Revoke(SessionId),
    End(SessionId),
}

/// Whether a change was made, and the row that it ended.
pub(super) struct Made(pub(super) bool, pub(super) Option<SessionRecord>);

pub(super) enum Operation {
    Change(Change, oneshot::Sender<Result<Made, StoreError>>),
    Request(u64, oneshot::Sender<ProviderAnswer>),
    Answer(ProviderAnswer, oneshot::Sender<ProviderAnswer>),
}

pub(super) struct Pending {
    pub(super) id: Id,
    pub(super) what: Operation,
    /// The life of the node that asked. Each restart starts a new one.
    pub(super) life: u32,
}

impl Pending {
    /// Whether the node that asked has crashed.
    pub(super) fn is_orphan(&self) -> bool {
        match &self.what {
            Operation::Change(_, answer) => answer.is_closed(),
            Operation::Request(_, answer) | Operation::Answer(_, answer) => answer.is_closed(),
        }
    }
}

/// The store, the other server, and the gate before them.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) store: MemoryStore,
    pub(super) clock: ManualClock,
    wires: Arc<Mutex<Wires>>,
}

pub(super) struct Wires {
    pub(super) provider: Provider,
    /// The store fails every call.
    pub(super) down: bool,
    /// The time since the start.
    pub(super) now: Duration,
    pub(super) pending: Vec<Pending>,
    /// How many operations of each kind each node has started.
    numbers: Vec<Id>,
}

impl Hub {
    pub(super) fn new(kind: ProviderKind, clock: ManualClock) -> Self {
        let wires = Wires {
            provider: Provider::new(kind),
            down: false,
            now: Duration::ZERO,
            pending: Vec::new(),
            numbers: Vec::new(),
        };
        let store = MemoryStore::new().clock(clock.clone());
        Self { store, clock, wires: Arc::new(Mutex::new(wires)) }
    }

    pub(super) fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn link(&self, node: usize, life: u32) -> StoreLink {
        StoreLink { hub: self.clone(), node, life }
    }

    /// The session's row, read around any fault.
    pub(super) fn row(&self, sid: SessionId) -> Option<SessionRecord> {
        ready(self.store.load(sid)).ok().flatten().map(|loaded| loaded.record)
    }

    /// Makes a change.
    pub(super) fn make(&self, change: Change) -> Result<Made, StoreError> {
        let made = match change {
            Change::Reservation(reservation) => ready(self.store.reserve(reservation)),
            Change::Release(reservation) => ready(self.store.release(reservation)),
            Change::Publish(new) => ready(self.store.publish(new)),
            Change::Revoke(sid) => ready(self.store.revoke(sid)),
            Change::End(sid) => {
                let row = ready(self.store.end(sid))?;
                return Ok(Made(row.is_some(), row));
            }
        };
        made.map(|made| Made(made, None))
    }
}

/// The store in memory never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => unreachable!("the store in memory waits for nothing"),
    }
}

/// The connection from one node to the store and to the other server.
#[derive(Clone)]
pub(super) struct StoreLink {
    pub(super) hub: Hub,
    node: usize,
    life: u32,
}

impl StoreLink {
    pub(super) fn stand(&self, kind: Kind, what: Operation) {
        let (node, life) = (self.node, self.life);
        let mut wires = self.hub.wires();
        let earlier = wires.numbers.iter().filter(|id| id.node == node && id.kind == kind).count();
        let id = Id { node, kind, nth: earlier as u32 + 1 };
        wires.numbers.push(id);
        wires.pending.push(Pending { id, what, life });
    }

    async fn change(&self, kind: Kind, change: Change) -> Result<Made, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.stand(kind, Operation::Change(change, answer));
        answered.await.unwrap_or_else(|_| Err(down()))
    }

    fn up(&self) -> Result<(), StoreError> {
        if self.hub.wires().down { Err(down()) } else { Ok(()) }
    }
}

pub(super) fn down() -> StoreError {
    StoreError::new("the store is down")
}

/// Reads, and calls unrelated to reservations, pass at once.
impl SessionStore for StoreLink {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.up()?;
        self.hub.store.create(new).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        self.up()?;
        self.hub.store.load(sid).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        self.up()?;
        self.hub.store.rotate(rotation).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.up()?;
        self.hub.store.confirm(sid, generation, user_activity).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.change(Kind::Revoke, Change::Revoke(sid)).await.map(|made| made.0)
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.up()?;
        self.hub.store.revoke_subject(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.up()?;
        self.hub.store.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.up()?;
        self.hub.store.sweep(limit).await
    }
}

impl UpstreamTokenStore for StoreLink {
    async fn reserve(&self, reservation: Reservation) -> Result<bool, StoreError> {
        self.change(Kind::Reservation, Change::Reservation(reservation)).await.map(|made| made.0)
    }

    async fn release(&self, reservation: Reservation) -> Result<bool, StoreError> {
        self.change(Kind::Release, Change::Release(reservation)).await.map(|made| made.0)
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        self.change(Kind::Publish, Change::Publish(new)).await.map(|made| made.0)
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.change(Kind::Revoke, Change::End(sid)).await.map(|made| made.1)
    }
}
