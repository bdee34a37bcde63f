//! Sessions in this process's memory: bounded, in shards, swept by the store itself.

mod row;
mod shard;
mod subjects;

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{
    Loaded, NewSession, Publication, Reservation, RevocationSink, Rotation, SessionId,
    SessionRecord, SessionStore, StoreError, StoredUpstreamTokens, UpstreamTokenStore,
};
use crate::clock::{Clock, Timestamp};
use row::Row;
use shard::Shard;
use subjects::{Entry, Subjects};

/// How many ended sessions are remembered for watches that begin later.
const MAX_ENDED: usize = 65_536;

/// How many of them are reported at a time.
const FOLLOW_PAGE: usize = 1000;

/// How often a watch checks whether its node still listens.
const FOLLOW_STEP: Duration = Duration::from_secs(60);

/// How many sessions are kept unless another number is given.
const DEFAULT_CAPACITY: usize = 1_000_000;

const SHARDS: usize = 64;

/// How many sessions of one subject [`SessionStore::list`] returns.
const MAX_LIST: usize = 1000;

/// How many sessions of one subject are looked up, or ended, at a time.
const PAGE: usize = 256;

/// How many rows each [`SessionStore::create`] looks at to make room.
const SWEEP_STEP: usize = 4;

/// Keeps sessions in this process, for one node and for tests. They end with the process.
///
/// It is a cheap handle: clones share the sessions.
///
/// ```
/// use everfresh::MemoryStore;
///
/// let store = MemoryStore::new().capacity(100_000);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
    clock: Clock,
    capacity: usize,
}

struct Inner {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    count: AtomicUsize,
    subjects: Mutex<Subjects>,
    /// Sessions that were ended, for watches, by number.
    ended: Mutex<VecDeque<(u64, Timestamp, SessionId)>>,
    /// The number of the session that ended last.
    last_ended: watch::Sender<u64>,
}

