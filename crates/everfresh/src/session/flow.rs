//! What the middleware does with a session: refresh it, conclude, deliver.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::change::grant_of;
use super::{ClaimSet, SEALED, Session, Standing, State, TOUCHED, View};
use crate::attach::{self, InnerToken};
use crate::edits::{self, Outgoing};
use crate::head::{RequestHead, ResponseHead};
use crate::observe::Event;
use crate::refresh::flight::{Flight, FlightKey, Haste, Landing, fly};
use crate::refresh::{Failure, Tokens};
use crate::secret::AccessToken;
use crate::verify::Verified;

impl<C: ClaimSet> Session<C> {
    /// Step 5: what the inner service sees of the tokens.
    pub(crate) fn attach(&self, head: &mut impl RequestHead) {
        let core = &self.0.core;
        let successor = match core.inner_token {
            InnerToken::Fresh => self.delivered(),
            _ => None,
        };
        attach::rewrite(head.fields_mut(), &core.carriers, core.inner_token, successor.as_ref());
    }

    /// Starts or joins the flight for the token that the request presented, if it may. With it,
    /// the token that it refreshes.
    pub(super) fn take_off(&self, haste: Haste) -> Option<(Flight, Arc<Verified<C>>)> {
        let core = &self.0.core;
        let verified = self.presented(Arc::clone)?;
        if !core.refresher.admits(verified.held()?, core.clock.now()) {
            return None;
        }
        let key = FlightKey { sid: verified.sid.clone()?, mark: verified.mark };
        let flight = fly(core, &key, || grant_of(&verified), haste)?;
        Some((flight, verified))
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
        if let Some((flight, of)) = self.take_off(Haste::Awaited) {
            let landing = flight.land(&self.0.core, self.0.core.waiter_limit).await;
            self.conclude(landing, &of, false);
        }
    }

    /// Design section 7: what a flight's end means for this request, unless the handler has signed
    /// in or out meanwhile. False if the response's head has left.
    ///
    /// `of` is the token that the flight refreshed; `asked`: by the handler.
    pub(super) fn conclude(&self, landing: Landing, of: &Arc<Verified<C>>, asked: bool) -> bool {
        let failure = match landing {
            Ok(tokens) => match self.successor(&tokens.access, of) {
                Ok(verified) => {
                    let verified = Some(Arc::new(verified));
                    let view = View { standing: Standing::Present, reason: None, verified };
                    return self.land(of, view, Some((tokens, asked)));
                }
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        let standing = match failure {
            Failure::Rejected => Standing::Rejected,
            _ if self.still_good(of) => Standing::Present,
            Failure::Unavailable { retry_after } => Standing::Unavailable { retry_after },
            Failure::Misconfigured => {
                Standing::Unavailable { retry_after: self.0.core.waiter_limit }
            }
        };
        // What there was stays known: it can be signed out, and tried again.
        self.land(of, View { standing, reason: None, verified: Some(of.clone()) }, None)
    }

    /// A new token must be good like any other, and of the same person and session.
    fn successor(&self, token: &AccessToken, of: &Verified<C>) -> Result<Verified<C>, Failure> {
        let verified = self.0.core.verify_own::<C>(token)?;
        let same = of.subject == verified.subject && of.sid == verified.sid;
        if same { Ok(verified) } else { Err(Failure::Misconfigured) }
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
        let landed = beside.and_then(|(flight, of)| Some((flight.landed()?.ok()?, of)));
        let outgoing = match (outgoing, landed) {
            // What the handler did comes before what the middleware would do.
            (Outgoing::Nothing, Some((tokens, of)))
                if self.successor(&tokens.access, &of).is_ok() =>
            {
                Outgoing::Tokens { carrier: self.0.carrier, tokens, asked: false }
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

    /// Seals the session without a response: whatever comes now is too late.
    pub(crate) fn seal(&self) {
        self.0.flags.fetch_or(SEALED, Ordering::AcqRel);
    }

    /// Signing in or out: changes who somebody is and what leaves with the response. False, and
    /// nothing changed, if the response's head has left.
    pub(super) fn replace(&self, view: View<C>, outgoing: Outgoing) -> bool {
        self.change(view, |state| {
            state.outgoing = outgoing;
            state.refreshed = false;
        })
    }

    /// A flight's end. Nothing changes if the handler has signed in or out since its start.
    fn land(&self, of: &Arc<Verified<C>>, view: View<C>, new: Option<(Tokens, bool)>) -> bool {
        if !self.presented(|now| Arc::ptr_eq(now, of)).unwrap_or(false) {
            return true;
        }
        self.change(view, |state| {
            if let Some((tokens, asked)) = new {
                let carrier = match state.outgoing {
                    Outgoing::Tokens { carrier, .. } => carrier,
                    _ => self.0.carrier,
                };
                state.outgoing = Outgoing::Tokens { carrier, tokens, asked };
                state.refreshed = true;
            }
        })
    }

    fn change(&self, view: View<C>, write: impl FnOnce(&mut State<C>)) -> bool {
        let mut state = self.lock();
        // Under the lock: a head that seals itself now waits for it and sees what we write.
        if self.0.flags.fetch_or(TOUCHED, Ordering::AcqRel) & SEALED != 0 {
            return false;
        }
        state.now = Some(view);
        state.beside = None;
        write(&mut state);
        true
    }
}
