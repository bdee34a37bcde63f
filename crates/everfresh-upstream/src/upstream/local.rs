//! Exchanges that one node alone knows of, where no row says who has sent what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everfresh::{Answered, Context, Failure, Issued};
use tokio::sync::watch;
use tracing::Instrument as _;
use zeroize::Zeroizing;

use super::calls::{Calls, Sent, span};
use super::table::SEND_LIMIT;
use super::{Replay, Upstream};

/// How long an answer is remembered, for requests that present the same token again.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// How many are remembered. The oldest give way.
const MAX_PAST: usize = 4096;

/// Which token: whatever tells it from all others.
type Which = Box<str>;

pub(super) struct Local {
    pub(super) calls: Calls,
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    running: HashMap<Which, watch::Receiver<Option<Ended>>>,
    past: HashMap<Which, Past>,
}

/// How an exchange ended.
#[derive(Clone)]
enum Ended {
    Issued(Box<Issued>),
    NoAnswer,
    Failed { failure: Failure, tried: bool },
}

/// One that is worth remembering.
struct Past {
    /// What came of it. None: nothing, and nobody knows why.
    issued: Option<Box<Issued>>,
    first_sent: Duration,
    tries: u32,
    ended: Duration,
}

/// What may be done with a token.
enum Next {
    Take(Box<Issued>),
    Join(watch::Receiver<Option<Ended>>),
    InDoubt,
}

impl Local {
    pub(super) fn new(upstream: Upstream) -> Arc<Self> {
        Arc::new(Self { calls: Calls::new(upstream), board: Mutex::default() })
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the other server gives for this token of a session; from memory, if it has given it before.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        cx: &Context,
        sid: &str,
        which: Which,
        token: &str,
    ) -> Result<Issued, Failure> {
        // A second answer that fails to come is enough for one request.
        for _ in 0..2 {
            let mut running = match self.next(cx, sid, &which, token) {
                Next::Take(issued) => return Ok(*issued),
                Next::InDoubt => return Err(Failure::InDoubt),
                Next::Join(running) => running,
            };
            let landed = running.wait_for(Option::is_some);
            let landed = tokio::time::timeout(self.calls.upstream.limit, landed).await;
            match landed.ok().and_then(|landed| landed.ok().and_then(|ended| ended.clone())) {
                Some(Ended::Issued(issued)) => return Ok(*issued),
                Some(Ended::Failed { failure, tried }) => {
                    if !tried {
                        cx.untried();
                    }
                    return Err(failure);
                }
                Some(Ended::NoAnswer) => {}
                // It is listened for; whoever comes later may have it.
                None => return Err(Failure::InDoubt),
            }
        }
        Err(Failure::InDoubt)
    }

    fn next(self: &Arc<Self>, cx: &Context, sid: &str, which: &Which, token: &str) -> Next {
        let now = cx.monotonic();
        let mut board = self.board();
        if let Some(running) = board.running.get(which) {
            return Next::Join(running.clone());
        }
        if let Some(past) = board.past.get(which) {
            let again = match self.calls.upstream.replay {
                Replay::Never => false,
                Replay::Within(grace) => {
                    past.tries < 2 && now.saturating_sub(past.first_sent) + SEND_LIMIT < grace
                }
                Replay::Always => true,
            };
            match &past.issued {
                Some(issued) => return Next::Take(issued.clone()),
                None if !again => return Next::InDoubt,
                None => {}
            }
        }
        let (announce, running) = watch::channel(None);
        board.running.insert(which.clone(), running.clone());
        drop(board);
        let guard = Running { local: self.clone(), which: which.clone() };
        let (task, sid) = (cx.clone(), sid.to_owned());
        let token = Zeroizing::new(token.to_owned());
        let span = span(&sid);
        let sending = async move {
            let permission = Box::pin(std::future::ready(true));
            let sent = guard.local.calls.send(&task, &sid, &token, permission).await;
            let ended = ended(sent);
            guard.local.remember(&guard.which, &ended, now, task.monotonic());
            drop(guard);
            announce.send_replace(Some(ended));
        };
        cx.spawn(sending.instrument(span));
        Next::Join(running)
    }

    fn remember(&self, which: &Which, ended: &Ended, sent: Duration, now: Duration) {
        let issued = match ended {
            Ended::Issued(issued) => Some(issued.clone()),
            Ended::NoAnswer => None,
            Ended::Failed { .. } => return,
        };
        let mut board = self.board();
        if board.past.len() >= MAX_PAST {
            board.past.retain(|_, past| now.saturating_sub(past.ended) < MEMORY);
        }
        if board.past.len() >= MAX_PAST {
            board.past.clear();
        }
        let past = board.past.entry(which.clone()).or_insert(Past {
            issued: None,
            first_sent: sent,
            tries: 0,
            ended: now,
        });
        (past.issued, past.ended) = (issued, now);
        past.tries += 1;
    }

    /// Waits for what is under way. Says how much of it did not end.
    pub(super) async fn drain(&self) -> usize {
        let running: Vec<_> = self.board().running.values().cloned().collect();
        let all = running.into_iter().map(async |mut end: watch::Receiver<_>| {
            let landed = end.wait_for(Option::is_some);
            tokio::time::timeout(self.calls.upstream.limit, landed).await.is_err()
        });
        futures::future::join_all(all).await.into_iter().filter(|late| *late).count()
    }
}

fn ended(sent: Sent) -> Ended {
    let soon = Duration::from_secs(1);
    let failed = |failure, tried| Ended::Failed { failure, tried };
    match sent {
        Sent::Unsent { retry_after, tried } => failed(Failure::Unavailable { retry_after }, tried),
        Sent::Unwritable | Sent::Answered(Answered::Misconfigured) => {
            failed(Failure::Misconfigured, true)
        }
        Sent::Answered(Answered::Issued(issued)) => Ended::Issued(issued),
        Sent::Answered(Answered::Rejected) => failed(Failure::Rejected, true),
        Sent::Answered(Answered::Unavailable { retry_after }) => {
            failed(Failure::Unavailable { retry_after: retry_after.unwrap_or(soon) }, true)
        }
        Sent::Answered(_) | Sent::NoAnswer => Ended::NoAnswer,
    }
}

/// An exchange on the board. Dropped, it leaves.
struct Running {
    local: Arc<Local>,
    which: Which,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.local.board().running.remove(&self.which);
    }
}
