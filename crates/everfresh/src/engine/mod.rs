//! The engine: what is built once and shared by every request. `flow/` is the path of a request.

mod ours;

use std::fmt;
use std::sync::Arc;

use crate::core::Core;
use crate::dialects::ServedEndpoints;
use crate::mint::ClaimSet;
use crate::node::RevocationFeed;
use crate::refresh::Context;
use crate::verify::Cache;

/// Keeps users signed in. Built once, cheap to clone, shared by every request.
///
/// `C` is the type of the app's own claims.
///
/// ```
/// use everfresh::{Engine, Keys, Reissue};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// let auth = Engine::<User>::builder(Keys::hs256(secret)?)
///     .issuer("https://app.example")
///     .audience("app")
///     .refresh_with(Reissue::new())
///     .build()?;
/// # let _ = auth;
/// # Ok(())
/// # }
/// ```
pub struct Engine<C> {
    pub(crate) core: Arc<Core>,
    pub(crate) rest: Arc<Rest<C>>,
}

/// What the core does without, because it depends on the type of the claims or is for endpoints
/// alone.
pub(crate) struct Rest<C> {
    pub(crate) cache: Cache<C>,
    endpoints: ServedEndpoints,
}

impl<C: ClaimSet> Engine<C> {
    pub(crate) fn new(core: Core, cache: Cache<C>, endpoints: ServedEndpoints) -> Self {
        let core = Arc::new(core);
        if let Some(runtime) = core.runtime.handle() {
            core.follow(&runtime, false);
        }
        Self { core, rest: Arc::new(Rest { cache, endpoints }) }
    }

    /// Returns whether this node learns at once of sessions that end on other nodes. For health
    /// checks.
    pub fn feed(&self) -> RevocationFeed {
        // If the runtime that followed the feed has ended, another one takes its place.
        self.core.runtime();
        self.core.revocation_feed.feed(self.core.settings.clock.monotonic())
    }

    /// Returns what the engine gives its refresher in each call, for tests of a refresher of your
    /// own: see [`refresher`](crate::refresher).
    pub fn context(&self) -> Context {
        Context::new(self.core.clone())
    }

    /// Ends the engine. No refresh starts any more, and the engine waits for the refreshes under
    /// way, 30 s at the most. Then it tries once more the sign-outs that the store did not take,
    /// for 10 s at the most. Call it after the server has stopped and before the store is closed.
    ///
    /// Returns the number of refreshes, and of other tasks of the refresher, that had not ended,
    /// plus the number of sign-outs that were given up.
    ///
    /// Later requests are served as if refresh were unavailable.
    pub async fn shutdown(&self) -> usize {
        let refreshes = self.core.flights.drain(&self.core).await;
        let sign_outs = self.core.drain_sign_outs().await;
        refreshes + sign_outs + self.core.refresher.drain(self.context()).await
    }
}

impl<C> Engine<C> {
    /// Returns what the engine serves besides the app's own routes.
    pub(crate) fn served(&self) -> &ServedEndpoints {
        &self.rest.endpoints
    }
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), rest: self.rest.clone() }
    }
}

impl<C> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("issuer", &self.core.settings.rules.issuer)
            .field("audience", &self.core.settings.rules.audience)
            .field("keys", &self.core.settings.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
