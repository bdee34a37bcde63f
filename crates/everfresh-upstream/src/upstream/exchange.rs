//! One exchange: claim the row, send the token, see what came of it, publish.

use std::sync::Arc;
use std::time::Duration;

use everfresh::{
    AccessTokenResponse, Context, Event, Loaded, NewUpstreamTokens, Publication, RefreshOutcome,
    Reservation, ReservationId, SessionId, Timestamp, UpstreamTokenStore,
};
use tokio::sync::watch;

use super::Replay;
use super::calls::Sent;
use super::held::UpstreamTokens;
use super::keeper::Shared;
use super::receive::Refused;
use super::reserve::{Claimed, permission};
use super::revoke::revoke;

const SOON: Duration = Duration::from_secs(1);

/// How soon what the store did not take is offered again; doubled up to `OFFER_MOST`.
const OFFER: Duration = Duration::from_millis(100);
const OFFER_MOST: Duration = Duration::from_secs(5);

/// How often new tokens are offered, and read: for a day.
const OFFERS: u32 = 24 * 60 * 60 / 5;

/// How often a claim is offered back: for some five minutes.
const RELEASES: u32 = 64;

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExchangeResult {
    /// The row holds new tokens.
    Published,
    /// Another one's claim stands; the row says what comes of it.
    Lost,
    /// The claim was granted too late to be used, and given back.
    Stale,
    /// It was sent, and no answer will come.
    NoAnswer,
    /// The session was signed out meanwhile.
    Over,
    /// The other server ended it.
    Rejected,
    /// Not now; nothing came of it. `tried`: the other server was asked.
    Unavailable { retry_after: Duration, tried: bool },
    /// The other server does not take what we are configured to send, or gave what we can't take.
    Misconfigured,
}

/// One exchange of one session's tokens.
pub(super) struct Exchange<S> {
    pub(super) keeping: Arc<Shared<S>>,
    pub(super) cx: Context,
    pub(super) which: (SessionId, u64),
    pub(super) held: UpstreamTokens,
    /// The claim that this one takes the place of, and when that was made.
    pub(super) replaces: Option<(ReservationId, Timestamp)>,
}

impl<S: UpstreamTokenStore> Exchange<S> {
    /// How it ended, and the claim that it made.
    pub(super) async fn run(self) -> (ExchangeResult, Option<ReservationId>) {
        let Self { keeping, cx, .. } = &self;
        let (sid, seq) = self.which;
        let mut id = ReservationId::default();
        if getrandom::fill(&mut id).is_err() {
            return (ExchangeResult::Unavailable { retry_after: SOON, tried: false }, None);
        }
        let reservation = Reservation { sid, seq, id, replaces: self.replaces };
        let (claimed, mut outcome) = watch::channel(Claimed::NotAsked);
        let token = self.held.presented(&keeping.calls.upstream.dialect);
        let permission = permission(keeping.clone(), cx.clone(), reservation, Arc::new(claimed));
        let sent = keeping.calls.send(cx, &sid.to_string(), token, Box::pin(permission)).await;
        // An answer may come before the body was asked for, while a claim is being made.
        let settled = outcome.wait_for(|claimed| *claimed != Claimed::Asked).await;
        let claimed = settled.map_or(Claimed::Unknown, |claimed| *claimed);
        let end = match claimed {
            Claimed::Refused => ExchangeResult::Lost,
            Claimed::Stale => {
                self.release(reservation).await;
                ExchangeResult::Stale
            }
            Claimed::Asked | Claimed::Unknown => {
                self.release(reservation).await;
                ExchangeResult::Unavailable { retry_after: SOON, tried: true }
            }
            Claimed::NotAsked | Claimed::Granted => self.conclude(sent, reservation, claimed).await,
        };
        let reservation = (claimed == Claimed::Granted).then_some(id);
        (end, reservation)
    }

    /// What an answer, or none, means.
    async fn conclude(
        &self,
        sent: Sent,
        reservation: Reservation,
        claimed: Claimed,
    ) -> ExchangeResult {
        let answered = match sent {
            Sent::Answered(answered) => answered,
            Sent::Unsent { retry_after, tried } => {
                if claimed == Claimed::Granted {
                    self.release(reservation).await;
                }
                return ExchangeResult::Unavailable { retry_after, tried };
            }
            Sent::NoAnswer => return ExchangeResult::NoAnswer,
            Sent::Unwritable => return ExchangeResult::Misconfigured,
        };
        let refused =
            matches!(answered, RefreshOutcome::Unavailable { .. } | RefreshOutcome::Misconfigured);
        if refused && !self.release(reservation).await && claimed == Claimed::Granted {
            return ExchangeResult::Lost;
        }
        match answered {
            RefreshOutcome::Issued(issued) => self.publish(*issued, reservation).await,
            RefreshOutcome::Rejected => self.rejected(reservation).await,
            RefreshOutcome::Unavailable { retry_after } => {
                let retry_after = retry_after.unwrap_or(SOON);
                ExchangeResult::Unavailable { retry_after, tried: true }
            }
            RefreshOutcome::Misconfigured => ExchangeResult::Misconfigured,
            _ => ExchangeResult::NoAnswer,
        }
    }

