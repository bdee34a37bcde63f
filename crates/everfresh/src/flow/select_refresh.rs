//! Which refresh token counts among several.

use smallvec::SmallVec;

use super::select::AccessSelection;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::Verdict;
use crate::engine::Engine;
use crate::extract::{Candidate, Found};
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::refresh::{FlightKey, Opened, Presented, RefreshToken, VerifiedToken};
use crate::verify::Verified;

/// The selection among a request's refresh tokens.
pub(super) enum Refreshing {
    /// No refresh token counts.
    Nothing,
    Token(SelectedRefresh),
    /// The refresh token is of another session than the access token, or the refresh tokens are of
    /// several sessions. The decision depends on which of these are over, and the refresher has to
    /// be asked.
    Doubt(Vec<Box<str>>),
    /// An attacker planted a refresh token, and perhaps the access token too, which does not count
    /// either.
    Conflict,
}

/// A refresh token that counts.
pub(super) struct SelectedRefresh {
    /// The transport that brought it.
    pub(super) transport: usize,
    pub(super) token: RefreshToken,
    /// Whether it belongs to the verified access token, if there is one.
    pub(super) beside: bool,
}

/// Tokens of two sessions in one place.
struct Conflict;

/// A refresh token that the request brought, and what it was found to be: it is opened once.
struct Brought<'h> {
    candidate: Candidate<'h>,
    opened: Opened,
}

impl Brought<'_> {
    fn selection(&self, beside: bool) -> Refreshing {
        match self.candidate.as_refresh_token(self.opened.clone()) {
            Some((transport, token)) => {
                Refreshing::Token(SelectedRefresh { transport, token, beside })
            }
            None => Refreshing::Nothing,
        }
    }
}

impl<C: ClaimSet> Engine<C> {
    /// Returns the refresh token that counts, given the selection among the access tokens.
    #[inline]
    pub(super) fn select_refresh(
        &self,
        selected: &AccessSelection<C>,
        refresh: Option<&Found<'_>>,
        asked: bool,
        now: Timestamp,
    ) -> Refreshing {
        match refresh {
            Some(found) if found.is_brought() => {
                let AccessSelection { verdict, transport, view, .. } = selected;
                let verified = view.verified.as_deref();
                self.core.select_refresh_token(found, *verdict, *transport, verified, asked, now)
            }
            _ => Refreshing::Nothing,
        }
    }
}

impl Core {
    /// Selects the refresh token that counts.
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
    fn select_refresh_token<'h, C>(
        &self,
        found: &Found<'h>,
        verdict: Verdict,
        transport: Option<usize>,
        verified: Option<&Verified<C>>,
        asked: bool,
        now: Timestamp,
    ) -> Refreshing {
        let candidates = found.candidates();
        if let ([only], Verdict::Fresh, Some(verified), Some(transport)) =
            (candidates, verdict, verified, transport)
        {
            let is_beside = only.transport == transport;
            if !self.transports.is_plantable(transport)
                || is_beside && self.refresher.names_session(only.token, &verified.sid)
            {
                return match only.as_refresh_token(Opened::default()) {
                    Some((transport, token)) if is_beside => {
                        Refreshing::Token(SelectedRefresh { transport, token, beside: true })
                    }
                    _ => Refreshing::Nothing,
                };
            }
        }
        let brought = |candidate: &Candidate<'h>| Brought {
            candidate: *candidate,
            opened: Opened::default(),
        };
        let mut brought: SmallVec<[Brought<'h>; 1]> = candidates.iter().map(brought).collect();
        let (Some(verified), Some(transport)) = (verified, transport) else {
            let selection = self.latest(&brought, None, now).ok().flatten();
            return self.reported_if_none(
                &brought,
                selection.map(|(one, _)| one.selection(true)),
                now,
            );
        };
        brought.retain(|one| one.candidate.transport == transport);
        if self.transports.is_plantable(transport) {
            return match self.latest(&brought, None, now) {
                Ok(_) if found.gave_up(transport) => Refreshing::Conflict,
                Ok(Some((one, of))) if of.sid == verified.sid => one.selection(true),
                Ok(Some((_, of))) if self.revoked.contains(&of.sid, now) => Refreshing::Nothing,
                Ok(Some(_)) | Err(Conflict) if !asked => {
                    Refreshing::Doubt(self.sessions_of(&brought, now))
                }
                Ok(Some((one, _))) => one.selection(false),
                Err(Conflict) => Refreshing::Conflict,
                // The refresher did not identify the token, which is handled as without this rule.
                Ok(None) => match &*brought {
                    [only] if verdict == Verdict::Fresh => only.selection(true),
                    _ => Refreshing::Nothing,
                },
            };
        }
        let own = self.latest(&brought, Some(verified.as_verified_token()), now).ok().flatten();
        let selection = match own {
            Some((own, _)) => Some(own.selection(true)),
            None if verdict == Verdict::Expired => {
                let other = self.latest(&brought, None, now).ok().flatten();
                other.map(|(other, _)| other.selection(false))
            }
            None => None,
        };
        self.reported_if_none(&brought, selection, now)
    }

    /// Asks the refresher what this refresh token is. `of`: the access token beside it.
    fn identify_brought(
        &self,
        one: &Brought<'_>,
        of: Option<VerifiedToken<'_>>,
        now: Timestamp,
    ) -> Option<FlightKey> {
        let presented = Presented::brought(of, one.candidate.token, &one.opened);
        self.refresher.identify(presented, now)
    }

    /// Returns the sessions of the authentic refresh tokens.
    fn sessions_of(&self, brought: &[Brought<'_>], now: Timestamp) -> Vec<Box<str>> {
        let identified = brought.iter().filter_map(|one| self.identify_brought(one, None, now));
        identified.map(|of| of.sid).collect()
    }

    /// Returns the latest refresh token of one session: of the session of `of`, or else of the only
    /// session. Of two sessions, one that is known to be over takes no part.
    fn latest<'b, 'h>(
        &self,
        brought: &'b [Brought<'h>],
        of: Option<VerifiedToken<'_>>,
        now: Timestamp,
    ) -> Result<Option<(&'b Brought<'h>, FlightKey)>, Conflict> {
        let mut best: Option<(&Brought<'_>, FlightKey)> = None;
        for one in brought {
            let transport = one.candidate.transport;
            if best.as_ref().is_some_and(|(kept, _)| kept.candidate.transport != transport) {
                continue;
            }
            let Some(key) = self.identify_brought(one, of, now) else { continue };
            if of.is_some_and(|held| *held.sid != *key.sid) {
                continue;
            }
            match &best {
                Some((_, kept)) if kept.sid != key.sid => {
                    match self.revoked.contains(&key.sid, now) {
                        true => continue,
                        false if self.revoked.contains(&kept.sid, now) => {}
                        false => return Err(Conflict),
                    }
                    best = Some((one, key));
                }
                Some((_, kept)) if kept.fingerprint >= key.fingerprint => {}
                _ => best = Some((one, key)),
            }
        }
        Ok(best)
    }

    /// Emits an event if authentic refresh tokens came and none of them counts.
    fn reported_if_none(
        &self,
        brought: &[Brought<'_>],
        selection: Option<Refreshing>,
        now: Timestamp,
    ) -> Refreshing {
        let is_authentic = |one: &Brought<'_>| self.identify_brought(one, None, now).is_some();
        if selection.is_none() && brought.iter().any(is_authentic) {
            self.emit(&Event::RefreshTokenIgnored);
        }
        selection.unwrap_or(Refreshing::Nothing)
    }
}
