//! The Redis store: each step is one script.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, RevocationSink, Rotation, SessionRecord,
    SessionStore, StoreError, UpstreamTokenStore,
};
use everfresh::{Clock, SessionId, Timestamp};
use futures::future::try_join_all;
use redis::aio::ConnectionLike;
use redis::{FromRedisValue, Script};

use crate::link::Connection;
use crate::row::{self, Parts, milliseconds};
use crate::scripts;

/// How many sessions of one subject are requested at a time.
pub(crate) const AT_A_TIME: usize = 128;

/// The largest number of sessions of one subject that are listed.
const MAX_LIST: usize = 1000;

const YES: &[u8] = b"1";
const NO: &[u8] = b"";

/// Stores sessions in Redis or Valkey.
///
/// The store is a cheap handle: clones share the connection.
#[derive(Clone)]
pub struct RedisStore<C = Connection> {
    connection: C,
    pub(crate) settings: Arc<Settings>,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) limit: Duration,
    /// A test's clock, in place of the server's.
    pub(crate) clock: Option<Clock>,
    /// Opens the separate connection of the feed.
    pub(crate) client: Option<redis::Client>,
}

impl<C> RedisStore<C> {
    pub(crate) fn replaces(connection: C, settings: Arc<Settings>) -> Self {
        Self { connection, settings }
    }

    /// Sets a clock in place of the server's, for tests. Keys still expire by the server's clock.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        Arc::make_mut(&mut self.settings).clock = Some(clock.into());
        self
    }

    pub(crate) fn connection(&self) -> C
    where
        C: Clone,
    {
        self.connection.clone()
    }

    pub(crate) fn key(&self, sid: SessionId) -> Vec<u8> {
        format!("{}{{{sid}}}", self.settings.prefix).into_bytes()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Runs a script on one key. Its first argument is the time if a test provides a clock.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &[u8],
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let now = self.settings.clock.as_ref().map(|clock| millis(clock.now()).to_string());
        let mut invocation = script.key(key);
        invocation.arg(now.unwrap_or_default());
        for argument in arguments {
            invocation.arg(argument);
        }
        let mut connection = self.connection.clone();
        self.within(invocation.invoke_async(&mut connection)).await
    }

    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        name: &str,
        arguments: &[&[u8]],
    ) -> Result<T, StoreError> {
        let mut command = redis::cmd(name);
        for argument in arguments {
            command.arg(argument);
        }
        let mut connection = self.connection.clone();
        self.within(command.query_async(&mut connection)).await
    }

    /// Waits for an answer, at most for the time limit.
    pub(crate) async fn within<T>(
        &self,
        answer: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let limit = self.settings.limit;
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(StoreError::new),
            Err(_) => Err(StoreError::new(format!("no answer within {limit:?}"))),
        }
    }

    async fn revoke_if(
        &self,
        sid: SessionId,
        subject: Option<&str>,
    ) -> Result<Revoked, StoreError> {
        let arguments = match subject {
            None => [NO, NO],
            Some(subject) => [YES, subject.as_bytes()],
        };
        let answer = self.run(&scripts::REVOKE, &self.key(sid), &arguments).await?;
        Ok(match answer {
            (0u8, _) => Revoked::NotThere,
            (1, subject) => Revoked::Ended(subject),
            _ => Revoked::Foreign,
        })
    }

    /// Ends the sessions of these entries in a subject's index, announces the ends, and then
    /// removes the entries. They are removed last, so that after a failure the next try finds the
    /// sessions again.
    async fn revoke_entries(
        &self,
        subject: &str,
        entries: &[SessionId],
    ) -> Result<Vec<SessionId>, StoreError> {
        let each = entries.iter().map(|sid| self.revoke_if(*sid, Some(subject)));
        let revoked: Vec<_> = entries.iter().zip(try_join_all(each).await?).collect();
        let which = |of: fn(&Revoked) -> bool| {
            let those = revoked.iter().filter(move |(_, revoked)| of(revoked));
            those.map(|(sid, _)| **sid).collect::<Vec<_>>()
        };
        self.tell(&which(|revoked| !matches!(revoked, Revoked::Foreign))).await?;
        self.take_out(subject, entries).await?;
        Ok(which(|revoked| matches!(revoked, Revoked::Ended(_))))
    }
}

