//! The settings of a store before it is opened.

use std::sync::Arc;
use std::time::Duration;

use everfresh::store::StoreError;
use redis::aio::ConnectionLike;
use redis::{Client, ErrorKind, IntoConnectionInfo as _};

use crate::link::Connection;
use crate::store::{RedisStore, Settings};

const PREFIX: &str = "everfresh:";
const LIMIT: Duration = Duration::from_secs(2);

const UP: &str = "make sure that the server is up and that this machine can reach it";

/// Opens a [`RedisStore`] with settings other than the defaults. [`RedisStore::builder`] creates
/// it.
#[derive(Clone, Debug)]
#[must_use = "the builder opens a connection only in `open` or `with_connection`"]
pub struct RedisStoreBuilder {
    prefix: String,
    limit: Duration,
}

impl RedisStore {
    /// Connects to a server with the default settings, as [`RedisStoreBuilder::open`] does.
    ///
    /// # Errors
    /// The address is invalid, or the server can't be reached or refuses the connection.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::builder().open(url).await
    }

    /// Returns a builder, which sets the prefix of all keys and the time limit of a step, or takes
    /// your own connection.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new()
    }
}

impl RedisStoreBuilder {
    pub(crate) fn new() -> Self {
        Self { prefix: PREFIX.into(), limit: LIMIT }
    }

    /// Sets the prefix of every key, so that several apps can share a server. The default is
    /// `everfresh:`. The prefix can't contain braces, because they would put all sessions on one
    /// node of a cluster.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the time limit of a step, including the time to connect. The default is 2 s. Zero is
    /// not allowed.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Connects to `redis://[[user]:password@]host[:port][/database]`.
    ///
    /// With the feature `tls` also connects to `rediss://`. If the process has no default
    /// `CryptoProvider` of rustls yet, this function then installs the provider of aws-lc-rs.
    ///
    /// # Errors
    /// A setting or the address is invalid, or the server can't be reached or refuses the
    /// connection.
    pub async fn open(self, url: &str) -> Result<RedisStore, StoreError> {
        let settings = self.settings()?;
        // The address itself is not shown, because it may hold a password.
        let info = url.into_connection_info().map_err(|error| {
            let wanted = "redis://user:password@host:port/database";
            StoreError::new(format!("its address can't be read: {error}; write it as {wanted}"))
        })?;
        let address = info.addr().to_string();
        #[cfg(feature = "tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
            && rustls::crypto::CryptoProvider::get_default().is_none()
        {
            // Another thread may install one first, and then a provider exists as well.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let client = Client::open(info).map_err(StoreError::new)?;
        let connecting =
            tokio::time::timeout(settings.limit, Connection::open(client.clone(), settings.limit));
        let link = match connecting.await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => {
                let remedy = match error.code() {
                    Some("NOAUTH" | "WRONGPASS" | "NOPERM") => "check the user and the password",
                    _ if error.kind() == ErrorKind::AuthenticationFailed => {
                        "check the user and the password"
                    }
                    _ => UP,
                };
                let problem = format!("can't connect to {address}: {error}; {remedy}");
                return Err(StoreError::new(problem));
            }
            Err(_) => {
                let limit = settings.limit;
                let problem = format!("can't connect to {address} within {limit:?}; {UP}");
                return Err(StoreError::new(problem));
            }
        };
        Ok(RedisStore::replaces(link, Arc::new(Settings { client: Some(client), ..settings })))
    }

    /// Uses your own connection: for example to a cluster, through Sentinel, or one that the app
    /// has already. The connection has to reconnect by itself, and its clones should share the
    /// underlying connection.
    ///
    /// # Errors
    /// A setting is invalid.
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
        let Self { prefix, limit } = self;
        Ok(Settings { prefix, limit, clock: None, client: None })
    }
}

#[cfg(test)]
mod tests {
    use everfresh_error_texts::check_error;

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
    async fn an_unreachable_server_is_an_error_with_its_address_and_remedy() {
        let problem =
            RedisStoreBuilder::new().open("redis://:hunter2@127.0.0.1:1/").await.unwrap_err();
        check_error(&problem.to_string(), &["connect to 127.0.0.1:1", "refused", "is up"]);
        // A server that accepts connections and never responds.
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
