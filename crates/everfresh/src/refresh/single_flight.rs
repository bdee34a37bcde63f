//! Which refreshes are under way and what the latest ones brought: all of a flight that races.
//!
//! `schedules/loom` includes this very file and tries every order of its steps. So nothing here
//! awaits, and whatever threads share comes from [`crate::sync`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::{Failure, FlightKey, Tokens};
use crate::sync::{Mutex, MutexGuard, PoisonError, watch};

/// How many may run at once; what comes on top is answered as unavailable.
const MAX_RUNNING: usize = 4096;

/// How many results are kept. The oldest give way; they are made again when asked for.
const MAX_RESULTS: usize = 16 * 1024;

/// How a flight ended.
pub(crate) type FlightResult = Result<Tokens, Failure>;

/// Where a flight's end is heard of.
pub(crate) type Outcome = watch::Receiver<Option<FlightResult>>;

/// All flights of an engine. A handle: clones share the board.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlightGroup(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
pub(super) struct Board {
    // By session first, so that all of one's are found without a look at others'.
    running: BTreeMap<FlightKey, Outcome>,
    results: BTreeMap<FlightKey, (Tokens, Duration)>,
    /// The results in the order of their end, which is that of their making.
    ends: VecDeque<(FlightKey, Duration)>,
    backoff: Backoff,
    /// The engine shuts down: what flies may land, nothing takes off.
    closed: bool,
}

/// What becomes of somebody who asks for a refresh.
pub(crate) enum Entry {
    /// Nobody has asked before: the flight is theirs to fly.
    Lead(Leader),
    /// It is in the air.
    Join(Outcome),
    /// It has landed, and its result is kept.
    Cached(Tokens),
    /// The session's refresh has failed a moment ago.
    BackedOff(Failure),
    /// Too many are in the air, or the engine shuts down.
    Full,
}

impl FlightGroup {
    /// Joins the flight of this key, takes its result, or starts it. `now`: the monotonic clock.
    pub(crate) fn enter(&self, key: &FlightKey, now: impl Fn() -> Duration) -> Entry {
        let mut board = self.lock();
        if let Some(outcome) = board.running.get(key) {
            return Entry::Join(outcome.clone());
        }
        if let Some(tokens) = board.kept(key, now()) {
            return Entry::Cached(tokens);
        }
        if let Some(retry_after) = board.backoff.left(&key.sid, now()) {
            return Entry::BackedOff(Failure::Unavailable { retry_after });
        }
        if board.closed || board.running.len() >= MAX_RUNNING {
            return Entry::Full;
        }
        let (sender, outcome) = watch::channel(None);
        board.running.insert(key.clone(), outcome);
        Entry::Lead(Leader { flights: self.clone(), key: key.clone(), sender })
    }

    /// Drops what is kept of a session that was signed out. A flight of it that lands later is
    /// told that the session is over, whatever it brought.
    pub(crate) fn forget(&self, sid: &str) {
        let mut board = self.lock();
        if board.running.is_empty() && board.results.is_empty() {
            return;
        }
        let key = |fingerprint| FlightKey { sid: sid.into(), fingerprint };
        let all = key(u64::MIN)..=key(u64::MAX);
        remove(&mut board.results, &all);
        remove(&mut board.running, &all);
    }

    /// Lets nothing take off any more. What is in the air.
    pub(crate) fn close(&self) -> Vec<Outcome> {
        let mut board = self.lock();
        board.closed = true;
        board.running.values().cloned().collect()
    }

    /// How many run, how many results are kept, and how many ends are remembered.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let board = self.lock();
        (board.running.len(), board.results.len(), board.ends.len())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what lies in the range, and looks at nothing else.
fn remove<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, range: &RangeInclusive<K>) {
    let keys: Vec<K> = map.range(range.clone()).map(|(key, _)| key.clone()).collect();
    for key in keys {
        map.remove(&key);
    }
}

impl Board {
    fn kept(&self, key: &FlightKey, now: Duration) -> Option<Tokens> {
        let (tokens, until) = self.results.get(key)?;
        (now < *until).then(|| tokens.clone())
    }

    pub(super) fn keep(
        &mut self,
        key: FlightKey,
        tokens: Tokens,
        now: Duration,
        reuse_interval: Duration,
    ) {
        let until = now + reuse_interval;
        let full = |board: &Self| board.ends.len() >= MAX_RESULTS;
        while full(self) || self.ends.front().is_some_and(|(_, end)| *end <= now) {
            let Some((oldest, end)) = self.ends.pop_front() else { break };
            // It may have been forgotten, or kept anew, meanwhile.
            if self.results.get(&oldest).is_some_and(|(_, until)| *until == end) {
                self.results.remove(&oldest);
            }
        }
        self.ends.push_back((key.clone(), until));
        self.results.insert(key, (tokens, until));
    }
}

/// A flight in the air. Dropped without landing (its runtime ended), it leaves no trace.
pub(crate) struct Leader {
    flights: FlightGroup,
    key: FlightKey,
    sender: watch::Sender<Option<FlightResult>>,
}

impl Leader {
    pub(crate) fn sid(&self) -> &str {
        &self.key.sid
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.sender.subscribe()
    }

    /// Takes the flight off the board and keeps its result, unless the session was signed out.
    /// Gives what is to be announced. `untried`: nothing was tried that could fail; `random`:
    /// anything from 0 to 255.
    pub(crate) fn complete(
        &self,
        landing: FlightResult,
        untried: bool,
        now: Duration,
        random: u8,
        reuse_interval: Duration,
    ) -> FlightResult {
        let mut board = self.flights.lock();
        match landing {
            Err(failure) if untried => board.backoff.hold(self.sid(), failure, now),
            _ => board.backoff.note(self.sid(), landing.as_ref().err().copied(), now, random),
        }
        if !self.leave(&mut board) {
            return Err(Failure::Rejected);
        }
        if let Ok(tokens) = &landing
            && !reuse_interval.is_zero()
        {
            board.keep(self.key.clone(), tokens.clone(), now, reuse_interval);
        }
        landing
    }

    /// Tells everybody who waits. Comes after landing, so that who comes later finds the result.
    pub(crate) fn publish(self, landing: FlightResult) {
        self.sender.send_replace(Some(landing));
    }

    /// False if it is no longer there: forgotten, and perhaps another one in its place.
    fn leave(&self, board: &mut Board) -> bool {
        let ours = |outcome: &Outcome| outcome.same_channel(&self.sender.subscribe());
        let there = board.running.get(&self.key).is_some_and(ours);
        if there {
            board.running.remove(&self.key);
        }
        there
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.leave(&mut self.flights.lock());
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// How often two keys were compared.
    static COMPARED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Clone, PartialEq, Eq)]
    struct Key(u64);

    impl Ord for Key {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.fetch_add(1, Relaxed);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Key {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn m9_a_sign_out_looks_at_its_own_flights_alone() {
        let mut map: BTreeMap<_, _> = (0..MAX_RESULTS as u64).map(|n| (Key(n), ())).collect();
        COMPARED.store(0, Relaxed);
        remove(&mut map, &(Key(5_000)..=Key(5_002)));
        assert_eq!(map.len(), MAX_RESULTS - 3);
        assert!(!map.contains_key(&Key(5_001)) && map.contains_key(&Key(5_003)));
        let compared = COMPARED.load(Relaxed);
        assert!(compared < 1_000, "{compared} of {MAX_RESULTS}");
    }
}
