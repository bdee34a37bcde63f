//! Random orders in which requests, refreshes, a store and a provider take turns.
//!
//! Requests are shuttle tasks, and shuttle selects the next one each time. Some requests are
//! dropped. Each call to the store and to the provider waits for its turn before it takes effect
//! and before it returns. Tasks that the engine spawns run on tokio, one at a time, at their turn
//! (`turns.rs`). A schedule is therefore one order of all steps, and shuttle can repeat it. It
//! prints a failed schedule for `shuttle::replay`.
//!
//! Threads are not covered, because the steps between two awaits are one step here.
//! `schedules/loom` covers them.
//!
//! `SCHEDULES=long cargo test --release -p everfresh-shuttle` tries many more.

#[cfg(test)]
mod provider;
#[cfg(test)]
mod rotating;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod store;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod upstream;
