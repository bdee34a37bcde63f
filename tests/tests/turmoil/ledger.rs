//! The record of a run: the promises, the events, and the violations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everfresh::SessionId;

/// The record of one schedule.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    now: Duration,
    trace: Vec<String>,
    wrong: Option<String>,
    tally: Tally,
    /// The one refresh token of each session and generation.
    successors: BTreeMap<(SessionId, u64), String>,
    /// Generations that the store rotated.
    rotated: BTreeSet<(SessionId, u64)>,
    /// When a session's token was reserved, and when the reservation ended.
    reservations: BTreeMap<SessionId, Vec<(Duration, Option<Duration>)>>,
    /// The number of starts of each node.
    starts: Vec<u32>,
    /// Which node, in which run, has received which token of the provider.
    received: BTreeMap<String, (usize, u32)>,
}

/// Sums over schedules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) served: u64,
    pub(crate) unavailable: u64,
    pub(crate) unanswered: u64,
    pub(crate) in_doubt: u64,
    pub(crate) rotations: u64,
    pub(crate) sign_outs: u64,
    pub(crate) faults: u64,
    /// Sessions whose last tokens reached no node.
    pub(crate) lost: u64,
}

impl Tally {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            served: self.served + other.served,
            unavailable: self.unavailable + other.unavailable,
            unanswered: self.unanswered + other.unanswered,
            in_doubt: self.in_doubt + other.in_doubt,
            rotations: self.rotations + other.rotations,
            sign_outs: self.sign_outs + other.sign_outs,
            faults: self.faults + other.faults,
            lost: self.lost + other.lost,
        }
    }
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.state().now
    }

    pub(crate) fn pass(&self, to: Duration) {
        self.state().now = to;
    }

    /// A line of the trace.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        let mut state = self.state();
        let line = format!("{:>7.2} {}", state.now.as_secs_f64(), what());
        state.trace.push(line);
    }

    /// A promise was broken. The first one counts.
    pub(crate) fn wrong(&self, what: String) {
        self.tell(|| format!("BROKEN: {what}"));
        self.state().wrong.get_or_insert(what);
    }

    pub(crate) fn is_wrong(&self) -> bool {
        self.state().wrong.is_some()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.state().tally);
    }

    /// The counters, the violation, and the events before it.
    pub(crate) fn close(&self) -> (Tally, Option<(String, Vec<String>)>) {
        let mut state = self.state();
        let wrong = state.wrong.take();
        (state.tally, wrong.map(|wrong| (wrong, std::mem::take(&mut state.trace))))
    }

    /// A client got this refresh token, which must be the only one of its generation.
    pub(crate) fn given(&self, token: &str) {
        let Some((sid, generation)) = read(token) else {
            return self.wrong("a refresh token that is none".into());
        };
        let first = self
            .state()
            .successors
            .entry((sid, generation))
            .or_insert_with(|| token.into())
            .clone();
        if first != token {
            self.wrong(format!("two successors: generation {generation} of {sid}"));
        }
    }

    /// The session of a refresh token.
    pub(crate) fn session_of(token: &str) -> Option<SessionId> {
        read(token).map(|(sid, _)| sid)
    }

    /// The store rotated this generation.
    pub(crate) fn rotated(&self, sid: SessionId, from: u64) {
        self.count(|tally| tally.rotations += 1);
        self.tell(|| format!("the store rotates {sid} from {from}"));
        if !self.state().rotated.insert((sid, from)) {
            self.wrong(format!("the store rotated generation {from} of {sid} twice"));
        }
    }

    pub(crate) fn reserved(&self, sid: SessionId) {
        self.tell(|| format!("{sid} is reserved"));
        let mut state = self.state();
        let now = state.now;
        state.reservations.entry(sid).or_default().push((now, None));
    }

    /// The reservation was released, or new tokens were published.
    pub(crate) fn released(&self, sid: SessionId) {
        self.tell(|| format!("the reservation of {sid} is over"));
        let mut state = self.state();
        let now = state.now;
        if let Some((_, until)) = state.reservations.entry(sid).or_default().last_mut() {
            until.get_or_insert(now);
        }
    }

    /// Whether the session's token was reserved at any time since `since`.
    pub(crate) fn was_reserved(&self, sid: SessionId, since: Duration) -> bool {
        let state = self.state();
        let reservations = state.reservations.get(&sid).into_iter().flatten();
        reservations.into_iter().any(|(_, until)| until.is_none_or(|until| until >= since))
    }

    /// A node starts. Returns the number of this run.
    pub(crate) fn begins(&self, node: usize) -> u32 {
        let mut state = self.state();
        if state.starts.len() <= node {
            state.starts.resize(node + 1, 0);
        }
        state.starts[node] += 1;
        state.starts[node]
    }

    /// A node has received a token of the provider.
    pub(crate) fn received(&self, node: usize, run: u32, token: String) {
        self.tell(|| format!("node {node} hears of {token}"));
        self.state().received.insert(token, (node, run));
    }

    /// Whether a live node has received this token.
    pub(crate) fn is_known(&self, token: &str) -> bool {
        let state = self.state();
        state.received.get(token).is_some_and(|(node, run)| state.starts[*node] == *run)
    }
}

/// The session and the generation of a refresh token: `version . key id . sid . generation . ..`.
fn read(token: &str) -> Option<(SessionId, u64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let sid = bytes.get(5..21)?.try_into().ok()?;
    let generation = bytes.get(21..29)?.try_into().ok()?;
    Some((SessionId::from_bytes(sid), u64::from_be_bytes(generation)))
}
