//! `STORE`: where a contract server keeps its sessions.

use std::fmt;
use std::path::PathBuf;

use everfresh::MemoryStore;
use everfresh::store::{StoreError, UpstreamTokenStore};
use everfresh_redis::RedisStore;
use everfresh_sqlx::{PostgresStore, SqliteStore};

/// Where sessions are kept.
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

/// What is done with a store, whichever it is.
pub trait UseStore {
    /// What comes of it.
    type Output;

    /// Does it.
    fn use_store(self, store: impl UpstreamTokenStore + Clone) -> Self::Output;
}

impl Store {
    /// Reads a `STORE`. The error is one line that says what is allowed.
    pub fn read(found: &str) -> Result<Self, String> {
        match found.split_once(':') {
            None if found == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("redis", rest)) if rest.starts_with("//") => Ok(Self::Redis(found.into())),
            Some(("postgres", rest)) if rest.starts_with("//") => Ok(Self::Postgres(found.into())),
            // An address may hold a password.
            _ => Err(format!(
                "STORE={:?}: allowed is memory, sqlite:PATH, redis://HOST or postgres://HOST",
                found.split("//").next().unwrap_or_default().chars().take(60).collect::<String>(),
            )),
        }
    }

    /// Opens it for this. The error is one line, without the address: it may hold a password.
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
