//! One exchange: reserve the row, send the token, read the answer, and publish the new tokens.

use std::sync::Arc;
use std::time::Duration;

use everfresh::dialect::{AccessTokenResponse, RefreshOutcome};
use everfresh::refresher::Context;
use everfresh::store::{
    Loaded, NewUpstreamTokens, Publication, Reservation, ReservationId, UpstreamTokenStore,
};
use everfresh::{Event, SessionId, Timestamp};
use tokio::sync::watch;

use super::Replay;
use super::receive::Refused;
use super::reserve::{ReservationState, reserve_before_send};
use super::revoke::revoke;
use super::shared::Shared;
use super::token_endpoint::{LISTEN, Sent};
use super::tokens::UpstreamTokens;

const SOON: Duration = Duration::from_secs(1);

/// The first pause between two attempts to write to the store. It doubles, up to `PAUSE_MOST`.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// How often a node tries to verify, seal and store new tokens: for about a day.
const WRITES: u32 = 24 * 60 * 60 / 5;

/// How often a node tries to release a reservation: for about five minutes.
const RELEASES: u32 = 64;

/// The result of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExchangeResult {
    /// The row holds new tokens.
    Published,
    /// Another exchange holds or replaced the reservation. The row will have its result.
    Lost,
    /// The reservation was granted too late to be used, and was released.
    Stale,
    /// The token may have been sent, and no answer will come.
    NoAnswer,
    /// The session was signed out in the meantime.
    Over,
    /// The other server ended the session.
    Rejected,
    /// The other server rejected the refresh token while the access token is still good. The row was
    /// released.
    RejectedEarly,
    /// The exchange brought no usable access token. A later one may. `tried` is `true` if the node
    /// tried to reach the other server, or the outcome of the reservation is unknown.
    Unavailable { retry_after: Duration, tried: bool },
    /// The other server refuses the configured request, or this node refuses the issued tokens.
    Misconfigured,
    /// The other server has refused this session's refresh for ten minutes, by answers that the
    /// dialect does not know.
    Refused,
}

/// One exchange of one session's tokens.
pub(super) struct Exchange<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) cx: Context,
    pub(super) key: (SessionId, u64),
    pub(super) tokens: UpstreamTokens,
    /// The reservation that this exchange replaces, and when it was made.
    pub(super) replaces: Option<(ReservationId, Timestamp)>,
}

impl<S: UpstreamTokenStore> Exchange<S> {
    /// Returns the result, and the reservation if it was granted.
    pub(super) async fn run(self) -> (ExchangeResult, Option<ReservationId>) {
        let Self { shared, cx, .. } = &self;
        let (sid, seq) = self.key;
        let mut id = ReservationId::default();
        if getrandom::fill(&mut id).is_err() {
            return (ExchangeResult::Unavailable { retry_after: SOON, tried: false }, None);
        }
        let mut reservation = Reservation::new(sid, seq, id);
        reservation.replaces = self.replaces;
        let (state, mut outcome) = watch::channel(ReservationState::NotRequested);
        let permission =
            reserve_before_send(shared.clone(), cx.clone(), reservation, Arc::new(state));
        let sent =
            shared.endpoint.send(cx, &sid.to_string(), &self.tokens, Box::pin(permission)).await;
        // A call that ended at its limit leaves a reservation that is still being made.
        let settled = outcome.wait_for(|state| *state != ReservationState::Requested).await;
        let state = settled.map_or(ReservationState::Unknown, |state| *state);
        let end = match state {
            ReservationState::Refused => ExchangeResult::Lost,
            ReservationState::Stale => {
                self.release(reservation).await;
                ExchangeResult::Stale
            }
            ReservationState::Requested | ReservationState::Unknown => {
                self.release(reservation).await;
                ExchangeResult::Unavailable { retry_after: SOON, tried: true }
            }
            ReservationState::NotRequested | ReservationState::Granted => {
                self.conclude(sent, reservation, state).await
            }
        };
        let reservation = (state == ReservationState::Granted).then_some(id);
        (end, reservation)
    }