    /// Takes the new tokens to the row, for as long as a day.
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

    /// How that ended. None: they could not be read, or were not stored, for a day.
    async fn take_to_row(
        &self,
        issued: AccessTokenResponse,
        reservation: Reservation,
    ) -> Option<ExchangeResult> {
        let Self { keeping, cx, held, .. } = self;
        let upstream = &keeping.calls.upstream;
        let Reservation { sid, seq, .. } = reservation;
        let mut offers = Offers::new(OFFERS);
        let held = loop {
            match upstream.receive(cx, issued.clone(), Some(held), keeping.default_life()).await {
                Ok(held) => break held,
                Err(Refused::Foreign) => {
                    cx.emit(&Event::IssuedRefused { sid: &sid.to_string() });
                    return Some(ExchangeResult::Misconfigured);
                }
                Err(Refused::Later) => offers.again().await?,
            }
        };
        let Ok(sealer) = keeping.sealer() else { return Some(ExchangeResult::Misconfigured) };
        let sealed = loop {
            match held.seal(sealer, sid, seq + 1) {
                Some(sealed) => break sealed,
                None => offers.again().await?,
            }
        };
        let tokens = NewUpstreamTokens { sealed: sealed.clone(), expires_in: held.expires_in };
        let (mut offers, mut told) = (Offers::new(OFFERS), false);
        loop {
            let publication = Publication { sid, seq, tokens: tokens.clone(), claims: None };
            match keeping.store.publish(publication).await {
                Ok(true) if held.expires_in.is_zero() => return Some(expired(cx, sid)),
                Ok(true) => return Some(ExchangeResult::Published),
                // The row has moved on: with these very tokens, if an acknowledgement was lost.
                Ok(false) => match keeping.store.load(sid).await {
                    Ok(Some(loaded)) if holds(&loaded, &sealed) => {
                        return Some(ExchangeResult::Published);
                    }
                    Ok(Some(loaded)) => {
                        let upstream = loaded.record.upstream.as_deref();
                        let moved = upstream.is_none_or(|upstream| upstream.seq > seq);
                        tracing::error!(target: "everfresh", %sid, moved, "new tokens came too late");
                        return Some(ExchangeResult::Lost);
                    }
                    Ok(None) => {
                        revoke(upstream, cx, held);
                        return Some(ExchangeResult::Over);
                    }
                    Err(error) => cx.store_failed(&error),
                },
                Err(error) => cx.store_failed(&error),
            }
            if !told {
                cx.emit(&Event::Unpersisted { sid: &sid.to_string() });
                told = true;
            }
            offers.again().await?;
        }
    }

    /// The other server says that it is over. Who sends a token that was renewed meanwhile is told
    /// the same, so the row is looked at again.
    async fn rejected(&self, reservation: Reservation) -> ExchangeResult {
        let Self { keeping, cx, .. } = self;
        let row = match keeping.store.load(reservation.sid).await {
            Ok(row) => row.and_then(|loaded| loaded.record.upstream),
            Err(error) => {
                cx.store_failed(&error);
                return ExchangeResult::NoAnswer;
            }
        };
        let Some(upstream) = row else { return ExchangeResult::Over };
        if upstream.seq != reservation.seq {
            return ExchangeResult::Lost;
        }
        if upstream.tries > 1 && keeping.calls.upstream.replay != Replay::Always {
            // It may have been the first one that was taken, and its answer may still come.
            return ExchangeResult::NoAnswer;
        }
        match keeping.store.revoke(reservation.sid).await {
            Ok(_) => ExchangeResult::Rejected,
            Err(error) => {
                cx.store_failed(&error);
                ExchangeResult::NoAnswer
            }
        }
    }

    /// Gives the claim back, which a store that is down can't take for a while. What was never given
    /// back is in doubt. False if it certainly was not there any more: somebody has taken its place,
    /// or published, and a server that complains of two at once is no news.
    async fn release(&self, reservation: Reservation) -> bool {
        let (mut offers, mut certain) = (Offers::new(RELEASES), true);
        loop {
            match self.keeping.store.release(reservation).await {
                Ok(released) => return released || !certain,
                Err(error) => self.cx.store_failed(&error),
            }
            certain = false;
            if offers.again().await.is_none() {
                return true;
            }
        }
    }
}

/// Whether the row holds these very tokens.
fn holds(loaded: &Loaded, sealed: &[u8]) -> bool {
    loaded.record.upstream.as_deref().is_some_and(|upstream| upstream.sealed == sealed)
}

/// Tokens that are over when they come: kept for their refresh token, and no reason to ask at once
/// for others.
fn expired(cx: &Context, sid: SessionId) -> ExchangeResult {
    cx.emit(&Event::ExpiredOnArrival { sid: &sid.to_string() });
    ExchangeResult::Unavailable { retry_after: SOON, tried: true }
}

/// What is tried again, more seldom each time, and not without an end.
struct Offers {
    pause: Duration,
    left: u32,
}

impl Offers {
    fn new(left: u32) -> Self {
        Self { pause: OFFER, left }
    }

    /// Waits before the next one. None: there is none.
    async fn again(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(OFFER_MOST);
        Some(())
    }
}
