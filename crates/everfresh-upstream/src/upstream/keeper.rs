//! The custodian of upstream tokens: looks at the row, asks the table, does what it says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use everfresh::dialect::TokenKind;
use everfresh::{
    AccessToken, AccessTokenResponse, ConfigError, Context, Failure, Loaded, NewUpstreamTokens,
    ReservationId, Sealer, SessionId, SessionRecord, Setup, StoredUpstreamTokens, Timestamp,
    UpstreamTokenKeeper, UpstreamTokenStore,
};
use futures::future::select_all;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Upstream;
use super::calls::{TokenEndpoint, span};
use super::exchange::{Exchange, ExchangeResult};
use super::held::UpstreamTokens;
use super::receive::Refused;
use super::revoke::revoke;
use super::table::{Rules, SendDecision, consult};

/// How soon a row is looked at again that another node is renewing; doubled up to `POLL_MOST`.
const POLL: Duration = Duration::from_millis(25);
const POLL_MOST: Duration = Duration::from_millis(250);

/// How often one request sends, or finds that it may not send after all.
const TRIES: usize = 4;

/// How many claims without an answer are remembered. The rest are in doubt when their limit is over.
const MAX_UNANSWERED: usize = 16 * 1024;

/// Which tokens: those of a session, by their sequence number.
type TokenKey = (SessionId, u64);

pub(super) struct Keeper<S>(pub(super) Arc<Shared<S>>);

pub(super) struct Shared<S> {
    pub(super) calls: TokenEndpoint,
    pub(super) store: S,
    ready: OnceLock<Ready>,
    board: Mutex<Board>,
}

struct Ready {
    sealer: Sealer,
    access_lifetime: Duration,
}

#[derive(Default)]
struct Board {
    /// More than one of the same tokens only where they are sent again: who listens for the first
    /// answer goes on listening.
    running: HashMap<TokenKey, Vec<InFlight>>,
    unanswered: HashMap<TokenKey, ReservationId>,
}

/// An exchange that runs here.
#[derive(Clone)]
struct InFlight {
    /// The claim that it takes the place of.
    replaces: Option<(ReservationId, Timestamp)>,
    end: watch::Receiver<Option<ExchangeResult>>,
}

impl<S: UpstreamTokenStore> Keeper<S> {
    pub(super) fn new(upstream: Upstream, store: S) -> Self {
        Self(Arc::new(Shared {
            calls: TokenEndpoint::new(upstream),
            store,
            ready: OnceLock::new(),
            board: Mutex::default(),
        }))
    }
}

impl<S: UpstreamTokenStore> Shared<S> {
    pub(super) fn sealer(&self) -> Result<&Sealer, Failure> {
        self.ready.get().map(|ready| &ready.sealer).ok_or(Failure::Misconfigured)
    }

    pub(super) fn default_life(&self) -> Duration {
        self.ready.get().map_or(Duration::ZERO, |ready| ready.access_lifetime)
    }

