//! Session stores for everfresh in SQL databases: durable, with the guarantees of the database's
//! transactions.
//!
//! # Rules
//! 1. A session is one row. A rotation is one conditional `UPDATE`: of several concurrent
//!    rotations, in this process or another, exactly one succeeds.
//! 2. Every acknowledged change is on the disk: SQLite uses a write-ahead log with `synchronous =
//!    FULL`, and PostgreSQL writes it unless its `synchronous_commit` is off.
//! 3. Every wait has a limit. A writer of SQLite waits 5 s for another writer. A statement of
//!    PostgreSQL waits 3 s for a connection and 4 s for its answer. A database that is locked, full
//!    or unreachable results in an error: refresh is unavailable, and no user is signed out.
//! 4. All processes use one clock: the machine's clock with SQLite, the server's with PostgreSQL.
//! 5. Expired sessions stay in the table until [`sweep`](everfresh::store::SessionStore::sweep) removes
//!    them.
//!
//! `SqliteStore` (feature `sqlite`, enabled by default) needs no server. Its file must be on a
//! local disk, because SQLite's locks do not work over network file systems.
//!
//! `PostgresStore` (feature `postgres`) is for many nodes. For TLS to the server, enable a TLS
//! feature of sqlx in your own `Cargo.toml`; everfresh does not choose one. A failover to a standby
//! that replicates asynchronously may lose the changes that were acknowledged last. A failover with
//! `synchronous_standby_names` loses nothing.
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
