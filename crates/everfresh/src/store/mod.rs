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

mod feed;
mod memory;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use futures::future::BoxFuture;
use tracing::Instrument as _;

use crate::clock::Timestamp;

pub use feed::{FeedEvent, RevocationSink};
pub use memory::MemoryStore;
pub use upstream::{
    NewUpstreamTokens, Publication, Reservation, ReservationId, StoredUpstreamTokens,
    UpstreamTokenStore,
};

/// A session's id: 128 random bits, 22 characters as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Makes an id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Parses an id's text. Returns `None` if the text is no id.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let length = B64.decode_slice(text, &mut bytes).ok()?;
        (length == 16).then_some(Self(bytes))
    }

    /// Returns the id's bytes, as stores keep them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&B64.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// One session, as a store keeps it. Nothing in it can be replayed: the refresh token is derived
/// from it and from a key that no store sees.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session's id.
    pub sid: SessionId,
    /// The user: the claim `sub`.
    pub subject: String,
    /// How often its refresh token was rotated.
    pub generation: u64,
    /// The key of the ring that the current refresh token was derived with.
    pub key_id: u32,
    /// Whether a client has presented the current generation.
    pub confirmed: bool,
    /// When the generation began, or was last returned again to a client that had lost it.
    pub rotated_at: Timestamp,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When the session ends unless user activity moves this time.
    pub idle_expires: Timestamp,
    /// When the session ends, whatever activity it has.
    pub absolute_expires: Timestamp,
    /// How long the session may be idle: user activity moves `idle_expires` to this far ahead.
    pub idle_lifetime: Duration,
    /// Whether its cookies outlive the browser ("remember me").
    pub persistent: bool,
    /// The app's claims, the text of a JSON object.
    pub claims: String,
    /// Attributes that the app set, such as the device or the user agent.
    pub attributes: BTreeMap<String, String>,
    /// Random bytes, which never change.
    pub salt: [u8; 16],
    /// Tokens of another server that back the session.
    pub upstream: Option<Box<StoredUpstreamTokens>>,
}

impl SessionRecord {
    /// Makes a record whose other members are zero, empty or `false`: of a session that is over. A
    /// store sets each member that it reads from its row; `everfresh_testkit::store_suite!` finds a
    /// member that a store leaves out.
    pub fn new(sid: SessionId, subject: impl Into<String>) -> Self {
        Self {
            sid,
            subject: subject.into(),
            generation: 0,
            key_id: 0,
            confirmed: false,
            rotated_at: Timestamp::default(),
            created_at: Timestamp::default(),
            idle_expires: Timestamp::default(),
            absolute_expires: Timestamp::default(),
            idle_lifetime: Duration::ZERO,
            persistent: false,
            claims: String::new(),
            attributes: BTreeMap::new(),
            salt: [0; 16],
            upstream: None,
        }
    }

    /// Returns the client that the session's refresh tokens were issued to, if they are bound to
    /// one: the attribute `client_id`.
    pub(crate) fn client(&self) -> Option<&str> {
        self.attributes.get("client_id").map(String::as_str)
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("sid", &self.sid)
            .field("generation", &self.generation)
            .field("confirmed", &self.confirmed)
            .field("rotated_at", &self.rotated_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("sid", &self.sid)
            .field("key_id", &self.key_id)
            .field("persistent", &self.persistent)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("sid", &self.sid)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("key_id", &self.key_id)
            .field("slides", &self.user_activity)
            .finish_non_exhaustive()
    }
}

/// A session's record, and the store's own time when it was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The session's record.
    pub record: SessionRecord,
    /// The store's time. Every time in the record is compared with it.
    pub now: Timestamp,
}

impl Loaded {
    /// Makes what [`SessionStore::load`] returns. `now` is the time by the store's clock.
    pub fn new(record: SessionRecord, now: Timestamp) -> Self {
        Self { record, now }
    }
}

/// A new session. The store adds its own time.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewSession {
    /// The session's id.
    pub sid: SessionId,
    /// The user: the claim `sub`.
    pub subject: String,
    /// The key of the ring that its first refresh token is derived with.
    pub key_id: u32,
    /// How long the session may be idle.
    pub idle_lifetime: Duration,
    /// How long the session may live.
    pub absolute_lifetime: Duration,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
    /// The app's claims, the text of a JSON object.
    pub claims: String,
    /// Attributes that the app set.
    pub attributes: BTreeMap<String, String>,
    /// Random bytes.
    pub salt: [u8; 16],
    /// Tokens of another server that back the session.
    pub upstream: Option<NewUpstreamTokens>,
}

