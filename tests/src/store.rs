//! `STORE`: the session store of a contract server.

use std::fmt;
use std::path::PathBuf;

use everfresh::MemoryStore;
use everfresh::store::{StoreError, UpstreamTokenStore};
use everfresh_redis::RedisStore;
use everfresh_sqlx::{PostgresStore, SqliteStore};

/// The kinds of session stores.
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// `memory`: in the process.
    Memory,
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `redis://..`.
    Redis(String),
    /// `postgres://..`.
    Postgres(String),
}

/// An operation on a store of any kind.
pub trait UseStore {
    /// The result.
    type Output;

    /// Runs the operation.
    fn use_store(self, store: impl UpstreamTokenStore + Clone) -> Self::Output;
}

impl Store {
    /// Parses a `STORE`. The error is one line with the allowed values.
    pub fn read(found: &str) -> Result<Self, String> {
        match found.split_once(':') {
            None if found == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("redis", rest)) if rest.starts_with("//") => Ok(Self::Redis(found.into())),
            Some(("postgres", rest)) if rest.starts_with("//") => Ok(Self::Postgres(found.into())),
            // The value is left out, because an address may contain a password.
            _ => Err(format!(
                "STORE={:?}: allowed is memory, sqlite:PATH, redis://HOST or postgres://HOST",
                found.split("//").next().unwrap_or_default().chars().take(60).collect::<String>(),
            )),
        }
    }

    /// Opens the store and runs `user` on it. The error is one line without the address, which may
    /// contain a password.
    pub async fn open<U: UseStore>(&self, user: U) -> Result<U::Output, String> {
        let problem = |problem: StoreError| format!("STORE={self:?}: {problem}");
        Ok(match self {
            Self::Memory => user.use_store(MemoryStore::new()),
            Self::Sqlite(path) => user.use_store(SqliteStore::open(path).await.map_err(problem)?),
            Self::Redis(url) => user.use_store(RedisStore::open(url).await.map_err(problem)?),
            Self::Postgres(url) => user.use_store(PostgresStore::open(url).await.map_err(problem)?),
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(_) => f.write_str("redis://.."),
            Self::Postgres(_) => f.write_str("postgres://.."),
        }
    }
}
