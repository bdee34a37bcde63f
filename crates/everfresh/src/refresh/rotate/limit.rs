//! The limit on a subject's sessions.

use super::{Rotate, failed};
use crate::error::Failure;
use crate::observe::Event;
use crate::refresh::Context;
use crate::store::SessionId;

/// What a sign-in does for a subject that has as many sessions as
/// [`Rotate::max_sessions`](crate::Rotate::max_sessions) allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtMaxSessions {
    /// The user is signed in. Their oldest session ends as by a sign-out, with
    /// [`Event::OverLimit`](crate::Event::OverLimit).
    #[default]
    EndOldest,
    /// The sign-in is refused with `SessionErrorKind::TooManySessions`. The user has to sign out of
    /// another session, or wait until a session ends.
    RefuseSignIn,
}

/// The largest limit. A store's list of sessions holds 1,000, so it shows each of a subject's
/// sessions.
pub(super) const MOST: usize = 500;

/// More than a person's devices and browsers need, and more than a script needs that signs in each
/// hour and forgets its session. Few enough for one page, at some 100 kB of rows.
pub(super) const DEFAULT: usize = 200;

/// How many sessions one sign-in ends. A subject has more surplus sessions only after the limit was
/// lowered or sign-ins raced.
const AT_A_TIME: usize = 32;

impl Rotate {
    /// Returns the subject's sessions beyond the newest `room`, at most `AT_A_TIME` of them.
    /// Sessions in `apart` are not counted.
    async fn surplus(
        &self,
        cx: &Context,
        subject: &str,
        room: usize,
        apart: &[SessionId],
    ) -> Result<Vec<SessionId>, Failure> {
        let limit = room + apart.len() + AT_A_TIME;
        let newest = self.store.newest(subject, limit).await;
        let newest = newest.map_err(|error| failed(cx, &error))?;
        let others = newest.into_iter().filter(|sid| !apart.contains(sid));
        Ok(others.skip(room).take(AT_A_TIME).collect())
    }

    /// Refuses a sign-in beyond the limit, if the app chose [`AtMaxSessions::RefuseSignIn`].
    /// `former`: the session that the request presented, which ends once the new one exists.
    pub(super) async fn admit(
        &self,
        cx: &Context,
        subject: &str,
        former: Option<SessionId>,
    ) -> Result<(), Failure> {
        if self.at_max_sessions != AtMaxSessions::RefuseSignIn {
            return Ok(());
        }
        let room = self.max_sessions.saturating_sub(1);
        match self.surplus(cx, subject, room, former.as_slice()).await?.is_empty() {
            true => Ok(()),
            false => Err(Failure::TooManySessions),
        }
    }

    /// Ends, after a sign-in, up to `AT_A_TIME` sessions beyond the limit.
    pub(super) async fn make_room(
        &self,
        cx: &Context,
        subject: &str,
        new: SessionId,
        former: Option<SessionId>,
    ) -> Result<(), Failure> {
        if self.at_max_sessions != AtMaxSessions::EndOldest {
            return Ok(());
        }
        let apart: Vec<_> = former.into_iter().chain([new]).collect();
        let room = self.max_sessions.saturating_sub(1);
        for sid in self.surplus(cx, subject, room, &apart).await? {
            if self.end(cx, sid).await? {
                cx.core.over(&sid.to_string(), |sid| Event::OverLimit { sid });
            }
        }
        Ok(())
    }
}
