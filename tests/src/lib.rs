//! The contract servers: one small application, served by every framework.
//!
//! They are for driving, by the tests here and by any HTTP client; the examples are for reading.
//! What they answer is written down in `tests/CONTRACT.md`.

pub mod actix;
pub mod axum;
pub mod database;
pub mod hammer;
pub mod idp;
pub mod process;
mod serve;
pub mod settings;
pub mod tower;
mod upstream;
pub mod warp;

pub use serve::run;

/// `GET /openapi.json`: what the engine serves, as a document.
pub(crate) fn openapi(auth: &everfresh::Engine<everfresh_testkit::contract::User>) -> String {
    // A document of plain values is always JSON.
    everfresh_openapi::document(auth).to_json().unwrap_or_default()
}
