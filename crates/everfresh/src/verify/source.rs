//! Keys that come from elsewhere: who is asked when a token names one that the set lacks.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// Brings keys that a set lacks, such as another issuer's, which change without our doing.
///
/// Given to a set by [`Keys::with_source`](crate::Keys::with_source). The engine asks it where none
/// of the set's keys has signed a token and none for its algorithm has the name that the token
/// gives; a token that the set can judge never comes here.
///
/// # Security
/// 1. [`seek`](Self::seek) is called in the path of a request, for bytes that anybody may have
///    sent. It must not block, and whatever it starts must be bounded: one fetch at a time, and
///    no more than one in so many seconds, however often it is called.
/// 2. It is told nothing of the token, so that nothing that a client wrote can say what is fetched
///    and from where.
/// 3. [`Seek::InVain`] answers 401; give it where the set was fetched as lately as rule 1 allows,
///    also if a newer one might have the key. Any client can use up what rule 1 allows, so with
///    [`Seek::Unavailable`] in its place a stranger could keep the people whose key is gone at 503,
///    when they ought to sign in again. `Unavailable` is for a set whose last fetch failed.
pub trait KeySource: Send + Sync + 'static {
    /// A token needs a key that the set lacks.
    fn seek(&self) -> Seek;
}

/// What a [`KeySource`] does about a key that is lacking.
#[non_exhaustive]
pub enum Seek {
    /// The set is as new as the limits of fetching allow: the token does not count.
    InVain,
    /// The set is being fetched, in a task of its own. The token is judged again when this is
    /// ready; whoever waits for it, waits no longer than the waiter limit (3 s).
    InFlight(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The keys can't be had at the moment, so nobody knows whether the token counts: 503.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl fmt::Debug for Seek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InVain => f.write_str("InVain"),
            Self::InFlight(_) => f.write_str("InFlight"),
            Self::Unavailable { retry_after } => {
                f.debug_struct("Unavailable").field("retry_after", retry_after).finish()
            }
        }
    }
}
