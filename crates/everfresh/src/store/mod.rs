//! Where sessions are kept: one row per session, however often it is refreshed.

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
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From its text; nothing if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let length = B64.decode_slice(text, &mut bytes).ok()?;
        (length == 16).then_some(Self(bytes))
    }

    /// Its bytes, as stores keep it.
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
pub struct SessionRecord {
    /// The session.
    pub sid: SessionId,
    /// Whose it is.
    pub subject: String,
    /// How often its refresh token was rotated.
    pub generation: u64,
    /// The key of the ring that the current refresh token was derived with.
    pub key_id: u32,
    /// A client has presented the current generation.
    pub confirmed: bool,
    /// When the generation began, or was given again to a client that had lost it.
    pub rotated_at: Timestamp,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When the session ends unless it is rotated before.
    pub idle_expires: Timestamp,
    /// When the session ends for good.
    pub absolute_expires: Timestamp,
    /// How far a rotation moves `idle_expires`.
    pub idle_lifetime: Duration,
    /// Whether its cookies outlive the browser ("remember me").
    pub persistent: bool,
    /// The app's claims, the text of a JSON object.
    pub claims: String,
    /// What the app noted of the session: device, user agent.
    pub attributes: BTreeMap<String, String>,
    /// Random, never changes.
    pub salt: [u8; 16],
    /// Tokens of another server that the session rests on.
    pub upstream: Option<Box<StoredUpstreamTokens>>,
}

impl SessionRecord {
    /// The client that the session's refresh tokens were issued to, if they belong to one: the
    /// attribute `client_id`.
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

/// A record, and the store's own time when it was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The session.
    pub record: SessionRecord,
    /// What the store's clock said. Everything that is kept in the store is judged by it.
    pub now: Timestamp,
}

/// A new session. The store fills in its own time.
#[derive(Clone)]
pub struct NewSession {
    /// The session's id.
    pub sid: SessionId,
    /// Whose it is.
    pub subject: String,
    /// The key of the ring that its first refresh token is derived with.
    pub key_id: u32,
    /// How long it may be idle.
    pub idle_lifetime: Duration,
    /// How long it may live.
    pub absolute_lifetime: Duration,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
    /// The app's claims, the text of a JSON object.
    pub claims: String,
    /// What the app noted of it.
    pub attributes: BTreeMap<String, String>,
    /// Random.
    pub salt: [u8; 16],
    /// Tokens of another server that the session rests on.
    pub upstream: Option<NewUpstreamTokens>,
}

impl NewSession {
    /// The record that a store keeps, made at `now` by its clock.
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

/// One compare-and-set: what the row must still be, and what it becomes.
#[derive(Clone)]
pub struct Rotation {
    /// The session.
    pub sid: SessionId,
    /// The generation that the row must have.
    pub from: u64,
    /// The generation that it gets. The same one, if the current is only given again.
    pub to: u64,
    /// The key of the ring that this generation is derived with.
    pub key_id: u32,
    /// The app's claims from now on. None: those that the row has by then, which another node may
    /// have changed meanwhile.
    pub claims: Option<String>,
    /// Whether a new generation moves the idle end.
    pub user_activity: bool,
}

/// A store could not do what it was asked. The session may well be good.
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// From whatever the engine behind the store said.
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
///    between processes. A `true` that two callers get for one generation lets a copied token
///    live beside the original; this must never happen.
/// 2. A `false` for a change that was made costs nothing: the caller looks again.
/// 3. What was acknowledged stays: a rotation that is forgotten makes the next request look
///    restored from a backup, a revocation that is forgotten lets a thief back in.
/// 4. After [`revoke`](Self::revoke) answered, no later step of that session succeeds.
/// 5. Time is the store's own, one clock for all who use it.
/// 6. Nothing waits without a limit. An error means *not now*; never invent an answer.
///
/// `everfresh-testkit` has the suite that every store passes.
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a new session. An error if its id is taken, or the store is full.
    fn create(&self, new: NewSession) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The session, unless it was revoked or is over.
    fn load(
        &self,
        sid: SessionId,
    ) -> impl Future<Output = Result<Option<Loaded>, StoreError>> + Send;

    /// Changes the row if its generation is still `from`: sets generation, key id, claims if it has
    /// any, and `rotated_at` to the store's time. A new generation is not confirmed, and if it `user_activity`
    /// moves `idle_expires` to `idle_lifetime` from now, never past `absolute_expires`; the same
    /// one is changed only while it is not confirmed. Says whether it changed.
    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Marks the generation as confirmed, if it is still the current one; with `user_activity` moves
    /// `idle_expires` as a rotation does.
    fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a session. Says whether there was one. After an error it may have ended all the same;
    /// the next call that succeeds sees to it that every follower hears of it.
    fn revoke(&self, sid: SessionId) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends every session of a subject but `except`. Gives the ids of those it ended. Works in
    /// batches of about 1,000, so that no step is long however many there are. After an error some
    /// may have ended, of which followers hear; call it again for the rest.
    fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send;

    /// The sessions of a subject that are not over, the latest first; 1,000 at most. Looks at no
    /// more than that many, and at some that are over.
    fn list(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;

    /// The ids of the `limit` sessions of a subject that began last and are not over, the latest
    /// first. [`Rotate::max_sessions`](crate::Rotate::max_sessions) asks at each sign-in, with a
    /// limit of 534 at most.
    ///
    /// The default reads [`list`](Self::list), so it loads whole rows: a store that can look at ids
    /// alone should.
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

    /// Removes at most `limit` sessions that are over. Says how many.
    fn sweep(&self, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Tells of every session that is ended by [`revoke`](Self::revoke) or
    /// [`revoke_subject`](Self::revoke_subject), in this process or another: first of those that
    /// were within [`RevocationSink::back`], then `live()`, then of each as it comes. What is told twice does
    /// no harm; what is never told leaves access tokens of that session good here until they
    /// expire. Read what ended before in pages, and tell each page by one [`RevocationSink::ended`], which
    /// lets the runtime's other tasks go on in between.
    ///
    /// Goes on until nobody listens ([`RevocationSink::is_closed`], to be asked every minute or so). An error
    /// means that something may be missed: it is called again, and begins anew. `Ok` at once where
    /// there is no feed, which is the default.
    fn watch_revocations(
        &self,
        ear: RevocationSink,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = ear;
        async { Ok(()) }
    }
}

/// [`SessionStore`] with boxed futures, so that what uses one has one type.
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
    fn watch_revocations(&self, ear: RevocationSink) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// One call, boxed, in a span of its own.
fn call<'c, T>(
    what: &'static str,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'c,
) -> BoxFuture<'c, Result<T, StoreError>> {
    let span = tracing::debug_span!(
        target: "everfresh",
        "everfresh.store",
        call = what,
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

    fn watch_revocations(&self, ear: RevocationSink) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(SessionStore::watch_revocations(self, ear))
    }
}
