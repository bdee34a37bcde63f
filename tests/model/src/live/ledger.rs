//! What the world knows of every session: whose it is, what became of it, and what is owed to it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use everfresh::store::SessionRecord;
use everfresh::{SessionId, Timestamp};

use super::browser::{Refresh, Who};
use super::setup::{ABSOLUTE, LEEWAY, NODES, SKEW, TICK};

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its holder counts on it.
    Kept,
    /// Signed out, or signed in over.
    Left,
    /// Past a limit.
    Over,
    /// Two held it, and it was noticed.
    Ended,
    /// Younger than the backup that was put back.
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) sid: SessionId,
    pub(super) who: Who,
    pub(super) fate: Fate,
    /// Its row was there when it was last looked for.
    pub(super) alive: bool,
    /// A thief holds its tokens.
    pub(super) stolen: bool,
    /// When each node learned that it is over, by the node's clock.
    learned: [Option<Timestamp>; NODES],
    /// When it ends, by the store's clock.
    ends: Timestamp,
    born: u64,
    /// How many access tokens of it ran out in somebody's hands.
    pub(super) expiries: u64,
}

/// All sessions of a schedule, by number.
#[derive(Default)]
pub(super) struct Ledger {
    sessions: Vec<Known>,
    /// Access tokens that ran out, and were presented all the same.
    due: HashSet<(usize, String)>,
    /// The refresh token of each generation: every racer must get the same.
    successors: HashMap<(usize, u64), String>,
}

impl Ledger {
    pub(super) fn find(&self, sid: SessionId) -> Option<usize> {
        self.sessions.iter().position(|known| known.sid == sid)
    }

    pub(super) fn add(&mut self, sid: SessionId, who: Who, row: &SessionRecord, born: u64) {
        let ends = row.idle_expires.min(row.absolute_expires);
        let (fate, learned) = (Fate::Kept, [None; NODES]);
        let (alive, stolen, expiries) = (true, false, 0);
        self.sessions.push(Known { sid, who, fate, alive, stolen, learned, ends, born, expiries });
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &Known)> {
        self.sessions.iter().enumerate()
    }

    /// The latest session of a client's that it counts on.
    pub(super) fn latest(&self, who: Who) -> Option<usize> {
        let own = |known: &Known| known.who == who && known.fate == Fate::Kept && known.alive;
        self.sessions.iter().rposition(own)
    }

    /// Whether whoever presents this session has to be served. Near its absolute end clocks that
    /// differ may say that it is over.
    pub(super) fn is_owed(&self, session: usize, tick: u64) -> bool {
        let known = &self.sessions[session];
        let age = TICK * (tick - known.born) as u32;
        let near_the_end = ABSOLUTE - Duration::from_secs(SKEW + 60);
        known.fate == Fate::Kept && known.alive && age < near_the_end
    }

    /// The row is there, as it is.
    pub(super) fn saw(&mut self, session: usize, row: &SessionRecord) {
        let known = &mut self.sessions[session];
        known.alive = true;
        known.ends = row.idle_expires.min(row.absolute_expires);
    }

    /// The row is gone. False if nothing explains it.
    pub(super) fn missed(&mut self, session: usize, now: Timestamp) -> bool {
        let known = &mut self.sessions[session];
        known.alive = false;
        if known.fate == Fate::Kept && now >= known.ends {
            known.fate = Fate::Over;
        }
        known.fate != Fate::Kept
    }

    /// A node has learned that this session is over.
    pub(super) fn teach(&mut self, session: usize, node: usize, now: Timestamp) {
        self.sessions[session].learned[node] = Some(now);
    }

    /// Whether a node remembers that this session is over: for an access token's life.
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

    /// Whether it ever learned of it.
    pub(super) fn learned(&self, session: usize, node: usize) -> bool {
        self.sessions[session].learned[node].is_some()
    }

    /// A node's memory is gone.
    pub(super) fn forget(&mut self, node: usize) {
        self.sessions.iter_mut().for_each(|known| known.learned[node] = None);
    }

    /// An access token of this session has run out, or there is none.
    pub(super) fn ran_out(&mut self, session: usize, access: &str) {
        if self.due.insert((session, access.into())) {
            self.sessions[session].expiries += 1;
        }
    }

    /// A refresh token leaves. False if another one of the same generation left before.
    pub(super) fn leaves(&mut self, session: usize, token: &Refresh) -> bool {
        let known = self.successors.entry((session, token.generation)).or_default();
        if known.is_empty() {
            known.clone_from(&token.text);
        }
        *known == token.text
    }

    /// A backup was put back: generations come again, and so may the tokens before them.
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
