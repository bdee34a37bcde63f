//! The part of an engine that does not depend on the type of the claims.

mod fit;
mod new_tokens;
mod revocation_feed;
mod settings;
mod sign_outs;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::Timestamp;
use crate::error::Failure;
use crate::node::{FeedState, Revoked, Seen, Watches};
use crate::observe::Event;
use crate::observe::metrics::Metrics;
use crate::refresh::ErasedRefresher;
use crate::refresh::flight::FlightGroup;
use crate::runtime::{Found, Runtime};
use crate::transport::Transports;
use crate::verify::Verified;

pub(crate) use fit::Fit;
pub(crate) use settings::Settings;
pub(crate) use sign_outs::SignOuts;

/// The part of the engine that does not depend on the type of the claims: its settings, its
/// refresher, and what this node remembers.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) transports: Transports,
    pub(crate) refresher: Arc<dyn ErasedRefresher>,
    pub(crate) fit: Fit,
    pub(crate) reuse_interval: Duration,
    pub(crate) runtime: Runtime,
    pub(crate) flights: FlightGroup,
    pub(crate) revoked: Revoked,
    pub(crate) seen: Seen,
    pub(crate) watches: Watches,
    pub(crate) revocation_feed: FeedState,
    pub(crate) sign_outs: SignOuts,
    pub(crate) metrics: Metrics,
}

impl Core {
    /// `fit`: the app's claims type. Everything that a node remembers is empty.
    pub(crate) fn new(
        settings: Settings,
        transports: Transports,
        refresher: Box<dyn ErasedRefresher>,
        fit: Fit,
        runtime: Option<Handle>,
    ) -> Self {
        Self {
            transports,
            // A result that is returned again must not be about to expire.
            reuse_interval: refresher.result_window().min(settings.access_lifetime / 2),
            refresher: refresher.into(),
            fit,
            settings,
            runtime: Runtime::new(runtime),
            flights: FlightGroup::default(),
            revoked: Revoked::new(),
            seen: Seen::new(),
            watches: Watches::new(),
            revocation_feed: FeedState::default(),
            sign_outs: SignOuts::default(),
            metrics: Metrics::new(),
        }
    }

    /// Returns the runtime for work that outlives this request: the one that the engine has, or the
    /// request's own.
    pub(crate) fn runtime(self: &Arc<Self>) -> Option<Handle> {
        let Found { handle, ended, is_new } = self.runtime.find();
        if ended {
            self.emit(&Event::RuntimeEnded);
        }
        if let (true, Some(handle)) = (is_new, &handle) {
            self.follow(handle, ended);
        }
        handle
    }

    /// Records that the session is over. From now on this node refuses its access tokens, for as
    /// long as one may live if clocks differ by up to an hour.
    pub(crate) fn revoke_here(&self, sid: &str) {
        let now = self.now();
        let until = now.plus(self.longest_life());
        self.revoked.insert(sid, until, now);
        self.watches.end(sid);
    }

    /// Returns how long clients may present an access token of a session that is over.
    pub(crate) fn longest_life(&self) -> Duration {
        /// Tokens of a node whose clock is ahead by this much live longer on this node.
        const SKEW: Duration = Duration::from_secs(60 * 60);
        self.settings.access_lifetime + self.settings.rules.leeway + SKEW
    }

    /// Returns until when this token may be used if no refresh is available: its expiry plus the
    /// leeway, which is at most a quarter of its lifetime, and never past the end of its session.
    pub(crate) fn usable_until<C>(&self, verified: &Verified<C>) -> Timestamp {
        let quarter = verified.lifetime(self.settings.access_lifetime) / 4;
        let until = verified.expires.plus(self.settings.rules.leeway.min(quarter));
        verified.session_expires.map_or(until, |end| until.min(end))
    }

    /// Returns the present time of the wall clock. A request reads it when it arrives and after each
    /// wait, and hands it down.
    pub(crate) fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Runs the task to its end, also if the caller is dropped.
    pub(crate) async fn detached<T: Send + 'static>(
        self: &Arc<Self>,
        task: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(runtime) = self.runtime() else { return task.await };
        runtime.spawn(task).await.unwrap_or_else(|error| {
            if !error.is_cancelled() {
                return Err(Failure::SOON);
            }
            self.emit(&Event::RuntimeEnded);
            Err(Failure::NoRuntime)
        })
    }

    /// Drops what this node holds of a session that is over. If the refresher keeps no sessions,
    /// the session's access tokens are good on every other node, and therefore on this one too.
    pub(crate) fn forget(&self, sid: &str) {
        self.flights.forget(sid);
        if self.refresher.uses_refresh_tokens() {
            self.revoke_here(sid);
        }
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        event.trace();
        self.metrics.happened(event);
        if let Some(hook) = &self.settings.events {
            hook(event);
        }
    }
}