    /// Acts on the outcome of the call.
    async fn conclude(
        &self,
        sent: Sent,
        reservation: Reservation,
        state: ReservationState,
    ) -> ExchangeResult {
        let answered = match sent {
            Sent::Answered(answered) => answered,
            Sent::Unsent { retry_after, tried } => {
                if state == ReservationState::Granted {
                    self.release(reservation).await;
                }
                return ExchangeResult::Unavailable { retry_after, tried };
            }
            Sent::NoAnswer => return ExchangeResult::NoAnswer,
            Sent::Unwritable => return ExchangeResult::Misconfigured,
        };
        let refused = matches!(
            answered,
            RefreshOutcome::Unavailable { .. }
                | RefreshOutcome::Refused { .. }
                | RefreshOutcome::NotIssued
                | RefreshOutcome::Misconfigured
        );
        if refused && !self.release(reservation).await && state == ReservationState::Granted {
            return ExchangeResult::Lost;
        }
        match answered {
            RefreshOutcome::Issued(issued) => self.publish(*issued, reservation).await,
            RefreshOutcome::Rejected => self.rejected(reservation).await,
            RefreshOutcome::Refused { .. } if self.is_refused_for_long() => ExchangeResult::Refused,
            RefreshOutcome::Unavailable { retry_after }
            | RefreshOutcome::Refused { retry_after } => {
                let retry_after = retry_after.unwrap_or(SOON);
                ExchangeResult::Unavailable { retry_after, tried: true }
            }
            RefreshOutcome::NotIssued => {
                ExchangeResult::Unavailable { retry_after: SOON, tried: true }
            }
            RefreshOutcome::Misconfigured => ExchangeResult::Misconfigured,
            _ => ExchangeResult::NoAnswer,
        }
    }

    /// Publishes the new tokens to the row. The attempts go on for about a day.
    async fn publish(
        &self,
        issued: AccessTokenResponse,
        reservation: Reservation,
    ) -> ExchangeResult {
        match self.take_to_row(issued, reservation).await {
            Some(end) => end,
            None => {
                self.cx.emit(&Event::TokensLost { sid: &reservation.sid.to_string() });
                ExchangeResult::NoAnswer
            }
        }
    }

    /// Returns the result, or `None` if all attempts to verify, seal or store the tokens failed.
    async fn take_to_row(
        &self,
        issued: AccessTokenResponse,
        reservation: Reservation,
    ) -> Option<ExchangeResult> {
        let Self { shared, cx, tokens, .. } = self;
        let upstream = &shared.endpoint.upstream;
        let Reservation { sid, seq, .. } = reservation;
        let mut attempts = Attempts::new(WRITES);
        let tokens = loop {
            match upstream.receive(cx, issued.clone(), Some(tokens), shared.default_life()).await {
                Ok(tokens) => break tokens,
                Err(Refused::Foreign) => {
                    cx.emit(&Event::IssuedRefused { sid: &sid.to_string() });
                    return Some(ExchangeResult::Misconfigured);
                }
                Err(Refused::Later) => attempts.again().await?,
            }
        };
        let Ok(sealer) = shared.sealer() else { return Some(ExchangeResult::Misconfigured) };
        let sealed = loop {
            match tokens.seal(sealer, sid, seq + 1) {
                Some(sealed) => break sealed,
                None => attempts.again().await?,
            }
        };
        let new_tokens = NewUpstreamTokens::new(sealed.clone(), tokens.expires_in);
        let (mut attempts, mut reported) = (Attempts::new(WRITES), false);
        loop {
            let publication = Publication::new(sid, seq, new_tokens.clone());
            match shared.store.publish(publication).await {
                Ok(true) if tokens.expires_in.is_zero() => return Some(expired(cx, sid)),
                Ok(true) => return Some(ExchangeResult::Published),
                // The row has changed. It holds these same tokens if the store's acknowledgement of
                // an earlier attempt was lost.
                Ok(false) => match shared.store.load(sid).await {
                    Ok(Some(loaded)) if holds(&loaded, &sealed) => {
                        return Some(ExchangeResult::Published);
                    }
                    Ok(Some(loaded)) => {
                        let upstream = loaded.record.upstream.as_deref();
                        let moved = upstream.is_none_or(|upstream| upstream.seq > seq);
                        tracing::error!(
                            target: "everfresh",
                            %sid,
                            moved,
                            "the row changed before the new tokens were stored; the tokens are \
                             discarded"
                        );
                        return Some(ExchangeResult::Lost);
                    }
                    Ok(None) => {
                        revoke(upstream, cx, tokens);
                        return Some(ExchangeResult::Over);
                    }
                    Err(error) => cx.store_failed(&error),
                },
                Err(error) => cx.store_failed(&error),
            }
            if !reported {
                cx.emit(&Event::Unpersisted { sid: &sid.to_string() });
                reported = true;
            }
            attempts.again().await?;
        }
    }

