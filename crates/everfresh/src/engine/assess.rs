//! Of several tokens, which one counts, and what that one says.

use std::sync::Arc;
use std::time::Duration;

use super::await_key::Fetch;
use super::{Core, Engine};
use crate::clock::Timestamp;
use crate::decide::{Verdict, Windows, spread};
use crate::extract::{Candidate, Found};
use crate::observe::Event;
use crate::refresh::{FlightKey, Presented, RefreshToken, VerifiedToken};
use crate::session::{ClaimSet, SessionStatus, View};
use crate::verify::{self, InvalidReason, Seek, Verified, verify};

/// What the tokens of a request come to.
pub(super) struct Assessed<C> {
    pub(super) verdict: Verdict,
    /// Which carrier brought what counts, or what was refused.
    pub(super) carrier: Option<usize>,
    pub(super) view: View<C>,
    /// None is good, and one of them may be signed by a key that the set lacks.
    pub(super) lacks_key: bool,
}

impl<C> Assessed<C> {
    /// Which of the tokens counts can't be known at the moment.
    pub(super) fn unknown(retry_after: Duration) -> Self {
        let view = View::nobody(SessionStatus::Unavailable { retry_after }, None);
        Self { verdict: Verdict::Invalid, carrier: None, view, lacks_key: false }
    }

    /// The key can't be had at the moment: the token may be good. What has expired has not become
    /// better by that.
    pub(super) fn doubt(&mut self, retry_after: Duration) {
        if self.view.verified.is_none() {
            self.view = View::nobody(SessionStatus::Unavailable { retry_after }, None);
        }
    }
}

/// What the refresh tokens of a request come to.
pub(super) enum Refreshing {
    /// None counts.
    Nothing,
    This(Picked),
    /// Of another session than the access token's, or of several. Which of these is over decides, and
    /// has to be asked.
    Doubt(Vec<Box<str>>),
    /// Somebody planted one, and with it perhaps the access token: that does not count either.
    Conflict,
}

/// A refresh token that counts.
pub(super) struct Picked {
    /// Which carrier brought it.
    pub(super) carrier: usize,
    pub(super) token: RefreshToken,
    /// Whether it belongs to the verified access token, if there is one.
    pub(super) beside: bool,
}

/// Tokens of two sessions in one place.
struct Conflict;

impl Candidate<'_> {
    fn picked(&self, beside: bool) -> Refreshing {
        match self.as_refresh_token() {
            Some((carrier, token)) => Refreshing::This(Picked { carrier, token, beside }),
            None => Refreshing::Nothing,
        }
    }
}

impl<C: ClaimSet> Engine<C> {
    /// Verifies what was presented and picks what counts.
    ///
    /// 1. A token that is good counts before one that has expired; of two that are as good, the
    ///    one of the first carrier, so that nobody becomes somebody else as time goes by.
    /// 2. Of two tokens of one session in one place, the one that expires last. One whose claims the
    ///    app's type does not take counts, by rule 1 too, only where there is no other.
    /// 3. Two tokens of different sessions in one place: somebody planted one, and no rule could
    ///    tell which (RFC 6265bis section 8.6). Neither counts, whatever their order. One that is
    ///    past use and past refresh is only litter, and takes no part in this.
    pub(super) fn assess(&self, found: &Found<'_>, now: Timestamp) -> Assessed<C> {
        let core = &self.core;
        let mut best: Option<(Verdict, usize, Arc<Verified<C>>)> = None;
        let (mut flaw, mut lacks_key) = (found.flaw, false);
        for group in found.candidates().chunk_by(|one, next| one.carrier == next.carrier) {
            let verified = match self.pick(group, now, &mut lacks_key) {
                Ok(verified) => verified,
                Err(reason) => {
                    flaw = Some(reason);
                    continue;
                }
            };
            let verdict = core.judge(&verified, now);
            let better = |kept: &Verified<C>, of: Verdict| {
                rank(verdict, verified.claims.is_ok()) > rank(of, kept.claims.is_ok())
            };
            let is_read = verified.claims.is_ok();
            if best.as_ref().is_none_or(|(of, _, kept)| better(kept, *of)) {
                best = Some((verdict, group[0].carrier, verified));
            }
            if verdict != Verdict::Expired && is_read {
                lacks_key = false;
                break;
            }
        }
        match best {
            Some((verdict, carrier, verified)) => {
                let standing = match verdict {
                    Verdict::Expired if core.is_past_use(&verified, now) => SessionStatus::Rejected,
                    _ if verified.claims.is_err() => SessionStatus::UnreadClaims,
                    _ => SessionStatus::Present,
                };
                let view = View { standing, reason: None, verified: Some(verified) };
                Assessed { verdict, carrier: Some(carrier), view, lacks_key }
            }
            None => {
                let (verdict, standing) = match flaw {
                    None => (Verdict::Absent, SessionStatus::Absent),
                    Some(_) => (Verdict::Invalid, SessionStatus::Rejected),
                };
                let carrier = found.candidates().first().map(|first| first.carrier);
                Assessed { verdict, carrier, view: View::nobody(standing, flaw), lacks_key }
            }
        }
    }

