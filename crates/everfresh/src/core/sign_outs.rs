//! Ends sessions: at once, or as soon as the store takes the sign-out.

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinHandle;

use super::Core;
use crate::clock::Timestamp;
use crate::error::Failure;
use crate::observe::Event;
use crate::refresh::flight::within;
use crate::refresh::{Closing, Context, Presented, RefreshToken};
use crate::store::SessionId;

/// The pause before a sign-out that the store did not take is tried again; doubled up to
/// `AGAIN_MOST`.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(5);

/// How many sign-outs wait at the most. The engine gives up one more at once.
const MOST: usize = 4096;

/// How long a shutdown tries the remaining sign-outs.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How many sessions are ended without a pause for other requests.
const ENDED_AT_ONCE: usize = 1000;

/// What a sign-out ends.
#[derive(Clone, PartialEq, Eq)]
enum SignOut {
    Session(String),
    Subject { subject: String, except: Option<String> },
}

/// Sign-outs that the store did not take. They hold no token.
#[derive(Default)]
pub(crate) struct SignOuts(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// Each with the monotonic time of its request.
    waiting: VecDeque<(SignOut, Duration)>,
    /// Whether the worker looks for more.
    running: bool,
    worker: Option<JoinHandle<()>>,
    closed: bool,
}

impl SignOuts {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this session was signed out and its store does not know it yet.
    pub(crate) fn is_waiting(&self, sid: SessionId) -> bool {
        let queue = self.lock();
        // Nearly always the queue is empty, and no string has to be allocated.
        !queue.waiting.is_empty() && {
            let what = SignOut::Session(sid.to_string());
            queue.waiting.iter().any(|(waiting, _)| *waiting == what)
        }
    }

    fn first(&self) -> Option<(SignOut, Duration)> {
        self.lock().waiting.front().cloned()
    }

    fn remove(&self, what: &SignOut) {
        self.lock().waiting.retain(|(waiting, _)| waiting != what);
    }

    /// Moves the first one behind the others, so that it does not keep them from being tried.
    fn turn(&self) {
        let mut queue = self.lock();
        if let Some(first) = queue.waiting.pop_front() {
            queue.waiting.push_back(first);
        }
    }
}

impl Core {
    /// Ends a session wherever it is kept. A session that did not exist any more causes no event.
    pub(crate) async fn sign_out(self: &Arc<Self>, closing: Closing) -> Result<(), Failure> {
        match closing {
            Closing { sid: None, refresh: None } => Ok(()),
            Closing { sid: Some(sid), refresh } => {
                self.forget(&sid);
                self.end(SignOut::Session(sid), refresh).await.map(drop)
            }
            closing => self.sign_out_by_token(closing).await,
        }
    }

    /// Returns the session that `closing` would end, as far as it is known without the store.
    pub(crate) fn named(&self, closing: &Closing, now: Timestamp) -> Option<String> {
        let presented = Presented::with(None, closing.refresh.as_ref());
        let admitted = || self.refresher.identify(presented, now);
        closing.sid.clone().or_else(|| admitted().map(|one| one.sid.into()))
    }

    /// Ends the session of a refresh token, which its store has to find genuine. A failure is not
    /// tried again, because the queue would have to hold the token.
    async fn sign_out_by_token(self: &Arc<Self>, closing: Closing) -> Result<(), Failure> {
        let core = self.clone();
        self.detached(async move {
            let named = core.named(&closing, core.now());
            let ended = core.refresher.sign_out(Context::new(core.clone()), closing).await;
            match (ended, named) {
                (Ok(None), _) => {}
                (Ok(Some(sid)), _) => core.over(&sid, |sid| Event::SignedOut { sid }),
                (Err(failure), named) => {
                    core.give_up(&SignOut::Session(named.unwrap_or_default()), failure);
                    return Err(failure);
                }
            }
            Ok(())
        })
        .await
    }

    /// Ends every session of a subject but `except`. Returns how many there were.
    pub(crate) async fn sign_out_all(
        self: &Arc<Self>,
        subject: String,
        except: Option<String>,
    ) -> Result<usize, Failure> {
        self.end(SignOut::Subject { subject, except }, None).await
    }

    /// Called before a sign-in. A waiting sign-out of all the subject's sessions has to come first,
    /// or else it would end the new session too.
    pub(crate) async fn settle(self: &Arc<Self>, subject: &str) -> Result<(), Failure> {
        let of_subject =
            |what: &SignOut| matches!(what, SignOut::Subject { subject: of, .. } if of == subject);
        let waiting: Vec<_> = {
            let queue = self.sign_outs.lock();
            let waiting = queue.waiting.iter().map(|(what, _)| what);
            waiting.filter(|what| of_subject(what)).cloned().collect()
        };
        for what in waiting {
            self.end(what.clone(), None).await?;
            self.sign_outs.remove(&what);
        }
        Ok(())
    }

    async fn end(
        self: &Arc<Self>,
        what: SignOut,
        presented: Option<RefreshToken>,
    ) -> Result<usize, Failure> {
        let core = self.clone();
        self.detached(async move {
            let ended = core.try_to_end(&what, presented).await;
            if let Err(failure) = &ended {
                core.end_later(what, *failure);
            }
            ended
        })
        .await
    }

