//! Which access token counts among several, and what it is worth.

use std::sync::Arc;
use std::time::Duration;

use super::await_key::Fetch;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::{Verdict, Windows, spread};
use crate::engine::Engine;
use crate::extract::{Candidate, Found};
use crate::mint::ClaimSet;
use crate::refresh::Presented;
use crate::session::{SessionStatus, View};
use crate::verify::{self, InvalidReason, Seek, Verified, verify};

/// The selection among a request's access tokens.
pub(super) struct AccessSelection<C> {
    pub(super) verdict: Verdict,
    /// The transport that brought the token that counts, or the token that was refused.
    pub(super) transport: Option<usize>,
    pub(super) view: View<C>,
    /// No token is good, and the key set may lack the key that signed one of them.
    pub(super) lacks_key: bool,
}

impl<C> AccessSelection<C> {
    /// The selection if the engine can't tell at the moment which of the tokens counts.
    pub(super) fn unknown(retry_after: Duration) -> Self {
        let view = View::without_token(SessionStatus::Unavailable { retry_after }, None);
        Self { verdict: Verdict::Invalid, transport: None, view, lacks_key: false }
    }

    /// The key is not available at the moment, so the token may be good. An expired token that was
    /// verified keeps its selection.
    pub(super) fn doubt(&mut self, retry_after: Duration) {
        if self.view.verified.is_none() {
            self.view = View::without_token(SessionStatus::Unavailable { retry_after }, None);
        }
    }
}

impl<C: ClaimSet> Engine<C> {
    /// Verifies the presented access tokens and selects the one that counts.
    ///
    /// 1. A good token takes precedence over an expired one. Of two that are equally good, the
    ///    first transport's counts, so that the user of a client's requests does not change over
    ///    time.
    /// 2. Of two tokens of one session in one place, the one that expires last counts. A token
    ///    whose claims the app's type does not take counts only if there is no other, also by rule
    ///    1.
    /// 3. If two tokens in one place belong to different sessions, an attacker planted one, and no
    ///    rule could tell which (RFC 6265bis section 8.6). Neither counts, whatever their order. A
    ///    token that is past use and past refresh takes no part in this rule.
    pub(super) fn select(&self, found: &Found<'_>, now: Timestamp) -> AccessSelection<C> {
        let core = &self.core;
        let mut best: Option<(Verdict, usize, Arc<Verified<C>>)> = None;
        let (mut flaw, mut lacks_key) = (found.flaw, false);
        for group in found.candidates().chunk_by(|one, next| one.transport == next.transport) {
            let verified = match self.select_in_place(group, now, &mut lacks_key) {
                Ok(verified) => verified,
                Err(reason) => {
                    flaw = Some(reason);
                    continue;
                }
            };
            let verdict = core.classify(&verified, now);
            let better = |kept: &Verified<C>, of: Verdict| {
                rank(verdict, verified.claims.is_ok()) > rank(of, kept.claims.is_ok())
            };
            let is_read = verified.claims.is_ok();
            if best.as_ref().is_none_or(|(of, _, kept)| better(kept, *of)) {
                best = Some((verdict, group[0].transport, verified));
            }
            if verdict != Verdict::Expired && is_read {
                lacks_key = false;
                break;
            }
        }
        match best {
            Some((verdict, transport, verified)) => {
                let status = match verdict {
                    Verdict::Expired if core.is_past_use(&verified, now) => SessionStatus::Rejected,
                    _ if verified.claims.is_err() => SessionStatus::UnreadClaims,
                    _ => SessionStatus::Present,
                };
                let view = View { status, reason: None, verified: Some(verified) };
                AccessSelection { verdict, transport: Some(transport), view, lacks_key }
            }
            None => {
                let (verdict, status) = match flaw {
                    None => (Verdict::Absent, SessionStatus::Absent),
                    Some(_) => (Verdict::Invalid, SessionStatus::Rejected),
                };
                let transport = found.candidates().first().map(|first| first.transport);
                AccessSelection {
                    verdict,
                    transport,
                    view: View::without_token(status, flaw),
                    lacks_key,
                }
            }
        }
    }

