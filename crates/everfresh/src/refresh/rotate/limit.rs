//! How many sessions a person may have.

use super::{Rotate, failed};
use crate::observe::Event;
use crate::refresh::{Context, Failure};
use crate::store::SessionId;

/// What a sign-in does for a person who has as many sessions as
/// [`Rotate::max_sessions`](crate::Rotate::max_sessions) allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtMaxSessions {
    /// The person is signed in, and their oldest session ends as by a sign-out, with
    /// [`Event::OverLimit`](crate::Event::OverLimit).
    #[default]
    EndOldest,
    /// The sign-in is refused: `SessionErrorKind::TooManySessions`. The person has to sign out
    /// somewhere else, or wait for a session to end.
    RefuseSignIn,
}

/// The most that can be allowed. A store's list of sessions holds 1,000, so each of a person's
/// sessions can be seen there.
pub(super) const MOST: usize = 500;

/// More than a person has of devices and browsers, and more than a script that signs in each hour
/// and forgets its session needs of them; few enough to be listed on a page, at some 100 kB of rows.
pub(super) const DEFAULT: usize = 200;

/// How many sessions one sign-in ends. More are over the limit only where that was lowered, or
/// sign-ins raced.
const AT_A_TIME: usize = 32;

impl Rotate {
    /// The sessions of a subject that there is no room for, if `room` others may be there. `apart`
    /// are not counted.
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

    /// Before a sign-in: refuses it where the app wants that. `former`: the session that the
    /// request presented, which ends once the new one is there.
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

    /// After a sign-in: ends what is over the limit, the oldest first.
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