    /// The token that counts among those of one place: rules 2 and 3 of [`Self::assess`].
    fn pick(
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
                    *lacks_key =
                        *lacks_key || verify::lacks_key(candidate.token, reason, &core.keys);
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
        let (core, cache, token) = (&self.core, &self.cache, candidate.token);
        let version = core.keys.version();
        let found = cache.find(token, version, now);
        let known = found.is_some();
        let verified = match found {
            Some(verified) => verified,
            None => {
                candidate.flaw(&core.carriers).map_or(Ok(()), Err)?;
                Arc::new(verify(token, &core.keys.current(), &core.rules, now)?)
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

    /// Asks for the key that a token needs and the set lacks. Gives the fetch, if one is under way.
    pub(super) fn seek_key(
        &self,
        assessed: &mut Assessed<C>,
        found: &Found<'_>,
        now: Timestamp,
    ) -> Option<Fetch> {
        match self.core.keys.seek() {
            // Unless it came between our look and the question.
            Seek::InVain => *assessed = self.assess(found, now),
            Seek::InFlight(fetch) => return Some(fetch),
            Seek::Unavailable { retry_after } => assessed.doubt(retry_after),
        }
        None
    }
}

impl Core {
    fn identify<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        let presented = Presented::new(Some(verified.held()), None);
        self.refresher.identify(presented, now).is_some()
    }

    /// The refresh token that counts.
    ///
    /// 1. The two tokens of one carrier belong together: beside a verified access token only its
    ///    carrier's refresh token counts, and while that is good only one of the same session.
    /// 2. Beside one that has expired, one of the same session comes first; without it, another
    ///    session's counts in its stead: a response that came late may have left a former access
    ///    token beside the refresh token of a new sign-in.
    /// 3. Without one, the first carrier's. Of two sessions none counts: somebody planted one.
    /// 4. Of one session the latest generation counts.
    ///
    /// 5. Where a sibling subdomain can plant the access token, since its cookie is not `__Host-`, the
    ///    refresh token decides: the one of another session takes the place of an access token that
    ///    is good, and of two sessions none counts, the access token's neither. What is left of a
    ///    session that is over takes no part; `asked`: the refresher was asked which are.
    ///
    /// Beside a fresh access token nothing will be refreshed but by the handler: a single refresh
    /// token is kept as it came, and checked when it is needed. Under rule 5 it is checked now, if
    /// it names another session.
    pub(super) fn pick_refresh<C>(
        &self,
        found: &Found<'_>,
        verdict: Verdict,
        carrier: Option<usize>,
        verified: Option<&Verified<C>>,
        asked: bool,
        now: Timestamp,
    ) -> Refreshing {
        let candidates = found.candidates();
        let (Some(verified), Some(carrier)) = (verified, carrier) else {
            let picked = self.latest(candidates, None, now).ok().flatten();
            return self.told_if_none(candidates, picked.map(|(one, _)| one.picked(true)));
        };
        let plantable = self.carriers.is_plantable(carrier);
        let of_carrier = |one: &&Candidate<'_>| one.carrier == carrier;
        if let ([only], Verdict::Fresh) = (candidates, verdict)
            && (!plantable
                || of_carrier(&only) && self.refresher.names_session(only.token, &verified.sid))
        {
            let picked = Some(only).filter(of_carrier).map(|one| one.picked(true));
            return picked.unwrap_or(Refreshing::Nothing);
        }
        let candidates: Vec<_> = candidates.iter().filter(of_carrier).copied().collect();
        if plantable {
            return match self.latest(&candidates, None, now) {
                Ok(_) if found.gave_up(carrier) => Refreshing::Conflict,
                Ok(Some((one, of))) if of.sid == verified.sid => one.picked(true),
                Ok(Some((_, of))) if self.revoked.contains(&of.sid, now) => Refreshing::Nothing,
                Ok(Some(_)) | Err(Conflict) if !asked => {
                    Refreshing::Doubt(self.sessions_of(&candidates, now))
                }
                Ok(Some((one, _))) => one.picked(false),
                Err(Conflict) => Refreshing::Conflict,
                // Nothing of it is known yet, as without this rule.
                Ok(None) => match &*candidates {
                    [only] if verdict == Verdict::Fresh => only.picked(true),
                    _ => Refreshing::Nothing,
                },
            };
        }
        let own = self.latest(&candidates, Some(verified.held()), now).ok().flatten();
        let picked = match own {
            Some((own, _)) => Some(own.picked(true)),
            None if verdict == Verdict::Expired => {
                let other = self.latest(&candidates, None, now).ok().flatten();
                other.map(|(other, _)| other.picked(false))
            }
            None => None,
        };
        self.told_if_none(&candidates, picked)
    }

    /// The sessions of those that are authentic.
    fn sessions_of(&self, candidates: &[Candidate<'_>], now: Timestamp) -> Vec<Box<str>> {
        let admitted = |one: &Candidate<'_>| {
            self.refresher.identify(Presented::new(None, Some(one.token)), now)
        };
        candidates.iter().filter_map(admitted).map(|of| of.sid).collect()
    }

    /// The latest of one session's; of the one that is asked for, or of the only one. Of two sessions
    /// one that is known to be over takes no part.
    fn latest<'c, 'h>(
        &self,
        candidates: &'c [Candidate<'h>],
        of: Option<VerifiedToken<'_>>,
        now: Timestamp,
    ) -> Result<Option<(&'c Candidate<'h>, FlightKey)>, Conflict> {
        let mut best: Option<(&Candidate<'_>, FlightKey)> = None;
        for candidate in candidates {
            if best.as_ref().is_some_and(|(kept, _)| kept.carrier != candidate.carrier) {
                continue;
            }
            let presented = Presented::new(of, Some(candidate.token));
            let Some(admission) = self.refresher.identify(presented, now) else { continue };
            if of.is_some_and(|held| *held.sid != *admission.sid) {
                continue;
            }
            match &best {
                Some((_, kept)) if kept.sid != admission.sid => {
                    match self.revoked.contains(&admission.sid, now) {
                        true => continue,
                        false if self.revoked.contains(&kept.sid, now) => {}
                        false => return Err(Conflict),
                    }
                    best = Some((candidate, admission));
                }
                Some((_, kept)) if kept.fingerprint >= admission.fingerprint => {}
                _ => best = Some((candidate, admission)),
            }
        }
        Ok(best)
    }

    /// Reports that authentic refresh tokens came and none of them counts.
    fn told_if_none(&self, candidates: &[Candidate<'_>], picked: Option<Refreshing>) -> Refreshing {
        let now = self.clock.now();
        let admitted = |one: &Candidate<'_>| {
            self.refresher.identify(Presented::new(None, Some(one.token)), now).is_some()
        };
        if picked.is_none() && candidates.iter().any(admitted) {
            self.emit(&Event::RefreshTokenIgnored);
        }
        picked.unwrap_or(Refreshing::Nothing)
    }

    fn judge<C>(&self, verified: &Verified<C>, now: Timestamp) -> Verdict {
        if Windows::all_ahead(verified.expires, now) {
            return Verdict::Fresh;
        }
        let lifetime = verified.lifetime(self.mint_rules.lifetime);
        let windows = Windows::new(lifetime, spread(&verified.sid));
        windows.judge(verified.expires, now)
    }

    /// Whether the token is past all use by itself.
    fn is_past_use<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        now >= verified.expires && now >= self.usable_until(verified)
    }

    /// Until when this token may be used where no refresh is to be had: its expiry and the leeway,
    /// of at most a quarter of its life, and never past the end of its session.
    pub(crate) fn usable_until<C>(&self, verified: &Verified<C>) -> Timestamp {
        let quarter = verified.lifetime(self.mint_rules.lifetime) / 4;
        let until = verified.expires.plus(self.rules.leeway.min(quarter));
        verified.session_expires.map_or(until, |end| until.min(end))
    }
}

/// Of one session's tokens, one whose claims the app's type takes comes first, then the later one.
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