    async fn try_to_end(
        self: &Arc<Self>,
        what: &SignOut,
        presented: Option<RefreshToken>,
    ) -> Result<usize, Failure> {
        let cx = Context::new(self.clone());
        let work = async {
            match what {
                SignOut::Session(sid) => {
                    let closing = Closing { sid: Some(sid.clone()), refresh: presented };
                    let ended = self.refresher.sign_out(cx, closing).await?;
                    // Again, for refreshes that started before the store knew.
                    self.forget(sid);
                    Ok(ended.into_iter().collect())
                }
                SignOut::Subject { subject, except } => {
                    self.refresher.sign_out_all(cx, subject.clone(), except.clone()).await
                }
            }
        };
        let ended = AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Err(Failure::SOON))?;
        for piece in ended.chunks(ENDED_AT_ONCE) {
            for sid in piece {
                self.over(sid, |sid| Event::SignedOut { sid });
            }
            if piece.len() == ENDED_AT_ONCE {
                tokio::task::yield_now().await;
            }
        }
        Ok(ended.len())
    }

    /// Records which of these sessions are over. Returns false if that is unknown at the moment.
    pub(crate) async fn learn_ends(self: &Arc<Self>, sids: Vec<Box<str>>) -> bool {
        for sid in sids {
            let over = self.refresher.is_over(Context::new(self.clone()), sid.to_string());
            match over.await {
                Ok(true) => self.revoke_here(&sid),
                Ok(false) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Handles a session that has ended in the store.
    pub(crate) fn over<'s>(&self, sid: &'s str, event: impl FnOnce(&'s str) -> Event<'s>) {
        self.forget(sid);
        self.emit(&event(sid));
    }

    /// Tries the sign-out again until the store takes it or the session has ended by itself. Gives
    /// up at once on a failure that a later attempt does not mend.
    fn end_later(self: &Arc<Self>, what: SignOut, failure: Failure) {
        let (Some(runtime), Failure::Unavailable { .. }) = (self.runtime(), failure) else {
            return self.give_up(&what, failure);
        };
        let mut queue = self.sign_outs.lock();
        if queue.waiting.iter().any(|(waiting, _)| *waiting == what) {
            return;
        }
        if queue.closed || queue.waiting.len() >= MOST {
            drop(queue);
            return self.give_up(&what, failure);
        }
        queue.waiting.push_back((what, self.settings.clock.monotonic()));
        // A worker ends with its runtime, too.
        let works = queue.running && queue.worker.as_ref().is_some_and(|task| !task.is_finished());
        if !works {
            queue.running = true;
            queue.worker = Some(runtime.spawn(work(Arc::downgrade(self))));
        }
    }

    fn give_up(&self, what: &SignOut, failure: Failure) {
        if failure == Failure::Rejected {
            // The session is over already.
            return;
        }
        match what {
            SignOut::Session(sid) => self.emit(&Event::RevokeFailed { sid, failure }),
            SignOut::Subject { subject, .. } => {
                self.emit(&Event::RevokeAllFailed { subject, failure });
            }
        }
    }

    /// Does one step of the work. Returns the pause before the next one, or `None` at the end.
    async fn step(self: &Arc<Self>, pause: Duration) -> Option<Duration> {
        let Some((what, since)) = self.sign_outs.first() else {
            let mut queue = self.sign_outs.lock();
            // Goes on if a sign-out came meanwhile.
            queue.running = !queue.closed && !queue.waiting.is_empty();
            return queue.running.then_some(Duration::ZERO);
        };
        if self.settings.clock.monotonic().saturating_sub(since) > self.settings.session_lifetime {
            self.sign_outs.remove(&what);
            return Some(Duration::ZERO);
        }
        match self.try_to_end(&what, None).await {
            Ok(_) => self.sign_outs.remove(&what),
            Err(Failure::Unavailable { .. }) => {
                self.sign_outs.turn();
                return Some((pause * 2).clamp(AGAIN, AGAIN_MOST));
            }
            Err(failure) => {
                self.sign_outs.remove(&what);
                self.give_up(&what, failure);
            }
        }
        Some(Duration::ZERO)
    }

    /// Tries the remaining sign-outs once more. Returns how many the store did not take, which are
    /// given up.
    pub(crate) async fn drain_sign_outs(self: &Arc<Self>) -> usize {
        let waiting = {
            let mut queue = self.sign_outs.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        if waiting.is_empty() {
            return 0;
        }
        let (began, mut left) = (self.settings.clock.monotonic(), 0);
        for (what, _) in waiting {
            let rest =
                DRAIN_LIMIT.saturating_sub(self.settings.clock.monotonic().saturating_sub(began));
            let tried = within(self, rest, self.try_to_end(&what, None)).await;
            if let Err(failure) = tried.unwrap_or(Err(Failure::SOON)) {
                self.give_up(&what, failure);
                left += 1;
            }
        }
        left
    }
}

async fn work(core: Weak<Core>) {
    let mut pause = AGAIN;
    loop {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        // Not held during the pause, so that an engine without other owners can be dropped.
        let Some(core) = core.upgrade() else { return };
        match core.step(pause).await {
            Some(next) => pause = next,
            None => return,
        }
    }
}

impl fmt::Debug for SignOuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignOuts").field("waiting", &self.lock().waiting.len()).finish()
    }
}
