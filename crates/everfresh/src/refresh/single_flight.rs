//! The refreshes that are under way and the latest results: all the shared state of racing
//! refreshes.
//!
//! `schedules/loom` includes this file and tries every order of its steps. So this file awaits
//! nothing, and all types that threads share come from [`crate::sync`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::{Failure, FlightKey, Tokens};
use crate::sync::{Mutex, MutexGuard, PoisonError, watch};

/// The most flights that run at once; requests beyond that are answered as unavailable.
const MAX_RUNNING: usize = 4096;

/// The most results that are kept. The oldest are dropped first; a request for a dropped one
/// refreshes again.
const MAX_RESULTS: usize = 16 * 1024;

/// How a flight ended.
pub(crate) type FlightResult = Result<Tokens, Failure>;

/// Receives a flight's result.
pub(crate) type Outcome = watch::Receiver<Option<FlightResult>>;

/// All flights of an engine. A handle: clones share the same state.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlightGroup(Arc<Mutex<Flights>>);

#[derive(Debug, Default)]
pub(super) struct Flights {
    // Sorted by session first, so that a session's entries are found without a look at others.
    running: BTreeMap<FlightKey, Outcome>,
    results: BTreeMap<FlightKey, (Tokens, Duration)>,
    /// The keys of the results, and when each result expires, in the order in which they were kept.
    ends: VecDeque<(FlightKey, Duration)>,
    backoff: Backoff,
    /// Whether the engine shuts down: running flights may end, and no new one starts.
    closed: bool,
}

/// What happens to a request that asks for a refresh.
pub(crate) enum Entry {
    /// No other request has asked: this one runs the flight.
    Lead(Leader),
    /// The flight is running, and the request joins it.
    Join(Outcome),
    /// The flight has ended, and its result is kept.
    Cached(Tokens),
    /// The session's refresh failed recently.
    BackedOff(Failure),
    /// Too many flights are running, or the engine shuts down.
    Full,
}

impl FlightGroup {
    /// Joins the flight of this key, takes its result, or starts it. `now`: the monotonic clock.
    pub(crate) fn enter(&self, key: &FlightKey, now: impl Fn() -> Duration) -> Entry {
        let mut flights = self.lock();
        if let Some(outcome) = flights.running.get(key) {
            return Entry::Join(outcome.clone());
        }
        if let Some(tokens) = flights.kept(key, now()) {
            return Entry::Cached(tokens);
        }
        if let Some(retry_after) = flights.backoff.left(&key.sid, now()) {
            return Entry::BackedOff(Failure::Unavailable { retry_after });
        }
        if flights.closed || flights.running.len() >= MAX_RUNNING {
            return Entry::Full;
        }
        let (sender, outcome) = watch::channel(None);
        flights.running.insert(key.clone(), outcome);
        Entry::Lead(Leader { flights: self.clone(), key: key.clone(), sender })
    }

    /// Drops the flights and results of a session that was signed out. A flight of it that ends
    /// later is rejected because the session is over, whatever its result.
    pub(crate) fn forget(&self, sid: &str) {
        let mut flights = self.lock();
        if flights.running.is_empty() && flights.results.is_empty() {
            return;
        }
        let key = |fingerprint| FlightKey { sid: sid.into(), fingerprint };
        let all = key(u64::MIN)..=key(u64::MAX);
        remove(&mut flights.results, &all);
        remove(&mut flights.running, &all);
    }

    /// Lets no further flight start. Returns the flights that are running.
    pub(crate) fn close(&self) -> Vec<Outcome> {
        let mut flights = self.lock();
        flights.closed = true;
        flights.running.values().cloned().collect()
    }

    /// Returns how many flights run, how many results are kept, and how many ends are remembered.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        let flights = self.lock();
        (flights.running.len(), flights.results.len(), flights.ends.len())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Flights> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the keys in the range without a look at others.
fn remove<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, range: &RangeInclusive<K>) {
    let keys: Vec<K> = map.range(range.clone()).map(|(key, _)| key.clone()).collect();
    for key in keys {
        map.remove(&key);
    }
}

impl Flights {
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
        let full = |flights: &Self| flights.ends.len() >= MAX_RESULTS;
        while full(self) || self.ends.front().is_some_and(|(_, end)| *end <= now) {
            let Some((oldest, end)) = self.ends.pop_front() else { break };
            // The result may have been forgotten, or kept again, meanwhile.
            if self.results.get(&oldest).is_some_and(|(_, until)| *until == end) {
                self.results.remove(&oldest);
            }
        }
        self.ends.push_back((key.clone(), until));
        self.results.insert(key, (tokens, until));
    }
}

/// A running flight. If it is dropped before it completes, because its runtime ended, it leaves no
/// trace.
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

    /// Removes the flight from the running ones and keeps its result, unless the session was signed
    /// out. Returns the result to publish. `untried`: the refresh tried nothing that could fail.
    /// `random`: any number from 0 to 255.
    pub(crate) fn complete(
        &self,
        result: FlightResult,
        untried: bool,
        now: Duration,
        random: u8,
        reuse_interval: Duration,
    ) -> FlightResult {
        let mut flights = self.flights.lock();
        match result {
            Err(failure) if untried => flights.backoff.hold(self.sid(), failure, now),
            _ => flights.backoff.note(self.sid(), result.as_ref().err().copied(), now, random),
        }
        if !self.leave(&mut flights) {
            return Err(Failure::Rejected);
        }
        if let Ok(tokens) = &result
            && !reuse_interval.is_zero()
        {
            flights.keep(self.key.clone(), tokens.clone(), now, reuse_interval);
        }
        result
    }

    /// Publishes the result to all waiting requests. Called after [`complete`](Self::complete), so
    /// that requests that come later find the result.
    pub(crate) fn publish(self, result: FlightResult) {
        self.sender.send_replace(Some(result));
    }

    /// Removes this flight. Returns false if it was forgotten, even if another flight has its key.
    fn leave(&self, flights: &mut Flights) -> bool {
        let ours = |outcome: &Outcome| outcome.same_channel(&self.sender.subscribe());
        let there = flights.running.get(&self.key).is_some_and(ours);
        if there {
            flights.running.remove(&self.key);
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

    // Rows: M9.
    #[test]
    fn a_sign_out_looks_at_its_own_flights_alone() {
        let mut map: BTreeMap<_, _> = (0..MAX_RESULTS as u64).map(|n| (Key(n), ())).collect();
        COMPARED.store(0, Relaxed);
        remove(&mut map, &(Key(5_000)..=Key(5_002)));
        assert_eq!(map.len(), MAX_RESULTS - 3);
        assert!(!map.contains_key(&Key(5_001)) && map.contains_key(&Key(5_003)));
        let compared = COMPARED.load(Relaxed);
        assert!(compared < 1_000, "{compared} of {MAX_RESULTS}");
    }
}
