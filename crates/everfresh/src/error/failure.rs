//! Why a refresher returned no tokens.

use std::fmt;
use std::time::Duration;

/// Why a refresher returned no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The session is over. The request is answered with 401.
    Rejected,
    /// No refresh is possible now; the session may well be good. A request whose access token is
    /// still good goes on; any other is answered with 503.
    Unavailable {
        /// How long the client should wait before it tries again.
        retry_after: Duration,
    },
    /// No refresh is possible until an operator changes the configuration. Answered as
    /// `Unavailable` with a `Retry-After` of a minute, and reported as an error event.
    Misconfigured,
    /// A refresh token of another server that can be used once was sent, and its outcome is
    /// unknown. A request whose access token is still good goes on; any other is answered with 401.
    /// The session does not end and its cookies are not cleared, because a late answer revives the
    /// session.
    InDoubt,
    /// The other server has refused to refresh this session for ten minutes, by answers that the
    /// dialect does not know. A request whose access token is still good goes on; any other is
    /// answered with 401, so that the user can sign in again. The session does not end and its
    /// cookies are not cleared.
    Refused,
    /// There is no tokio runtime for the refresh, or its runtime has ended. Answered as
    /// `Unavailable`, and reported as an event.
    NoRuntime,
    /// The presented token is not this session's, whatever it names. Answered with 401. The session
    /// does not end and its cookies are not cleared.
    Foreign,
    /// The session is good, but the app's claims type can't read its claims. Answered with 401. The
    /// session does not end and its cookies are not cleared, because another node may read the
    /// claims.
    UnreadClaims,
    /// A sign-in is refused because the subject has as many sessions as allowed
    /// ([`Rotate::max_sessions`](crate::Rotate::max_sessions)).
    TooManySessions,
}

impl Failure {
    /// Unavailable; to be tried again in a second.
    pub const SOON: Self = Self::Unavailable { retry_after: Duration::from_secs(1) };

    /// Returns how long a client waits before it tries again: a minute if an operator or the user has
    /// to act first.
    pub(crate) fn retry_after(self) -> Duration {
        match self {
            Self::Unavailable { retry_after } => retry_after,
            Self::Misconfigured | Self::TooManySessions => Duration::from_secs(60),
            _ => Duration::from_secs(1),
        }
    }

    /// Returns the failure's name in metrics and spans.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unavailable { .. } | Self::NoRuntime => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::InDoubt => "in_doubt",
            Self::Refused => "refused",
            Self::Foreign => "foreign",
            Self::UnreadClaims => "unread_claims",
            Self::TooManySessions => "too_many_sessions",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("the session is over; sign in again"),
            Self::Unavailable { retry_after } => {
                let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u64;
                write!(f, "refresh is unavailable; try again in {seconds} s")
            }
            Self::Misconfigured => {
                f.write_str("refresh is misconfigured; the log names the setting to change")
            }
            Self::NoRuntime => f.write_str(
                "the engine has no tokio runtime, or its runtime has ended; call `build()` in a \
                 runtime that lives as long as the server, or set `runtime`; in tests build one \
                 engine per test",
            ),
            Self::InDoubt => f.write_str(
                "the outcome of a refresh is unknown; a late answer of the other server revives \
                 the session",
            ),
            Self::Refused => f.write_str(
                "the other server refuses the refresh; sign in again, and add a rule for its \
                 answer to the dialect",
            ),
            Self::Foreign => f.write_str("the token belongs to another session; sign in again"),
            Self::UnreadClaims => f.write_str(
                "the session's claims don't fit the app's type; return new claims from \
                 `revalidate_with`",
            ),
            Self::TooManySessions => f.write_str(
                "the user has the maximum number of sessions; sign out of another session first",
            ),
        }
    }
}

impl std::error::Error for Failure {}
