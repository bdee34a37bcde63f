//! Sends one refresh token to the other server and reads the answer.

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
use super::tokens::UpstreamTokens;
use crate::http::Answer;

/// How long a node waits for an answer. A late answer holds the only copy of the next token.
const LISTEN: Duration = Duration::from_secs(5 * 60);

const SOON: Duration = Duration::from_secs(1);

/// The other server's token endpoint, with the limits of calls to it.
pub(super) struct TokenEndpoint {
    pub(super) upstream: Upstream,
    breaker: Breaker,
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
        Self { upstream, breaker: Breaker::default(), slots }
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
        let Self { upstream, breaker, slots } = self;
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
                self.failed(cx, None);
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
                self.failed(cx, None);
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
                self.failed(cx, *retry_after);
            }
            // A page of a proxy in front of the server: the server itself did not answer.
            RefreshOutcome::NotIssued => self.failed(cx, None),
            _ if breaker.succeeded() => cx.emit(&Event::UpstreamUp),
            _ => {}
        }
        match &answered {
            RefreshOutcome::InDoubt => {
                if status.is_success() {
                    let member = upstream.dialect.wanted();
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
            RefreshOutcome::Misconfigured => tracing::error!(
                target: "everfresh",
                sid,
                %status,
                "the other server refuses the refresh request; check the client's id and secret"
            ),
            _ => {}
        }
        Sent::Answered(answered)
    }

    fn failed(&self, cx: &Context, asked: Option<Duration>) {
        if self.breaker.failed(cx.monotonic(), asked) {
            cx.emit(&Event::UpstreamDown);
        }
    }
}
