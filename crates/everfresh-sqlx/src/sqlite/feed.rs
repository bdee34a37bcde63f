//! SQLite has no notifications, so each node polls for sessions that ended.

use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{RevocationSink, StoreError};

use super::SqliteStore;
use crate::row::{Columns as _, KEPT, duration, integer, sid};

/// The interval between two polls. With it, the last of three nodes learns of an end within a tenth
/// of a second. A poll uses the table's key and costs some microseconds.
const EVERY: Duration = Duration::from_millis(50);

/// How many ends are read at a time.
const BATCH: i64 = 1000;

impl SqliteStore {
    /// Removes the ends that are older than [`KEPT`].
    pub(super) async fn forget_ends(&self) -> Result<(), StoreError> {
        let before = self.now()?.saturating_sub(duration(KEPT)?);
        sqlx::query("DELETE FROM everfresh_ended WHERE ended_at < ?")
            .bind(before)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(StoreError::new)
    }

    pub(super) async fn tell(&self, sink: &RevocationSink) -> Result<(), StoreError> {
        let since = self.now()?.saturating_sub(duration(sink.lookback())?);
        let (mut told, mut live) = (0, false);
        loop {
            let rows = sqlx::query(
                "SELECT number, sid FROM everfresh_ended WHERE number > ? AND ended_at >= ? \
                 ORDER BY number LIMIT ?",
            )
            .bind(told)
            .bind(since)
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await
            .map_err(StoreError::new)?;
            let sids: Vec<SessionId> = rows.iter().map(sid).collect::<Result<_, _>>()?;
            sink.ended(&sids).await;
            if let Some(row) = rows.last() {
                told = row.integer("number")?;
            }
            if sink.is_closed() {
                return Ok(());
            }
            if integer(rows.len() as u64)? == BATCH {
                continue;
            }
            if !live {
                sink.live();
                live = true;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
