//! The connection that a store opens by itself.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};

/// One connection for all, that comes back after whatever befell it.
///
/// A connection that was closed is made anew by the manager. One on which an answer is overdue may
/// be dead without anybody having said so (a cable, a balancer), so it is given up as well: those
/// who wait on it go on waiting within their limit, those who come get a new one.
///
/// A cheap handle: clones share the connection.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    /// Which one this is.
    number: u64,
}

impl Link {
    /// Connects.
    pub(crate) async fn open(client: Client, limit: Duration) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            // Whoever comes next tries again; nobody waits for a server that is not there.
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let current = Mutex::new(Current { manager, number: 0 });
        Ok(Self(Arc::new(Shared { client, config, current })))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pick(&self) -> (ConnectionManager, u64) {
        let current = self.current();
        (current.manager.clone(), current.number)
    }

    /// Gives this connection up if an answer on it was overdue and nobody has done so yet.
    fn judge<T>(&self, result: &RedisResult<T>, number: u64) {
        if !result.as_ref().is_err_and(redis::RedisError::is_timeout) {
            return;
        }
        let mut current = self.current();
        if current.number != number {
            return;
        }
        let fresh =
            ConnectionManager::new_lazy_with_config(self.0.client.clone(), self.0.config.clone());
        if let Ok(manager) = fresh {
            *current = Current { manager, number: number + 1 };
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (mut manager, number) = self.pick();
            let result = manager.req_packed_command(cmd).await;
            self.judge(&result, number);
            result
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let (mut manager, number) = self.pick();
            let result = manager.req_packed_commands(pipeline, offset, count).await;
            self.judge(&result, number);
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.current().manager.get_db()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
