//! The tokio runtime for work that outlives a request.
//!
//! Rules
//! 1. It is the configured runtime, or else the runtime around `build()`.
//! 2. If there was none, or it has ended, the runtime around the next request that needs one takes
//!    its place, until that runtime has ended too. The end of a runtime is an event.
//! 3. If there is no runtime at all, only work that completes at its first poll is done, in place.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// The runtime of an engine.
pub(crate) struct Runtime(Mutex<Option<Home>>);

struct Home {
    handle: Handle,
    /// Closed once the runtime has ended, because a task there holds the other end and is dropped
    /// then.
    alive: watch::Receiver<()>,
}

/// What became of an engine's runtime when it was asked for.
pub(crate) struct Found {
    pub(crate) handle: Option<Handle>,
    /// The runtime that was there before has ended.
    pub(crate) ended: bool,
    /// The handle is another one than before.
    pub(crate) is_new: bool,
}

impl Runtime {
    pub(crate) fn new(handle: Option<Handle>) -> Self {
        Self(Mutex::new(handle.map(Home::new)))
    }

    /// Returns the runtime, if it has not ended.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.lock().as_ref().filter(|home| home.is_alive()).map(|home| home.handle.clone())
    }

    /// Returns the runtime for work that outlives this request: rules 1 and 2.
    pub(crate) fn find(&self) -> Found {
        let mut home = self.lock();
        if let Some(home) = home.as_ref().filter(|home| home.is_alive()) {
            return Found { handle: Some(home.handle.clone()), ended: false, is_new: false };
        }
        let ended = home.take().is_some();
        let handle = Handle::try_current().ok().filter(has_timer);
        *home = handle.clone().map(Home::new);
        Found { is_new: handle.is_some(), handle, ended }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Home>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home {
    fn new(handle: Handle) -> Self {
        let (here, alive) = watch::channel(());
        // Runs until the engine is dropped.
        handle.spawn(async move { here.closed().await });
        Self { handle, alive }
    }

    fn is_alive(&self) -> bool {
        self.alive.has_changed().is_ok()
    }
}

/// Returns whether the runtime has a timer. tokio reports the lack of a timer only by a panic. If a
/// panic aborts the process, this function tries nothing, and the first wait finds out.
pub(crate) fn has_timer(runtime: &Handle) -> bool {
    let _context = runtime.enter();
    let sleep = || drop(tokio::time::sleep(Duration::ZERO));
    cfg!(panic = "abort") || std::panic::catch_unwind(sleep).is_ok()
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle()).finish()
    }
}

#[cfg(test)]
mod tests;
