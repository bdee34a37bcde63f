//! What operators should know: typed events for audit logs, `tracing`, and metrics.
//! `crates/everfresh/docs/observability.md` lists all of it; the tests compare that page with this code.

mod list;
pub(crate) mod metrics;
#[cfg(test)]
mod tests;

use crate::error::Failure;
use crate::verify::InvalidReason;

pub use list::{METRICS, Metric, MetricKind};

/// An event for audit logs. It never holds a token.
///
/// Set a hook with `EngineBuilder::on_event`. The engine calls it in the path of the request, and
/// it must not block. Every event is also a `tracing` event with the target `everfresh`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A client presented a token that does not count.
    TokenRefused {
        /// Why.
        reason: InvalidReason,
    },
    /// A session got new tokens.
    Refreshed {
        /// The session.
        sid: &'e str,
    },
    /// A session got a new access token for the refresh token that its client keeps, and nothing
    /// else.
    Renewed {
        /// The session.
        sid: &'e str,
    },
    /// A refresh failed.
    RefreshFailed {
        /// The session.
        sid: &'e str,
        /// Why.
        failure: Failure,
    },
    /// A token does not fit the cookie or header that should carry it. A minted token is too large,
    /// so that its claims have to become smaller. A token from a refresher is too large, or has
    /// bytes that are not allowed. Until then the session can't be refreshed.
    TokenTooLarge {
        /// The session.
        sid: &'e str,
    },
    /// A refresh or a sign-in brought an access token that had expired. It signs no user in. The
    /// client gets a 503 and tries again, or goes on with a token that is still good.
    ExpiredOnArrival {
        /// The session.
        sid: &'e str,
    },
    /// An expired token was accepted within the leeway, because no refresh was available.
    StaleServed {
        /// The session.
        sid: &'e str,
    },
    /// A user signed in.
    SignedIn {
        /// The new session.
        sid: &'e str,
    },
    /// A user signed out.
    SignedOut {
        /// The session that ended.
        sid: &'e str,
    },
    /// A user signed in beyond the limit of sessions, so that the user's oldest session was ended.
    OverLimit {
        /// The session that ended.
        sid: &'e str,
    },
    /// A response deletes the engine's cookies.
    CookiesCleared {
        /// Whether a client navigated to a page with the cookies of a session that is over.
        /// Otherwise a user signed out.
        dead: bool,
    },
    /// A client presented a refresh token that does not count, because an access token of another
    /// session or another session's refresh token was beside it. It was ignored.
    RefreshTokenIgnored,
    /// A rotation's result was returned again: to a late duplicate of the request, or to a client
    /// that had lost it.
    Replayed {
        /// The session.
        sid: &'e str,
        /// Whether a client had presented the result before.
        confirmed: bool,
    },
    /// For the third time in a row, with half the reuse interval between them, a client asked for a
    /// successor that no client has presented. The client does not keep its cookies (a proxy drops
    /// `Set-Cookie`, or the client has no cookie jar), or two holders take turns. The session goes
    /// on; the store is asked at each of its requests.
    CookieNotSticking {
        /// The session.
        sid: &'e str,
    },
    /// A refresh token was reused (RFC 9700 section 4.14.2): two clients hold it. The session was
    /// ended, and no other.
    ReuseDetected {
        /// The session.
        sid: &'e str,
    },
    /// A client holds a newer generation than the store, which was restored from a backup or lost
    /// acknowledged writes. The session goes on from the client's generation.
    AheadOfStore {
        /// The session.
        sid: &'e str,
    },
    /// A call of the session store failed.
    StoreFailed,
    /// Sessions are good, and their claims don't fit the app's type, which changed. Each engine
    /// emits it once a minute at the most. The responses to these requests are 401, and the
    /// sessions go on.
    UnreadClaims {
        /// The type, and the member that is missing or does not have its type. It holds no value.
        problem: &'e str,
    },
    /// Another server answered a refresh with tokens that were not asked for: another user's, or
    /// signed by no trusted key. The engine discarded them.
    IssuedRefused {
        /// The session.
        sid: &'e str,
    },
    /// A refresh token was sent to the other server, and the outcome is unknown.
    InDoubt {
        /// The session.
        sid: &'e str,
    },
    /// The other server has refused to refresh a session for ten minutes, by answers of one status
    /// that the dialect does not know. Reported once for each such session and node. Requests
    /// without a good access token are answered with 401 from then on, and the other server is asked
    /// once a minute.
    RefreshRefused {
        /// The session.
        sid: &'e str,
        /// The status of the answers.
        status: u16,
        /// The beginning of the last answer's body, 200 characters at the most. Whatever may be a
        /// token is masked.
        excerpt: &'e str,
    },
    /// New tokens arrived, and the store does not accept them. They are kept in memory and offered
    /// again until it does, for a day at the most.
    Unpersisted {
        /// The session.
        sid: &'e str,
    },
    /// New tokens could not be read or stored for a day, and were discarded. Whether the session
    /// goes on depends on whether the other server accepts the former refresh token again.
    TokensLost {
        /// The session.
        sid: &'e str,
    },
    /// This node may miss sessions that end on other nodes, until it has caught up.
    FeedLost,
    /// This node learns of sessions that end on other nodes again, and has caught up.
    FeedLive,
    /// The other server fails again and again. For a while it is asked once a second.
    UpstreamDown,
    /// The other server answers again.
    UpstreamUp,
    /// A session that was signed out could not be ended, and the engine has stopped trying. Its
    /// refresh token counts until the session expires.
    RevokeFailed {
        /// The session.
        sid: &'e str,
        /// Why.
        failure: Failure,
    },
    /// All sessions of a user should have been ended, and the engine has stopped trying. Some of
    /// them may have ended.
    RevokeAllFailed {
        /// The user. It is not in the `tracing` event.
        subject: &'e str,
        /// Why.
        failure: Failure,
    },
    /// A request that another site caused had the engine's cookies, which did not count.
    CrossSite,
    /// New tokens were withheld, because the handler made its response cacheable by shared caches,
    /// or the response is a 304.
    TokensWithheld,
    /// The tokio runtime on which the engine ran work that outlives a request has ended. The work
    /// in progress there is lost. Further work runs on the runtime of its request.
    RuntimeEnded,
    /// A refresh had to wait, and there is no tokio runtime to wait on: neither the engine's nor
    /// one around the request.
    NoRuntime,
}