    /// Returns the token that counts among those of one place: rules 2 and 3 of [`Self::select`].
    fn select_in_place(
        &self,
        group: &[Candidate<'_>],
        now: Timestamp,
        lacks_key: &mut bool,
    ) -> Result<Arc<Verified<C>>, InvalidReason> {
        let core = &self.core;
        let mut best: Result<Arc<Verified<C>>, _> = Err(InvalidReason::Malformed);
        let mut stale = None;
        for candidate in group {
            let verified = match self.verified(candidate, now) {
                Ok(verified) => verified,
                Err(reason) => {
                    *lacks_key = *lacks_key
                        || verify::lacks_key(candidate.token, reason, &core.settings.keys);
                    best = best.map_err(|_| reason);
                    continue;
                }
            };
            if core.is_past_use(&verified, now) && !core.identify(&verified, now) {
                stale = Some(verified);
                continue;
            }
            match &best {
                Ok(kept) if kept.sid != verified.sid || kept.subject != verified.subject => {
                    return Err(InvalidReason::Conflict);
                }
                Ok(kept) if age(kept) >= age(&verified) => {}
                _ => best = Ok(verified),
            }
        }
        best.or_else(|reason| stale.ok_or(reason))
    }

    /// Verifies one token, unless it was verified before by the same keys.
    fn verified(
        &self,
        candidate: &Candidate<'_>,
        now: Timestamp,
    ) -> Result<Arc<Verified<C>>, InvalidReason> {
        let (core, cache, token) = (&self.core, &self.rest.cache, candidate.token);
        let version = core.settings.keys.version();
        let found = cache.find(token, version, now);
        let known = found.is_some();
        let verified = match found {
            Some(verified) => verified,
            None => {
                candidate.flaw(&core.transports).map_or(Ok(()), Err)?;
                Arc::new(verify(token, &core.settings.keys.current(), &core.settings.rules, now)?)
            }
        };
        if core.revoked.contains(&verified.sid, now) {
            cache.forget(token);
            return Err(InvalidReason::Revoked);
        }
        if !known && now < verified.expires {
            cache.insert(token, version, &verified);
        }
        Ok(verified)
    }

    /// Asks for the key that a token needs and the set lacks. Returns the fetch, if one is under
    /// way.
    pub(super) fn seek_key(
        &self,
        selected: &mut AccessSelection<C>,
        found: &Found<'_>,
        now: Timestamp,
    ) -> Option<Fetch> {
        match self.core.settings.keys.seek() {
            // The key may have arrived between the check and this call.
            Seek::NotFound => *selected = self.select(found, now),
            Seek::InFlight(fetch) => return Some(fetch),
            Seek::Unavailable { retry_after } => selected.doubt(retry_after),
        }
        None
    }
}

impl Core {
    fn identify<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        let presented = Presented::with(Some(verified.as_verified_token()), None);
        self.refresher.identify(presented, now).is_some()
    }

    fn classify<C>(&self, verified: &Verified<C>, now: Timestamp) -> Verdict {
        if Windows::all_ahead(verified.expires, now) {
            return Verdict::Fresh;
        }
        let lifetime = verified.lifetime(self.settings.access_lifetime);
        let windows = Windows::new(lifetime, spread(&verified.sid));
        windows.classify(verified.expires, now)
    }

    /// Returns whether the token can't be used any more without a refresh.
    fn is_past_use<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        now >= verified.expires && now >= self.usable_until(verified)
    }
}

/// Orders the tokens of one session: first by whether the app's type takes the claims, then by
/// expiry.
fn age<C>(verified: &Verified<C>) -> (bool, Timestamp) {
    (verified.claims.is_ok(), verified.expires)
}

/// `is_read`: whether the app's type takes its claims.
fn rank(verdict: Verdict, is_read: bool) -> u8 {
    match verdict {
        Verdict::Fresh | Verdict::Expiring(_) if is_read => 3,
        Verdict::Fresh | Verdict::Expiring(_) => 2,
        Verdict::Expired => 1,
        Verdict::Invalid | Verdict::Absent => 0,
    }
}
