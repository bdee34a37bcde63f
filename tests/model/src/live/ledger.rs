//! The known state of every session: its holder, its fate, and whether nodes must serve it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use everfresh::store::SessionRecord;
use everfresh::{SessionId, Timestamp};

use super::browser::{Actor, Refresh};
use super::setup::{ABSOLUTE, LEEWAY, NODES, SKEW, TICK};

/// The fate of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its holder relies on it.
    Kept,
    /// Ended by a sign-out, or replaced by a sign-in.
    Left,
    /// Past a limit.
    Over,
    /// Two clients held it, and the reuse was detected.
    Ended,
    /// Created after the backup that was restored.
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) sid: SessionId,
    pub(super) actor: Actor,
    pub(super) fate: Fate,
    /// Its row existed at the last look.
    pub(super) alive: bool,
    /// A thief holds its tokens.
    pub(super) stolen: bool,
    /// When each node learned of its end, by the node's clock.
    learned: [Option<Timestamp>; NODES],
    /// When it expires, by the store's clock.
    ends: Timestamp,
    born: u64,
    /// How many of its access tokens expired while a client held them.
    pub(super) expiries: u64,
}

/// All sessions of a schedule, by number.
#[derive(Default)]
pub(super) struct Ledger {
    sessions: Vec<Known>,
    /// Access tokens that a client presented after their expiry.
    due: HashSet<(usize, String)>,
    /// The refresh token of each generation: all racing requests must get the same one.
    successors: HashMap<(usize, u64), String>,
}

impl Ledger {
    pub(super) fn find(&self, sid: SessionId) -> Option<usize> {
        self.sessions.iter().position(|known| known.sid == sid)
    }

    pub(super) fn add(&mut self, sid: SessionId, actor: Actor, row: &SessionRecord, born: u64) {
        let ends = row.idle_expires.min(row.absolute_expires);
        let (fate, learned) = (Fate::Kept, [None; NODES]);
        let (alive, stolen, expiries) = (true, false, 0);
        self.sessions.push(Known {
            sid,
            actor,
            fate,
            alive,
            stolen,
            learned,
            ends,
            born,
            expiries,
        });
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &Known)> {
        self.sessions.iter().enumerate()
    }

    /// The latest session that a client relies on.
    pub(super) fn latest(&self, actor: Actor) -> Option<usize> {
        let own = |known: &Known| known.actor == actor && known.fate == Fate::Kept && known.alive;
        self.sessions.iter().rposition(own)
    }

    /// Whether a node must serve a client with this session. Near the absolute end, nodes with
    /// different clocks may treat it as expired.
    pub(super) fn is_owed(&self, session: usize, tick: u64) -> bool {
        let known = &self.sessions[session];
        let age = TICK * (tick - known.born) as u32;
        let near_the_end = ABSOLUTE - Duration::from_secs(SKEW + 60);
        known.fate == Fate::Kept && known.alive && age < near_the_end
    }

    /// Records that the row exists, with its content.
    pub(super) fn saw(&mut self, session: usize, row: &SessionRecord) {
        let known = &mut self.sessions[session];
        known.alive = true;
        known.ends = row.idle_expires.min(row.absolute_expires);
    }

    /// Records that the row is gone. Returns false if no event explains it.
    pub(super) fn missed(&mut self, session: usize, now: Timestamp) -> bool {
        let known = &mut self.sessions[session];
        known.alive = false;
        if known.fate == Fate::Kept && now >= known.ends {
            known.fate = Fate::Over;
        }
        known.fate != Fate::Kept
    }

    /// A node has learned of this session's end.
    pub(super) fn teach(&mut self, session: usize, node: usize, now: Timestamp) {
        self.sessions[session].learned[node] = Some(now);
    }

    /// Whether a node remembers this session's end. It does for one access token lifetime.
    pub(super) fn remembers(
        &self,
        session: usize,
        node: usize,
        now: Timestamp,
        lifetime: Duration,
    ) -> bool {
        let learned = self.sessions[session].learned[node];
        learned.is_some_and(|at| now < at.plus(lifetime).plus(LEEWAY))
    }

    /// Whether the node ever learned of it.
    pub(super) fn learned(&self, session: usize, node: usize) -> bool {
        self.sessions[session].learned[node].is_some()
    }

    /// A node's memory is gone.
    pub(super) fn forget(&mut self, node: usize) {
        self.sessions.iter_mut().for_each(|known| known.learned[node] = None);
    }

    /// An access token of this session has expired, or there is none.
    pub(super) fn ran_out(&mut self, session: usize, access: &str) {
        if self.due.insert((session, access.into())) {
            self.sessions[session].expiries += 1;
        }
    }

    /// A response carries a refresh token. Returns false if another token of the same generation
    /// was sent before.
    pub(super) fn leaves(&mut self, session: usize, token: &Refresh) -> bool {
        let known = self.successors.entry((session, token.generation)).or_default();
        if known.is_empty() {
            known.clone_from(&token.text);
        }
        *known == token.text
    }

    /// A backup was restored, so generations and the tokens before them may occur again.
    pub(super) fn rewind(&mut self) {
        self.due.clear();
        self.successors.clear();
    }
}

impl std::ops::Index<usize> for Ledger {
    type Output = Known;

    fn index(&self, session: usize) -> &Known {
        &self.sessions[session]
    }
}

impl std::ops::IndexMut<usize> for Ledger {
    fn index_mut(&mut self, session: usize) -> &mut Known {
        &mut self.sessions[session]
    }
}