impl NewSession {
    /// Makes a new session as a test of a store needs it: without claims and attributes, with
    /// cookies that outlive the browser.
    pub fn new(
        sid: SessionId,
        subject: impl Into<String>,
        idle_lifetime: Duration,
        absolute_lifetime: Duration,
    ) -> Self {
        Self {
            sid,
            subject: subject.into(),
            key_id: 0,
            idle_lifetime,
            absolute_lifetime,
            persistent: true,
            claims: "{}".into(),
            attributes: BTreeMap::new(),
            salt: [0; 16],
            upstream: None,
        }
    }

    /// Returns the record that a store keeps. `now` is the time by the store's clock.
    pub fn into_record(self, now: Timestamp) -> SessionRecord {
        let absolute_expires = now.plus(self.absolute_lifetime);
        SessionRecord {
            sid: self.sid,
            subject: self.subject,
            generation: 0,
            key_id: self.key_id,
            confirmed: false,
            rotated_at: now,
            created_at: now,
            idle_expires: now.plus(self.idle_lifetime).min(absolute_expires),
            absolute_expires,
            idle_lifetime: self.idle_lifetime,
            persistent: self.persistent,
            claims: self.claims,
            attributes: self.attributes,
            salt: self.salt,
            upstream: self.upstream.map(|new| Box::new(new.into_stored(now))),
        }
    }
}

/// A compare-and-set of a session's row: what it must still be, and what it becomes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Rotation {
    /// The session's id.
    pub sid: SessionId,
    /// The generation that the row must have.
    pub from: u64,
    /// The generation that the row gets. It is the same as `from` if the current one is only
    /// returned again.
    pub to: u64,
    /// The key of the ring that this generation is derived with.
    pub key_id: u32,
    /// The app's claims from now on. None: the claims that the row has by then, which another node
    /// may have changed meanwhile.
    pub claims: Option<String>,
    /// Whether a new generation counts as user activity, which moves `idle_expires`.
    pub user_activity: bool,
}

impl Rotation {
    /// Makes a rotation as a test of a store needs it: one that keeps the row's claims and does not
    /// count as user activity.
    pub fn new(sid: SessionId, from: u64, to: u64, key_id: u32) -> Self {
        Self { sid, from, to, key_id, claims: None, user_activity: false }
    }
}

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
    /// An error means that ends may have been missed. The engine then calls it again, and it begins
    /// anew.
    fn watch_revocations(
        &self,
        sink: RevocationSink,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = sink;
        async { Ok(()) }
    }
}

/// [`SessionStore`] with boxed futures, so that its users need no type parameter.
pub(crate) trait ErasedStore: Send + Sync {
    fn create(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>>;
    fn load(&self, sid: SessionId) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>>;
    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<bool, StoreError>>;
    fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
    fn revoke(&self, sid: SessionId) -> BoxFuture<'_, Result<bool, StoreError>>;
    fn revoke_subject<'s>(
        &'s self,
        subject: &'s str,
        except: Option<SessionId>,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>>;
    fn list<'s>(
        &'s self,
        subject: &'s str,
    ) -> BoxFuture<'s, Result<Vec<SessionRecord>, StoreError>>;
    fn newest<'s>(
        &'s self,
        subject: &'s str,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>>;
    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>>;
    fn watch_revocations(&self, sink: RevocationSink) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Boxes one call of the store, in its own span.
fn call<'c, T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'c,
) -> BoxFuture<'c, Result<T, StoreError>> {
    let span = tracing::debug_span!(
        target: "everfresh",
        "everfresh.store",
        call = operation,
        failed = tracing::field::Empty,
    );
    let noted = span.clone();
    let work = async move {
        let answer = work.await;
        noted.record("failed", answer.is_err());
        answer
    };
    Box::pin(work.instrument(span))
}

impl<S: SessionStore> ErasedStore for S {
    fn create(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>> {
        call("create", SessionStore::create(self, new))
    }

    fn load(&self, sid: SessionId) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>> {
        call("load", SessionStore::load(self, sid))
    }

    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<bool, StoreError>> {
        call("rotate", SessionStore::rotate(self, rotation))
    }

    fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        call("confirm", SessionStore::confirm(self, sid, generation, user_activity))
    }

    fn revoke(&self, sid: SessionId) -> BoxFuture<'_, Result<bool, StoreError>> {
        call("revoke", SessionStore::revoke(self, sid))
    }

    fn revoke_subject<'s>(
        &'s self,
        subject: &'s str,
        except: Option<SessionId>,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>> {
        call("revoke_subject", SessionStore::revoke_subject(self, subject, except))
    }

    fn list<'s>(
        &'s self,
        subject: &'s str,
    ) -> BoxFuture<'s, Result<Vec<SessionRecord>, StoreError>> {
        call("list", SessionStore::list(self, subject))
    }

    fn newest<'s>(
        &'s self,
        subject: &'s str,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>> {
        call("newest", SessionStore::newest(self, subject, limit))
    }

    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        call("sweep", SessionStore::sweep(self, limit))
    }

    fn watch_revocations(&self, sink: RevocationSink) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(SessionStore::watch_revocations(self, sink))
    }
}
