//! The sessions of a subject: a sorted set of ids, scored with the time when they are over at the
//! latest, a day added for clocks that differ between a cluster's nodes.
//!
//! A row is made before it is entered, and nobody is told of a session before it is entered. So
//! every session that anybody has stands here, and an entry without a row is one whose row is gone
//! for good: ids are never used again. Such entries are taken out by whoever comes across them.

use std::collections::HashSet;
use std::time::Duration;

use everfresh::{SessionId, StoreError};
use futures::future::try_join_all;
use redis::aio::ConnectionLike;

use crate::row::milliseconds;
use crate::scripts;
use crate::store::RedisStore;

/// How many sessions of one subject are asked for at a time.
pub(crate) const AT_A_TIME: usize = 128;

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
        expires_in: Duration,
    ) -> Result<(), StoreError> {
        let key = self.index_of(subject);
        let arguments = [&sid.as_bytes()[..], &milliseconds(expires_in)?];
        let look: Vec<Vec<u8>> = self.run(&scripts::ENTER, &key, &arguments).await?;
        let mut gone = Vec::new();
        for sid in look.iter().filter_map(|bytes| id(bytes)) {
            let there = self.command::<bool>("EXISTS", &[&self.key(sid)]).await;
            if matches!(there, Ok(false)) {
                gone.push(sid);
            }
        }
        self.prune(subject, &gone).await;
        Ok(())
    }

    /// `count` entries of a subject's index, the one that may live longest first, from the one at
    /// `from` on. Some of the sessions may be over.
    pub(crate) async fn page(
        &self,
        subject: &str,
        from: usize,
        count: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let (key, last) = (self.index_of(subject), from + count.saturating_sub(1));
        let (from, last) = (from.to_string(), last.to_string());
        let range = [&*key, from.as_bytes(), last.as_bytes(), b"REV"];
        let entries: Vec<Vec<u8>> = self.command("ZRANGE", &range).await?;
        Ok(entries.iter().filter_map(|bytes| id(bytes)).collect())
    }

    /// Looks at the sessions of a subject in the order of [`page`](Self::page), until `limit` were
    /// found. Entries without a session are taken out.
    pub(crate) async fn walk<T, L: Future<Output = Result<Option<T>, StoreError>>>(
        &self,
        subject: &str,
        limit: usize,
        look: impl Fn(SessionId) -> L,
    ) -> Result<Vec<T>, StoreError> {
        let (mut found, mut gone, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let (mut from, count) = (0, AT_A_TIME.min(limit));
        while found.len() < limit {
            let page = self.page(subject, from, count).await?;
            from += page.len();
            let looks = try_join_all(page.iter().map(|sid| look(*sid))).await?;
            for (sid, there) in page.iter().zip(looks) {
                match there {
                    // A sign-in meanwhile moves what follows by one, so that it comes twice.
                    Some(there) if seen.insert(*sid) => found.push(there),
                    Some(_) => {}
                    None => gone.push(*sid),
                }
            }
            if page.len() < count {
                break;
            }
        }
        self.prune(subject, &gone).await;
        found.truncate(limit);
        Ok(found)
    }

    /// Takes entries out of a subject's index.
    pub(crate) async fn take_out(
        &self,
        subject: &str,
        gone: &[SessionId],
    ) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let key = self.index_of(subject);
        let mut arguments = vec![&*key];
        arguments.extend(gone.iter().map(|sid| &sid.as_bytes()[..]));
        self.command::<usize>("ZREM", &arguments).await.map(drop)
    }

    /// The same, of what is over. Entries that stay do no harm.
    pub(crate) async fn prune(&self, subject: &str, gone: &[SessionId]) {
        let _ = self.take_out(subject, gone).await;
    }
}

fn id(bytes: &[u8]) -> Option<SessionId> {
    bytes.try_into().ok().map(SessionId::from_bytes)
}
