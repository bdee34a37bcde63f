//! Announces sessions that ended in a stream, from which a node that was disconnected continues.
//!
//! It is a stream and not a channel, because entries that were added while a node was away are
//! still in the stream. Catching up and following are the same operation. An end is kept for 26
//! hours, because an access token lives for at most one day, and clocks differ.

use std::time::Duration;

use everfresh::store::{RevocationSink, StoreError};
use everfresh::{SessionId, Timestamp};
use redis::AsyncConnectionConfig;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::streams::{StreamId, StreamReadReply};

use crate::scripts;
use crate::store::RedisStore;

const KEPT: Duration = Duration::from_secs(26 * 60 * 60);

/// How long the server holds a response back while the stream has no new entry.
const BLOCK: Duration = Duration::from_secs(1);

/// The interval between polls on a connection that other code shares.
const EVERY: Duration = Duration::from_millis(100);

/// How many entries are read at a time.
const BATCH: usize = 1000;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    fn ended(&self) -> Vec<u8> {
        format!("{}ended", self.settings.prefix).into_bytes()
    }

    /// Announces to every node that these sessions ended.
    pub(crate) async fn tell(&self, gone: &[SessionId]) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let kept = KEPT.as_millis().to_string();
        let mut arguments = vec![kept.as_bytes()];
        arguments.extend(gone.iter().map(|sid| &sid.as_bytes()[..]));
        self.run::<bool>(&scripts::TELL, &self.ended(), &arguments).await.map(drop)
    }

    /// Reads the recent entries of the stream, and then follows new entries.
    pub(crate) async fn read(&self, sink: &RevocationSink) -> Result<(), StoreError> {
        let own = match &self.settings.client {
            Some(client) => Some(self.open_own(client).await?),
            None => None,
        };
        let since = self.time().await?.minus(sink.lookback());
        // The server's time is in the ids of entries. A test's clock differs from it.
        let mut last = match self.settings.clock {
            None => format!("{}-0", millis(since)),
            Some(_) => "0-0".to_owned(),
        };
        let (mut live, key) = (false, self.ended());
        loop {
            let block = live && own.is_some();
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(BATCH);
            if block {
                command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
            }
            command.arg("STREAMS").arg(&key).arg(&last);
            let reply: Option<StreamReadReply> = match &own {
                Some(own) => {
                    let mut own = own.clone();
                    command.query_async(&mut own).await.map_err(StoreError::new)?
                }
                None => self.within(command.query_async(&mut self.connection())).await?,
            };
            let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
            let (mut count, mut sids) = (0, Vec::new());
            for entry in entries {
                sids.extend(read(&entry).filter(|(_, at)| *at >= since).map(|(sid, _)| sid));
                last = entry.id;
                count += 1;
            }
            sink.ended(&sids).await;
            if sink.is_closed() {
                return Ok(());
            }
            if count == BATCH {
                continue;
            }
            if !live {
                sink.live();
                live = true;
            } else if !block {
                tokio::time::sleep(EVERY).await;
            }
        }
    }

    /// Opens a connection on which the server may hold a response back.
    async fn open_own(&self, client: &redis::Client) -> Result<MultiplexedConnection, StoreError> {
        let limit = self.settings.limit;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit + BLOCK));
        let opened = client.get_multiplexed_async_connection_with_config(&config).await;
        opened.map_err(StoreError::new)
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        if let Some(clock) = &self.settings.clock {
            return Ok(clock.now());
        }
        let (seconds, _): (u64, u64) = self.command("TIME", &[]).await?;
        Ok(Timestamp::from_secs(seconds))
    }
}

fn millis(time: Timestamp) -> u128 {
    time.since(Timestamp::default()).as_millis()
}

fn read(entry: &StreamId) -> Option<(SessionId, Timestamp)> {
    let sid: Vec<u8> = entry.get("sid")?;
    let at: u64 = entry.get("at")?;
    let sid = SessionId::from_bytes(sid.try_into().ok()?);
    Some((sid, Timestamp::default().plus(Duration::from_millis(at))))
}