impl Event<'_> {
    /// Returns the event's name, for logs: `token_refused`, `signed_in`, ...
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TokenRefused { .. } => "token_refused",
            Self::Refreshed { .. } => "refreshed",
            Self::Renewed { .. } => "renewed",
            Self::RefreshFailed { .. } => "refresh_failed",
            Self::TokenTooLarge { .. } => "token_too_large",
            Self::ExpiredOnArrival { .. } => "expired_on_arrival",
            Self::StaleServed { .. } => "stale_served",
            Self::SignedIn { .. } => "signed_in",
            Self::SignedOut { .. } => "signed_out",
            Self::OverLimit { .. } => "over_limit",
            Self::CookiesCleared { .. } => "cookies_cleared",
            Self::RefreshTokenIgnored => "refresh_token_ignored",
            Self::Replayed { .. } => "replayed",
            Self::CookieNotSticking { .. } => "cookie_not_sticking",
            Self::ReuseDetected { .. } => "reuse_detected",
            Self::AheadOfStore { .. } => "ahead_of_store",
            Self::StoreFailed => "store_failed",
            Self::UnreadClaims { .. } => "unread_claims",
            Self::IssuedRefused { .. } => "issued_refused",
            Self::InDoubt { .. } => "in_doubt",
            Self::RefreshRefused { .. } => "refresh_refused",
            Self::Unpersisted { .. } => "unpersisted",
            Self::TokensLost { .. } => "tokens_lost",
            Self::FeedLost => "feed_lost",
            Self::FeedLive => "feed_live",
            Self::UpstreamDown => "upstream_down",
            Self::UpstreamUp => "upstream_up",
            Self::RevokeFailed { .. } => "revoke_failed",
            Self::RevokeAllFailed { .. } => "revoke_all_failed",
            Self::CrossSite => "cross_site",
            Self::TokensWithheld => "tokens_withheld",
            Self::RuntimeEnded => "runtime_ended",
            Self::NoRuntime => "no_runtime",
        }
    }

    /// Writes the event to `tracing`.
    pub(crate) fn trace(&self) {
        match self {
            Self::TokenRefused { reason } => {
                let reason = reason.name();
                tracing::debug!(target: "everfresh", reason, "token refused");
            }
            Self::Refreshed { sid } => tracing::debug!(target: "everfresh", sid, "refreshed"),
            Self::Renewed { sid } => tracing::debug!(target: "everfresh", sid, "renewed"),
            Self::RefreshFailed { sid, failure: Failure::Rejected } => {
                tracing::info!(target: "everfresh", sid, "session is over");
            }
            Self::RefreshFailed {
                sid,
                failure:
                    failure @ (Failure::Unavailable { .. } | Failure::NoRuntime | Failure::Foreign),
            } => {
                tracing::warn!(target: "everfresh", sid, ?failure, "refresh failed");
            }
            // Events of their own report these, at a limited rate.
            Self::RefreshFailed {
                sid,
                failure: failure @ (Failure::UnreadClaims | Failure::Refused),
            } => {
                tracing::debug!(target: "everfresh", sid, ?failure, "refresh failed");
            }
            Self::RefreshFailed { sid, failure } => {
                tracing::error!(target: "everfresh", sid, ?failure, "refresh failed");
            }
            Self::TokenTooLarge { sid } => tracing::error!(
                target: "everfresh",
                sid,
                "a token does not fit its cookie or header; make the claims smaller"
            ),
            Self::ExpiredOnArrival { sid } => {
                tracing::warn!(
                    target: "everfresh",
                    sid,
                    "a refresh returned an expired access token"
                );
            }
            Self::StaleServed { sid } => tracing::warn!(
                target: "everfresh",
                sid,
                "a request continued with a stale token, within the leeway"
            ),
            Self::SignedIn { sid } => tracing::info!(target: "everfresh", sid, "a user signed in"),
            Self::SignedOut { sid } => tracing::info!(
                target: "everfresh",
                sid,
                "a session was signed out"
            ),
            Self::OverLimit { sid } => {
                tracing::info!(target: "everfresh", sid, "the oldest session was ended");
            }
            Self::CookiesCleared { dead } => {
                tracing::debug!(
                    target: "everfresh",
                    dead,
                    "the response deletes the session's cookies"
                );
            }
            Self::RefreshTokenIgnored => {
                tracing::info!(
                    target: "everfresh",
                    "a refresh token of another session was ignored"
                );
            }
            Self::Replayed { sid, confirmed } => {
                tracing::debug!(
                    target: "everfresh",
                    sid,
                    confirmed,
                    "the successor of a used refresh token was returned again"
                );
            }
            Self::CookieNotSticking { sid } => {
                tracing::warn!(
                    target: "everfresh",
                    sid,
                    "the client does not keep its new cookies"
                );
            }
            Self::ReuseDetected { sid } => {
                tracing::warn!(
                    target: "everfresh",
                    sid,
                    "a refresh token was reused; its session was ended"
                );
            }
            Self::AheadOfStore { sid } => {
                tracing::warn!(
                    target: "everfresh",
                    sid,
                    "a client's token is ahead of the store; the store was restored"
                );
            }
            // Logged where the error is known.
            Self::StoreFailed | Self::FeedLost => {}
            Self::UnreadClaims { problem } => tracing::warn!(
                target: "everfresh",
                problem,
                "the app's type does not accept the claims of some sessions; return new claims \
                 from `revalidate_with`"
            ),
            Self::IssuedRefused { sid } => {
                tracing::error!(target: "everfresh", sid, "issued tokens were refused");
            }
            Self::InDoubt { sid } => {
                tracing::warn!(
                    target: "everfresh",
                    sid,
                    "a refresh token was sent, and no answer came"
                );
            }
            Self::RefreshRefused { sid, status, excerpt } => tracing::error!(
                target: "everfresh",
                sid,
                status,
                excerpt,
                "the other server has refused this session's refresh for ten minutes; add a rule \
                 for the answer to the dialect"
            ),
            Self::Unpersisted { sid } => {
                tracing::error!(target: "everfresh", sid, "new tokens are not stored yet");
            }
            Self::TokensLost { sid } => {
                tracing::error!(target: "everfresh", sid, "new tokens were not stored for a day");
            }
            Self::FeedLive => {
                tracing::info!(target: "everfresh", "the revocation feed is connected again");
            }
            Self::UpstreamDown => {
                tracing::error!(target: "everfresh", "the other server fails");
            }
            Self::UpstreamUp => {
                tracing::info!(target: "everfresh", "the other server answers again");
            }
            Self::RevokeFailed { sid, failure } => {
                tracing::error!(target: "everfresh", sid, ?failure, "a session was not ended");
            }
            Self::RevokeAllFailed { failure, .. } => {
                tracing::error!(target: "everfresh", ?failure, "a user's sessions were not ended");
            }
            Self::CrossSite => {
                tracing::info!(
                    target: "everfresh",
                    "the cookies of a cross-site request were ignored"
                );
            }
            Self::RuntimeEnded => tracing::error!(
                target: "everfresh",
                "the engine's tokio runtime has ended; build the engine in a runtime that lives as \
                 long as the server, or one engine per test"
            ),
            Self::NoRuntime => tracing::error!(
                target: "everfresh",
                "no tokio runtime for a refresh; call `build()` in one, or set `runtime`"
            ),
            Self::TokensWithheld => tracing::warn!(
                target: "everfresh",
                "new tokens were withheld from a 304 or from a response for shared caches"
            ),
        }
    }
}
