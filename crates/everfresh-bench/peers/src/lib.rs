//! everfresh beside its peers: the same tokens, the same inner service, one run.
//!
//! `cargo xtask bench` runs the programs in `bin/`, one after the other. `times` and `counts`
//! measure every [`Subject`] in this process. `threads` measures one token on several threads,
//! `sockets` all subjects over loopback, and `costs` the cost of issuing and storing tokens. `plot`
//! draws the results.

pub mod keys;
pub mod record;
pub mod scene;
pub mod strangers;
pub mod subjects;

pub use keys::{Alg, Material};
pub use scene::{Carried, Scene};
pub use subjects::Subject;

use serde::{Deserialize, Serialize};

/// The app's own claims, the same for every user.
#[derive(Clone, Debug, Serialize, Deserialize, actix_jwt_auth_middleware::FromRequest)]
pub struct User {
    /// The user's name.
    pub name: String,
}

/// The user in every token and every session.
pub const NAME: &str = "Ada Lovelace";
