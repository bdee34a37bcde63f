//! A session store for everfresh in Redis or Valkey, for any number of nodes.
//!
//! # Rules
//! 1. A session is one key, named `everfresh:{SID}`, and every step is one script on that key: of
//!    several concurrent rotations, on any nodes, exactly one succeeds. The braces make a cluster
//!    distribute sessions evenly.
//! 2. All nodes use the server's clock. A key expires with its session, so there is nothing to
//!    sweep.
//! 3. An index, `everfresh:subject:SUBJECT`, lists the sessions of a user. It contains every
//!    acknowledged session that lives, and may also contain sessions that are over. The store never
//!    relies on the index alone: it reads each session's own key, and removes entries without a
//!    key.
//! 4. The stream `everfresh:ended` keeps each revocation for 26 hours. Every node reads it on a
//!    separate connection. On a connection that the app provides, the node polls ten times a second
//!    instead.
//! 5. Every step has a time limit, 2 s by default. A server that is unreachable, full or read-only
//!    results in an error: refresh is unavailable, and no user is signed out. Requests succeed
//!    again once the server is back.
//!
//! # Requirements for the server
//! * Redis 7 or later, or Valkey. The store runs scripts with `EVALSHA`, and loads unknown scripts
//!   with `SCRIPT LOAD`.
//! * `maxmemory-policy noeviction`. Any other policy may sign users out to free memory.
//! * `appendonly yes`. With `appendfsync everysec`, Redis's default, a machine that loses power
//!   loses one second of rotations and revocations. With `always` it loses none.
//! * Replication is asynchronous, so a failover may lose changes that the old primary had
//!   acknowledged. If a rotation is lost, the session continues from its client's token. If a
//!   session is lost, the user has to sign in again. If a revocation is lost, the app has to revoke
//!   the session again. `min-replicas-to-write` reduces this risk, and no setting of Redis removes
//!   it. An app that can't accept the risk uses PostgreSQL.
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
