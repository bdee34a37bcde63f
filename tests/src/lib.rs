//! The contract servers: one small application, served by every framework.
//!
//! They are for driving, by the tests here and by any HTTP client; the examples are for reading.
//! What they answer is written down in `tests/CONTRACT.md`.

pub mod actix;
pub mod axum;
pub mod hammer;
pub mod process;
mod serve;
pub mod settings;
pub mod tower;
pub mod warp;

pub use serve::run;
