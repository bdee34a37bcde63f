//! Ends sessions and records each end for the nodes that watch revocations, in one transaction.

use everfresh::SessionId;
use everfresh::store::{SessionRecord, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use crate::row::{BATCH, record, sid};

impl SqliteStore {
    async fn begin(&self) -> Result<Transaction<'_, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::new)
    }

    /// Ends a session. Returns it as it was.
    pub(super) async fn end_one(
        &self,
        sid: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        let gone = sqlx::query("DELETE FROM everfresh_sessions WHERE sid = ? RETURNING *")
            .bind(sid.as_bytes().to_vec())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(StoreError::new)?;
        let Some(gone) = gone else { return Ok(None) };
        sqlx::query("INSERT INTO everfresh_ended (ended_at, sid) VALUES (?, ?)")
            .bind(self.now()?)
            .bind(sid.as_bytes().to_vec())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::new)?;
        transaction.commit().await.map_err(StoreError::new)?;
        record(&gone).map(Some)
    }

    /// Ends up to [`BATCH`] sessions of a subject, except `except`. Returns their ids.
    pub(super) async fn end_some(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        // The transaction excludes other writers, so the two statements find the same rows, in the
        // order of the index.
        macro_rules! some {
            () => {
                "SELECT sid FROM everfresh_sessions \
                 WHERE subject = ?1 AND (?2 IS NULL OR sid <> ?2) \
                 ORDER BY subject, rotated_at DESC, sid LIMIT ?3"
            };
        }
        let except = except.map(|sid| sid.as_bytes().to_vec());
        let mut transaction = self.begin().await?;
        let noted: Vec<SqliteRow> = sqlx::query(concat!(
            "INSERT INTO everfresh_ended (ended_at, sid) SELECT ?4, sid FROM (",
            some!(),
            ") RETURNING sid",
        ))
        .bind(subject.to_owned())
        .bind(except.clone())
        .bind(BATCH)
        .bind(self.now()?)
        .fetch_all(&mut *transaction)
        .await
        .map_err(StoreError::new)?;
        sqlx::query(concat!("DELETE FROM everfresh_sessions WHERE sid IN (", some!(), ")"))
            .bind(subject.to_owned())
            .bind(except)
            .bind(BATCH)
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::new)?;
        transaction.commit().await.map_err(StoreError::new)?;
        noted.iter().map(sid).collect()
    }
}
