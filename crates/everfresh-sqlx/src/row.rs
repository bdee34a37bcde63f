//! The columns of a session's row, for all databases.

use std::time::Duration;

use everfresh::store::{SessionRecord, StoreError, StoredUpstreamTokens};
use everfresh::{SessionId, Timestamp};
use sqlx::Row;

/// The largest number of sessions of one subject that are listed.
pub(crate) const MAX_LIST: i64 = 1000;

/// How many sessions of one subject are ended at a time, so that each statement stays short.
pub(crate) const BATCH: i64 = 1000;

/// How long the end of a session is kept for nodes that watch revocations. An access token lives
/// for at most one day, and clocks differ.
pub(crate) const KEPT: Duration = Duration::from_secs(26 * 60 * 60);

/// The values of one row.
pub(crate) trait Columns {
    fn integer(&self, column: &str) -> Result<i64, StoreError>;
    fn truth(&self, column: &str) -> Result<bool, StoreError>;
    fn text(&self, column: &str) -> Result<String, StoreError>;
    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError>;
    fn subject(&self) -> Result<String, StoreError>;
}

macro_rules! columns {
    ($row:ty, |$own:ident| $subject:expr) => {
        impl Columns for $row {
            fn integer(&self, column: &str) -> Result<i64, StoreError> {
                self.try_get(column).map_err(StoreError::new)
            }

            fn truth(&self, column: &str) -> Result<bool, StoreError> {
                self.try_get(column).map_err(StoreError::new)
            }

            fn text(&self, column: &str) -> Result<String, StoreError> {
                self.try_get(column).map_err(StoreError::new)
            }

            fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
                self.try_get(column).map_err(StoreError::new)
            }

            fn subject(&self) -> Result<String, StoreError> {
                let $own = self;
                $subject
            }
        }
    };
}

#[cfg(feature = "sqlite")]
columns!(sqlx::sqlite::SqliteRow, |row| row.text("subject"));

#[cfg(feature = "postgres")]
columns!(sqlx::postgres::PgRow, |row| {
    let bytes = row.bytes("subject")?.unwrap_or_default();
    // The error's own text would contain the bytes.
    String::from_utf8(bytes).map_err(|error| StoreError::new(error.utf8_error()))
});

pub(crate) fn record(row: &impl Columns) -> Result<SessionRecord, StoreError> {
    let mut record = SessionRecord::new(sid(row)?, row.subject()?);
    record.generation = unsigned(row, "generation")?;
    record.key_id = u32::try_from(unsigned(row, "key_id")?).map_err(StoreError::new)?;
    record.confirmed = row.truth("confirmed")?;
    record.rotated_at = time(row, "rotated_at")?;
    record.created_at = time(row, "created_at")?;
    record.idle_expires = time(row, "idle_expires")?;
    record.absolute_expires = time(row, "absolute_expires")?;
    record.idle_lifetime = Duration::from_millis(unsigned(row, "idle_lifetime")?);
    record.persistent = row.truth("persistent")?;
    record.salt =
        sixteen(row, "salt")?.ok_or_else(|| StoreError::new("a session's row has no salt"))?;
    record.claims = row.text("claims")?;
    record.attributes = serde_json::from_str(&row.text("attributes")?).map_err(StoreError::new)?;
    record.upstream = upstream(row)?.map(Box::new);
    Ok(record)
}

fn upstream(row: &impl Columns) -> Result<Option<StoredUpstreamTokens>, StoreError> {
    let Some(sealed) = row.bytes("up_sealed")? else { return Ok(None) };
    let mut upstream = StoredUpstreamTokens::new(sealed, time(row, "up_expires")?);
    upstream.seq = unsigned(row, "up_seq")?;
    upstream.tries = u32::try_from(unsigned(row, "up_tries")?).map_err(StoreError::new)?;
    upstream.reservation = sixteen(row, "up_claim")?;
    upstream.reserved_at = time(row, "up_claimed_at")?;
    Ok(Some(upstream))
}

/// Returns the session id of a row.
pub(crate) fn sid(row: &impl Columns) -> Result<SessionId, StoreError> {
    let sid = sixteen(row, "sid")?.ok_or_else(|| StoreError::new("a session's row has no id"))?;
    Ok(SessionId::from_bytes(sid))
}

fn unsigned(row: &impl Columns, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.integer(column)?).map_err(StoreError::new)
}

pub(crate) fn time(row: &impl Columns, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::default().plus(Duration::from_millis(unsigned(row, column)?)))
}

fn sixteen(row: &impl Columns, column: &str) -> Result<Option<[u8; 16]>, StoreError> {
    let bytes = row.bytes(column)?.map(<[u8; 16]>::try_from).transpose();
    bytes.map_err(|_| StoreError::new(format!("{column} is not 16 bytes long")))
}

/// Converts a number to the signed integer of the databases.
pub(crate) fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(StoreError::new)
}

pub(crate) fn millis(time: Timestamp) -> Result<i64, StoreError> {
    duration(time.since(Timestamp::default()))
}

/// Returns the duration in milliseconds.
pub(crate) fn duration(duration: Duration) -> Result<i64, StoreError> {
    i64::try_from(duration.as_millis()).map_err(StoreError::new)
}
