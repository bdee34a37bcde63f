//! everfresh's sessions in SQL databases: durable, and with the guarantees of their transactions.
//!
//! # Rules
//! 1. A session is one row. A rotation is one conditional `UPDATE`, so that of all that race, in
//!    this process or another, one succeeds.
//! 2. What was answered is on the disk: SQLite with a write-ahead log and `synchronous = FULL`,
//!    PostgreSQL as long as its `synchronous_commit` is not off.
//! 3. Nothing waits without a limit: a writer of SQLite 5 s for another one, a statement of
//!    PostgreSQL 3 s for a connection and 4 s for its answer. A database that is locked, full or
//!    away is an error and no answer: refresh is unavailable, nobody is signed out.
//! 4. All processes go by one clock: the machine's with SQLite, the server's with PostgreSQL.
//! 5. Sessions that are over stay until [`sweep`](everfresh::SessionStore::sweep) takes them.
//!
//! `SqliteStore` (feature `sqlite`, on unless switched off) needs no server. Its file must lie on a
//! local disk: SQLite's locks do not work over network file systems.
//!
//! `PostgresStore` (feature `postgres`) is for many nodes. TLS to it is a feature of sqlx that you
//! switch on in your own `Cargo.toml`, since which one is your choice. A failover to a standby that
//! replicates asynchronously may forget what was acknowledged last; one with
//! `synchronous_standby_names` forgets nothing.
//!
//! # Example
#![cfg_attr(feature = "sqlite", doc = "```")]
#![cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
//! use everfresh::{Engine, Keys, Rotate};
//! use everfresh_sqlx::SqliteStore;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("sessions.db");
//! let store = SqliteStore::open(path).await?;
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<()>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Rotate::new(store))
//!     .build()?;
//! # let _ = auth;
//! # Ok(())
//! # }
//! ```

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod opening;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
