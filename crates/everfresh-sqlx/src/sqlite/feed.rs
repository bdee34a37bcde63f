//! SQLite tells nobody anything, so whoever follows looks.

use std::time::Duration;

use everfresh::{Ear, SessionId, SessionRecord, StoreError};
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use crate::row::{Columns as _, KEPT, duration, integer, record, sid};

/// How often: the last of three nodes hears within a tenth of a second then. A look by the table's
/// key costs some microseconds.
const EVERY: Duration = Duration::from_millis(50);

/// How many are read at a time.
const BATCH: i64 = 1000;

impl SqliteStore {
    /// Ends sessions and notes it, both or neither. Gives them as they were.
    pub(super) async fn remove(
        &self,
        delete: Delete<'_>,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction: Transaction<'_, Sqlite> = begun.map_err(StoreError::new)?;
        let statement = match delete {
            Delete::Session(sid) => {
                sqlx::query("DELETE FROM everfresh_sessions WHERE sid = ? RETURNING *")
                    .bind(sid.as_bytes().to_vec())
            }
            Delete::Subject(subject, except) => sqlx::query(
                "DELETE FROM everfresh_sessions WHERE subject = ?1 AND (?2 IS NULL OR sid <> ?2) \
                 RETURNING *",
            )
            .bind(subject.to_owned())
            .bind(except.map(|sid| sid.as_bytes().to_vec())),
        };
        let gone = statement.fetch_all(&mut *transaction).await.map_err(StoreError::new)?;
        let gone: Vec<SessionRecord> = gone.iter().map(record).collect::<Result<_, _>>()?;
        let now = self.now()?;
        for SessionRecord { sid, .. } in &gone {
            sqlx::query("INSERT INTO everfresh_ended (ended_at, sid) VALUES (?, ?)")
                .bind(now)
                .bind(sid.as_bytes().to_vec())
                .execute(&mut *transaction)
                .await
                .map_err(StoreError::new)?;
        }
        transaction.commit().await.map_err(StoreError::new)?;
        Ok(gone)
    }

    /// Removes what can't matter any more.
    pub(super) async fn forget_ends(&self) -> Result<(), StoreError> {
        let before = self.now()?.saturating_sub(duration(KEPT)?);
        sqlx::query("DELETE FROM everfresh_ended WHERE ended_at < ?")
            .bind(before)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(StoreError::new)
    }

    pub(super) async fn tell(&self, ear: &Ear) -> Result<(), StoreError> {
        let since = self.now()?.saturating_sub(duration(ear.back())?);
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
            ear.ended(&sids).await;
            if let Some(row) = rows.last() {
                told = row.integer("number")?;
            }
            if ear.is_gone() {
                return Ok(());
            }
            if integer(rows.len() as u64)? == BATCH {
                continue;
            }
            if !live {
                ear.live();
                live = true;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// What is ended.
pub(super) enum Delete<'d> {
    Session(SessionId),
    Subject(&'d str, Option<SessionId>),
}
