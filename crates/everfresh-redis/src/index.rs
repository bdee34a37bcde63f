//! The index of a subject's sessions: a sorted set of ids. The score is the time at which the
//! session is over at the latest, plus one day for clocks that differ between a cluster's nodes.
//!
//! A session is created before its entry, and no client receives a session before it has an entry.
//! So the index contains every session that a client holds, and an entry without a session belongs
//! to a session that ended for good, because ids are never reused. A node that finds such an entry
//! removes it.

use std::collections::HashSet;
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::StoreError;
use futures::future::try_join_all;
use redis::aio::ConnectionLike;

use crate::row::milliseconds;
use crate::scripts;
use crate::store::{AT_A_TIME, RedisStore};

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    fn index_of(&self, subject: &str) -> Vec<u8> {
        format!("{}subject:{subject}", self.settings.prefix).into_bytes()
    }

    /// Adds a session, and checks a few other entries if the subject has many. The more entries are
    /// stale, the more of them are removed, so that a user who signs in every minute doesn't fill
    /// the memory.
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

    /// Returns `count` entries of a subject's index from position `from` on, the entry with the
    /// latest expiry first. Some of the sessions may be over.
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

    /// Reads the sessions of a subject in the order of [`page`](Self::page), until it has found
    /// `limit` sessions. Removes entries without a session.
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
                    // A concurrent sign-in moves later entries by one, so that one appears twice.
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

    /// Removes entries from a subject's index.
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

    /// Removes the entries of sessions that are over, and ignores errors: stale entries do no harm.
    pub(crate) async fn prune(&self, subject: &str, gone: &[SessionId]) {
        let _ = self.take_out(subject, gone).await;
    }
}

fn id(bytes: &[u8]) -> Option<SessionId> {
    bytes.try_into().ok().map(SessionId::from_bytes)
}
