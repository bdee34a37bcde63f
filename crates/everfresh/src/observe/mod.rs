//! What happened that somebody should know: typed events for audit logs, `tracing`, and metrics.
//! `docs/observability.md` lists all of it; the tests hold that page against this code.

mod list;
pub(crate) mod metrics;
#[cfg(test)]
mod tests;

use crate::refresh::Failure;
use crate::verify::InvalidReason;

pub use list::{METRICS, Metric, MetricKind};

/// Something that an audit log may want. Never holds a token.
///
/// Set a hook with `EngineBuilder::on_event`; it is called in the path of the request and must
/// not block. Every event is also a `tracing` event with the target `everfresh`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A token was presented that does not count.
    TokenRefused {
        /// Why.
        reason: InvalidReason,
    },
    /// A session got new tokens.
    Refreshed {
        /// The session.
        sid: &'e str,
    },
    /// A session got a new access token, and nothing else, for the token that its client keeps.
    Renewed {
        /// The session.
        sid: &'e str,
    },
    /// A refresh gave nothing.
    RefreshFailed {
        /// The session.
        sid: &'e str,
        /// Why.
        failure: Failure,
    },
    /// A token does not fit the cookie or header that should carry it: a minted one by its size, so
    /// that its claims have to become smaller; one that a refresher brought by its size or its bytes.
    /// Until then the session can't be refreshed.
    TokenTooLarge {
        /// The session.
        sid: &'e str,
    },
    /// A refresh, or a sign-in, brought an access token that had expired. It signs in no one; the
    /// client is answered 503 and tries again, or goes on with a token that is still good.
    ExpiredOnArrival {
        /// The session.
        sid: &'e str,
    },
    /// An expired token was let pass within the leeway, since no refresh was to be had.
    StaleServed {
        /// The session.
        sid: &'e str,
    },
    /// Somebody signed in.
    SignedIn {
        /// The new session.
        sid: &'e str,
    },
    /// Somebody signed out.
    SignedOut {
        /// The session that ended.
        sid: &'e str,
    },
    /// Somebody signed in beyond the limit of sessions, and their oldest one was ended.
    OverLimit {
        /// The session that ended.
        sid: &'e str,
    },
    /// A response deletes our cookies.
    CookiesCleared {
        /// Somebody went to a page with the cookies of a session that is over. Otherwise somebody
        /// signed out.
        dead: bool,
    },
    /// A refresh token of ours was presented that does not count: beside an access token of another
    /// session, or beside another session's refresh token. It was left alone.
    RefreshTokenIgnored,
    /// A rotation's result was given again: to a late twin, or to a client that had lost it.
    Replayed {
        /// The session.
        sid: &'e str,
        /// A client had shown the result before.
        confirmed: bool,
    },
    /// For the third time in a row, with half the reuse interval between them, a client asked for a
    /// successor that no client has shown. Its cookies don't stick (a proxy drops `Set-Cookie`, a
    /// client keeps no jar), or two holders take turns. The session goes on; its store is asked at
    /// each of its requests.
    CookieNotSticking {
        /// The session.
        sid: &'e str,
    },
    /// An old refresh token came back: two hold it. The session was ended, and no other.
    ReuseDetected {
        /// The session.
        sid: &'e str,
    },
    /// A client holds a newer generation than the store, which was restored from a backup or lost
    /// acknowledged writes. The session goes on from the client's.
    AheadOfStore {
        /// The session.
        sid: &'e str,
    },
    /// The session store did not do what it was asked.
    StoreFailed,
    /// Sessions are good and their claims don't fit the app's type, which changed. Told once a minute
    /// at the most, by each engine; these requests are 401, and the sessions go on.
    UnreadClaims {
        /// The type, and the member that is missing or not of its type. No value.
        problem: &'e str,
    },
    /// Another server answered a refresh with tokens that are not what was asked for: another
    /// person's, or signed by nobody we trust. They were thrown away.
    IssuedRefused {
        /// The session.
        sid: &'e str,
    },
    /// A refresh token was sent, and nobody knows what became of it.
    InDoubt {
        /// The session.
        sid: &'e str,
    },
    /// New tokens came, and the store does not take them. They are kept in memory, and offered
    /// again, until it does, for a day at the most.
    Unpersisted {
        /// The session.
        sid: &'e str,
    },
    /// New tokens could not be read or stored for a day, and were thrown away. Whether the session
    /// goes on depends on whether the other server takes the former refresh token again.
    TokensLost {
        /// The session.
        sid: &'e str,
    },
    /// This node may miss sessions that end on other ones, until it has caught up.
    FeedLost,
    /// This node hears of sessions that end on other ones again, and has caught up.
    FeedLive,
    /// The other server fails again and again. For a while it is asked once a second.
    UpstreamDown,
    /// The other server answers again.
    UpstreamUp,
    /// A session that was signed out could not be ended, and that is not tried any more: its
    /// refresh token counts until it is over by itself.
    RevokeFailed {
        /// The session.
        sid: &'e str,
        /// Why.
        failure: Failure,
    },
    /// The same, of all sessions of a person, some of which may have ended.
    RevokeAllFailed {
        /// Whose. Not in the `tracing` event.
        subject: &'e str,
        /// Why.
        failure: Failure,
    },
    /// A request that another site caused brought our cookies; they were not counted.
    CrossSite,
    /// New tokens were kept back: the handler made its response cacheable by shared caches, or it
    /// is a 304.
    TokensWithheld,
    /// The tokio runtime has ended on which the engine ran what outlives a request. What was under
    /// way there is lost; what comes next runs on the runtime of its request.
    RuntimeEnded,
    /// A refresh had to wait for something, and no tokio runtime is there to wait on: neither the
    /// engine's nor around the request.
    NoRuntime,
}

