//! Sessions whose refresh the other server refuses, and for how long, on this node.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a session is refused before its user is asked to sign in again.
const LONG: Duration = Duration::from_secs(10 * 60);

/// How often the other server is asked for a session that it has refused for so long.
const EVERY: Duration = Duration::from_secs(60);

/// A session that was not refused again for this time is forgotten.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The most sessions that are remembered. Others stay unavailable.
const MAX_SESSIONS: usize = 16 * 1024;

/// The most characters of an answer that are shown.
const EXCERPT: usize = 200;

/// The shortest run of a token's characters that is masked.
const TOKEN: usize = 20;

/// The refused sessions. All times are of one monotonic clock.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Box<str>, Refusal>>);

#[derive(Clone, Copy)]
struct Refusal {
    status: u16,
    since: Duration,
    last: Duration,
    is_told: bool,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The session's first refusal with this status.
    First,
    /// Another one, or one of a session that is not remembered.
    Again,
    /// The first one after ten minutes of them.
    ForLong,
}

impl Refusals {
    /// Records that a session's refresh was refused.
    pub(super) fn note(&self, sid: &str, status: u16, now: Duration) -> Refused {
        let mut sessions = self.lock();
        if let Some(refusal) = sessions.get_mut(sid).filter(|refusal| refusal.status == status) {
            refusal.last = now;
            if refusal.is_long(now) && !refusal.is_told {
                refusal.is_told = true;
                return Refused::ForLong;
            }
            return Refused::Again;
        }
        if sessions.len() >= MAX_SESSIONS {
            sessions.retain(|_, refusal| now.saturating_sub(refusal.last) < KEPT);
        }
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(sid) {
            return Refused::Again;
        }
        let refusal = Refusal { status, since: now, last: now, is_told: false };
        sessions.insert(sid.into(), refusal);
        Refused::First
    }

    /// Records that a session's refresh had another outcome.
    pub(super) fn forget(&self, sid: &str) {
        self.lock().remove(sid);
    }

    /// Returns whether a session has been refused for ten minutes, and the other server is not to be
    /// asked again yet.
    pub(super) fn lasts(&self, sid: &str, now: Duration) -> bool {
        let last = self.lock().get(sid).filter(|refusal| refusal.is_long(now)).copied();
        last.is_some_and(|refusal| now.saturating_sub(refusal.last) < EVERY)
    }

    /// Returns whether a session has been refused for ten minutes.
    pub(super) fn is_long(&self, sid: &str, now: Duration) -> bool {
        self.lock().get(sid).is_some_and(|refusal| refusal.is_long(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal {
    fn is_long(&self, now: Duration) -> bool {
        self.last.saturating_sub(self.since) >= LONG && now >= self.last
    }
}

/// Returns the beginning of an answer for an operator. Whatever may be a token is masked: the tokens
/// that were sent, and each long run of characters that tokens have, unless it is a plain word.
pub(super) fn excerpt(body: &[u8], sent: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for token in sent.iter().filter(|token| !token.is_empty()) {
        text = text.replace(token, "***");
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=%".contains(c);
    let is_word = |run: &str| run.chars().all(|c| c.is_ascii_lowercase() || "-._/".contains(c));
    let (mut shown, mut run) = (String::new(), String::new());
    for c in text.chars().chain(['\0']) {
        if is_token(c) {
            run.push(c);
            continue;
        }
        match run.len() < TOKEN || is_word(&run) {
            true => shown.push_str(&run),
            false => shown.push_str("***"),
        }
        run.clear();
        shown.push(if c.is_control() { ' ' } else { c });
    }
    shown.trim().chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn ten_minutes_of_one_status_are_told_once() {
        let refusals = Refusals::default();
        assert_eq!(refusals.note("a", 400, secs(0)), Refused::First);
        assert_eq!(refusals.note("a", 400, secs(599)), Refused::Again);
        assert!(!refusals.is_long("a", secs(700)), "it is not known to be refused since then");
        assert_eq!(refusals.note("a", 400, secs(600)), Refused::ForLong);
        assert_eq!(refusals.note("a", 400, secs(660)), Refused::Again);
        assert!(refusals.lasts("a", secs(719)) && !refusals.lasts("a", secs(720)));
        assert!(refusals.is_long("a", secs(720)) && !refusals.is_long("b", secs(720)));
        assert_eq!(refusals.note("a", 403, secs(721)), Refused::First, "another one");
        assert!(!refusals.is_long("a", secs(721)));
        refusals.forget("a");
        assert_eq!(refusals.note("a", 403, secs(2000)), Refused::First);
    }

    #[test]
    fn memory_is_bounded() {
        let refusals = Refusals::default();
        for n in 0..2 * MAX_SESSIONS {
            refusals.note(&n.to_string(), 400, secs(0));
        }
        assert_eq!(refusals.lock().len(), MAX_SESSIONS);
        assert_eq!(refusals.note("new", 400, secs(1)), Refused::Again);
        refusals.note("new", 400, KEPT);
        assert_eq!(refusals.lock().len(), 1);
    }

    #[test]
    fn an_excerpt_shows_words_and_no_token() {
        let sent = "short.token";
        let body = format!(
            "{{\"error\":\"authorization_pending_and_more\",\"token\":\"{sent}\",\n\"jwt\":\
             \"eyJhbGciOiJub25lIn0.e30.\",\"at\":\"/oauth/token/with/a/long/path\"}}"
        );
        let shown = excerpt(body.as_bytes(), &[sent, ""]);
        assert_eq!(
            shown,
            "{\"error\":\"authorization_pending_and_more\",\"token\":\"***\", \"jwt\":\"***\",\
             \"at\":\"/oauth/token/with/a/long/path\"}"
        );
        assert_eq!(excerpt(&[b'x'; 5_000], &[]).len(), EXCERPT);
        assert_eq!(excerpt(b"\xff\x00\x1b[31m", &[]), "\u{fffd}  [31m");
        assert_eq!(excerpt("A1".repeat(999).as_bytes(), &[]), "***");
    }
}
