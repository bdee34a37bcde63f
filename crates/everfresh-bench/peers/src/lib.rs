//! everfresh beside its peers: the same tokens, the same inner service, one run.
//!
//! `cargo xtask bench` runs what is in `bin/`, one after the other:
//! `times` and `counts` measure every [`Subject`] in this process, `threads` one token on several
//! threads, `sockets` all of it over loopback, `costs` what making and keeping tokens costs; `plot`
//! draws what they recorded.

pub mod keys;
pub mod record;
pub mod scene;
pub mod strangers;
pub mod subjects;

pub use keys::{Alg, Material};
pub use scene::{Carried, Scene};
pub use subjects::Subject;

use serde::{Deserialize, Serialize};

/// The app's own claims, the same for everybody.
#[derive(Clone, Debug, Serialize, Deserialize, actix_jwt_auth_middleware::FromRequest)]
pub struct User {
    /// What the person is called.
    pub name: String,
}

/// Who is signed in, in every token and every session.
pub const NAME: &str = "Ada Lovelace";
