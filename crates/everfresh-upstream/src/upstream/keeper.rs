//! The keeper of upstream tokens: reads the row, consults the decision table, and acts on the
//! decision.

use std::sync::Arc;
use std::time::Duration;

use everfresh::dialect::AccessTokenResponse;
use everfresh::dialect::TokenKind;
use everfresh::refresher::{Context, Setup};
use everfresh::store::{Loaded, NewUpstreamTokens, SessionRecord, UpstreamTokenStore};
use everfresh::upstream::{Sealer, UpstreamAccessToken, UpstreamTokenKeeper};
use everfresh::{ConfigError, Failure, SessionId};
use futures::future::select_all;
use tokio::time::Instant;

use super::Upstream;
use super::exchange::ExchangeResult;
use super::exchanges::{Exchanges, InFlight};
use super::receive::Refused;
use super::revoke::revoke;
use super::send_rules::{SendDecision, decide};
use super::shared::Shared;
use super::token_endpoint::TokenEndpoint;

/// The first pause before a node reads a row again that another node is refreshing. It doubles, up
/// to `POLL_MOST`.
const POLL: Duration = Duration::from_millis(25);
const POLL_MOST: Duration = Duration::from_millis(250);

/// How often one request attempts an exchange, including attempts whose reservation is refused.
const TRIES: usize = 4;

pub(super) struct Keeper<S> {
    shared: Arc<Shared<S>>,
    exchanges: Exchanges,
}

impl<S: UpstreamTokenStore> Keeper<S> {
    pub(super) fn new(upstream: Upstream, store: S) -> Self {
        let shared = Arc::new(Shared::new(TokenEndpoint::new(upstream), store));
        Self { shared, exchanges: Exchanges::default() }
    }

    /// Reads the row again. A missing row means that the session is over.
    async fn reload(&self, cx: &Context, sid: SessionId) -> Result<Loaded, Failure> {
        match self.shared.store.load(sid).await {
            Ok(loaded) => loaded.ok_or(Failure::Rejected),
            Err(error) => {
                cx.store_failed(&error);
                Err(Failure::SOON)
            }
        }
    }

