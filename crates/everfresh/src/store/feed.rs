//! What a store's nodes hear of one another: which sessions ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{SessionId, StoreError};

/// Told by a store of every session that ends, wherever that is. Given to
/// [`SessionStore::follow`](super::SessionStore::follow).
#[derive(Clone)]
pub struct Ear {
    hear: Arc<dyn Fn(Heard<'_>) -> bool + Send + Sync>,
    back: Duration,
}

/// What a store tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Heard<'h> {
    /// This session was ended: signed out, revoked, or found to be held by two.
    Ended(SessionId),
    /// Everything was told up to now, and whatever comes will be.
    Live,
    /// Something may be missed from now on.
    Lost(&'h StoreError),
    /// Nothing: whether anybody listens is the question.
    Nothing,
}

impl Ear {
    /// `hear` is called for everything that is heard, in the task that follows, and says whether
    /// anybody still listens. `back`: how old an end may be and still matter: as long as an access
    /// token may live.
    pub fn new(back: Duration, hear: impl Fn(Heard<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { hear: Arc::new(hear), back }
    }

    /// How old an end may be and still matter to whoever begins to follow.
    pub fn back(&self) -> Duration {
        self.back
    }

    /// A session was ended.
    pub fn ended(&self, sid: SessionId) {
        (self.hear)(Heard::Ended(sid));
    }

    /// Whoever follows has caught up, and hears from now on of every end as it comes.
    pub fn live(&self) {
        (self.hear)(Heard::Live);
    }

    /// Ends may be missed from now on.
    pub fn lost(&self, error: &StoreError) {
        (self.hear)(Heard::Lost(error));
    }

    /// Whether nobody listens any more: ask now and then, and stop.
    pub fn is_gone(&self) -> bool {
        !(self.hear)(Heard::Nothing)
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("back", &self.back).finish_non_exhaustive()
    }
}
