//! Dialects: the wire formats of refresh endpoints as data, and what both sides make of them without a
//! network.

mod client;
mod clients;
pub(crate) mod dialect;
mod known;
mod served;
mod speak;

pub use client::{ClientAuthentication, ClientSecret};
pub(crate) use clients::{Basic, Clients, Named, Unknown, basic};
pub use dialect::Dialect;
pub(crate) use served::{Served, ServedEndpoints};
pub use speak::RefreshOutcome;