impl Event<'_> {
    /// Its name, for logs: `token_refused`, `signed_in`, ...
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
            Self::ReuseDetected { .. } => "theft",
            Self::AheadOfStore { .. } => "ahead_of_store",
            Self::StoreFailed => "store_failed",
            Self::UnreadClaims { .. } => "unread_claims",
            Self::IssuedRefused { .. } => "issued_refused",
            Self::InDoubt { .. } => "in_doubt",
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
            // Told by an event of its own, seldom.
            Self::RefreshFailed { sid, failure: Failure::UnreadClaims } => {
                tracing::debug!(target: "everfresh", sid, failure = "UnreadClaims", "refresh failed");
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
                tracing::warn!(target: "everfresh", sid, "a refresh brought an expired access token");
            }
            Self::StaleServed { sid } => tracing::warn!(target: "everfresh", sid, "stale served"),
            Self::SignedIn { sid } => tracing::info!(target: "everfresh", sid, "signed in"),
            Self::SignedOut { sid } => tracing::info!(target: "everfresh", sid, "signed out"),
            Self::OverLimit { sid } => {
                tracing::info!(target: "everfresh", sid, "the oldest session was ended");
            }
            Self::CookiesCleared { dead } => {
                tracing::debug!(target: "everfresh", dead, "cookies cleared");
            }
            Self::RefreshTokenIgnored => {
                tracing::info!(target: "everfresh", "a refresh token was ignored");
            }
            Self::Replayed { sid, confirmed } => {
                tracing::debug!(target: "everfresh", sid, confirmed, "refresh token replayed");
            }
            Self::CookieNotSticking { sid } => {
                tracing::warn!(target: "everfresh", sid, "new tokens don't stick to the client");
            }
            Self::ReuseDetected { sid } => {
                tracing::warn!(target: "everfresh", sid, "refresh token reuse: session ended");
            }
            Self::AheadOfStore { sid } => {
                tracing::warn!(target: "everfresh", sid, "a client is ahead of the store");
            }
            // Written where the error is known.
            Self::StoreFailed | Self::FeedLost => {}
            Self::UnreadClaims { problem } => tracing::warn!(
                target: "everfresh",
                problem,
                "sessions have claims that the app's type does not take"
            ),
            Self::IssuedRefused { sid } => {
                tracing::error!(target: "everfresh", sid, "issued tokens were refused");
            }
            Self::InDoubt { sid } => {
                tracing::warn!(target: "everfresh", sid, "a refresh token was sent, and no answer came");
            }
            Self::Unpersisted { sid } => {
                tracing::error!(target: "everfresh", sid, "new tokens are not stored yet");
            }
            Self::TokensLost { sid } => {
                tracing::error!(target: "everfresh", sid, "new tokens were not stored for a day");
            }
            Self::FeedLive => {
                tracing::info!(target: "everfresh", "the feed of ended sessions is back");
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
                tracing::error!(target: "everfresh", ?failure, "a person's sessions were not ended");
            }
            Self::CrossSite => {
                tracing::info!(target: "everfresh", "cookies of a cross-site request not counted");
            }
            Self::RuntimeEnded => tracing::error!(
                target: "everfresh",
                "the engine's tokio runtime has ended; build the engine in the one that lives as \
                 long as the server, or one engine per test"
            ),
            Self::NoRuntime => tracing::error!(
                target: "everfresh",
                "no tokio runtime for a refresh; call `build()` in one, or set `runtime`"
            ),
            Self::TokensWithheld => tracing::warn!(
                target: "everfresh",
                "tokens kept back from a 304 or a response for shared caches"
            ),
        }
    }
}
