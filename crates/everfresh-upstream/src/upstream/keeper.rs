//! The keeper of upstream tokens: reads the row, consults the decision table, and acts on the
//! decision.

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

/// The first pause before a node reads a row again that another node is refreshing. It doubles, up
/// to `POLL_MOST`.
const POLL: Duration = Duration::from_millis(25);
const POLL_MOST: Duration = Duration::from_millis(250);

/// How often one request attempts an exchange, including attempts whose reservation is refused.
const TRIES: usize = 4;

/// How many reservations without an answer a node remembers. The others are in doubt only when
/// their limit is over.
const MAX_UNANSWERED: usize = 16 * 1024;

/// Identifies the tokens of a session by their sequence number.
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
    /// The running exchanges. The same tokens have more than one exchange only if they are sent
    /// again; the first exchange then still waits for its answer.
    running: HashMap<TokenKey, Vec<InFlight>>,
    unanswered: HashMap<TokenKey, ReservationId>,
}

/// An exchange that runs on this node.
#[derive(Clone)]
struct InFlight {
    /// The reservation that it replaces.
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

    /// Returns the exchanges of these tokens that run on this node.
    fn running(&self, which: TokenKey) -> Vec<InFlight> {
        self.board().running.get(&which).cloned().unwrap_or_default()
    }

    /// Joins the exchange of these tokens that replaces this reservation, or starts it. This is a
    /// single flight per token and reservation.
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
        // The guard removes the entry however the exchange ends, also if the runtime drops it.
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

    /// Reads the row again. A missing row means that the session is over.
    async fn reload(&self, cx: &Context, sid: SessionId) -> Result<Loaded, Failure> {
        match self.store.load(sid).await {
            Ok(loaded) => loaded.ok_or(Failure::Rejected),
            Err(error) => {
                cx.store_failed(&error);
                Err(Failure::SOON)
            }
        }
    }

    /// Repeats the decision until the row's tokens are not due, or the refresh has failed.
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
            // A request with a valid access token, its own or the row's, can do without a new one.
            // It waits for half of the refresh timeout, so that time remains for its other work.
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
                        // The exchange goes on without this request, or its runtime has ended. The
                        // row has the result.
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

    /// Returns what the result of an exchange means for a waiting request. After `Ok` the request
    /// reads the row again.
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
                // After a second exchange without an answer, the request gives up.
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
        // The first engine's settings stay. The rows of a second engine open only with the same
        // settings.
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
            // The row's access token is still valid, and the request has none.
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

/// Returns the failure of a request that can do without new tokens and has waited long enough. It
/// does not count as a failed refresh, and the next attempt follows soon.
fn not_yet(cx: &Context) -> Failure {
    cx.untried();
    Failure::Unavailable { retry_after: POLL_MOST }
}

/// A guard that removes an exchange from the running exchanges when it is dropped.
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
