//! A request whose token needs a key that is being fetched: judged again when the key is there.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Engine, Facts, Manner};
use crate::extract::Kept;
use crate::refresh::flight::within;
use crate::session::{ClaimSet, Session};

/// Ready when the set was fetched, or could not be.
pub(super) type Fetch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// After the waiter limit nobody knows any more than before.
const SOON: Duration = Duration::from_secs(1);

/// What is kept of the request meanwhile.
pub(super) struct Unjudged<C> {
    engine: Engine<C>,
    fetch: Fetch,
    access: Kept,
    refresh: Option<Kept>,
    facts: Facts,
    manner: Manner,
}

impl<C: ClaimSet> Unjudged<C> {
    pub(super) fn new(
        engine: Engine<C>,
        fetch: Fetch,
        (access, refresh): (Kept, Option<Kept>),
        facts: Facts,
        manner: Manner,
    ) -> Self {
        Self { engine, fetch, access, refresh, facts, manner }
    }

    /// Waits for the keys, then for a refresh if there has to be one: for the waiter limit in all.
    pub(super) async fn settle(self) -> Session<C> {
        let Self { engine, mut fetch, access, refresh, facts, manner } = self;
        let core = &engine.core;
        // By the clock of the timers that limit it, which a test may stop.
        let began = Instant::now();
        let left = || core.waiter_limit.saturating_sub(began.elapsed());

        let mut again = true;
        let (assessed, now) = loop {
            let span = tracing::info_span!(target: "everfresh", "everfresh.wait", how = "keys");
            let landed = within(core, left(), fetch).instrument(span).await.is_some();
            let now = core.clock.now();
            let mut assessed = engine.assess(&access.found(), now);
            if assessed.lacks_key
                && let Some(next) = engine.seek_key(&mut assessed, &access.found(), now)
            {
                // The first one may have begun before there was such a key.
                if landed && again {
                    (fetch, again) = (next, false);
                    continue;
                }
                assessed.doubt(SOON);
            }
            break (assessed, now);
        };
        let refresh = refresh.as_ref().map(Kept::found);
        let (session, waits) = engine.decide(assessed, refresh.as_ref(), facts, || manner, now);
        if waits {
            session.wait(Some(left())).await;
        }
        session
    }
}

impl<C> fmt::Debug for Unjudged<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unjudged").finish_non_exhaustive()
    }
}
