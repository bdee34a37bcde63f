//! The store: each step is one script.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use everfresh::{
    Claim, Clock, CustodyStore, Ear, Loaded, NewSession, Publication, Rotation, SessionId,
    SessionRecord, SessionStore, StoreError, Timestamp,
};
use futures::future::try_join_all;
use redis::aio::ConnectionLike;
use redis::{FromRedisValue, Script};

use crate::builder::Builder;
use crate::link::Link;
use crate::row::{self, Parts, milliseconds};
use crate::scripts;

/// How many sessions of one subject are listed.
const MAX_LIST: usize = 1000;

/// How many sessions of one subject are asked for at a time.
const AT_A_TIME: usize = 128;

const YES: &[u8] = b"1";
const NO: &[u8] = b"";

/// Keeps sessions in Redis or Valkey.
///
/// A cheap handle: clones share the connection.
#[derive(Clone)]
pub struct RedisStore<C = Link> {
    connection: C,
    pub(crate) settings: Arc<Settings>,
}

pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) limit: Duration,
    /// A test's, instead of the server's.
    pub(crate) clock: Option<Clock>,
    /// To open a connection of its own for the feed with.
    pub(crate) client: Option<redis::Client>,
}

impl RedisStore {
    /// Connects to a server, as [`Builder::open`] says, with the settings that it comes with.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::builder().open(url).await
    }

    /// To set what all keys begin with and how long a step may take, or to bring a connection.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<C> RedisStore<C> {
    pub(crate) fn over(connection: C, settings: Arc<Settings>) -> Self {
        Self { connection, settings }
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
    /// Runs a script on one key. Its first argument is the time, if a test brings one.
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

    /// Whatever a connection waits for, it waits within the limit.
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
    ) -> Result<Option<String>, StoreError> {
        let arguments = match subject {
            None => [NO, NO],
            Some(subject) => [YES, subject.as_bytes()],
        };
        self.run(&scripts::REVOKE, &self.key(sid), &arguments).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> SessionStore for RedisStore<C> {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        let parts = Parts::of(&new)?;
        let lives = new.custody.as_ref().map(|custody| milliseconds(custody.lives)).transpose()?;
        let arguments = [
            &new.key_id.to_be_bytes()[..],
            &milliseconds(new.idle_lifetime)?,
            &milliseconds(new.absolute_lifetime)?,
            &parts.head,
            lives.as_deref().unwrap_or_default(),
            &parts.rest,
        ];
        if !self.run::<bool>(&scripts::CREATE, &self.key(new.sid), &arguments).await? {
            return Err(StoreError::new("the session's id is taken"));
        }
        let entered = self.enter(&new.subject, new.sid, new.absolute_lifetime).await;
        if entered.is_err() {
            // Nobody is told of it. Where this fails too, it ends unused.
            let _ = self.revoke_if(new.sid, None).await;
        }
        entered
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        let found: Option<(u64, Vec<u8>)> = self.run(&scripts::LOAD, &self.key(sid), &[]).await?;
        let Some((now, value)) = found else { return Ok(None) };
        let now = Timestamp::default().plus(Duration::from_millis(now));
        Ok(Some(Loaded { record: row::decode(sid, &value)?, now }))
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let arguments = [
            &rotation.from.to_be_bytes()[..],
            &rotation.to.to_be_bytes(),
            &rotation.key_id.to_be_bytes(),
            yes(rotation.slides),
            yes(rotation.claims.is_some()),
            rotation.claims.as_deref().unwrap_or_default().as_bytes(),
        ];
        self.run(&scripts::ROTATE, &self.key(rotation.sid), &arguments).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        slide: bool,
    ) -> Result<(), StoreError> {
        let arguments = [&generation.to_be_bytes()[..], yes(slide)];
        self.run::<bool>(&scripts::CONFIRM, &self.key(sid), &arguments).await.map(drop)
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        let Some(subject) = self.revoke_if(sid, None).await? else { return Ok(false) };
        self.take_out(&subject, &[sid]).await;
        self.tell(&[sid]).await?;
        Ok(true)
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut entries = self.entries(subject).await?;
        entries.retain(|sid| Some(*sid) != except);
        let mut revoked = Vec::new();
        for some in entries.chunks(AT_A_TIME) {
            let each = some.iter().map(|sid| self.revoke_if(*sid, Some(subject)));
            let gone = try_join_all(each).await?;
            let gone = some.iter().zip(gone).filter_map(|(sid, gone)| gone.map(|_| *sid));
            let gone: Vec<_> = gone.collect();
            self.take_out(subject, some).await;
            self.tell(&gone).await?;
            revoked.extend(gone);
        }
        Ok(revoked)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let mut records = Vec::new();
        for some in self.entries(subject).await?.chunks(AT_A_TIME) {
            let loaded = try_join_all(some.iter().map(|sid| self.load(*sid))).await?;
            let mut gone = Vec::new();
            for (sid, loaded) in some.iter().zip(loaded) {
                match loaded {
                    Some(Loaded { record, .. }) if record.subject == subject => {
                        records.push(record);
                    }
                    _ => gone.push(*sid),
                }
            }
            self.take_out(subject, &gone).await;
        }
        records.sort_by_key(|record| Reverse((record.rotated_at, record.sid)));
        records.truncate(MAX_LIST);
        Ok(records)
    }

    /// Nothing: keys expire by themselves.
    async fn sweep(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn follow(&self, ear: Ear) -> Result<(), StoreError> {
        self.read(&ear).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> CustodyStore for RedisStore<C> {
    async fn claim(&self, claim: Claim) -> Result<bool, StoreError> {
        let over = claim.over.as_ref().map_or(NO, |(over, _)| &over[..]);
        let arguments = [&claim.seq.to_be_bytes()[..], &claim.id, over];
        self.run(&scripts::CLAIM, &self.key(claim.sid), &arguments).await
    }

    async fn release(&self, claim: Claim) -> Result<bool, StoreError> {
        let (over, at) = claim.over.unzip();
        let over = over.as_ref().map_or(NO, |over| &over[..]);
        let at = at.map(|at| millis(at).to_string()).unwrap_or_default();
        let arguments = [&claim.seq.to_be_bytes()[..], &claim.id, over, at.as_bytes()];
        self.run(&scripts::RELEASE, &self.key(claim.sid), &arguments).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        let arguments = [
            &new.seq.to_be_bytes()[..],
            &new.seq.saturating_add(1).to_be_bytes(),
            &milliseconds(new.tokens.lives)?,
            &new.tokens.sealed,
            yes(new.claims.is_some()),
            new.claims.as_deref().unwrap_or_default().as_bytes(),
        ];
        self.run(&scripts::PUBLISH, &self.key(new.sid), &arguments).await
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let value: Option<Vec<u8>> = self.run(&scripts::END, &self.key(sid), &[]).await?;
        let Some(value) = value else { return Ok(None) };
        let record = row::decode(sid, &value)?;
        self.take_out(&record.subject, &[sid]).await;
        self.tell(&[sid]).await?;
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
