//! The sessions of a subject: a sorted set of ids, scored with the time when they are over at the
//! latest, a day added for clocks that differ between a cluster's nodes.
//!
//! A row is made before it is entered, and nobody is told of a session before it is entered. So
//! every session that anybody has stands here, and an entry without a row is one whose row is gone
//! for good: ids are never used again. Such entries are taken out by whoever comes across them.

use std::time::Duration;

use everfresh::{SessionId, StoreError};
use redis::aio::ConnectionLike;

use crate::row::milliseconds;
use crate::scripts;
use crate::store::RedisStore;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    fn index_of(&self, subject: &str) -> Vec<u8> {
        format!("{}subject:{subject}", self.settings.prefix).into_bytes()
    }

    /// Enters a session, and looks after a few others if there are many: the more of them are
    /// gone the more go, so that a person who signs in every minute doesn't fill the memory.
    pub(crate) async fn enter(
        &self,
        subject: &str,
        sid: SessionId,
        lives: Duration,
    ) -> Result<(), StoreError> {
        let key = self.index_of(subject);
        let arguments = [&sid.as_bytes()[..], &milliseconds(lives)?];
        let look: Vec<Vec<u8>> = self.run(&scripts::ENTER, &key, &arguments).await?;
        let mut gone = Vec::new();
        for sid in look.iter().filter_map(|bytes| id(bytes)) {
            let there = self.command::<bool>("EXISTS", &[&self.key(sid)]).await;
            if matches!(there, Ok(false)) {
                gone.push(sid);
            }
        }
        self.take_out(subject, &gone).await;
        Ok(())
    }

    /// The sessions of a subject, some of which may be over.
    pub(crate) async fn entries(&self, subject: &str) -> Result<Vec<SessionId>, StoreError> {
        let range: [&[u8]; 3] = [&self.index_of(subject), b"0", b"-1"];
        let entries: Vec<Vec<u8>> = self.command("ZRANGE", &range).await?;
        Ok(entries.iter().filter_map(|bytes| id(bytes)).collect())
    }

    /// Takes out what is over. Entries that stay do no harm.
    pub(crate) async fn take_out(&self, subject: &str, gone: &[SessionId]) {
        if gone.is_empty() {
            return;
        }
        let key = self.index_of(subject);
        let mut arguments = vec![&*key];
        arguments.extend(gone.iter().map(|sid| &sid.as_bytes()[..]));
        let _ = self.command::<usize>("ZREM", &arguments).await;
    }
}

fn id(bytes: &[u8]) -> Option<SessionId> {
    bytes.try_into().ok().map(SessionId::from_bytes)
}
