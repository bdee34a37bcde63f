//! A real identity provider, and what the library has to do with one: `oidc-provider`, certified,
//! on loopback. Needs Node.js and npm; `cargo xtask test` sees to both.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod bff;
mod herd;
mod keys;
mod refresh;
mod tabs;
