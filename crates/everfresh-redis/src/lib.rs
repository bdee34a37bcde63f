//! everfresh's sessions in Redis or Valkey, for any number of nodes.
//!
//! # Rules
//! 1. A session is one key, named `everfresh:{SID}`, and every step is one script on it: of all
//!    that race, on whatever node, one succeeds. The braces make a cluster spread sessions evenly.
//! 2. Time is the server's. A key expires with its session; there is nothing to sweep.
//! 3. The sessions of a person are found by an index, `everfresh:subject:SUBJECT`. It may name
//!    sessions that are over, never lacks one that was acknowledged, and is believed in nothing:
//!    each session's own key is asked, and what is gone is taken out.
//! 4. What was ended stands in one stream, `everfresh:ended`, for 26 hours. Every node reads it on a
//!    connection of its own (one that you bring is asked ten times a second instead).
//! 5. Nothing waits for longer than the time limit, 2 s unless another one is set, for each step.
//!    A server that is away, full or read-only is an error and no answer: refresh is unavailable,
//!    nobody is signed out. Who asks once it is back is answered.
//!
//! # What the server has to be
//! * Redis 7 or later, or Valkey. Scripts are `EVALSHA`, and `SCRIPT LOAD` when they are unknown.
//! * `maxmemory-policy noeviction`: any other one may sign people out to make room.
//! * `appendonly yes`; with `appendfsync everysec`, Redis's default, a machine that loses its power
//!   forgets a second of rotations and revocations, with `always` none.
//! * Replication is asynchronous. A failover may forget what the old primary had acknowledged: a
//!   session whose rotation is forgotten goes on from its client's token, a session that is
//!   forgotten has to begin again, and a revocation that is forgotten has to be made again. `min-replicas-to-write` narrows that, nothing in Redis rules it out.
//!   Who can't live with it takes PostgreSQL.
//!
//! # Example
//! ```no_run
//! use everfresh::{Engine, Keys, Rotate};
//! use everfresh_redis::RedisStore;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::open("redis://127.0.0.1").await?;
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

mod builder;
mod feed;
mod index;
mod link;
mod row;
mod scripts;
mod store;

pub use builder::RedisStoreBuilder;
pub use link::Connection;
pub use store::RedisStore;