    pub(super) fn rules(&self) -> Rules {
        Rules { replay: self.calls.upstream.replay, limit: self.calls.upstream.limit }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(
        &self,
        sid: SessionId,
        upstream: &StoredUpstreamTokens,
    ) -> Result<UpstreamTokens, Failure> {
        UpstreamTokens::open(self.sealer()?, sid, upstream).map_err(|problem| {
            tracing::error!(target: "everfresh", %sid, %problem, "tokens in custody");
            Failure::Misconfigured
        })
    }

    /// The exchanges of these tokens that run here.
    fn running(&self, which: TokenKey) -> Vec<InFlight> {
        self.board().running.get(&which).cloned().unwrap_or_default()
    }

    /// Joins the exchange of these tokens that takes the place of this claim, or starts it.
    fn exchange(
        self: &Arc<Self>,
        cx: &Context,
        loaded: &Loaded,
        seq: u64,
        held: UpstreamTokens,
        replaces: Option<(ReservationId, Timestamp)>,
    ) -> watch::Receiver<Option<ExchangeResult>> {
        let record = &loaded.record;
        let which = (record.sid, seq);
        let mut board = self.board();
        let running = board.running.entry(which).or_default();
        if let Some(underway) = running.iter().find(|underway| underway.replaces == replaces) {
            return underway.end.clone();
        }
        let (announce, end) = watch::channel(None);
        running.push(InFlight { replaces, end: end.clone() });
        drop(board);
        let exchange = Exchange { keeping: self.clone(), cx: cx.clone(), which, held, replaces };
        // Leaves the board however it ends, also with its runtime.
        let guard = Running { keeping: self.clone(), which, replaces };
        let span = span(&record.sid.to_string());
        let exchanging = async move {
            let (ended, reservation) = exchange.run().await;
            if let (ExchangeResult::NoAnswer | ExchangeResult::Misconfigured, Some(reservation)) =
                (&ended, reservation)
            {
                guard.keeping.note_unanswered(which, reservation);
            }
            drop(guard);
            announce.send_replace(Some(ended));
        };
        cx.spawn(exchanging.instrument(span));
        end
    }

    pub(super) fn note_unanswered(&self, which: TokenKey, reservation: ReservationId) {
        let mut board = self.board();
        if board.unanswered.len() >= MAX_UNANSWERED {
            board.unanswered.clear();
        }
        board.unanswered.insert(which, reservation);
    }

    fn is_unanswered(&self, which: TokenKey, upstream: &StoredUpstreamTokens) -> bool {
        let board = self.board();
        upstream.reservation.is_some()
            && board.unanswered.get(&which) == upstream.reservation.as_ref()
    }

    /// The row again, or what that it is gone means.
    async fn reload(&self, cx: &Context, sid: SessionId) -> Result<Loaded, Failure> {
        match self.store.load(sid).await {
            Ok(loaded) => loaded.ok_or(Failure::Rejected),
            Err(error) => {
                cx.store_failed(&error);
                Err(Failure::SOON)
            }
        }
    }

    /// Goes on until the row's tokens last, or it is known why they won't.
    async fn renew(
        self: &Arc<Self>,
        cx: &Context,
        loaded: &mut Loaded,
        token_still_valid: bool,
    ) -> Result<(), Failure> {
        let (sid, mut tries, mut waited, mut pause) = (loaded.record.sid, 0, Duration::ZERO, POLL);
        let began = Instant::now();
        loop {
            let Some(upstream) = loaded.record.upstream.as_deref() else { return Ok(()) };
            let (held, which) = (self.open(sid, upstream)?, (sid, upstream.seq));
            let due = upstream.is_due(sid, held.expires_in, loaded.now);
            let unanswered = self.is_unanswered(which, upstream);
            let seq = upstream.seq;
            // Whoever has a good token, or finds one in the row, can do without a better one, and
            // leaves some of a request's time for other things.
            let (limit, can_do_without) = match token_still_valid || loaded.now < upstream.expires {
                true => (cx.refresh_timeout() / 2, true),
                false => (self.rules().patience(), false),
            };
            let rest = limit.saturating_sub(began.elapsed());
            let next = consult(upstream, due, unanswered, loaded.now, self.rules());
            match next {
                SendDecision::Keep => return Ok(()),
                SendDecision::InDoubt => return Err(Failure::InDoubt),
                SendDecision::Send { .. } if tries > 0 && can_do_without && rest.is_zero() => {
                    return Err(not_yet(cx));
                }
                SendDecision::Send { replaces } => {
                    if held.refresh.is_none()
                        && self.calls.upstream.dialect.token == TokenKind::Refresh
                    {
                        return Err(Failure::Rejected);
                    }
                    tries += 1;
                    if tries > TRIES {
                        return Err(Failure::SOON);
                    }
                    let mut end = self.exchange(cx, loaded, seq, held, replaces);
                    let landed = end.wait_for(Option::is_some);
                    let limit = if can_do_without { rest } else { limit };
                    let landed = match tokio::time::timeout(limit, landed).await {
                        Ok(Ok(end)) => end.clone(),
                        // It goes on without us, or its runtime is gone: the row says what it is.
                        Ok(Err(_)) | Err(_) => None,
                    };
                    self.conclude(cx, landed.as_ref(), &mut tries)?;
                }
                SendDecision::Wait { age, .. }
                    if can_do_without && (age >= limit || rest.is_zero()) =>
                {
                    return Err(not_yet(cx));
                }
                SendDecision::Wait { left, .. } => {
                    if waited > self.calls.upstream.limit {
                        return Err(Failure::Unavailable { retry_after: left });
                    }
                    let left = if can_do_without { left.min(rest) } else { left };
                    let waiting = Instant::now();
                    let mut running = self.running(which);
                    match running.is_empty() {
                        false => {
                            let landed = running
                                .iter_mut()
                                .map(|underway| Box::pin(underway.end.wait_for(Option::is_some)));
                            let landed = select_all(landed);
                            let _ = tokio::time::timeout(left, landed).await;
                        }
                        true => {
                            tokio::time::sleep(pause.min(left)).await;
                            pause = (pause * 2).min(POLL_MOST);
                        }
                    }
                    waited += waiting.elapsed();
                }
            }
            *loaded = self.reload(cx, sid).await?;
        }
    }

    /// What an exchange's end means to whoever waits for it. `Ok`: the row is to be read again.
    fn conclude(
        &self,
        cx: &Context,
        end: Option<&ExchangeResult>,
        tries: &mut usize,
    ) -> Result<(), Failure> {
        match end {
            None
            | Some(ExchangeResult::Published | ExchangeResult::Lost | ExchangeResult::Stale) => {
                Ok(())
            }
            Some(ExchangeResult::NoAnswer) => {
                // A second answer that fails to come is enough for one request.
                *tries += TRIES / 2;
                Ok(())
            }
            Some(ExchangeResult::Over | ExchangeResult::Rejected) => Err(Failure::Rejected),
            Some(ExchangeResult::Misconfigured) => Err(Failure::Misconfigured),
            Some(ExchangeResult::Unavailable { retry_after, tried }) => {
                if !*tried {
                    cx.untried();
                }
                Err(Failure::Unavailable { retry_after: *retry_after })
            }
        }
    }
}

impl<S: UpstreamTokenStore> UpstreamTokenKeeper for Keeper<S> {
    fn prepare(&self, setup: &Setup<'_>, sealer: Sealer) -> Result<(), ConfigError> {
        self.0.calls.upstream.check(setup)?;
        let ready = Ready { sealer, access_lifetime: setup.access_lifetime() };
        // A second engine with the same one has the same settings, or its rows don't open.
        let _ = self.0.ready.set(ready);
        Ok(())
    }

