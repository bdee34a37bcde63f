//! Sends one refresh token to the other server and reads the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everfresh::Event;
use everfresh::dialect::RefreshOutcome;
use everfresh::refresher::Context;
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::sync::Semaphore;
use tracing::Span;

use super::Upstream;
use super::breaker::Breaker;
use super::refusals::{Refusals, Refused, excerpt};
use super::tokens::UpstreamTokens;
use crate::http::Answer;

/// How long a node waits for an answer. A late answer holds the only copy of the next token.
pub(super) const LISTEN: Duration = Duration::from_secs(5 * 60);

const SOON: Duration = Duration::from_secs(1);

/// The other server's token endpoint, with the limits of calls to it.
pub(super) struct TokenEndpoint {
    pub(super) upstream: Upstream,
    pub(super) refusals: Refusals,
    breaker: Breaker,
    /// Whether a misconfiguration was logged since the last success.
    is_misconfigured: AtomicBool,
    slots: Semaphore,
}

/// The outcome of sending a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The server answered.
    Answered(RefreshOutcome),
    /// The token was certainly not sent. `tried` is `true` if a call failed, and `false` if this
    /// node made no call or withheld the token.
    Unsent { retry_after: Duration, tried: bool },
    /// The token may have been sent, and no answer will come.
    NoAnswer,
    /// The dialect can't write a request with this token.
    Unwritable,
}

/// Returns the span in which [`TokenEndpoint::send`] runs. The call may outlive the refresh that
/// started it, so the span has no parent, and follows from the refresh's span.
pub(super) fn span(sid: &str) -> Span {
    let span = tracing::debug_span!(
        target: "everfresh",
        parent: None,
        "everfresh.upstream",
        sid,
        status = tracing::field::Empty,
    );
    span.follows_from(Span::current());
    span
}

impl TokenEndpoint {
    pub(super) fn new(upstream: Upstream) -> Self {
        let slots = Semaphore::new(upstream.max_calls.min(Semaphore::MAX_PERMITS));
        Self {
            upstream,
            refusals: Refusals::default(),
            breaker: Breaker::default(),
            is_misconfigured: AtomicBool::new(false),
            slots,
        }
    }

    /// Sends a token of this session, once. `permission` is polled at the last moment before the
    /// token is written, and the token is withheld if it resolves to `false`.
    pub(super) async fn send(
        &self,
        cx: &Context,
        sid: &str,
        tokens: &UpstreamTokens,
        permission: BoxFuture<'static, bool>,
    ) -> Sent {
        let Self { upstream, breaker, slots, .. } = self;
        let Ok(Ok(slot)) = tokio::time::timeout(cx.refresh_timeout(), slots.acquire()).await else {
            return Sent::Unsent { retry_after: SOON, tried: false };
        };
        if let Err(retry_after) = breaker.ask(cx.monotonic()) {
            return Sent::Unsent { retry_after, tried: false };
        }
        let token = tokens.presented(&upstream.dialect);
        let request = upstream.dialect.request(&upstream.values(tokens, token), cx.now());
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(
                    target: "everfresh",
                    sid,
                    %error,
                    "the dialect can't write a refresh request with this token"
                );
                return Sent::Unwritable;
            }
        };
        let call = upstream.http.post(&upstream.url).like(request).limit(LISTEN);
        let call = call.at_most(upstream.max_response).after(permission);
        let mut call = Box::pin(call.send());
        let answer = match tokio::time::timeout(upstream.limit, &mut call).await {
            Ok(answer) => answer,
            Err(_) => {
                // The refresh is in doubt from now on. This task still waits for the answer.
                self.failed(cx, None, None);
                cx.emit(&Event::InDoubt { sid });
                drop(slot);
                call.await
            }
        };
        let Answer { status, headers, body } = match answer {
            Ok(answer) => answer,
            Err(crate::http::HttpError::Withheld) => {
                return Sent::Unsent { retry_after: SOON, tried: false };
            }
            Err(error) => {
                self.failed(cx, None, None);
                let unsent = error.certainly_unsent();
                tracing::warn!(target: "everfresh", sid, %error, unsent, "refresh");
                if unsent {
                    return Sent::Unsent { retry_after: SOON, tried: true };
                }
                cx.emit(&Event::InDoubt { sid });
                return Sent::NoAnswer;
            }
        };
        Span::current().record("status", status.as_u16());
        let answered = upstream.dialect.read(status, &headers, &body, cx.now());
        match &answered {
            RefreshOutcome::Unavailable { retry_after }
                if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS =>
            {
                self.failed(cx, *retry_after, Some(sid));
            }
            // A page of a proxy in front of the server: the server itself did not answer.
            RefreshOutcome::NotIssued => self.failed(cx, None, Some(sid)),
            _ if breaker.succeeded() => cx.emit(&Event::UpstreamUp),
            _ => {}
        }
        self.report(cx, sid, status, &answered, || excerpt(&body, &tokens.exposed()));
        Sent::Answered(answered)
    }

    fn failed(&self, cx: &Context, asked: Option<Duration>, session: Option<&str>) {
        if self.breaker.failed(cx.monotonic(), asked, session) {
            cx.emit(&Event::UpstreamDown);
        }
    }

    /// Tells the operator of an answer that brought no tokens.
    fn report(
        &self,
        cx: &Context,
        sid: &str,
        status: StatusCode,
        answered: &RefreshOutcome,
        excerpt: impl Fn() -> String,
    ) {
        match answered {
            RefreshOutcome::InDoubt => {
                if status.is_success() {
                    let member = self.upstream.dialect.wanted();
                    tracing::error!(
                        target: "everfresh",
                        sid,
                        %status,
                        member,
                        "refresh: the answer has no access token where the dialect looks for it"
                    );
                }
                cx.emit(&Event::InDoubt { sid });
            }
            RefreshOutcome::NotIssued => tracing::warn!(
                target: "everfresh",
                sid,
                %status,
                "refresh: the answer is a success without tokens"
            ),
            // It concerns all sessions, so it is said once.
            RefreshOutcome::Misconfigured
                if !self.is_misconfigured.swap(true, Ordering::Relaxed) =>
            {
                tracing::error!(
                    target: "everfresh",
                    sid,
                    %status,
                    excerpt = excerpt(),
                    "the other server refuses the refresh request; check the client's id and secret"
                );
            }
            RefreshOutcome::Refused { .. } => {
                match self.refusals.note(sid, status.as_u16(), cx.monotonic()) {
                    Refused::First => tracing::warn!(
                        target: "everfresh",
                        sid,
                        %status,
                        excerpt = excerpt(),
                        "refresh: the other server refuses it, by an answer that the dialect does \
                         not know"
                    ),
                    Refused::Again => {}
                    Refused::ForLong => {
                        let (status, excerpt) = (status.as_u16(), &*excerpt());
                        cx.emit(&Event::RefreshRefused { sid, status, excerpt });
                    }
                }
            }
            RefreshOutcome::Issued(_) => {
                self.is_misconfigured.store(false, Ordering::Relaxed);
                self.refusals.forget(sid);
            }
            RefreshOutcome::Rejected => self.refusals.forget(sid),
            _ => {}
        }
    }
}
