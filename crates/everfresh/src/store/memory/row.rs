//! A session's row in memory: a compact record. It boxes what few sessions have, and shares the
//! subject.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{SessionId, SessionRecord, StoredUpstreamTokens};

/// The content of a [`SessionRecord`], in three quarters of the space.
pub(super) struct Row {
    pub(super) sid: SessionId,
    /// Shared with the list of the subject's sessions.
    pub(super) subject: Arc<str>,
    pub(super) generation: u64,
    pub(super) key_id: u32,
    pub(super) confirmed: bool,
    persistent: bool,
    pub(super) rotated_at: Timestamp,
    pub(super) created_at: Timestamp,
    pub(super) idle_expires: Timestamp,
    absolute_expires: Timestamp,
    idle_lifetime: Duration,
    pub(super) claims: Box<str>,
    #[expect(clippy::box_collection, reason = "most have none, and this is a third of the space")]
    attributes: Option<Box<BTreeMap<String, String>>>,
    salt: [u8; 16],
    pub(super) upstream: Option<Box<StoredUpstreamTokens>>,
}

impl Row {
    /// Makes a row. `subject` is the record's, shared.
    pub(super) fn new(record: SessionRecord, subject: Arc<str>) -> Self {
        let attributes = record.attributes;
        Self {
            sid: record.sid,
            subject,
            generation: record.generation,
            key_id: record.key_id,
            confirmed: record.confirmed,
            persistent: record.persistent,
            rotated_at: record.rotated_at,
            created_at: record.created_at,
            idle_expires: record.idle_expires,
            absolute_expires: record.absolute_expires,
            idle_lifetime: record.idle_lifetime,
            claims: record.claims.into(),
            attributes: (!attributes.is_empty()).then(|| Box::new(attributes)),
            salt: record.salt,
            upstream: record.upstream,
        }
    }

    /// Whether the session is over.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.idle_expires || now >= self.absolute_expires
    }

    /// Starts the session's idle time anew.
    pub(super) fn user_activity(&mut self, now: Timestamp) {
        self.idle_expires = now.plus(self.idle_lifetime).min(self.absolute_expires);
    }
}

impl From<&Row> for SessionRecord {
    fn from(row: &Row) -> Self {
        Self {
            sid: row.sid,
            subject: row.subject.to_string(),
            generation: row.generation,
            key_id: row.key_id,
            confirmed: row.confirmed,
            rotated_at: row.rotated_at,
            created_at: row.created_at,
            idle_expires: row.idle_expires,
            absolute_expires: row.absolute_expires,
            idle_lifetime: row.idle_lifetime,
            persistent: row.persistent,
            claims: row.claims.to_string(),
            attributes: row.attributes.as_deref().cloned().unwrap_or_default(),
            salt: row.salt,
            upstream: row.upstream.clone(),
        }
    }
}
