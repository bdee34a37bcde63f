//! What the middleware does with a session: refresh it, conclude, deliver.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{ClaimSet, SEALED, Session, Standing, TOUCHED, View};
use crate::edits::{self, Outgoing};
use crate::head::ResponseHead;
use crate::observe::Event;
use crate::refresh::Failure;
use crate::refresh::flight::{Flight, FlightKey, Haste, Landing, fly};
use crate::secret::AccessToken;
use crate::verify::Verified;

impl<C: ClaimSet> Session<C> {
    /// Starts or joins the flight for the token that the request presented, if it may.
    pub(crate) fn take_off(&self, haste: Haste) -> Option<Flight> {
        let core = &self.0.core;
        let (verified, key) = self.presented(|verified| {
            let sid = verified.sid.clone()?;
            Some((verified.held()?, FlightKey { sid, mark: verified.mark }))
        })??;
        if !core.refresher.admits(verified, core.clock.now()) {
            return None;
        }
        let grant = self.grant().ok()?;
        Some(fly(core, &key, grant, haste))
    }

    /// Runs a flight beside the request; what it brings leaves with the response if it is done.
    pub(crate) fn advise(&self) {
        if let Some(flight) = self.take_off(Haste::Beside) {
            self.lock().beside = Some(flight);
            self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel);
        }
    }

    /// Refreshes and waits for it, up to the waiter limit. Afterwards the session's standing is
    /// what the request is entitled to.
    pub(crate) async fn wait(&self) {
        let landing = match self.take_off(Haste::Awaited) {
            Some(flight) => flight.land(&self.0.core, self.0.core.waiter_limit).await,
            None => Err(Failure::Rejected),
        };
        self.conclude(landing);
    }

    /// Design section 7: what a flight's end means for this request. False if it came too late.
    pub(super) fn conclude(&self, landing: Landing) -> bool {
        let core = &self.0.core;
        let failure = match landing {
            Ok(tokens) => match self.successor(&tokens.access) {
                Ok(verified) => {
                    let verified = Some(Arc::new(verified));
                    let view = View { standing: Standing::Present, reason: None, verified };
                    let carrier = self.0.carrier;
                    return self.replace(view, Outgoing::Tokens { carrier, tokens }, true);
                }
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        let verified = self.presented(Arc::clone);
        let (standing, verified) = match failure {
            Failure::Rejected => (Standing::Rejected, None),
            _ if verified.as_ref().is_some_and(|held| self.still_good(held)) => {
                (Standing::Present, verified)
            }
            Failure::Unavailable { retry_after } => (Standing::Unavailable { retry_after }, None),
            Failure::Misconfigured => {
                (Standing::Unavailable { retry_after: core.waiter_limit }, None)
            }
        };
        self.replace(View { standing, reason: None, verified }, Outgoing::Nothing, false)
    }

    /// A new token must be good like any other, and of the same person and session.
    fn successor(&self, token: &AccessToken) -> Result<Verified<C>, Failure> {
        let verified = self.0.core.verify_own::<C>(token)?;
        let same = self.presented(|old| old.subject == verified.subject && old.sid == verified.sid);
        if same == Some(true) { Ok(verified) } else { Err(Failure::Misconfigured) }
    }

    fn still_good(&self, verified: &Verified<C>) -> bool {
        let core = &self.0.core;
        let now = core.clock.now();
        if now < verified.expires {
            return true;
        }
        let stale = now < core.usable_until(verified);
        if stale {
            core.emit(&Event::StaleServed { sid: verified.sid.as_deref().unwrap_or_default() });
        }
        stale
    }

    /// Seals the session and puts what was done to it into the response's head.
    pub(crate) fn finish(&self, response: &mut impl ResponseHead) {
        if self.0.flags.fetch_or(SEALED, Ordering::AcqRel) & TOUCHED == 0 {
            return;
        }
        let (outgoing, beside) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.outgoing), state.beside.take())
        };
        let outgoing = match (outgoing, beside.and_then(|flight| flight.landed())) {
            // What the handler did comes before what the middleware would do.
            (Outgoing::Nothing, Some(Ok(tokens))) if self.successor(&tokens.access).is_ok() => {
                Outgoing::Tokens { carrier: self.0.carrier, tokens }
            }
            (outgoing, _) => outgoing,
        };
        edits::apply(&self.0.core, response, outgoing);
    }

    /// The token that leaves with the response, as far as it is known before the handler runs.
    pub(crate) fn delivered(&self) -> Option<AccessToken> {
        if !self.touched() {
            return None;
        }
        match &self.lock().outgoing {
            Outgoing::Tokens { tokens, .. } => Some(tokens.access.clone()),
            _ => None,
        }
    }

    /// Changes who somebody is and what leaves with the response. False, and nothing changed but
    /// the view, if the response's head has left.
    pub(super) fn replace(&self, view: View<C>, outgoing: Outgoing, refreshed: bool) -> bool {
        let mut state = self.lock();
        state.now = Some(view);
        state.beside = None;
        // Under the lock: a head that seals itself now waits for it and sees what we write.
        if self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel) & SEALED != 0 {
            return false;
        }
        state.outgoing = outgoing;
        state.refreshed = refreshed;
        true
    }
}
