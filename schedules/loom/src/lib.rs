//! Every order in which refreshes start, are joined, end and are forgotten.
//!
//! `refresh::single_flight` is the core's own file, included here. Where the core has locks of std, this
//! crate has loom's: each model is run again and again until every order of their steps was tried
//! in which threads are interrupted three times at the most. No build flag is needed for it, so
//! nothing is built twice.
//!
//! `SCHEDULES=long cargo test --release -p everfresh-loom` tries those of four.
//! `cargo xtask schedules` does so, counts, and breaks the single flight on purpose.

#[cfg(test)]
mod models;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod sync;
