//! The protocol between a node and the store: one JSON value per line.

use std::collections::BTreeMap;
use std::time::Duration;

use everfresh::store::{
    NewSession, NewUpstreamTokens, Publication, Reservation, Rotation, SessionRecord,
    StoredUpstreamTokens,
};
use everfresh::{SessionId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};

type Id = [u8; 16];

/// A node's request.
#[derive(Serialize, Deserialize)]
pub(crate) enum StoreRequest {
    Create(Box<NewRow>),
    Load(Id),
    Rotate {
        sid: Id,
        from: u64,
        to: u64,
        key_id: u32,
        claims: Option<String>,
        user_activity: bool,
    },
    Confirm {
        sid: Id,
        generation: u64,
        user_activity: bool,
    },
    Revoke(Id),
    RevokeSubject {
        subject: String,
        except: Option<Id>,
    },
    List(String),
    Sweep(usize),
    Reservation(ReservedRow),
    Release(ReservedRow),
    Publish {
        sid: Id,
        seq: u64,
        sealed: Vec<u8>,
        expires_in: u64,
        claims: Option<String>,
    },
    End(Id),
    /// Answered by a line for each session that ends, and by keep-alive lines.
    Follow {
        back: u64,
    },
}

/// The store's answer.
#[derive(Serialize, Deserialize)]
pub(crate) enum StoreAnswer {
    Done,
    Made(bool),
    Row(Option<Box<Row>>, u64),
    Rows(Vec<Row>),
    Ids(Vec<Id>),
    Swept(usize),
    Ended(Id),
    Live,
    Failed(String),
}

/// A [`NewSession`].
#[derive(Serialize, Deserialize)]
pub(crate) struct NewRow {
    sid: Id,
    subject: String,
    key_id: u32,
    idle: u64,
    absolute: u64,
    persistent: bool,
    claims: String,
    attributes: BTreeMap<String, String>,
    salt: [u8; 16],
    upstream: Option<(Vec<u8>, u64)>,
}

/// A [`Reservation`].
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ReservedRow {
    pub(crate) sid: Id,
    seq: u64,
    id: Id,
    replaces: Option<(Id, u64)>,
}

/// A [`SessionRecord`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    sid: Id,
    subject: String,
    generation: u64,
    key_id: u32,
    confirmed: bool,
    rotated_at: u64,
    created_at: u64,
    idle_expires: u64,
    absolute_expires: u64,
    idle_lifetime: u64,
    persistent: bool,
    claims: String,
    attributes: BTreeMap<String, String>,
    salt: [u8; 16],
    upstream: Option<UpstreamRow>,
}

