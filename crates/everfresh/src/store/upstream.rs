//! Tokens of another server in a session's row: which reservation is sending them, and what came of
//! it.

use std::fmt;
use std::time::Duration;

use super::{SessionId, SessionRecord, SessionStore, StoreError};
use crate::clock::Timestamp;
use crate::decide::Windows;

/// The id of a reservation: 128 random bits.
pub type ReservationId = [u8; 16];

/// Tokens of another server, as a session's row holds them.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredUpstreamTokens {
    /// How often the tokens were replaced. Every change names this number, and is made only if the
    /// row still has it.
    pub seq: u64,
    /// How often the refresh token among them was sent, as far as the row knows. 0: never.
    pub tries: u32,
    /// The reservation that sent it last, or is sending it.
    pub reservation: Option<ReservationId>,
    /// When that reservation was made.
    pub reserved_at: Timestamp,
    /// The tokens, sealed, so that no store can read them.
    pub sealed: Vec<u8>,
    /// When the access token among them expires.
    pub expires: Timestamp,
}

/// Tokens of another server that a session begins with.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewUpstreamTokens {
    /// The tokens, sealed.
    pub sealed: Vec<u8>,
    /// The remaining lifetime of the access token among them.
    pub expires_in: Duration,
}

impl NewUpstreamTokens {
    /// Makes the tokens of a new session. `sealed` comes from a
    /// [`Sealer`](crate::upstream::Sealer).
    pub fn new(sealed: Vec<u8>, expires_in: Duration) -> Self {
        Self { sealed, expires_in }
    }

    /// Returns what a store keeps. `now` is the time by the store's clock.
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

/// A reservation of a refresh token: the mark that it is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reservation {
    /// The session.
    pub sid: SessionId,
    /// The [`seq`](StoredUpstreamTokens::seq) of the tokens that are sent.
    pub seq: u64,
    /// The reservation's id.
    pub id: ReservationId,
    /// The reservation that this one replaces, and when that one was made. None: reserve only if
    /// the token was never sent.
    pub replaces: Option<(ReservationId, Timestamp)>,
}

impl Reservation {
    /// Makes a reservation that replaces none.
    pub fn new(sid: SessionId, seq: u64, id: ReservationId) -> Self {
        Self { sid, seq, id, replaces: None }
    }
}

/// New tokens of another server for a session.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// The session.
    pub sid: SessionId,
    /// The [`seq`](StoredUpstreamTokens::seq) of the tokens that these replace.
    pub seq: u64,
    /// The new tokens, sealed.
    pub tokens: NewUpstreamTokens,
    /// The app's claims from now on. None: they stay as they are.
    pub claims: Option<String>,
}

impl Publication {
    /// Makes a publication that keeps the row's claims.
    pub fn new(sid: SessionId, seq: u64, tokens: NewUpstreamTokens) -> Self {
        Self { sid, seq, tokens, claims: None }
    }
}

/// A store that keeps tokens of another server in its sessions' rows.
///
/// # Security
/// 1. Each step is one atomic change of the session's row, also between processes. Only the caller
///    that got `true` from [`reserve`](Self::reserve) sends the refresh token, which may be good
///    for one use. Two senders lose the session, or look like token reuse to the other server.
/// 2. A `false` for a change that was made costs another read of the row. A `true` for a change
///    that was not made costs the session.
/// 3. A publication that the store acknowledged is the only copy of the tokens.
pub trait UpstreamTokenStore: SessionStore {
    /// Marks the token as being sent: sets the reservation and the store's time, and adds one to
    /// `tries`. It does so only if the row still has these tokens and the reservation that is to be
    /// replaced (or, without one, no try). Returns whether it did.
    fn reserve(
        &self,
        reservation: Reservation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Takes back the caller's own reservation, for a token that certainly was not sent, or whose
    /// answer said that it had no effect. It subtracts one from `tries` and restores the replaced
    /// reservation with its original time. Returns whether the reservation was there.
    fn release(
        &self,
        reservation: Reservation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Replaces the row's tokens with new ones, whichever reservation the row has and however late
    /// the call is. It adds one to `seq` and removes the reservation. Returns whether the row still
    /// had the tokens that these replace.
    fn publish(&self, new: Publication) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends a session as [`SessionStore::revoke`] does, and returns the row as it was at that
    /// moment, so that the tokens in it can be revoked at the other server.
    ///
    /// Implement it as one atomic step. The default takes two, and new tokens that are published
    /// between them are never revoked at the other server.
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
    /// Makes the tokens of a row that were never sent. A store sets the other members from its row.
    pub fn new(sealed: Vec<u8>, expires: Timestamp) -> Self {
        let (seq, tries, reservation) = (0, 0, None);
        Self { seq, tries, reservation, reserved_at: Timestamp::default(), sealed, expires }
    }

    /// Returns whether an access token with this `lifetime` should be renewed now. The moment
    /// differs between sessions, so that they are not renewed together.
    pub fn is_due(&self, sid: SessionId, lifetime: Duration, now: Timestamp) -> bool {
        Windows::is_due(&sid.to_string(), lifetime, self.expires.since(now))
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
            // A grace period counts from the time when the token was first sent.
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
