//! A circuit breaker: after five failures in ten seconds, a node makes one call a second until a
//! call succeeds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The longest pause that a server's `Retry-After` can cause.
const LONGEST: Duration = Duration::from_secs(60);

/// Decides whether a server may be called. All times are of one monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: VecDeque<Duration>,
    /// If the breaker is open, the time from which the next call may be made.
    next: Option<Duration>,
}

impl Breaker {
    /// Permits one call, or returns how long to wait for the next one.
    pub(super) fn ask(&self, now: Duration) -> Result<(), Duration> {
        let mut state = self.lock();
        match state.next {
            Some(next) if now < next => Err(next - now),
            Some(_) => {
                state.next = Some(now + PROBE_EVERY);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Records that the server answered normally. Returns `true` if the breaker was open.
    pub(super) fn succeeded(&self) -> bool {
        let mut state = self.lock();
        state.failures.clear();
        state.next.take().is_some()
    }

    /// Records a failure, and the pause that the server asked for. Returns `true` if this failure
    /// opens the breaker.
    pub(super) fn failed(&self, now: Duration, asked: Option<Duration>) -> bool {
        let mut state = self.lock();
        let pause = asked.unwrap_or_default().clamp(PROBE_EVERY, LONGEST);
        if let Some(next) = state.next {
            state.next = Some(next.max(now + pause));
            return false;
        }
        state.failures.push_back(now);
        while state.failures.front().is_some_and(|at| now.saturating_sub(*at) > WINDOW) {
            state.failures.pop_front();
        }
        let opens = state.failures.len() >= FAILURES;
        if opens {
            state.next = Some(now + pause);
        }
        opens
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    // Rows: F72, S58.
    #[test]
    fn a_server_that_fails_is_asked_once_a_second() {
        let breaker = Breaker::default();
        let mut calls = 0;
        // 500 requests a second for a minute.
        for tick in 0..30_000 {
            let now = tick * 2 * MS;
            if breaker.ask(now).is_ok() {
                calls += 1;
                breaker.failed(now, None);
            }
        }
        assert!((5 + 55..=5 + 60).contains(&calls), "{calls} calls");
        assert!(breaker.ask(60_999 * MS).is_ok(), "a probe");
        assert!(breaker.ask(61_000 * MS).is_err(), "one");
        assert!(breaker.succeeded() && breaker.ask(61_000 * MS).is_ok(), "it is back");
        assert!(!breaker.succeeded());
    }

    #[test]
    fn a_failure_now_and_then_is_none() {
        let breaker = Breaker::default();
        for n in 0..100 {
            assert!(!breaker.failed(n * 3 * Duration::from_secs(1), None));
            assert!(breaker.ask(n * 3 * Duration::from_secs(1)).is_ok());
        }
    }

    // Rows: F72.
    #[test]
    fn a_servers_retry_after_is_kept() {
        let breaker = Breaker::default();
        let (now, asked) = (Duration::ZERO, Some(Duration::from_secs(30)));
        assert!(!(0..4).any(|_| breaker.failed(now, asked)));
        assert!(breaker.failed(now, asked));
        assert_eq!(breaker.ask(now), Err(Duration::from_secs(30)));
        assert!(!breaker.failed(now, Some(Duration::from_secs(999))));
        assert_eq!(breaker.ask(now), Err(LONGEST));
    }
}
