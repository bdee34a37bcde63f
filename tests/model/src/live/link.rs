//! The connection from a node to the store. It fails during an outage, is slow where requests race,
//! and holds confirmations until the schedule decides their fate.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everfresh::store::{Loaded, NewSession, Rotation, SessionRecord, SessionStore, StoreError};
use everfresh::{ManualClock, MemoryStore, SessionId, Timestamp};

/// How a store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// Every call fails without an effect.
    Refusing,
    /// Reads succeed. Writes take effect, but their answers are lost.
    Mute,
}

/// A pending confirmation: its node, and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Report {
    pub(super) node: usize,
    pub(super) sid: SessionId,
    pub(super) generation: u64,
}

/// The store, and the connections between it and the nodes.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) store: MemoryStore,
    pub(super) clock: ManualClock,
    reuse_interval: Duration,
    wires: Arc<Mutex<Wires>>,
}

#[derive(Default)]
pub(super) struct Wires {
    pub(super) outage: Option<Outage>,
    /// How often a call yields to other tasks before it answers.
    pub(super) pauses: usize,
    /// Pending confirmations.
    pub(super) reports: Vec<Report>,
    /// The confirmations of each node. A node's table of fingerprints may evict one, and the node
    /// confirms again.
    reported: HashSet<Report>,
    /// How often each session was rotated, and the time of the last rotation.
    rotated: HashMap<SessionId, (u64, Timestamp)>,
    /// The highest generation of each session.
    highest: HashMap<SessionId, u64>,
    /// Rotations to a generation that existed before the store was restored.
    pub(super) ahead_of_store: u64,
    /// Sessions that were rotated twice within the reuse interval.
    pub(super) hasty: Vec<SessionId>,
}

impl Hub {
    pub(super) fn new(clock: ManualClock, reuse_interval: Duration) -> Self {
        let store = MemoryStore::new().clock(clock.clone());
        Self { store, clock, reuse_interval, wires: Arc::default() }
    }

    pub(super) fn link(&self, node: usize) -> StoreLink {
        StoreLink { hub: self.clone(), node }
    }

    pub(super) fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's row, read around any fault.
    pub(super) async fn row(&self, sid: SessionId) -> Option<SessionRecord> {
        self.store.load(sid).await.ok().flatten().map(|loaded| loaded.record)
    }

    /// A confirmation arrives.
    pub(super) async fn deliver(&self, report: Report) {
        let confirmed = self.store.confirm(report.sid, report.generation, false).await;
        confirmed.expect("the store in memory does not fail");
    }
}

impl Wires {
    /// How often a session was rotated.
    pub(super) fn rotations(&self, sid: SessionId) -> u64 {
        self.rotated.get(&sid).map_or(0, |(times, _)| *times)
    }

    /// A node crashed: it sends nothing more, and its successor doesn't know its pending calls.
    pub(super) fn hang_up(&mut self, node: usize) {
        self.reports.retain(|report| report.node != node);
        self.renew(node);
    }

    /// A node's memory is gone.
    pub(super) fn renew(&mut self, node: usize) {
        self.reported.retain(|report| report.node != node);
    }

    /// The store was restored, and its later changes are undone.
    pub(super) fn rewind(&mut self) {
        self.rotated.values_mut().for_each(|(_, last)| *last = Timestamp::default());
    }

    fn note(&mut self, rotation: &Rotation, now: Timestamp, reuse_interval: Duration) {
        let highest = self.highest.entry(rotation.sid).or_default();
        if rotation.to > rotation.from && rotation.to <= *highest {
            // This generation existed before the store was restored.
            self.ahead_of_store += 1;
        } else if rotation.to > rotation.from {
            *highest = rotation.to;
            let (times, last) = self.rotated.entry(rotation.sid).or_default();
            *times += 1;
            if now.since(std::mem::replace(last, now)) < reuse_interval {
                self.hasty.push(rotation.sid);
            }
        }
    }
}

/// The store, as one node sees it.
#[derive(Clone)]
pub(super) struct StoreLink {
    hub: Hub,
    node: usize,
}

impl StoreLink {
    async fn read<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let (outage, pauses) = {
            let wires = self.hub.wires();
            (wires.outage, wires.pauses)
        };
        let done = match outage {
            Some(Outage::Refusing) => Err(StoreError::new("the store is down")),
            _ => call.await,
        };
        for _ in 0..pauses {
            tokio::task::yield_now().await;
        }
        done
    }

    async fn write<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = self.read(call).await?;
        match self.hub.wires().outage {
            Some(Outage::Mute) => Err(StoreError::new("the store's answer was lost")),
            _ => Ok(done),
        }
    }
}

impl SessionStore for StoreLink {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        let sid = new.sid;
        let made = async {
            self.hub.store.create(new).await?;
            self.hub.wires().rotated.insert(sid, (0, self.hub.clock.now()));
            Ok(())
        };
        self.write(made).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        self.read(self.hub.store.load(sid)).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let rotated = async {
            let done = self.hub.store.rotate(rotation.clone()).await?;
            if done {
                self.hub.wires().note(&rotation, self.hub.clock.now(), self.hub.reuse_interval);
            }
            Ok(done)
        };
        self.write(rotated).await
    }

    async fn confirm(&self, sid: SessionId, generation: u64, _: bool) -> Result<(), StoreError> {
        let report = Report { node: self.node, sid, generation };
        let sent = async {
            let mut wires = self.hub.wires();
            if wires.reported.insert(report) {
                wires.reports.push(report);
            }
            Ok(())
        };
        self.write(sent).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.write(self.hub.store.revoke(sid)).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.write(self.hub.store.revoke_subject(subject, except)).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.read(self.hub.store.list(subject)).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.write(self.hub.store.sweep(limit)).await
    }
}
