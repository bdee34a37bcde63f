//! The public modules. Each lists what the authors of one kind of extension name, so that the
//! crate's root holds what an app needs. `store` and `layer` are modules of the crate itself.

pub mod adapter;
pub mod dialect;
pub mod metrics;
pub mod refresher;
pub mod upstream;
