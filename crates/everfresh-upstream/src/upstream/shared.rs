//! What an exchange and its keeper share: the other server's token endpoint, the store, and the
//! sealer.

use std::sync::OnceLock;
use std::time::Duration;

use everfresh::store::StoredUpstreamTokens;
use everfresh::upstream::Sealer;
use everfresh::{Failure, SessionId};

use super::send_rules::Rules;
use super::token_endpoint::TokenEndpoint;
use super::tokens::UpstreamTokens;

pub(super) struct Shared<S> {
    pub(super) endpoint: TokenEndpoint,
    pub(super) store: S,
    ready: OnceLock<Ready>,
}

struct Ready {
    sealer: Sealer,
    access_lifetime: Duration,
}

impl<S> Shared<S> {
    pub(super) fn new(endpoint: TokenEndpoint, store: S) -> Self {
        Self { endpoint, store, ready: OnceLock::new() }
    }

    /// The first engine's settings stay. The rows of a second engine open only with the same
    /// settings.
    pub(super) fn prepare(&self, sealer: Sealer, access_lifetime: Duration) {
        let _ = self.ready.set(Ready { sealer, access_lifetime });
    }

    pub(super) fn sealer(&self) -> Result<&Sealer, Failure> {
        self.ready.get().map(|ready| &ready.sealer).ok_or(Failure::Misconfigured)
    }

    pub(super) fn default_life(&self) -> Duration {
        self.ready.get().map_or(Duration::ZERO, |ready| ready.access_lifetime)
    }

    pub(super) fn rules(&self) -> Rules {
        Rules { replay: self.endpoint.upstream.replay, limit: self.endpoint.upstream.limit }
    }

    pub(super) fn open(
        &self,
        sid: SessionId,
        upstream: &StoredUpstreamTokens,
    ) -> Result<UpstreamTokens, Failure> {
        UpstreamTokens::open(self.sealer()?, sid, upstream).map_err(|problem| {
            tracing::error!(target: "everfresh", %sid, %problem, "a session's upstream tokens can't be opened");
            Failure::Misconfigured
        })
    }
}
