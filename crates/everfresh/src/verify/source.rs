//! The source that a key set asks for keys that it lacks.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// Fetches keys that a set lacks, such as the keys of another issuer, which changes them itself.
///
/// [`Keys::with_source`](crate::Keys::with_source) adds a source to a set. The engine asks the
/// source if no key of the set has signed a token and no key for the token's algorithm has the
/// `kid` that the token names. The engine never asks it about a token that the set can verify.
///
/// # Security
/// 1. The engine calls [`seek`](Self::seek) while it handles a request, for bytes that any client
///    may have sent. `seek` must not block. The work that it starts must be bounded: one fetch at a
///    time, and at most one in a fixed number of seconds, however often `seek` is called.
/// 2. `seek` gets no part of the token, so that a client can't choose what is fetched and from
///    where.
/// 3. The engine answers [`Seek::NotFound`] with 401. Return it if the set was fetched as recently as
///    rule 1 allows, even if a newer set might have the key. Any client can use up the fetches
///    that rule 1 allows. With [`Seek::Unavailable`] instead, an attacker could keep the users
///    whose key is gone at 503, although they need to sign in again. Return `Unavailable` for a
///    set whose last fetch failed.
pub trait KeySource: Send + Sync + 'static {
    /// Looks for a key that a token needs and that the set lacks.
    fn seek(&self) -> Seek;
}

/// What a [`KeySource`] does about a missing key.
#[non_exhaustive]
pub enum Seek {
    /// The set is as new as the limits of fetching allow. The token does not count.
    NotFound,
    /// The set is being fetched in a task of its own. The engine verifies the token again when this
    /// future is ready. A request waits no longer than the refresh timeout (3 s).
    InFlight(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The keys are not available now, so it is unknown whether the token counts. The answer is
    /// 503.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl fmt::Debug for Seek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("NotFound"),
            Self::InFlight(_) => f.write_str("InFlight"),
            Self::Unavailable { retry_after } => {
                f.debug_struct("Unavailable").field("retry_after", retry_after).finish()
            }
        }
    }
}
