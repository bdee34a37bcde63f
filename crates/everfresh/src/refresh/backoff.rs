//! Backoff of sessions whose refresh failed: 1 s, doubling up to a minute, with full jitter, and
//! never less than the other server asked for.

use std::collections::HashMap;
use std::time::Duration;

use super::Failure;

/// The most sessions that are remembered. Others may try again at once.
const MAX_SESSIONS: usize = 16 * 1024;

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a full map is searched for pauses that are over. Requests wait for the lock meanwhile.
const CLEARED_EVERY: Duration = Duration::from_secs(1);

/// Sessions whose last refresh failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pauses: HashMap<Box<str>, Pause>,
    /// When pauses that are over were last removed.
    cleared: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    failures: u32,
    until: Duration,
}

impl Backoff {
    /// Returns the rest of a session's pause.
    pub(super) fn left(&self, sid: &str, now: Duration) -> Option<Duration> {
        let pause = self.pauses.get(sid)?;
        pause.until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Pauses a session for as long as the failure says, without counting a failure, because the
    /// refresh tried nothing.
    pub(super) fn hold(&mut self, sid: &str, failure: Failure, now: Duration) {
        let Failure::Unavailable { retry_after } = failure else { return };
        let until = now + retry_after.min(LONGEST);
        if let Some(pause) = self.pauses.get_mut(sid) {
            pause.until = pause.until.max(until);
        } else if self.pauses.len() < MAX_SESSIONS {
            self.pauses.insert(sid.into(), Pause { failures: 0, until });
        }
    }

    /// Records how a refresh ended. `random`: any number from 0 to 255.
    pub(super) fn note(&mut self, sid: &str, failure: Option<Failure>, now: Duration, random: u8) {
        let asked = match failure {
            // These failures say nothing about the session.
            Some(Failure::Foreign | Failure::NoRuntime) => return,
            // The row decides each time whether a refresh is in doubt; the refresher limits how often
            // it asks where it was refused; the app may replace unread claims.
            None
            | Some(
                Failure::Rejected | Failure::InDoubt | Failure::Refused | Failure::UnreadClaims,
            ) => {
                self.pauses.remove(sid);
                return;
            }
            Some(Failure::Misconfigured | Failure::TooManySessions) => Duration::ZERO,
            Some(Failure::Unavailable { retry_after }) => retry_after,
        };
        if self.pauses.len() >= MAX_SESSIONS
            && self.cleared.is_none_or(|then| now >= then + CLEARED_EVERY)
        {
            self.pauses.retain(|_, pause| now < pause.until);
            self.cleared = Some(now);
        }
        if self.pauses.len() >= MAX_SESSIONS && !self.pauses.contains_key(sid) {
            return;
        }
        let failures = self.pauses.get(sid).map_or(0, |pause| pause.failures);
        let most = Duration::from_secs(1 << failures.min(6)).min(LONGEST);
        let jittered = most * u32::from(random) / u32::from(u8::MAX);
        // A second is the default of `Failure::SOON`; only a longer time was asked for on purpose.
        let asked = if asked > Duration::from_secs(1) { asked.min(LONGEST * 10) } else { jittered };
        let pause = Pause { failures: failures + 1, until: now + asked.max(jittered) };
        self.pauses.insert(sid.into(), pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn pauses(random: u8) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let secs = |backoff: &Backoff| backoff.left("a", NOW).map_or(0, |left| left.as_secs());
        let mut seen = Vec::new();
        for _ in 0..9 {
            backoff.note("a", Some(Failure::SOON), NOW, random);
            seen.push(secs(&backoff));
        }
        backoff.note("a", None, NOW, random);
        assert_eq!(backoff.left("a", NOW), None, "a success ends it");
        seen
    }

    // Rows: F72.
    #[test]
    fn pauses_double_up_to_a_minute_with_full_jitter() {
        assert_eq!(pauses(255), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pauses(0), [0; 9]);
        assert_eq!(pauses(128)[6], 30);
    }

    // Rows: F72.
    #[test]
    fn the_other_sides_retry_after_is_kept() {
        let mut backoff = Backoff::default();
        let retry_after = Duration::from_secs(45);
        backoff.note("a", Some(Failure::Unavailable { retry_after }), NOW, 0);
        assert_eq!(backoff.left("a", NOW), Some(retry_after));
        assert_eq!(backoff.left("b", NOW), None);
        assert_eq!(backoff.left("a", NOW + retry_after), None);
    }

    #[test]
    fn an_untried_refresh_waits_and_counts_as_no_failure() {
        let after = |secs| Failure::Unavailable { retry_after: Duration::from_secs(secs) };
        let mut backoff = Backoff::default();
        backoff.hold("a", after(20), NOW);
        assert_eq!(backoff.left("a", NOW), Some(Duration::from_secs(20)));
        backoff.hold("a", after(5), NOW);
        assert_eq!(backoff.left("a", NOW), Some(Duration::from_secs(20)), "never sooner");
        backoff.hold("a", after(3600), NOW);
        assert_eq!(backoff.left("a", NOW), Some(LONGEST), "and not for hours");
        backoff.hold("b", Failure::Rejected, NOW);
        assert_eq!(backoff.left("b", NOW), None);
        backoff.note("a", Some(Failure::SOON), NOW + LONGEST, 255);
        assert_eq!(backoff.left("a", NOW + LONGEST), Some(Duration::from_secs(1)), "the first");

        for n in 0..2 * MAX_SESSIONS {
            backoff.hold(&n.to_string(), after(20), NOW);
        }
        assert_eq!(backoff.pauses.len(), MAX_SESSIONS);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut backoff = Backoff::default();
        for n in 0..2 * MAX_SESSIONS {
            backoff.note(&n.to_string(), Some(Failure::SOON), NOW, 255);
        }
        assert_eq!(backoff.pauses.len(), MAX_SESSIONS);
        backoff.note("soon", Some(Failure::SOON), NOW + CLEARED_EVERY, 255);
        assert_eq!(backoff.pauses.len(), 1, "an entry that is over is removed");
    }

    #[test]
    fn a_full_memory_is_swept_once_a_second() {
        let mut backoff = Backoff::default();
        for n in 0..MAX_SESSIONS {
            backoff.note(&n.to_string(), Some(Failure::SOON), NOW, 0);
        }
        backoff.note("first", Some(Failure::SOON), NOW, 255);
        assert_eq!(backoff.pauses.len(), 1, "pauses of no length were over");
        for n in 0..MAX_SESSIONS {
            backoff.note(&n.to_string(), Some(Failure::SOON), NOW, 0);
        }
        assert_eq!(backoff.pauses.len(), MAX_SESSIONS, "and no further look so soon");
        backoff.note("late", Some(Failure::SOON), NOW + LONGEST, 255);
        assert_eq!(backoff.pauses.len(), 1, "an entry that is over is removed");
    }
}
