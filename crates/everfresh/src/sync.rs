//! What the board of flights is made of. `schedules/loom` includes that file too, and there this
//! module holds locks and channels of the same interface that try every order.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use tokio::sync::watch;
