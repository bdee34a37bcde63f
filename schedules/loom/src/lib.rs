//! Every order in which refreshes start, are joined, end and are forgotten.
//!
//! `refresh::single_flight` is the core's own file, included here with loom's locks instead of
//! std's. Each model runs again and again, in every order of its steps with at most three
//! preemptions. No build flag is needed, so nothing is built twice.
//!
//! `SCHEDULES=long cargo test --release -p everfresh-loom` allows four preemptions. `cargo xtask
//! schedules` runs this, counts the orders, and breaks the single flight on purpose.

#[cfg(test)]
mod models;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod sync;
