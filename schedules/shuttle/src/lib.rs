//! Orders in which requests, refreshes, a store and a provider take turns, by chance.
//!
//! Requests are tasks of shuttle, which says each time who goes on; some of them hang up. Each call
//! of the store, and of the provider, waits for its turn before it is made and before it is
//! answered. What the engine spawns runs on tokio, one task at a time, when it is its turn
//! (`turns.rs`). So one schedule is one order of all that, and shuttle can run it again: a schedule
//! that fails is printed, for `shuttle::replay`.
//!
//! Threads are no part of it: what happens between two awaits is one step. For those there is
//! `schedules/loom`.
//!
//! `SCHEDULES=long cargo test --release -p everfresh-shuttle` tries many more.

#[cfg(test)]
mod provider;
#[cfg(test)]
mod rotating;
#[cfg(test)]
mod store;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod world;
