//! For connections that outlive their access token: a watch reports the end of the session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select;
use tokio::sync::watch;

use super::Session;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::mint::ClaimSet;
use crate::node::Until;
use crate::refresh::flight::within;
use crate::reject::Rejection;

/// How often the clock is read while nothing happens. After this time the watch notices that the
/// machine slept or its clock was set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Why a long connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The access token expired, and this node knows of no newer one of the session.
    Expired,
    /// The session is over: signed out, ended after reuse was detected, or ended by the app.
    SignedOut,
}

/// A watch over a session, for web sockets, event streams and long downloads. Returned by
/// [`Session::watch`].
///
/// The watch is extended whenever this node issues or receives a newer access token of the session,
/// so a page keeps its socket open by calling `POST /auth/refresh` (or any other path) in time. It
/// ends at once when this node learns that the session is over.
///
/// With several nodes, a watch does not learn of a newer token that only another node knows. Let
/// the client reconnect, which it must be able to do anyway.
///
/// ```
/// # use everfresh::{EndReason, SessionWatch};
/// # async fn next_message() -> Option<String> { None }
/// async fn serve(mut expires: SessionWatch) {
///     loop {
///         tokio::select! {
///             ended = expires.ended() => {
///                 // Close with a code that tells the client to refresh (or to sign in) first.
///                 let code = if ended == EndReason::Expired { 4401 } else { 4403 };
///                 return drop(code);
///             }
///             message = next_message() => if message.is_none() { return },
///         }
///     }
/// }
/// # let _ = serve;
/// ```
pub struct SessionWatch {
    core: Arc<Core>,
    sid: Box<str>,
    until: watch::Receiver<Until>,
}

impl<C: ClaimSet> Session<C> {
    /// Returns a watch over the session of this request. The watch outlives the request.
    ///
    /// # Errors
    /// The rejection to answer with if no user is signed in.
    pub fn watch(&self) -> Result<SessionWatch, Rejection> {
        let of = self.verified(|verified| (verified.sid.clone(), verified.expires));
        let (sid, expires) = of.ok_or_else(|| self.rejection())?;
        let core = self.0.core.clone();
        let until = core.watches.watch(&sid, expires);
        Ok(SessionWatch { core, sid, until })
    }
}

impl SessionWatch {
    /// Returns when the newest access token of the session that this node knows of expires.
    pub fn expires_at(&self) -> Timestamp {
        self.until.borrow().expires
    }

    /// Waits until the connection should end. Cancel safe; may be awaited again.
    pub async fn ended(&mut self) -> EndReason {
        loop {
            let until = *self.until.borrow_and_update();
            let now = self.core.now();
            if until.over || self.core.revoked.contains(&self.sid, now) {
                return EndReason::SignedOut;
            }
            let left = until.expires.since(now);
            if left.is_zero() {
                return EndReason::Expired;
            }
            let clock = self.core.settings.clock.clone();
            let changed = std::pin::pin!(self.until.changed());
            let moved = std::pin::pin!(clock.moved_from(now));
            within(&self.core, left.min(LOOK_EVERY), select(changed, moved)).await;
        }
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        self.core.watches.unwatch(&self.sid);
    }
}

impl fmt::Debug for SessionWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWatch").field("sid", &self.sid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::testing::*;

    async fn expires_of(fixture: &Fixture, pair: &Pair) -> SessionWatch {
        let (keep, kept) = std::sync::mpsc::channel();
        fixture
            .send(pair.request(), move |session, _| {
                let _ = keep.send(session.watch());
                async { Response::new(String::new()) }
            })
            .await;
        kept.recv().unwrap().unwrap()
    }

    async fn settle() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    // Rows: F100.
    #[tokio::test]
    async fn a_watch_ends_with_the_token_unless_a_newer_one_is_shown() {
        let (fixture, _) = Fixture::rotating();
        let mut pair = fixture.sign_in_pair("alice").await;
        let mut expires = expires_of(&fixture, &pair).await;
        let ended = tokio::spawn(async move { expires.ended().await });
        for _ in 0..10 {
            fixture.pass_until_left(&pair.access, 1);
            settle().await;
            assert!(!ended.is_finished());
            // Another request of the page, which is refreshed.
            let response = fixture.me(pair.request()).await;
            pair.keep(&response);
        }
        fixture.pass_until_left(&pair.access, 0);
        settle().await;
        assert!(ended.is_finished(), "by the clock alone");
        assert_eq!(ended.await.unwrap(), EndReason::Expired);
        assert_eq!(fixture.auth.core.watches.sizes(), (0, 0));
    }

    // Rows: F100.
    #[tokio::test]
    async fn a_watch_ends_at_once_when_the_session_does() {
        let (fixture, _) = Fixture::rotating();
        let pair = fixture.sign_in_pair("alice").await;
        let other = fixture.sign_in_pair("alice").await;
        let mut watches = [expires_of(&fixture, &pair).await, expires_of(&fixture, &pair).await];
        let mut of_other = expires_of(&fixture, &other).await;
        fixture
            .send(pair.request(), |session, _| async move {
                session.sign_out().await.unwrap();
                Response::new(String::new())
            })
            .await;
        for watch in &mut watches {
            assert_eq!(watch.ended().await, EndReason::SignedOut);
            assert_eq!(watch.ended().await, EndReason::SignedOut, "and stays so");
        }
        assert!(futures::FutureExt::now_or_never(of_other.ended()).is_none());
        let without_user = fixture
            .send(get(&[]), |session, _| async move {
                assert!(session.watch().is_err());
                Response::new(String::new())
            })
            .await;
        assert_eq!(without_user.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_by_the_machines_clock_without_an_event() {
        let clock = crate::Clock::system();
        let fixture = Fixture::with(|b| b.clock(clock).access_lifetime(Duration::from_secs(1)));
        let token = fixture.sign_in("alice").await;
        let pair = Pair { access: token, ..Pair::default() };
        let mut expires = expires_of(&fixture, &pair).await;
        // tokio's time is paused, so each look at the clock comes as soon as the last has ended.
        assert_eq!(expires.ended().await, EndReason::Expired);
    }
}