impl MemoryStore {
    /// Makes an empty store for up to a million sessions.
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let inner = Inner {
            hasher: RandomState::new(),
            shards,
            count: AtomicUsize::new(0),
            subjects: Mutex::default(),
            ended: Mutex::default(),
            last_ended: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner), clock: Clock::system(), capacity: DEFAULT_CAPACITY }
    }

    /// Sets the clock, for tests.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Sets how many sessions the store keeps at the most. While it is full of sessions that are
    /// not over, a sign-in fails with `SessionErrorKind::Unavailable`, and an `Event::StoreFailed`
    /// whose log line names this setting. The store ends no session to make room. One user can't
    /// fill it ([`Rotate::max_sessions`](crate::Rotate::max_sessions)).
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// Restores a session as it was, in place of the stored one: from a backup, from another store,
    /// or for a test.
    pub fn restore(&self, record: SessionRecord) {
        let sid = record.sid;
        let former = self.shard(sid).remove(sid);
        self.forget(former.as_slice());
        self.inner.count.fetch_add(1, Ordering::Relaxed);
        let entry = (record.created_at, sid);
        let subject = lock(&self.inner.subjects).insert(&record.subject, entry);
        self.shard(sid).insert(Row::new(record, subject));
    }

    /// Returns how many sessions are kept, including sessions that are over and not yet swept.
    pub fn len(&self) -> usize {
        self.inner.count.load(Ordering::Relaxed)
    }

    /// How many engines watch for sessions that end here.
    #[cfg(test)]
    pub(crate) fn followers(&self) -> usize {
        self.inner.last_ended.receiver_count()
    }

    /// Returns whether no session is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, sid: SessionId) -> MutexGuard<'_, Shard> {
        let at = self.inner.hasher.hash_one(sid) as usize % SHARDS;
        lock(&self.inner.shards[at])
    }

    /// Updates the count and the subjects after rows were removed.
    fn forget(&self, removed: &[Row]) {
        if removed.is_empty() {
            return;
        }
        self.inner.count.fetch_sub(removed.len(), Ordering::Relaxed);
        let mut subjects = lock(&self.inner.subjects);
        for row in removed {
            subjects.remove(&row.subject, (row.created_at, row.sid));
        }
    }

    /// Changes a session's tokens of another server. Returns false if it has none.
    fn upstream(
        &self,
        sid: SessionId,
        change: impl FnOnce(&mut StoredUpstreamTokens, Timestamp) -> bool,
    ) -> bool {
        let now = self.clock.now();
        let mut shard = self.shard(sid);
        let upstream = shard.live(sid, now).and_then(|row| row.upstream.as_deref_mut());
        upstream.is_some_and(|upstream| change(upstream, now))
    }

    /// Tells the watches that a session was ended.
    fn tell(&self, sid: SessionId) {
        let mut ended = lock(&self.inner.ended);
        if ended.len() >= MAX_ENDED {
            ended.pop_front();
        }
        // Under the lock, so that numbers are in order.
        self.inner.last_ended.send_modify(|last| *last += 1);
        let last = *self.inner.last_ended.borrow();
        ended.push_back((last, self.clock.now(), sid));
    }

    /// Ends a session, and tells the watches.
    fn remove(&self, sid: SessionId) -> Option<Row> {
        let removed = self.shard(sid).remove(sid);
        self.forget(removed.as_slice());
        if removed.is_some() {
            self.tell(sid);
        }
        removed
    }

    /// Up to [`PAGE`] sessions of a subject that began before `that`, the latest first.
    fn page_of(&self, subject: &str, that: Option<Entry>) -> Vec<Entry> {
        lock(&self.inner.subjects).before(subject, that, PAGE)
    }

    /// Applies `take` to up to `limit` sessions of a subject that are not over, in the order of
    /// [`page_of`](Self::page_of), and returns the results.
    fn walk<T>(&self, subject: &str, limit: usize, take: impl Fn(&Row) -> T) -> Vec<T> {
        let now = self.clock.now();
        let (mut found, mut page) = (Vec::new(), self.page_of(subject, None));
        while found.len() < limit
            && let Some(last) = page.last().copied()
        {
            let live = page
                .iter()
                .filter_map(|(_, sid)| self.shard(*sid).live(*sid, now).map(|row| take(row)));
            found.extend(live);
            page = self.page_of(subject, Some(last));
        }
        found.truncate(limit);
        found
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionStore for MemoryStore {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        let now = self.clock.now();
        let record = new.into_record(now);
        let sid = record.sid;
        let taken = || StoreError::new("the session's id is taken");
        let swept = {
            let mut shard = self.shard(sid);
            if shard.contains(sid) {
                return Err(taken());
            }
            shard.sweep(now, SWEEP_STEP)
        };
        self.forget(&swept);
        if self.len() >= self.capacity {
            SessionStore::sweep(self, SHARDS).await?;
        }
        if self.inner.count.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.inner.count.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::new(
                "the store is full of sessions that are not over; raise its `capacity`",
            ));
        }
        let subject = lock(&self.inner.subjects).insert(&record.subject, (record.created_at, sid));
        let mut shard = self.shard(sid);
        if shard.contains(sid) {
            // Another call inserted the row meanwhile. The subject's entry stays, which does no
            // harm.
            self.inner.count.fetch_sub(1, Ordering::Relaxed);
            return Err(taken());
        }
        shard.insert(Row::new(record, subject));
        Ok(())
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        let now = self.clock.now();
        let mut shard = self.shard(sid);
        Ok(shard.live(sid, now).map(|row| Loaded { record: (&*row).into(), now }))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut shard = self.shard(rotation.sid);
        let Some(row) = shard.live(rotation.sid, now) else { return Ok(false) };
        let again = rotation.from == rotation.to;
        if row.generation != rotation.from || (again && row.confirmed) {
            return Ok(false);
        }
        let former_end = row.idle_expires;
        row.generation = rotation.to;
        row.confirmed &= again;
        row.key_id = rotation.key_id;
        row.rotated_at = now;
        if !again && rotation.user_activity {
            row.user_activity(now);
        }
        if let Some(claims) = rotation.claims {
            row.claims = claims.into();
        }
        let end = row.idle_expires;
        shard.move_end(rotation.sid, former_end, end);
        Ok(true)
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut shard = self.shard(sid);
        if let Some(row) = shard.live(sid, now)
            && row.generation == generation
        {
            row.confirmed = true;
            if user_activity {
                let former_end = row.idle_expires;
                row.user_activity(now);
                let end = row.idle_expires;
                shard.move_end(sid, former_end, end);
            }
        }
        Ok(())
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        Ok(self.remove(sid).is_some())
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let (mut revoked, mut page) = (Vec::new(), self.page_of(subject, None));
        while let Some(last) = page.last().copied() {
            let to_end = page.iter().map(|(_, sid)| *sid).filter(|sid| Some(*sid) != except);
            revoked.extend(to_end.filter(|sid| self.remove(*sid).is_some()));
            page = self.page_of(subject, Some(last));
        }
        Ok(revoked)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let mut records: Vec<SessionRecord> = self.walk(subject, MAX_LIST, |row| row.into());
        records.sort_by_key(|record| std::cmp::Reverse((record.rotated_at, record.sid)));
        Ok(records)
    }

    async fn newest(&self, subject: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        Ok(self.walk(subject, limit, |row| row.sid))
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut swept = 0;
        for shard in &self.inner.shards {
            let removed = lock(shard).sweep(now, limit - swept);
            self.forget(&removed);
            swept += removed.len();
        }
        Ok(swept)
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        let mut news = self.inner.last_ended.subscribe();
        let since = self.clock.now().minus(sink.lookback());
        let mut told = 0;
        loop {
            news.mark_unchanged();
            loop {
                let untold: Vec<_> = {
                    let ended = lock(&self.inner.ended);
                    let first = ended.partition_point(|(n, ..)| *n <= told);
                    ended.range(first..).take(FOLLOW_PAGE).copied().collect()
                };
                let Some((last, ..)) = untold.last() else { break };
                told = *last;
                let matter = untold.iter().filter(|(_, at, _)| *at >= since);
                let sids: Vec<_> = matter.map(|(.., sid)| *sid).collect();
                sink.ended(&sids).await;
            }
            sink.live();
            // A node that stopped listening is noticed within a minute.
            let _ = tokio::time::timeout(FOLLOW_STEP, news.changed()).await;
            if sink.is_closed() {
                return Ok(());
            }
        }
    }
}

impl UpstreamTokenStore for MemoryStore {
    async fn reserve(&self, reservation: Reservation) -> Result<bool, StoreError> {
        Ok(self.upstream(reservation.sid, |upstream, now| upstream.take(reservation, now)))
    }

    async fn release(&self, reservation: Reservation) -> Result<bool, StoreError> {
        Ok(self.upstream(reservation.sid, |upstream, _| upstream.give_back(reservation)))
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        Ok(self.remove(sid).map(|row| (&row).into()))
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut shard = self.shard(new.sid);
        let Some(row) = shard.live(new.sid, now) else { return Ok(false) };
        let Some(upstream) = row.upstream.as_mut().filter(|upstream| upstream.seq == new.seq)
        else {
            return Ok(false);
        };
        **upstream = StoredUpstreamTokens { seq: new.seq + 1, ..new.tokens.into_stored(now) };
        if let Some(claims) = new.claims {
            row.claims = claims.into();
        }
        Ok(true)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.len()).finish_non_exhaustive()
    }
}
