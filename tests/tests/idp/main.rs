//! The library against a real identity provider: `oidc-provider`, certified, on loopback. Needs
//! Node.js and npm, which `cargo xtask test` provides.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod bff;
mod herd;
mod keys;
mod refresh;
