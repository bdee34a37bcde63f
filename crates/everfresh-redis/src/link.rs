//! The connection that a store opens itself.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};

/// The error codes of a server whose connection works but that can't serve: it is a replica, it is
/// loading its data, it has lost its primary, or it can't write to its disk or to enough replicas.
const CANT_SERVE: [&str; 5] = ["READONLY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS"];

/// One shared connection that is reestablished after any failure.
///
/// The manager replaces a closed connection. A connection on which an answer is overdue may be dead
/// without a notice from either end (a cable, a load balancer), so it is given up as well: callers
/// that wait on it continue to wait within their limit, and new callers get a new connection. A
/// connection is also given up if its server reports that it can't serve: after a failover its
/// address may lead to another server, while the old connection stays open.
///
/// The connection is a cheap handle: clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    /// The number of this connection, which counts up.
    number: u64,
}

impl Connection {
    /// Connects to the server.
    pub(crate) async fn open(client: Client, limit: Duration) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            // The next caller tries again, so no caller waits for a server that is unreachable.
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        let current = Mutex::new(Current { manager, number: 0 });
        Ok(Self(Arc::new(Shared { client, config, current })))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manager(&self) -> (ConnectionManager, u64) {
        let current = self.current();
        (current.manager.clone(), current.number)
    }

    /// Gives this connection up if an answer on it was overdue or its server can't serve, unless
    /// another call has already done so.
    fn check_answer<T>(
        &self,
        result: &RedisResult<T>,
        answers: impl Fn(&T) -> &[Value],
        number: u64,
    ) {
        let give_up = match result {
            Ok(answer) => answers(answer).iter().any(cant_serve),
            Err(error) => error.is_timeout(),
        };
        if !give_up {
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

/// Returns whether the server's answer is an error of [`CANT_SERVE`]. At this point an error of the
/// server is still a value. It becomes an error where the value is converted.
fn cant_serve(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if CANT_SERVE.contains(&error.code()))
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (mut manager, number) = self.manager();
            let result = manager.req_packed_command(cmd).await;
            self.check_answer(&result, std::slice::from_ref, number);
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
            let (mut manager, number) = self.manager();
            let result = manager.req_packed_commands(pipeline, offset, count).await;
            self.check_answer(&result, Vec::as_slice, number);
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.current().manager.get_db()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Accepts every command, and answers a `GET`: with an error on the first connection, with nil
    /// on later connections.
    async fn start(error: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut answer = error;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, std::mem::replace(&mut answer, "$-1\r\n".into())));
            }
        });
        address
    }

    async fn serve(mut stream: TcpStream, answer: String) {
        let mut told = vec![0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut told).await {
            let told = String::from_utf8_lossy(&told[..length]);
            let commands = told.split("\r\n").filter(|line| line.starts_with('*')).count();
            let answer = if told.contains("GET") { &*answer } else { "+OK\r\n" };
            stream.write_all(answer.repeat(commands).as_bytes()).await.unwrap();
        }
    }

    async fn get(link: &Connection) -> RedisResult<Option<String>> {
        redis::cmd("GET").arg("x").query_async(&mut link.clone()).await
    }

    // Rows: R1.
    #[tokio::test]
    async fn a_connection_whose_server_cant_serve_is_given_up_and_no_other() {
        for code in CANT_SERVE.into_iter().chain(["ERR", "WRONGTYPE", "OOM"]) {
            let address = start(format!("-{code} not now\r\n")).await;
            let client = Client::open(format!("redis://{address}")).unwrap();
            let link = Connection::open(client, Duration::from_secs(10)).await.unwrap();
            assert!(get(&link).await.is_err(), "{code}");
            assert_eq!(get(&link).await.is_ok(), CANT_SERVE.contains(&code), "{code}");
        }
    }
}
