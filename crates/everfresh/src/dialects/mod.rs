//! Dialects: the wire formats of refresh endpoints as data, and what both sides make of them without a
//! network.

mod check;
mod client;
mod clients;
pub(crate) mod dialect;
mod known;
mod path;
mod read;
pub(crate) mod request;
pub(crate) mod response;
#[cfg(feature = "schema")]
mod schema;
mod served;
pub(crate) mod serving;
mod write;

pub(crate) use check::is_path;
pub use client::{ClientAuthentication, ClientSecret};
pub(crate) use clients::{Basic, Clients, Named, Unknown, basic};
pub use dialect::Dialect;
pub(crate) use path::{find, insert};
pub use read::RefreshOutcome;
pub(crate) use served::{Served, ServedEndpoints};
pub use write::RequestValues;
