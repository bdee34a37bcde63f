//! Clients that vendors publish, in both directions, over sockets: each vendor's own client
//! refreshes at an everfresh endpoint, and everfresh refreshes at a server that the same client
//! accepts. Needs Python and its packages, which `cargo xtask test` provides.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod backed;
mod freddy;
mod galileo;
mod served;
mod simplejwt;
mod vendor;
mod vijil;
