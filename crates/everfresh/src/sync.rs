//! The primitives that the single flight is built on. `schedules/loom` includes the file of the
//! single flight too. There, this module has locks and channels of the same interface that try
//! every order.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use tokio::sync::watch;