/// The result of an attempt to end a session.
enum Revoked {
    /// The session existed and belonged to this subject.
    Ended(String),
    /// The session does not exist: it ended before, perhaps unannounced, or it expired.
    NotThere,
    /// The session belongs to another subject and continues.
    Foreign,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> SessionStore for RedisStore<C> {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        let parts = Parts::of(&new)?;
        let expires_in =
            new.upstream.as_ref().map(|upstream| milliseconds(upstream.expires_in)).transpose()?;
        let arguments = [
            &new.key_id.to_be_bytes()[..],
            &milliseconds(new.idle_lifetime)?,
            &milliseconds(new.absolute_lifetime)?,
            &parts.head,
            expires_in.as_deref().unwrap_or_default(),
            &parts.rest,
        ];
        if !self.run::<bool>(&scripts::CREATE, &self.key(new.sid), &arguments).await? {
            return Err(StoreError::new("the session's id is taken"));
        }
        let entered = self.enter(&new.subject, new.sid, new.absolute_lifetime).await;
        if entered.is_err() {
            // No client has received the session. If this call fails too, the session expires
            // unused.
            let _ = self.revoke_if(new.sid, None).await;
        }
        entered
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        let found: Option<(u64, Vec<u8>)> = self.run(&scripts::LOAD, &self.key(sid), &[]).await?;
        let Some((now, value)) = found else { return Ok(None) };
        let now = Timestamp::default().plus(Duration::from_millis(now));
        Ok(Some(Loaded::new(row::decode(sid, &value)?, now)))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let arguments = [
            &rotation.from.to_be_bytes()[..],
            &rotation.to.to_be_bytes(),
            &rotation.key_id.to_be_bytes(),
            yes(rotation.user_activity),
            yes(rotation.claims.is_some()),
            rotation.claims.as_deref().unwrap_or_default().as_bytes(),
        ];
        self.run(&scripts::ROTATE, &self.key(rotation.sid), &arguments).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        let arguments = [&generation.to_be_bytes()[..], yes(user_activity)];
        self.run::<bool>(&scripts::CONFIRM, &self.key(sid), &arguments).await.map(drop)
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        let revoked = self.revoke_if(sid, None).await?;
        // Also if the session did not exist: an earlier try may have ended it unannounced.
        self.tell(&[sid]).await?;
        let Revoked::Ended(subject) = revoked else { return Ok(false) };
        self.prune(&subject, &[sid]).await;
        Ok(true)
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut revoked = Vec::new();
        loop {
            // Ended sessions have left the index, so the first page is always the next one.
            let mut entries = self.page(subject, 0, MAX_LIST).await?;
            entries.retain(|sid| Some(*sid) != except);
            if entries.is_empty() {
                return Ok(revoked);
            }
            for some in entries.chunks(AT_A_TIME) {
                revoked.extend(self.revoke_entries(subject, some).await?);
            }
        }
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let look = async |sid| {
            let loaded = self.load(sid).await?;
            let record = loaded.map(|loaded| loaded.record);
            Ok(record.filter(|record| record.subject == subject))
        };
        let mut records = self.walk(subject, MAX_LIST, look).await?;
        records.sort_by_key(|record| Reverse((record.rotated_at, record.sid)));
        Ok(records)
    }

    async fn newest(&self, subject: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        let look = async |sid| {
            let arguments = [subject.as_bytes()];
            let live: bool = self.run(&scripts::LIVE, &self.key(sid), &arguments).await?;
            Ok(live.then_some(sid))
        };
        self.walk(subject, limit, look).await
    }

    /// Does nothing, because keys expire by themselves.
    async fn sweep(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        self.read(&sink).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> UpstreamTokenStore for RedisStore<C> {
    async fn reserve(&self, reservation: Reservation) -> Result<bool, StoreError> {
        let replaces = reservation.replaces.as_ref().map_or(NO, |(replaces, _)| &replaces[..]);
        let arguments = [&reservation.seq.to_be_bytes()[..], &reservation.id, replaces];
        self.run(&scripts::RESERVE, &self.key(reservation.sid), &arguments).await
    }

    async fn release(&self, reservation: Reservation) -> Result<bool, StoreError> {
        let (replaces, at) = reservation.replaces.unzip();
        let replaces = replaces.as_ref().map_or(NO, |replaces| &replaces[..]);
        let at = at.map(|at| millis(at).to_string()).unwrap_or_default();
        let arguments =
            [&reservation.seq.to_be_bytes()[..], &reservation.id, replaces, at.as_bytes()];
        self.run(&scripts::RELEASE, &self.key(reservation.sid), &arguments).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        let arguments = [
            &new.seq.to_be_bytes()[..],
            &new.seq.saturating_add(1).to_be_bytes(),
            &milliseconds(new.tokens.expires_in)?,
            &new.tokens.sealed,
            yes(new.claims.is_some()),
            new.claims.as_deref().unwrap_or_default().as_bytes(),
        ];
        self.run(&scripts::PUBLISH, &self.key(new.sid), &arguments).await
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let value: Option<Vec<u8>> = self.run(&scripts::END, &self.key(sid), &[]).await?;
        // Also if the session did not exist, as in `revoke`.
        self.tell(&[sid]).await?;
        let Some(value) = value else { return Ok(None) };
        let record = row::decode(sid, &value)?;
        self.prune(&record.subject, &[sid]).await;
        Ok(Some(record))
    }
}

fn yes(flag: bool) -> &'static [u8] {
    if flag { YES } else { NO }
}

fn millis(time: Timestamp) -> u128 {
    time.since(Timestamp::default()).as_millis()
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.settings.prefix).finish_non_exhaustive()
    }
}