/// A [`StoredUpstreamTokens`].
#[derive(Serialize, Deserialize)]
struct UpstreamRow {
    seq: u64,
    tries: u32,
    reservation: Option<Id>,
    reserved_at: u64,
    sealed: Vec<u8>,
    expires: u64,
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn to_millis(time: Timestamp) -> u64 {
    millis(time.since(Timestamp::from_secs(0)))
}

pub(crate) fn from_millis(millis: u64) -> Timestamp {
    Timestamp::from_secs(0).plus(Duration::from_millis(millis))
}

pub(crate) fn sid(id: Id) -> SessionId {
    SessionId::from_bytes(id)
}

impl From<NewSession> for NewRow {
    fn from(new: NewSession) -> Self {
        Self {
            sid: *new.sid.as_bytes(),
            subject: new.subject,
            key_id: new.key_id,
            idle: millis(new.idle_lifetime),
            absolute: millis(new.absolute_lifetime),
            persistent: new.persistent,
            claims: new.claims,
            attributes: new.attributes,
            salt: new.salt,
            upstream: new.upstream.map(|upstream| (upstream.sealed, millis(upstream.expires_in))),
        }
    }
}

impl From<NewRow> for NewSession {
    fn from(begun: NewRow) -> Self {
        let [idle, absolute] = [begun.idle, begun.absolute].map(Duration::from_millis);
        let mut new = Self::new(sid(begun.sid), begun.subject, idle, absolute);
        (new.key_id, new.salt, new.persistent) = (begun.key_id, begun.salt, begun.persistent);
        (new.claims, new.attributes) = (begun.claims, begun.attributes);
        new.upstream = begun.upstream.map(|(sealed, expires_in)| {
            NewUpstreamTokens::new(sealed, Duration::from_millis(expires_in))
        });
        new
    }
}

impl From<Reservation> for ReservedRow {
    fn from(reservation: Reservation) -> Self {
        let replaces = reservation.replaces.map(|(id, time)| (id, to_millis(time)));
        Self {
            sid: *reservation.sid.as_bytes(),
            seq: reservation.seq,
            id: reservation.id,
            replaces,
        }
    }
}

impl From<ReservedRow> for Reservation {
    fn from(reserved: ReservedRow) -> Self {
        let replaces = reserved.replaces.map(|(id, time)| (id, from_millis(time)));
        let mut reservation = Self::new(sid(reserved.sid), reserved.seq, reserved.id);
        reservation.replaces = replaces;
        reservation
    }
}

impl StoreRequest {
    pub(crate) fn rotate(rotation: Rotation) -> Self {
        let Rotation { sid, from, to, key_id, claims, user_activity, .. } = rotation;
        Self::Rotate { sid: *sid.as_bytes(), from, to, key_id, claims, user_activity }
    }

    pub(crate) fn publish(new: Publication) -> Self {
        let Publication { sid, seq, tokens, claims, .. } = new;
        let (sealed, expires_in) = (tokens.sealed, millis(tokens.expires_in));
        Self::Publish { sid: *sid.as_bytes(), seq, sealed, expires_in, claims }
    }
}

impl From<SessionRecord> for Row {
    fn from(record: SessionRecord) -> Self {
        Self {
            sid: *record.sid.as_bytes(),
            subject: record.subject,
            generation: record.generation,
            key_id: record.key_id,
            confirmed: record.confirmed,
            rotated_at: to_millis(record.rotated_at),
            created_at: to_millis(record.created_at),
            idle_expires: to_millis(record.idle_expires),
            absolute_expires: to_millis(record.absolute_expires),
            idle_lifetime: millis(record.idle_lifetime),
            persistent: record.persistent,
            claims: record.claims,
            attributes: record.attributes,
            salt: record.salt,
            upstream: record.upstream.map(|upstream| UpstreamRow {
                seq: upstream.seq,
                tries: upstream.tries,
                reservation: upstream.reservation,
                reserved_at: to_millis(upstream.reserved_at),
                sealed: upstream.sealed,
                expires: to_millis(upstream.expires),
            }),
        }
    }
}

impl From<Row> for SessionRecord {
    fn from(row: Row) -> Self {
        let mut record = Self::new(sid(row.sid), row.subject);
        (record.generation, record.key_id) = (row.generation, row.key_id);
        (record.confirmed, record.persistent) = (row.confirmed, row.persistent);
        (record.rotated_at, record.created_at) =
            (from_millis(row.rotated_at), from_millis(row.created_at));
        record.idle_expires = from_millis(row.idle_expires);
        record.absolute_expires = from_millis(row.absolute_expires);
        record.idle_lifetime = Duration::from_millis(row.idle_lifetime);
        (record.claims, record.attributes, record.salt) = (row.claims, row.attributes, row.salt);
        record.upstream = row.upstream.map(|kept| {
            let mut tokens = StoredUpstreamTokens::new(kept.sealed, from_millis(kept.expires));
            (tokens.seq, tokens.tries) = (kept.seq, kept.tries);
            (tokens.reservation, tokens.reserved_at) =
                (kept.reservation, from_millis(kept.reserved_at));
            Box::new(tokens)
        });
        record
    }
}

pub(crate) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    what: &impl Serialize,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await
}

pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> std::io::Result<T> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