    /// Repeats the decision until the row's tokens are not due, or the refresh has failed.
    async fn bring_up_to_date(
        &self,
        cx: &Context,
        loaded: &mut Loaded,
        token_still_valid: bool,
    ) -> Result<(), Failure> {
        let (sid, mut tries, mut waited, mut pause) = (loaded.record.sid, 0, Duration::ZERO, POLL);
        let began = Instant::now();
        loop {
            let Some(upstream) = loaded.record.upstream.as_deref() else { return Ok(()) };
            let (tokens, key) = (self.shared.open(sid, upstream)?, (sid, upstream.seq));
            let Shared { endpoint, .. } = &*self.shared;
            let due = upstream.is_due(sid, tokens.expires_in, loaded.now)
                && endpoint.upstream.may_present(upstream.expires, loaded.now)
                && (loaded.now >= upstream.expires || !self.exchanges.is_rejected_early(key));
            let unanswered = self.exchanges.is_unanswered(key, upstream);
            // A request with a valid access token, its own or the row's, can do without a new one.
            // It waits for half of the refresh timeout, so that time remains for its other work.
            let (limit, can_do_without) = match token_still_valid || loaded.now < upstream.expires {
                true => (cx.refresh_timeout() / 2, true),
                false => (self.shared.rules().answer_limit(), false),
            };
            let rest = limit.saturating_sub(began.elapsed());
            let next = decide(upstream, due, unanswered, loaded.now, self.shared.rules());
            match next {
                SendDecision::Keep => return Ok(()),
                SendDecision::InDoubt => return Err(Failure::InDoubt),
                SendDecision::Send { .. } if tries > 0 && can_do_without && rest.is_zero() => {
                    return Err(not_yet(cx));
                }
                SendDecision::Send { replaces } => {
                    if endpoint.refusals.lasts(&sid.to_string(), cx.monotonic()) {
                        return Err(Failure::Refused);
                    }
                    if tokens.refresh.is_none()
                        && endpoint.upstream.dialect.request.token == TokenKind::Refresh
                    {
                        return Err(Failure::Rejected);
                    }
                    tries += 1;
                    if tries > TRIES {
                        return Err(Failure::SOON);
                    }
                    let mut end =
                        self.exchanges.join_or_start(&self.shared, cx, key, tokens, replaces);
                    let result = end.wait_for(Option::is_some);
                    let limit = if can_do_without { rest } else { limit };
                    let result = match tokio::time::timeout(limit, result).await {
                        Ok(Ok(end)) => end.clone(),
                        // The exchange goes on without this request, or its runtime has ended. The
                        // row has the result.
                        Ok(Err(_)) | Err(_) => None,
                    };
                    self.conclude(cx, result.as_ref(), &mut tries)?;
                }
                SendDecision::Wait { age, .. }
                    if can_do_without && (age >= limit || rest.is_zero()) =>
                {
                    return Err(not_yet(cx));
                }
                SendDecision::Wait { left, .. } => {
                    if waited > self.shared.endpoint.upstream.limit {
                        return Err(Failure::Unavailable { retry_after: left });
                    }
                    let left = if can_do_without { left.min(rest) } else { left };
                    let waiting = Instant::now();
                    let mut running = self.exchanges.running(key);
                    match running.is_empty() {
                        false => {
                            let result = running
                                .iter_mut()
                                .map(|in_flight| Box::pin(in_flight.end.wait_for(Option::is_some)));
                            let result = select_all(result);
                            let _ = tokio::time::timeout(left, result).await;
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
            | Some(
                ExchangeResult::Published
                | ExchangeResult::Lost
                | ExchangeResult::Stale
                | ExchangeResult::RejectedEarly,
            ) => Ok(()),
            Some(ExchangeResult::NoAnswer) => {
                // After a second exchange without an answer, the request gives up.
                *tries += TRIES / 2;
                Ok(())
            }
            Some(ExchangeResult::Over | ExchangeResult::Rejected) => Err(Failure::Rejected),
            Some(ExchangeResult::Misconfigured) => Err(Failure::Misconfigured),
            Some(ExchangeResult::Refused) => Err(Failure::Refused),
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
        self.shared.endpoint.upstream.check(setup)?;
        self.shared.prepare(sealer, setup.access_lifetime());
        Ok(())
    }

    async fn seal_new(
        &self,
        cx: &Context,
        sid: SessionId,
        _: &str,
        issued: AccessTokenResponse,
    ) -> Result<NewUpstreamTokens, Failure> {
        let Shared { endpoint, .. } = &*self.shared;
        let (sealer, life) = (self.shared.sealer()?, self.shared.default_life());
        let tokens = match endpoint.upstream.receive(cx, issued, None, life).await {
            Ok(tokens) => tokens,
            Err(Refused::Later) => return Err(Failure::SOON),
            Err(Refused::Foreign) => {
                cx.emit(&everfresh::Event::IssuedRefused { sid: &sid.to_string() });
                return Err(Failure::Misconfigured);
            }
        };
        let sealed = tokens.seal(sealer, sid, 0).ok_or(Failure::SOON)?;
        Ok(NewUpstreamTokens::new(sealed, tokens.expires_in))
    }

    async fn renew(
        &self,
        cx: &Context,
        mut loaded: Loaded,
        token_still_valid: bool,
    ) -> Result<Loaded, Failure> {
        match self.bring_up_to_date(cx, &mut loaded, token_still_valid).await {
            Ok(()) => Ok(loaded),
            Err(Failure::Rejected) => Err(Failure::Rejected),
            // The row's access token is still valid, and the request has none.
            Err(failure) => match &loaded.record.upstream {
                Some(upstream) if !token_still_valid && loaded.now < upstream.expires => Ok(loaded),
                _ => Err(failure),
            },
        }
    }

    fn access_token(&self, record: &SessionRecord) -> Result<UpstreamAccessToken, Failure> {
        let upstream = record.upstream.as_deref().ok_or(Failure::Misconfigured)?;
        Ok(self.shared.open(record.sid, upstream)?.for_handlers())
    }

    async fn end(&self, cx: &Context, sid: SessionId) -> Result<bool, Failure> {
        let ended = self.shared.store.end(sid).await.map_err(|error| {
            cx.store_failed(&error);
            Failure::SOON
        })?;
        let Some(record) = ended else { return Ok(false) };
        let upstream = record.upstream.as_deref();
        if let Some(Ok(tokens)) = upstream.map(|upstream| self.shared.open(sid, upstream)) {
            revoke(&self.shared.endpoint.upstream, cx, tokens);
        }
        Ok(true)
    }

    async fn drain(&self, cx: &Context) -> usize {
        let limit = self.shared.endpoint.upstream.limit;
        let (began, mut left) = (cx.monotonic(), 0);
        for InFlight { mut end, .. } in self.exchanges.all() {
            let rest = limit.saturating_sub(cx.monotonic().saturating_sub(began));
            let result = tokio::time::timeout(rest, end.wait_for(Option::is_some)).await;
            left += usize::from(result.is_err());
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
