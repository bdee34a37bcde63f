//! The path of a request, one file a step. `begin.rs` is the file to open first.
//!
//! ```text
//! begin            1 extract -> 2 verify -> 3 decide
//!   exposed          refuses other hosts in the insecure mode
//!   facts            what is recorded of the request before its tokens are read
//!   select           which access token counts, and what it is worth
//!   select_refresh   which refresh token counts
//!   await_key        a request that can't be verified yet waits, and is verified again
//!   conclude         decides, and begins the session
//! wait             4 the request waits for its refresh
//! forward          5 the inner service sees the request
//! finish           6 the response's head is completed
//!   late             what may still leave with it
//!   debug            what developers are told of it
//! ```

mod await_key;
mod begin;
mod conclude;
mod debug;
mod exposed;
mod facts;
mod finish;
mod forward;
mod late;
mod select;
mod select_refresh;
mod wait;

pub use finish::{Deferred, FinishFuture, InFlight};
pub use wait::{PendingSession, Progress};
