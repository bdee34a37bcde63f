//! Tokens of another server in a session's row: who is sending them, and what came of it.

use std::fmt;
use std::time::Duration;

use super::{SessionId, SessionRecord, SessionStore, StoreError};
use crate::clock::Timestamp;
use crate::refresh::Context;

/// Tells one claim from another: 128 random bits.
pub type ReservationId = [u8; 16];

/// Tokens of another server, as a session's row holds them.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredUpstreamTokens {
    /// How often they were replaced: the fence of every change.
    pub seq: u64,
    /// How often the refresh token among them was sent, as far as anybody knows. 0: never.
    pub tries: u32,
    /// Whoever sent it last, or is sending it.
    pub reservation: Option<ReservationId>,
    /// When that was claimed.
    pub reserved_at: Timestamp,
    /// The tokens, sealed: no store can read them.
    pub sealed: Vec<u8>,
    /// When the access token among them expires.
    pub expires: Timestamp,
}

/// Tokens that a session begins with.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUpstreamTokens {
    /// The tokens, sealed.
    pub sealed: Vec<u8>,
    /// How long the access token among them still lives.
    pub expires_in: Duration,
}

impl NewUpstreamTokens {
    /// What a store keeps, made at `now` by its clock.
    pub fn into_stored(self, now: Timestamp) -> StoredUpstreamTokens {
        let expires = now.plus(self.expires_in);
        let (seq, tries, reservation) = (0, 0, None);
        StoredUpstreamTokens {
            seq,
            tries,
            reservation,
            reserved_at: now,
            sealed: self.sealed,
            expires,
        }
    }
}

/// The mark that a refresh token is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The session.
    pub sid: SessionId,
    /// The tokens that are meant.
    pub seq: u64,
    /// The claim.
    pub id: ReservationId,
    /// The claim whose place it takes, and when that one was made. None: only if nobody has sent the
    /// token.
    pub replaces: Option<(ReservationId, Timestamp)>,
}

/// New tokens for a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Publication {
    /// The session.
    pub sid: SessionId,
    /// The tokens that these replace.
    pub seq: u64,
    /// These, sealed.
    pub tokens: NewUpstreamTokens,
    /// The app's claims from now on. None: as they were.
    pub claims: Option<String>,
}

/// A store that keeps tokens of another server in its sessions' rows.
///
/// # Security
/// 1. Each step is one atomic change of the session's row, also between processes. A refresh token
///    that can be used once is sent by whoever got `true` from [`reservation`](Self::reserve): two of them
///    lose the session, or look like theft to the other server.
/// 2. A `false` for a change that was made costs a look at the row; an invented `true` costs the
///    session.
/// 3. A publication that was acknowledged is the only copy of the tokens in the world.
pub trait UpstreamTokenStore: SessionStore {
    /// Marks the token as being sent: sets the claim, the store's time and one try more, if the
    /// row still has these tokens and the claim that is to be replaced (or none and no try). Says
    /// whether it did.
    fn reserve(
        &self,
        reservation: Reservation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Takes one's own claim back, for a token that certainly was not sent, or whose answer said
    /// that nothing came of it: one try less, and the claim whose place it took stands again, as old
    /// as it is. Says whether it was there.
    fn release(
        &self,
        reservation: Reservation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Puts new tokens in the place of these, whoever claimed them and however late: the sequence
    /// goes up by one, and nothing is claimed. Says whether the row still had these.
    fn publish(&self, new: Publication) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// [`SessionStore::revoke`] that gives the row as it was in that very moment, so that what it
    /// held can be revoked at the other server.
    ///
    /// Give it in one step. The default takes two, between which new tokens may be published that
    /// nobody revokes then.
    fn end(
        &self,
        sid: SessionId,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send {
        async move {
            let loaded = self.load(sid).await?;
            self.revoke(sid).await?;
            Ok(loaded.map(|loaded| loaded.record))
        }
    }
}

impl StoredUpstreamTokens {
    /// Whether an access token that was made for `lifetime` is to be renewed now; not at the same
    /// moment for all sessions.
    pub fn is_due(&self, sid: SessionId, lifetime: Duration, now: Timestamp) -> bool {
        Context::is_due(&sid.to_string(), lifetime, self.expires.since(now))
    }

    /// [`UpstreamTokenStore::reserve`], for stores that change rows in memory.
    pub(crate) fn take(&mut self, reservation: Reservation, now: Timestamp) -> bool {
        let free = match reservation.replaces {
            None => self.tries == 0,
            Some((replaces, _)) => self.tries > 0 && self.reservation == Some(replaces),
        };
        if self.seq != reservation.seq || !free {
            return false;
        }
        (self.reservation, self.reserved_at) = (Some(reservation.id), now);
        self.tries = self.tries.saturating_add(1);
        true
    }

    /// [`UpstreamTokenStore::release`].
    pub(crate) fn give_back(&mut self, reservation: Reservation) -> bool {
        if self.seq != reservation.seq
            || self.reservation != Some(reservation.id)
            || self.tries == 0
        {
            return false;
        }
        self.tries -= 1;
        self.reservation =
            reservation.replaces.map(|(replaces, _)| replaces).filter(|_| self.tries > 0);
        if let Some((_, at)) = reservation.replaces {
            // A grace counts from the time when the token was first sent.
            self.reserved_at = at;
        }
        true
    }
}

impl fmt::Debug for StoredUpstreamTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredUpstreamTokens")
            .field("seq", &self.seq)
            .field("tries", &self.tries)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("sid", &self.sid)
            .field("seq", &self.seq)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewUpstreamTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUpstreamTokens")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}
