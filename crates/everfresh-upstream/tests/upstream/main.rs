//! Sessions backed by another server's tokens: real engines, a provider that a test scripts, a
//! store that fails on command, and manual clocks.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod fixture;
mod provider;
mod wire;

mod dialect_values;
mod dialects;
mod doubt;
mod faults;
mod outage;
mod points;
mod received;
mod refused;
mod renewing;
mod secrets;
mod signing_out;
mod sockets;
mod store;
