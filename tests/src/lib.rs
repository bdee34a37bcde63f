//! What the contract servers share: one contract, served by every framework.
//!
//! The servers are for driving, by these tests and by any HTTP client; the examples are for
//! reading. What they answer is written down in `tests/CONTRACT.md`.

pub mod contract;
pub mod serve;
pub mod settings;
