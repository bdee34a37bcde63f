//! Ends sessions: each statement that removes a row also records and announces the end.

use everfresh::SessionId;
use everfresh::store::{SessionRecord, StoreError};

use super::PostgresStore;
use crate::row::{BATCH, integer, record, sid};

/// Records and announces which sessions ended, in the statement that removes them. A notification
/// carries the id as text, in base64url as everywhere outside of the database.
macro_rules! told {
    () => {
        told!("sid")
    };
    ($columns:expr) => {
        concat!(
            "noted AS (INSERT INTO everfresh_ended (ended_at, sid) SELECT ",
            now!(),
            ", sid FROM gone RETURNING sid) SELECT ",
            $columns,
            ", pg_notify(left('everfresh_ended:' || current_schema(), 63), \
             rtrim(translate(encode(sid, 'base64'), '+/', '-_'), '=')) \
             FROM noted JOIN gone USING (sid)",
        )
    };
}

impl PostgresStore {
    /// Ends a session. Returns whether it existed.
    pub(super) async fn end_one(&self, sid: SessionId) -> Result<bool, StoreError> {
        let statement = self.statement(concat!(
            "WITH gone AS (DELETE FROM everfresh_sessions WHERE sid = $2 RETURNING sid), ",
            told!(),
        ))?;
        let gone = self.rows(statement.bind(sid.as_bytes().to_vec())).await?;
        Ok(!gone.is_empty())
    }

    /// Ends a session. Returns it as it was.
    pub(super) async fn take_one(
        &self,
        sid: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let statement = self.statement(concat!(
            "WITH gone AS (DELETE FROM everfresh_sessions WHERE sid = $2 RETURNING ",
            columns!(),
            "), ",
            told!(columns!()),
        ))?;
        let gone = self.rows(statement.bind(sid.as_bytes().to_vec())).await?;
        gone.first().map(record).transpose()
    }

    /// Ends every session of a subject, except `except`, in batches. Returns their ids.
    pub(super) async fn end_all(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut revoked = Vec::new();
        loop {
            let some = self.some_of(subject, except).await?;
            let is_last = integer(some.len() as u64)? < BATCH;
            if !some.is_empty() {
                revoked.extend(self.end_some(some).await?);
            }
            if is_last {
                return Ok(revoked);
            }
        }
    }

    /// Returns up to [`BATCH`] sessions of a subject, except `except`.
    async fn some_of(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let statement = sqlx::query(
            "SELECT sid FROM everfresh_sessions \
             WHERE subject = $1 AND ($2::bytea IS NULL OR sid <> $2) LIMIT $3",
        );
        let except = except.map(|sid| sid.as_bytes().to_vec());
        let statement = statement.bind(subject.as_bytes().to_vec()).bind(except).bind(BATCH);
        let bytes = |row| Ok(sid(row)?.as_bytes().to_vec());
        self.rows(statement).await?.iter().map(bytes).collect()
    }

    /// Ends these sessions. Returns the ids of those that still existed.
    async fn end_some(&self, some: Vec<Vec<u8>>) -> Result<Vec<SessionId>, StoreError> {
        // In a fixed order, so that two such statements don't deadlock.
        let statement = self.statement(concat!(
            "WITH gone AS (DELETE FROM everfresh_sessions WHERE sid IN (SELECT sid FROM \
             everfresh_sessions WHERE sid = ANY ($2) ORDER BY sid FOR UPDATE) RETURNING sid), ",
            told!(),
        ))?;
        self.rows(statement.bind(some)).await?.iter().map(sid).collect()
    }
}
