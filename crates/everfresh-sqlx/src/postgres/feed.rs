//! Follows sessions that ended: by `NOTIFY`, and by a table for ends from before the node listened.

use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{RevocationSink, StoreError};
use sqlx::Row as _;
use sqlx::postgres::PgListener;

use super::PostgresStore;
use crate::row::{Columns as _, KEPT, duration, sid};

/// After this time without a notification the node tests the connection.
const QUIET: Duration = Duration::from_secs(10);

/// How many ends are read at a time.
const PAGE: i64 = 5000;

/// How long a response may take on the connection that listens.
const LIMIT: Duration = Duration::from_secs(3);

impl PostgresStore {
    /// Removes the ends that are older than [`KEPT`].
    pub(super) async fn forget_ends(&self) -> Result<(), StoreError> {
        let statement = self.statement(concat!(
            "DELETE FROM everfresh_ended WHERE ended_at < ",
            now!(),
            " - $2",
        ))?;
        self.execute(statement.bind(duration(KEPT)?)).await.map(drop)
    }

    /// Reports the sessions that ended before, in pages by the table's index. Each page is a
    /// separate statement with its own limit, whatever the number of ends.
    async fn catch_up(&self, sink: &RevocationSink) -> Result<(), StoreError> {
        let back = duration(sink.lookback())?;
        let mut last = (i64::MIN, Vec::new());
        loop {
            let statement = self.statement(concat!(
                "SELECT ended_at, sid FROM everfresh_ended WHERE ended_at >= ",
                now!(),
                " - $2 AND (ended_at, sid) > ($3, $4) ORDER BY ended_at, sid LIMIT $5",
            ))?;
            let (at, after) = last;
            let rows = self.rows(statement.bind(back).bind(at).bind(after).bind(PAGE)).await?;
            let sids: Vec<SessionId> = rows.iter().map(sid).collect::<Result<_, _>>()?;
            sink.ended(&sids).await;
            match rows.last() {
                Some(row) if rows.len() as i64 == PAGE => {
                    last = (row.integer("ended_at")?, sid(row)?.as_bytes().to_vec());
                }
                _ => return Ok(()),
            }
        }
    }

    pub(super) async fn tell(&self, sink: &RevocationSink) -> Result<(), StoreError> {
        let mut listener = limited(PgListener::connect_with(&self.pool)).await?;
        let channel = limited(
            sqlx::query("SELECT left('everfresh_ended:' || current_schema(), 63) AS channel")
                .fetch_one(&mut listener),
        );
        let channel: String = channel.await?.try_get("channel").map_err(StoreError::new)?;
        limited(listener.listen(&channel)).await?;
        // Only after `LISTEN`: later ends arrive as notifications, and earlier ends are read here.
        self.catch_up(sink).await?;
        sink.live();
        loop {
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(told))) => {
                    if let Some(sid) = SessionId::parse(told.payload()) {
                        sink.ended(&[sid]).await;
                    }
                }
                Ok(Ok(None)) => return Err(StoreError::new("the connection was lost")),
                Ok(Err(error)) => return Err(StoreError::new(error)),
                Err(_) => {
                    if sink.is_closed() {
                        return Ok(());
                    }
                    limited(sqlx::query("SELECT 1").execute(&mut listener)).await?;
                }
            }
        }
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done.map_err(StoreError::new),
        Err(_) => Err(StoreError::new(format!("no answer within {LIMIT:?}"))),
    }
}
