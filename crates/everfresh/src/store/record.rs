//! One session, as a store keeps it, and what changes it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

use super::{NewUpstreamTokens, StoredUpstreamTokens};
use crate::clock::Timestamp;

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
    /// Makes what [`SessionStore::load`](super::SessionStore::load) returns. `now` is the time by the store's clock.
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

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("sid", &self.sid)
            .field("key_id", &self.key_id)
            .field("persistent", &self.persistent)
            .finish_non_exhaustive()
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

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("sid", &self.sid)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("key_id", &self.key_id)
            .field("user_activity", &self.user_activity)
            .finish_non_exhaustive()
    }
}
