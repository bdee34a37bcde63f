//! Picks the token that counts among several, and judges it.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::await_key::Fetch;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::{Verdict, Windows, spread};
use crate::extract::{Candidate, Found};
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::refresh::{FlightKey, Presented, RefreshToken, VerifiedToken};
use crate::session::{SessionStatus, View};
use crate::verify::{self, InvalidReason, Seek, Verified, verify};

/// The assessment of a request's access tokens.
pub(super) struct Assessed<C> {
    pub(super) verdict: Verdict,
    /// The transport that brought the token that counts, or the token that was refused.
    pub(super) transport: Option<usize>,
    pub(super) view: View<C>,
    /// No token is good, and the key set may lack the key that signed one of them.
    pub(super) lacks_key: bool,
}

impl<C> Assessed<C> {
    /// The assessment if the engine can't tell at the moment which of the tokens counts.
    pub(super) fn unknown(retry_after: Duration) -> Self {
        let view = View::without_token(SessionStatus::Unavailable { retry_after }, None);
        Self { verdict: Verdict::Invalid, transport: None, view, lacks_key: false }
    }

    /// The key is not available at the moment, so the token may be good. An expired token that was
    /// verified keeps its assessment.
    pub(super) fn doubt(&mut self, retry_after: Duration) {
        if self.view.verified.is_none() {
            self.view = View::without_token(SessionStatus::Unavailable { retry_after }, None);
        }
    }
}

/// The assessment of a request's refresh tokens.
pub(super) enum Refreshing {
    /// No refresh token counts.
    Nothing,
    Token(Picked),
    /// The refresh token is of another session than the access token, or the refresh tokens are of
    /// several sessions. The decision depends on which of these are over, and the refresher has to
    /// be asked.
    Doubt(Vec<Box<str>>),
    /// An attacker planted a refresh token, and perhaps the access token too, which does not count
    /// either.
    Conflict,
}

/// A refresh token that counts.
pub(super) struct Picked {
    /// The transport that brought it.
    pub(super) transport: usize,
    pub(super) token: RefreshToken,
    /// Whether it belongs to the verified access token, if there is one.
    pub(super) beside: bool,
}

/// Tokens of two sessions in one place.
struct Conflict;

impl Candidate<'_> {
    fn picked(&self, beside: bool) -> Refreshing {
        match self.as_refresh_token() {
            Some((transport, token)) => Refreshing::Token(Picked { transport, token, beside }),
            None => Refreshing::Nothing,
        }
    }
}

impl<C: ClaimSet> Engine<C> {
    /// Verifies the presented access tokens and picks the one that counts.
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
    pub(super) fn assess(&self, found: &Found<'_>, now: Timestamp) -> Assessed<C> {
        let core = &self.core;
        let mut best: Option<(Verdict, usize, Arc<Verified<C>>)> = None;
        let (mut flaw, mut lacks_key) = (found.flaw, false);
        for group in found.candidates().chunk_by(|one, next| one.transport == next.transport) {
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
                Assessed { verdict, transport: Some(transport), view, lacks_key }
            }
            None => {
                let (verdict, status) = match flaw {
                    None => (Verdict::Absent, SessionStatus::Absent),
                    Some(_) => (Verdict::Invalid, SessionStatus::Rejected),
                };
                let transport = found.candidates().first().map(|first| first.transport);
                Assessed { verdict, transport, view: View::without_token(status, flaw), lacks_key }
            }
        }
    }

    /// Returns the token that counts among those of one place: rules 2 and 3 of [`Self::assess`].
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
        assessed: &mut Assessed<C>,
        found: &Found<'_>,
        now: Timestamp,
    ) -> Option<Fetch> {
        match self.core.settings.keys.seek() {
            // The key may have arrived between the check and this call.
            Seek::NotFound => *assessed = self.assess(found, now),
            Seek::InFlight(fetch) => return Some(fetch),
            Seek::Unavailable { retry_after } => assessed.doubt(retry_after),
        }
        None
    }
}

