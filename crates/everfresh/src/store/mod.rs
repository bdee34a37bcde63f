//! For authors of stores, which keep one row per session, however often it is refreshed. An app
//! names [`MemoryStore`], `SqliteStore`, `PostgresStore` (everfresh-sqlx) or `RedisStore`
//! (everfresh-redis), and passes it to [`Rotate::new`](crate::Rotate::new).
//!
//! A store implements [`SessionStore`]. One that can keep another server's tokens implements
//! [`UpstreamTokenStore`] as well. `everfresh_testkit::store_suite!` is the test of both.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Mutex, MutexGuard};
//! use everfresh::store::{
//!     Loaded, NewSession, Rotation, SessionRecord, SessionStore, StoreError,
//! };
//! use everfresh::{Clock, SessionId};
//!
//! /// Rows in memory, behind one lock: each step is atomic.
//! #[derive(Default)]
//! struct Rows {
//!     rows: Mutex<HashMap<SessionId, SessionRecord>>,
//!     clock: Clock,
//! }
//!
//! impl Rows {
//!     fn lock(&self) -> Result<MutexGuard<'_, HashMap<SessionId, SessionRecord>>, StoreError> {
//!         self.rows.lock().map_err(|_| StoreError::new("a step panicked"))
//!     }
//!
//!     fn is_over(&self, row: &SessionRecord) -> bool {
//!         row.idle_expires.min(row.absolute_expires) <= self.clock.now()
//!     }
//!
//!     fn extend(&self, row: &mut SessionRecord) {
//!         let idle_expires = self.clock.now().plus(row.idle_lifetime);
//!         row.idle_expires = idle_expires.min(row.absolute_expires);
//!     }
//! }
//!
//! impl SessionStore for Rows {
//!     async fn create(&self, new: NewSession) -> Result<(), StoreError> {
//!         let record = new.into_record(self.clock.now());
//!         match self.lock()?.insert(record.sid, record) {
//!             None => Ok(()),
//!             Some(_) => Err(StoreError::new("the id is taken")),
//!         }
//!     }
//!
//!     async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
//!         let row = self.lock()?.get(&sid).filter(|row| !self.is_over(row)).cloned();
//!         Ok(row.map(|record| Loaded::new(record, self.clock.now())))
//!     }
//!
//!     async fn rotate(&self, to: Rotation) -> Result<bool, StoreError> {
//!         let mut rows = self.lock()?;
//!         let Some(row) = rows.get_mut(&to.sid).filter(|row| !self.is_over(row)) else {
//!             return Ok(false);
//!         };
//!         let is_new = to.to != to.from;
//!         if row.generation != to.from || (!is_new && row.confirmed) {
//!             return Ok(false);
//!         }
//!         (row.generation, row.key_id, row.rotated_at) = (to.to, to.key_id, self.clock.now());
//!         row.confirmed = false;
//!         if let Some(claims) = to.claims {
//!             row.claims = claims;
//!         }
//!         if is_new && to.user_activity {
//!             self.extend(row);
//!         }
//!         Ok(true)
//!     }
//!
//!     async fn confirm(
//!         &self,
//!         sid: SessionId,
//!         generation: u64,
//!         user_activity: bool,
//!     ) -> Result<(), StoreError> {
//!         if let Some(row) = self.lock()?.get_mut(&sid).filter(|row| row.generation == generation) {
//!             row.confirmed = true;
//!             if user_activity && !self.is_over(row) {
//!                 self.extend(row);
//!             }
//!         }
//!         Ok(())
//!     }
//!
//!     async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
//!         Ok(self.lock()?.remove(&sid).is_some_and(|row| !self.is_over(&row)))
//!     }
//!
//!     async fn revoke_subject(
//!         &self,
//!         subject: &str,
//!         except: Option<SessionId>,
//!     ) -> Result<Vec<SessionId>, StoreError> {
//!         let gone = |row: &SessionRecord| row.subject == subject && Some(row.sid) != except;
//!         Ok(self.lock()?.extract_if(|_, row| gone(row)).map(|(sid, _)| sid).collect())
//!     }
//!
//!     async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
//!         let rows = self.lock()?;
//!         let of = rows.values().filter(|row| row.subject == subject && !self.is_over(row));
//!         let mut of: Vec<_> = of.cloned().collect();
//!         of.sort_by_key(|row| std::cmp::Reverse(row.created_at));
//!         Ok(of)
//!     }
//!
//!     async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
//!         let mut rows = self.lock()?;
//!         Ok(rows.extract_if(|_, row| self.is_over(row)).take(limit).count())
//!     }
//! }
//!
//! let refresher = everfresh::Rotate::new(Rows::default());
//! # let _ = refresher;
//! ```

