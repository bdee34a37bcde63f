//! everfresh's sessions in SQLite: durable, without a server, for several processes on one file.
//!
//! # Rules
//! 1. A session is one row. A rotation is one conditional `UPDATE`, so that of all that race, in
//!    this process or another, one succeeds.
//! 2. What was answered is on the disk: write-ahead log, `synchronous = FULL`.
//! 3. A writer waits for another one for 5 s at the most. A file that stays locked, or a disk
//!    that is full, is an error and no answer: refresh is unavailable, nobody is signed out.
//! 4. All processes on a file share the machine's clock; it is the store's clock.
//!
//! The file must lie on a local disk: SQLite's locks do not work over network file systems.
//!
//! # Example
//! ```
//! use everfresh::{Engine, Keys, Rotate};
//! use everfresh_sqlx::SqliteStore;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("sessions.db");
//! let store = SqliteStore::open(path).await?;
//! let auth = Engine::<()>::builder(Keys::hs256("0123456789abcdef-0123456789abcdef")?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Rotate::new(store))
//!     .build()?;
//! # let _ = auth;
//! # Ok(())
//! # }
//! ```

mod sqlite;

pub use sqlite::SqliteStore;