    /// Handles the other server's answer that the token is invalid. The server answers the same for
    /// a token that was refreshed in the meantime, so the row is read before the session is ended.
    async fn rejected(&self, reservation: Reservation) -> ExchangeResult {
        let Self { shared, cx, .. } = self;
        let loaded = match shared.store.load(reservation.sid).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return ExchangeResult::Over,
            Err(error) => {
                cx.store_failed(&error);
                return ExchangeResult::NoAnswer;
            }
        };
        let (now, row) = (loaded.now, loaded.record.upstream);
        let Some(upstream) = row else { return ExchangeResult::Over };
        if upstream.seq != reservation.seq {
            return ExchangeResult::Lost;
        }
        // The server may have accepted an earlier attempt, whose answer may still come.
        if upstream.tries > 1 && shared.endpoint.upstream.replay != Replay::Always {
            return ExchangeResult::NoAnswer;
        }
        if let Some((_, earlier)) = self.replaces
            && now < earlier.plus(LISTEN)
        {
            return self.await_earlier(reservation, earlier.plus(LISTEN)).await;
        }
        if shared.endpoint.upstream.may_be_good(upstream.expires, now) {
            // It is sent again once the access token has expired.
            if !self.release(reservation).await {
                return ExchangeResult::Lost;
            }
            return ExchangeResult::RejectedEarly;
        }
        self.revoke_session(reservation.sid).await
    }

    /// Waits until no earlier attempt can be answered any more, because a rejection beside one proves
    /// nothing. Ends the session unless the row has new tokens by then.
    async fn await_earlier(&self, reservation: Reservation, until: Timestamp) -> ExchangeResult {
        let Self { shared, cx, .. } = self;
        loop {
            match shared.store.load(reservation.sid).await {
                Ok(Some(Loaded { record, now, .. })) => {
                    let Some(upstream) = record.upstream else { return ExchangeResult::Over };
                    if upstream.seq > reservation.seq {
                        return ExchangeResult::Lost;
                    }
                    if now >= until {
                        return self.revoke_session(reservation.sid).await;
                    }
                }
                Ok(None) => return ExchangeResult::Over,
                Err(error) => cx.store_failed(&error),
            }
            tokio::time::sleep(PAUSE_MOST).await;
        }
    }

    fn is_refused_for_long(&self) -> bool {
        let Self { shared, cx, key, .. } = self;
        shared.endpoint.refusals.is_long(&key.0.to_string(), cx.monotonic())
    }

    async fn revoke_session(&self, sid: SessionId) -> ExchangeResult {
        let Self { shared, cx, .. } = self;
        match shared.store.revoke(sid).await {
            Ok(_) => ExchangeResult::Rejected,
            Err(error) => {
                cx.store_failed(&error);
                ExchangeResult::NoAnswer
            }
        }
    }

    /// Releases the reservation. If the store fails, the attempts go on for about five minutes. A
    /// reservation that was never released leaves the refresh in doubt.
    ///
    /// Returns `false` if the row certainly did not hold the reservation any more, because another
    /// exchange replaced it or published new tokens. An error of the other server about concurrent
    /// use is expected then.
    async fn release(&self, reservation: Reservation) -> bool {
        let (mut attempts, mut certain) = (Attempts::new(RELEASES), true);
        loop {
            match self.shared.store.release(reservation).await {
                Ok(released) => return released || !certain,
                Err(error) => self.cx.store_failed(&error),
            }
            certain = false;
            if attempts.again().await.is_none() {
                return true;
            }
        }
    }
}

/// Returns whether the row holds these same tokens.
fn holds(loaded: &Loaded, sealed: &[u8]) -> bool {
    loaded.record.upstream.as_deref().is_some_and(|upstream| upstream.sealed == sealed)
}

/// Returns the result for an access token that had expired when it arrived. The row keeps the new
/// tokens for their refresh token, and no other refresh follows at once.
fn expired(cx: &Context, sid: SessionId) -> ExchangeResult {
    cx.emit(&Event::ExpiredOnArrival { sid: &sid.to_string() });
    ExchangeResult::Unavailable { retry_after: SOON, tried: true }
}

/// A limited number of attempts, with growing pauses.
struct Attempts {
    pause: Duration,
    left: u32,
}

impl Attempts {
    fn new(left: u32) -> Self {
        Self { pause: PAUSE, left }
    }

    /// Waits for the next attempt. Returns `None` if there are no more attempts.
    async fn again(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MOST);
        Some(())
    }
}