mod erased;
mod feed;
mod memory;
mod record;
mod upstream;

use std::fmt;

pub(crate) use erased::ErasedStore;
pub use feed::{FeedEvent, RevocationSink};
pub use memory::MemoryStore;
pub use record::{Loaded, NewSession, Rotation, SessionId, SessionRecord};
pub use upstream::{
    NewUpstreamTokens, Publication, Reservation, ReservationId, StoredUpstreamTokens,
    UpstreamTokenStore,
};

/// A failure of a store. The session may well be good.
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Wraps the error of the database behind the store.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session store failed: {}", self.0)
    }
}

crate::debug_is_display!(StoreError);

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// Keeps sessions.
///
/// # Security
/// 1. [`rotate`](Self::rotate) and [`confirm`](Self::confirm) are one atomic step each, also
///    between processes. Two callers must never get `true` for one generation, because a copied
///    token would then live beside the original.
/// 2. A `false` for a change that was made costs nothing: the caller reads the row again.
/// 3. An acknowledged change stays. After a lost rotation, the store looks to the next request as
///    if it were restored from a backup. A lost revocation lets a thief back in.
/// 4. After [`revoke`](Self::revoke) answered, no later step of that session succeeds.
/// 5. The store uses its own time: one clock for all its nodes.
/// 6. Every wait has a limit. An error means *not now*; a store never invents an answer.
///
/// `everfresh-testkit` has the test suite that every store passes.
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a new session.
    ///
    /// # Errors
    ///
    /// Returns an error if the session's id is taken, or the store is full.
    fn create(&self, new: NewSession) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the session, unless it was revoked or is over.
    fn load(
        &self,
        sid: SessionId,
    ) -> impl Future<Output = Result<Option<Loaded>, StoreError>> + Send;

    /// Changes the row if its generation is still `from`: sets the generation, the key id, the
    /// claims if the rotation has any, and `rotated_at` to the store's time. A new generation is
    /// not confirmed; if the rotation has `user_activity`, it moves `idle_expires` to
    /// `idle_lifetime` from now, never past `absolute_expires`. If `to` is the same generation, the
    /// row changes only while it is not confirmed. Returns whether the row changed.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Marks the generation as confirmed if it is still the current one. With `user_activity`, it
    /// moves `idle_expires` as a rotation does.
    fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a session. Returns whether there was one. After an error, the session may have ended
    /// all the same; the next call that succeeds makes sure that every node that watches learns of
    /// it.
    fn revoke(&self, sid: SessionId) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends every session of a subject but `except`. Returns the ids of the sessions that it ended.
    /// It works in batches of about 1,000, so that no step is long however many there are. After an
    /// error some may have ended, which the nodes that watch learn of; call it again for the rest.
    fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// Returns the sessions of a subject that are not over, the latest first; 1,000 at most. It
    /// reads no more than that many, and some that are over.
    fn list(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;

    /// Returns the ids of the `limit` sessions of a subject that began last and are not over, the
    /// latest first. [`Rotate::max_sessions`](crate::Rotate::max_sessions) calls it at each
    /// sign-in, with a limit of 534 at most.
    ///
    /// The default calls [`list`](Self::list), which loads whole rows. A store that can read ids
    /// alone should override it.
    fn newest(
        &self,
        subject: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move {
            let mut records = self.list(subject).await?;
            records.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.sid)));
            Ok(records.into_iter().take(limit).map(|record| record.sid).collect())
        }
    }

    /// Removes at most `limit` sessions that are over. Returns how many it removed.
    fn sweep(&self, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Reports every session that is ended by [`revoke`](Self::revoke) or
    /// [`revoke_subject`](Self::revoke_subject), in this process or another. First it reports the
    /// sessions that ended within [`RevocationSink::lookback`], then it calls `live()`, then it reports
    /// each further session as it ends. A session that is reported twice does no harm. The access
    /// tokens of a session that is never reported stay good on this node until they expire. Read
    /// earlier ends in pages, and report each page by one [`RevocationSink::ended`], which lets the
    /// runtime's other tasks run in between.
    ///
    /// The call runs until [`RevocationSink::is_closed`] returns true, which it asks every minute
    /// or so. It returns `Ok` at once if the store has no feed, which is the default.
    ///
    /// # Errors
    ///
    /// An error means that the sink may have missed ends. The engine then calls the method again,
    /// with the whole lookback.
    fn watch_revocations(
        &self,
        sink: RevocationSink,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = sink;
        async { Ok(()) }
    }
}
