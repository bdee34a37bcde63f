//! Counters over many schedules.

use super::browser::Actor;
use super::play::Simulation;

/// Counters over many schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of schedules.
    pub schedules: u32,
    /// How many schedules broke a promise.
    pub broken: u32,
    /// How many of them signed an honest browser out.
    pub signed_out: u32,
    /// A thief copied a jar, the reuse was detected, and the session was ended.
    pub noticed: u32,
    /// A thief was served and not detected, because the thief and the browser took turns within the
    /// reuse interval or before a confirmation arrived.
    pub lock_step: u32,
    /// A thief was served and not detected, because the browser stopped after the thief's first
    /// refresh.
    pub took_over: u32,
    /// A thief was served and not detected, because the thief stopped once the browser had
    /// refreshed.
    pub let_go: u32,
    /// A thief was served only with the copied access token, until it expired.
    pub borrowed: u32,
    /// A thief copied a jar and was never served.
    pub worthless: u32,
    /// How many requests were processed.
    pub requests: u64,
    /// How many of those were answered with 503 because the store failed.
    pub unavailable: u64,
    /// How many requests and responses were lost.
    pub lost: u64,
    /// The number of rotations.
    pub rotations: u64,
    /// How many access tokens were presented after their expiry: at least the number of rotations.
    pub expiries: u64,
    /// Rotations to the generation that a client held while the store was behind it.
    pub ahead_of_store: u64,
    /// How many nodes crashed.
    pub crashes: u64,
    /// How often the store had an outage.
    pub outages: u64,
    /// How often a node switched to a new key of the ring.
    pub key_switches: u64,
    /// How often a backup was restored.
    pub restores: u64,
    /// The number of sessions.
    pub sessions: u64,
    /// Responses of a former session that reached the jar after the responses of a sign-in. They
    /// replace the new session, which then has no holder. No server can revoke responses in
    /// transit.
    pub overtaken: u64,
    /// Valid refresh tokens that were ignored beside an expired access token of a former session.
    pub ignored_refresh: u64,
    /// Responses of slow handlers with tokens of a session whose end their node knew.
    pub late_tokens: u64,
    /// Access tokens of an ended session, minted by a node whose clock was ahead, and accepted by a
    /// node that had forgotten the end. A node remembers it for one access token lifetime plus an
    /// hour.
    pub forgotten_ends: u32,
}

impl Tally {
    /// The sum of both.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.schedules += other.schedules;
        self.broken += other.broken;
        self.signed_out += other.signed_out;
        self.noticed += other.noticed;
        self.lock_step += other.lock_step;
        self.took_over += other.took_over;
        self.let_go += other.let_go;
        self.borrowed += other.borrowed;
        self.worthless += other.worthless;
        self.requests += other.requests;
        self.unavailable += other.unavailable;
        self.lost += other.lost;
        self.rotations += other.rotations;
        self.expiries += other.expiries;
        self.ahead_of_store += other.ahead_of_store;
        self.crashes += other.crashes;
        self.outages += other.outages;
        self.key_switches += other.key_switches;
        self.restores += other.restores;
        self.sessions += other.sessions;
        self.overtaken += other.overtaken;
        self.ignored_refresh += other.ignored_refresh;
        self.late_tokens += other.late_tokens;
        self.forgotten_ends += other.forgotten_ends;
        self
    }

    /// Thieves that were served and not detected, of any kind.
    pub fn unnoticed(&self) -> u32 {
        self.lock_step + self.took_over + self.let_go + self.borrowed
    }
}

impl Simulation {
    /// The counters of this schedule.
    pub(super) fn sum(&self) -> Tally {
        let mut tally = Tally { schedules: 1, ..self.tally };
        let wires = self.hub.wires();
        tally.ahead_of_store = wires.ahead_of_store;
        for (_, known) in self.ledger.all() {
            tally.sessions += 1;
            tally.rotations += wires.rotations(known.sid);
            tally.expiries += known.expiries;
        }
        if self.thief.is_some() {
            *self.theft(&mut tally) += 1;
        }
        tally
    }

    /// How the theft ended.
    fn theft<'t>(&self, tally: &'t mut Tally) -> &'t mut u32 {
        let thief = |actor: &&Actor| **actor == Actor::Thief;
        // The turns of the two clients, from the thief's first.
        let mut turns = self.turns.iter().skip_while(|actor| !thief(actor));
        if self.noticed {
            &mut tally.noticed
        } else if !self.served {
            &mut tally.worthless
        } else if turns.clone().next().is_none() {
            &mut tally.borrowed
        } else if turns.clone().all(|actor| *actor == Actor::Thief) {
            &mut tally.took_over
        } else if turns.by_ref().skip_while(thief).any(|actor| *actor == Actor::Thief) {
            &mut tally.lock_step
        } else {
            &mut tally.let_go
        }
    }
}