impl Core {
    fn identify<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        let presented = Presented::new(Some(verified.as_verified_token()), None);
        self.refresher.identify(presented, now).is_some()
    }

    /// Picks the refresh token that counts.
    ///
    /// 1. The two tokens of one transport belong together. Beside a verified access token only its
    ///    transport's refresh token counts, and while the access token is good only one of the same
    ///    session.
    /// 2. Beside an expired access token, a refresh token of the same session comes first. Without
    ///    one, another session's counts instead, because a late response may have left a former
    ///    access token beside the refresh token of a new sign-in.
    /// 3. Without a verified access token, the first transport's refresh token counts. Of two
    ///    sessions none counts, because an attacker planted one.
    /// 4. Of one session the latest generation counts.
    /// 5. If a sibling subdomain can plant the access token, since its cookie is not `__Host-`, the
    ///    refresh token decides. A refresh token of another session takes the place of an access
    ///    token that is good. Of two sessions none counts, and neither does the access token.
    ///    Leftover tokens of a session that is over take no part. `asked`: the refresher was asked
    ///    which sessions are over.
    ///
    /// Beside a fresh access token only the handler causes a refresh, so a single refresh token is
    /// kept as it came, and checked when it is needed. Under rule 5 it is checked now, if it names
    /// another session.
    pub(super) fn pick_refresh<C>(
        &self,
        found: &Found<'_>,
        verdict: Verdict,
        transport: Option<usize>,
        verified: Option<&Verified<C>>,
        asked: bool,
        now: Timestamp,
    ) -> Refreshing {
        let candidates = found.candidates();
        let (Some(verified), Some(transport)) = (verified, transport) else {
            let picked = self.latest(candidates, None, now).ok().flatten();
            return self.reported_if_none(candidates, picked.map(|(one, _)| one.picked(true)), now);
        };
        let plantable = self.transports.is_plantable(transport);
        let of_transport = |one: &&Candidate<'_>| one.transport == transport;
        if let ([only], Verdict::Fresh) = (candidates, verdict)
            && (!plantable
                || of_transport(&only) && self.refresher.names_session(only.token, &verified.sid))
        {
            let picked = Some(only).filter(of_transport).map(|one| one.picked(true));
            return picked.unwrap_or(Refreshing::Nothing);
        }
        let candidates: Vec<_> = candidates.iter().filter(of_transport).copied().collect();
        if plantable {
            return match self.latest(&candidates, None, now) {
                Ok(_) if found.gave_up(transport) => Refreshing::Conflict,
                Ok(Some((one, of))) if of.sid == verified.sid => one.picked(true),
                Ok(Some((_, of))) if self.revoked.contains(&of.sid, now) => Refreshing::Nothing,
                Ok(Some(_)) | Err(Conflict) if !asked => {
                    Refreshing::Doubt(self.sessions_of(&candidates, now))
                }
                Ok(Some((one, _))) => one.picked(false),
                Err(Conflict) => Refreshing::Conflict,
                // The refresher did not identify the token, which is handled as without this rule.
                Ok(None) => match &*candidates {
                    [only] if verdict == Verdict::Fresh => only.picked(true),
                    _ => Refreshing::Nothing,
                },
            };
        }
        let own = self.latest(&candidates, Some(verified.as_verified_token()), now).ok().flatten();
        let picked = match own {
            Some((own, _)) => Some(own.picked(true)),
            None if verdict == Verdict::Expired => {
                let other = self.latest(&candidates, None, now).ok().flatten();
                other.map(|(other, _)| other.picked(false))
            }
            None => None,
        };
        self.reported_if_none(&candidates, picked, now)
    }

    /// Returns the sessions of the authentic refresh tokens.
    fn sessions_of(&self, candidates: &[Candidate<'_>], now: Timestamp) -> Vec<Box<str>> {
        let admitted = |one: &Candidate<'_>| {
            self.refresher.identify(Presented::new(None, Some(one.token)), now)
        };
        candidates.iter().filter_map(admitted).map(|of| of.sid).collect()
    }

    /// Returns the latest refresh token of one session: of the session of `of`, or else of the only
    /// session. Of two sessions, one that is known to be over takes no part.
    fn latest<'c, 'h>(
        &self,
        candidates: &'c [Candidate<'h>],
        of: Option<VerifiedToken<'_>>,
        now: Timestamp,
    ) -> Result<Option<(&'c Candidate<'h>, FlightKey)>, Conflict> {
        let mut best: Option<(&Candidate<'_>, FlightKey)> = None;
        for candidate in candidates {
            if best.as_ref().is_some_and(|(kept, _)| kept.transport != candidate.transport) {
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

    /// Emits an event if authentic refresh tokens came and none of them counts.
    fn reported_if_none(
        &self,
        candidates: &[Candidate<'_>],
        picked: Option<Refreshing>,
        now: Timestamp,
    ) -> Refreshing {
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
        let lifetime = verified.lifetime(self.settings.access_lifetime);
        let windows = Windows::new(lifetime, spread(&verified.sid));
        windows.judge(verified.expires, now)
    }

    /// Returns whether the token can't be used any more without a refresh.
    fn is_past_use<C>(&self, verified: &Verified<C>, now: Timestamp) -> bool {
        now >= verified.expires && now >= self.usable_until(verified)
    }

    /// Returns until when this token may be used if no refresh is available: its expiry plus the
    /// leeway, which is at most a quarter of its lifetime, and never past the end of its session.
    pub(crate) fn usable_until<C>(&self, verified: &Verified<C>) -> Timestamp {
        let quarter = verified.lifetime(self.settings.access_lifetime) / 4;
        let until = verified.expires.plus(self.settings.rules.leeway.min(quarter));
        verified.session_expires.map_or(until, |end| until.min(end))
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
