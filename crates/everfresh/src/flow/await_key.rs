//! A request that can't be verified yet, because its token needs a key that is being fetched, or it
//! brought tokens of several sessions and some of these may be over. It is verified again when that
//! is known.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::facts::{OriginFacts, RequestKind};
use super::select::AccessSelection;
use super::select_refresh::Refreshing;
use crate::engine::Engine;
use crate::extract::Kept;
use crate::mint::ClaimSet;
use crate::refresh::flight::within;
use crate::session::Session;

/// Completes when the key set was fetched, or the fetch failed.
pub(super) type Fetch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The client may try again after this time, since the wait ended without an answer.
const SOON: Duration = Duration::from_secs(1);

/// What is kept of the request meanwhile.
pub(super) struct AwaitKey<C> {
    engine: Engine<C>,
    fetch: Option<Fetch>,
    access: Kept,
    refresh: Option<Kept>,
    facts: OriginFacts,
    request_kind: RequestKind,
}

impl<C: ClaimSet> AwaitKey<C> {
    pub(super) fn new(
        engine: Engine<C>,
        fetch: Option<Fetch>,
        (access, refresh): (Kept, Option<Kept>),
        facts: OriginFacts,
        request_kind: RequestKind,
    ) -> Self {
        Self { engine, fetch, access, refresh, facts, request_kind }
    }

    /// Waits for the keys, then for the refresher's report on the sessions, then for a refresh, as
    /// far as each is necessary. The refresh timeout is for all of them together.
    pub(super) async fn settle(self) -> Session<C> {
        let Self { engine, mut fetch, access, refresh, facts, request_kind } = self;
        let core = &engine.core;
        // Measured by the clock of the timers that limit the wait, which a test may stop.
        let began = Instant::now();
        let left = || core.settings.refresh_timeout.saturating_sub(began.elapsed());

        let mut again = true;
        let (mut selected, mut now) = loop {
            let outcome = match fetch {
                Some(fetch) => {
                    let span =
                        tracing::info_span!(target: "everfresh", "everfresh.wait", entry = "keys");
                    within(core, left(), fetch).instrument(span).await.is_some()
                }
                None => false,
            };
            let now = core.now();
            let mut selected = engine.select(&access.found(), now);
            if selected.lacks_key
                && let Some(next) = engine.seek_key(&mut selected, &access.found(), now)
            {
                // The first fetch may have begun before the key was published.
                if outcome && again {
                    (fetch, again) = (Some(next), false);
                    continue;
                }
                selected.doubt(SOON);
            }
            break (selected, now);
        };
        let refresh = refresh.as_ref().map(Kept::found);
        let mut chosen = engine.select_refresh(&selected, refresh.as_ref(), false, now);
        if let Refreshing::Doubt(sessions) = chosen {
            let known = within(core, left(), core.learn_ends(sessions)).await == Some(true);
            now = core.now();
            selected = engine.select(&access.found(), now);
            chosen = engine.select_refresh(&selected, refresh.as_ref(), true, now);
            if !known && matches!(chosen, Refreshing::Conflict) {
                selected = AccessSelection::unknown(SOON);
                chosen = Refreshing::Nothing;
            }
        }
        let refresh = refresh.as_ref();
        let (session, waits) =
            engine.conclude(selected, chosen, refresh, facts, || request_kind, now);
        if waits {
            session.wait(Some(left())).await;
        }
        session
    }
}

impl<C> fmt::Debug for AwaitKey<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitKey").finish_non_exhaustive()
    }
}
