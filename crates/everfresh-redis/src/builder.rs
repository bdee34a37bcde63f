//! What can be set before a store is opened.

use std::sync::Arc;
use std::time::Duration;

use everfresh::{Clock, StoreError};
use redis::aio::ConnectionLike;
use redis::{Client, ErrorKind, IntoConnectionInfo as _};

use crate::link::Connection;
use crate::store::{RedisStore, Settings};

const PREFIX: &str = "everfresh:";
const LIMIT: Duration = Duration::from_secs(2);

const UP: &str = "see that the server is up and that this machine may reach it";

/// Opens a [`RedisStore`] that is not as it comes. Made by [`RedisStore::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open` or `with_connection`"]
pub struct RedisStoreBuilder {
    prefix: String,
    limit: Duration,
    clock: Option<Clock>,
}

impl RedisStoreBuilder {
    pub(crate) fn new() -> Self {
        Self { prefix: PREFIX.into(), limit: LIMIT, clock: None }
    }

    /// What every key begins with, so that several apps can share a server. `everfresh:` unless
    /// another one is given. Without braces: they would put all sessions on one node of a cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a step may take, connecting included. 2 s unless another one is given; not zero.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// On a clock of your own instead of the server's, for tests. Keys still expire by the
    /// server's.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// Connects to `redis://[[user]:password@]host[:port][/database]`; with the feature `tls` also
    /// to `rediss://`, and then, if the process has no default `CryptoProvider` of rustls yet, it
    /// gets the one of aws-lc-rs.
    ///
    /// Errors: a setting or the address is bad, or the server can't be reached or refuses us.
    pub async fn open(self, url: &str) -> Result<RedisStore, StoreError> {
        let settings = self.settings()?;
        // The address itself is not shown: it may hold a password.
        let info = url.into_connection_info().map_err(|error| {
            let wanted = "redis://user:password@host:port/database";
            StoreError::new(format!("its address can't be read: {error}; write it as {wanted}"))
        })?;
        let address = info.addr().to_string();
        #[cfg(feature = "tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
            && rustls::crypto::CryptoProvider::get_default().is_none()
        {
            // Somebody else may be quicker; there is one then, too.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let client = Client::open(info).map_err(StoreError::new)?;
        let connecting =
            tokio::time::timeout(settings.limit, Connection::open(client.clone(), settings.limit));
        let link = match connecting.await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => {
                let remedy = match error.code() {
                    Some("NOAUTH" | "WRONGPASS" | "NOPERM") => {
                        "see that user and password are right"
                    }
                    _ if error.kind() == ErrorKind::AuthenticationFailed => {
                        "see that user and password are right"
                    }
                    _ => UP,
                };
                let problem = format!("can't connect to {address}: {error}; {remedy}");
                return Err(StoreError::new(problem));
            }
            Err(_) => {
                let limit = settings.limit;
                let problem = format!("no connection to {address} within {limit:?}; {UP}");
                return Err(StoreError::new(problem));
            }
        };
        Ok(RedisStore::replaces(link, Arc::new(Settings { client: Some(client), ..settings })))
    }

    /// Over a connection of your own: one to a cluster, through Sentinel, or that the app has
    /// anyway. It has to reconnect by itself; its clones should share what they are connected by.
    ///
    /// Errors: a setting is bad.
    pub fn with_connection<C: ConnectionLike>(
        self,
        connection: C,
    ) -> Result<RedisStore<C>, StoreError> {
        Ok(RedisStore::replaces(connection, Arc::new(self.settings()?)))
    }

    fn settings(self) -> Result<Settings, StoreError> {
        if self.prefix.contains(['{', '}']) {
            let Self { prefix, .. } = self;
            let problem = format!("`prefix` is {prefix:?}; allowed is a text without braces");
            return Err(StoreError::new(problem));
        }
        if self.limit.is_zero() {
            return Err(StoreError::new("`time_limit` is 0; allowed is more than that"));
        }
        let Self { prefix, limit, clock } = self;
        Ok(Settings { prefix, limit, clock, client: None })
    }
}

#[cfg(test)]
mod tests {
    use everfresh_testkit::texts::check_error;

    use super::*;

    #[tokio::test]
    async fn bad_settings_name_themselves_and_what_is_allowed() {
        let problem =
            RedisStoreBuilder::new().prefix("a{b}").open("redis://127.0.0.1").await.unwrap_err();
        check_error(&problem.to_string(), &["`prefix` is \"a{b}\"", "allowed is a text without"]);
        let zero =
            RedisStoreBuilder::new().time_limit(Duration::ZERO).open("redis://127.0.0.1").await;
        let problem = zero.unwrap_err().to_string();
        check_error(&problem, &["`time_limit` is 0", "allowed is more"]);
        let problem =
            RedisStoreBuilder::new().open("http://127.0.0.1").await.unwrap_err().to_string();
        check_error(&problem, &["its address", "URL", "write it as redis://"]);
    }

    #[tokio::test]
    async fn a_server_that_cant_be_reached_says_where_and_what_to_do() {
        let problem =
            RedisStoreBuilder::new().open("redis://:hunter2@127.0.0.1:1/").await.unwrap_err();
        check_error(&problem.to_string(), &["connect to 127.0.0.1:1", "refused", "is up"]);
        // It takes connections, and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", silent.local_addr().unwrap());
        let limited =
            RedisStoreBuilder::new().time_limit(Duration::from_millis(50)).open(&url).await;
        let address = silent.local_addr().unwrap().to_string();
        check_error(&limited.unwrap_err().to_string(), &[&address, "is up"]);
    }

    #[tokio::test]
    async fn a_password_is_in_no_error() {
        for url in ["redis://:hunter2@127.0.0.1:1/", "redis://:hunter2@127.0.0.1:none/", "hunter2"]
        {
            let problem = RedisStoreBuilder::new().open(url).await.unwrap_err();
            assert!(!format!("{problem} {problem:?}").contains("hunter2"), "{problem:?}");
        }
    }
}
