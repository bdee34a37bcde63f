//! A circuit breaker: after five failures in ten seconds, a node makes one call a second until a
//! call succeeds. Answers to one or two sessions alone are no outage.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FAILURES: usize = 5;

/// From how many sessions failures must come, if the server answered.
const SESSIONS: usize = 3;

/// The most failures that are remembered.
const REMEMBERED: usize = 64;

const WINDOW: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The longest pause that a server's `Retry-After` can cause.
const LONGEST: Duration = Duration::from_secs(60);

/// Decides whether a server may be called. All times are of one monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The failures in the window. Without a session, the server did not answer.
    failures: VecDeque<(Duration, Option<Box<str>>)>,
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

    /// Records a failure, and the pause that the server asked for. `session` is the session for
    /// which the server answered, or `None` if it did not answer. Returns `true` if this failure
    /// opens the breaker.
    pub(super) fn failed(
        &self,
        now: Duration,
        asked: Option<Duration>,
        session: Option<&str>,
    ) -> bool {
        let mut state = self.lock();
        let pause = asked.unwrap_or_default().clamp(PROBE_EVERY, LONGEST);
        if let Some(next) = state.next {
            state.next = Some(next.max(now + pause));
            return false;
        }
        let failures = &mut state.failures;
        failures.push_back((now, session.map(Into::into)));
        while failures.len() > REMEMBERED
            || failures.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            failures.pop_front();
        }
        let sessions: HashSet<_> = failures.iter().map(|(_, session)| session).collect();
        let opens =
            failures.len() >= FAILURES && (sessions.contains(&None) || sessions.len() >= SESSIONS);
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
                breaker.failed(now, None, None);
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
            assert!(!breaker.failed(n * 3 * Duration::from_secs(1), None, None));
            assert!(breaker.ask(n * 3 * Duration::from_secs(1)).is_ok());
        }
    }

    #[test]
    fn one_or_two_sessions_open_nothing_and_several_do() {
        let breaker = Breaker::default();
        for n in 0..1_000 {
            let session = ["a", "b"][n as usize % 2];
            assert!(!breaker.failed(n * MS, None, Some(session)));
        }
        assert!(breaker.lock().failures.len() <= REMEMBERED);
        assert!(breaker.failed(1_000 * MS, None, Some("c")));
        assert!(breaker.succeeded());
        // The server does not answer at all.
        assert!(!(0..4).any(|_| breaker.failed(2_000 * MS, None, Some("a"))));
        assert!(breaker.failed(2_000 * MS, None, None));
    }

    // Rows: F72.
    #[test]
    fn a_servers_retry_after_is_kept() {
        let breaker = Breaker::default();
        let (now, asked) = (Duration::ZERO, Some(Duration::from_secs(30)));
        assert!(!(0..4).any(|_| breaker.failed(now, asked, None)));
        assert!(breaker.failed(now, asked, None));
        assert_eq!(breaker.ask(now), Err(Duration::from_secs(30)));
        assert!(!breaker.failed(now, Some(Duration::from_secs(999)), None));
        assert_eq!(breaker.ask(now), Err(LONGEST));
    }
}