    async fn seal_new(
        &self,
        cx: &Context,
        sid: SessionId,
        _: &str,
        issued: AccessTokenResponse,
    ) -> Result<NewUpstreamTokens, Failure> {
        let sealer = self.0.sealer()?;
        let held =
            match self.0.calls.upstream.receive(cx, issued, None, self.0.default_life()).await {
                Ok(held) => held,
                Err(Refused::Later) => return Err(Failure::SOON),
                Err(Refused::Foreign) => {
                    cx.emit(&everfresh::Event::IssuedRefused { sid: &sid.to_string() });
                    return Err(Failure::Misconfigured);
                }
            };
        let sealed = held.seal(sealer, sid, 0).ok_or(Failure::SOON)?;
        Ok(NewUpstreamTokens { sealed, expires_in: held.expires_in })
    }

    async fn renew(
        &self,
        cx: &Context,
        mut loaded: Loaded,
        token_still_valid: bool,
    ) -> Result<Loaded, Failure> {
        match self.0.renew(cx, &mut loaded, token_still_valid).await {
            Ok(()) => Ok(loaded),
            Err(Failure::Rejected) => Err(Failure::Rejected),
            // What the row holds is still good, and somebody needs it.
            Err(failure) => match &loaded.record.upstream {
                Some(upstream) if !token_still_valid && loaded.now < upstream.expires => Ok(loaded),
                _ => Err(failure),
            },
        }
    }

    fn access_token(&self, record: &SessionRecord) -> Result<AccessToken, Failure> {
        let upstream = record.upstream.as_deref().ok_or(Failure::Misconfigured)?;
        Ok(self.0.open(record.sid, upstream)?.access)
    }

    async fn end(&self, cx: &Context, sid: SessionId) -> Result<bool, Failure> {
        let ended = self.0.store.end(sid).await.map_err(|error| {
            cx.store_failed(&error);
            Failure::SOON
        })?;
        let Some(record) = ended else { return Ok(false) };
        let upstream = record.upstream.as_deref();
        if let Some(Ok(held)) = upstream.map(|upstream| self.0.open(sid, upstream)) {
            revoke(&self.0.calls.upstream, cx, held);
        }
        Ok(true)
    }

    async fn drain(&self, cx: &Context) -> usize {
        let running: Vec<_> = self.0.board().running.values().flatten().cloned().collect();
        let (began, mut left) = (cx.monotonic(), 0);
        for InFlight { mut end, .. } in running {
            let rest =
                self.0.calls.upstream.limit.saturating_sub(cx.monotonic().saturating_sub(began));
            let landed = tokio::time::timeout(rest, end.wait_for(Option::is_some)).await;
            left += usize::from(landed.is_err());
        }
        left
    }
}

/// It takes longer than a request waits that can do without: no failure, and no reason to look away
/// for long.
fn not_yet(cx: &Context) -> Failure {
    cx.untried();
    Failure::Unavailable { retry_after: POLL_MOST }
}

/// An exchange on the board. Dropped, it leaves.
struct Running<S> {
    keeping: Arc<Shared<S>>,
    which: TokenKey,
    replaces: Option<(ReservationId, Timestamp)>,
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        let mut board = self.keeping.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = board.running.get_mut(&self.which) {
            running.retain(|underway| underway.replaces != self.replaces);
            if running.is_empty() {
                board.running.remove(&self.which);
            }
        }
    }
}
