//! The promises that every answer is checked against.

use std::fmt;

use everfresh::SessionId;
use http::StatusCode;

use super::browser::{ClientRequest, Kind, Tokens};
use super::held::Held;
use super::ledger::Fate;
use super::link::Outage;
use super::node::Open;
use super::play::Simulation;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An honest browser was signed out: it was not served, its session ended, or its cookies were
    /// cleared.
    SignedOut,
    /// A session that had ended was served, or got tokens.
    Revived,
    /// Two holders presented different generations, and the session continued.
    Unnoticed,
    /// A session was rotated more often than its access tokens expired, or to two successors.
    Rotated,
    /// A wrong answer in an outage: it carried tokens, or promised too much or too little.
    Outage,
}

/// A broken promise with its description.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) wrong: Violation,
    pub(super) how: String,
}

impl Broken {
    fn new<T>(wrong: Violation, how: impl fmt::Display) -> Result<T, Self> {
        Err(Self { wrong, how: how.to_string() })
    }
}

impl Simulation {
    /// Checks the result of a request. `alone`: no other request was processed meanwhile.
    pub(super) async fn check(
        &mut self,
        asked: &ClientRequest,
        node: usize,
        held: &Held,
        open: &Open,
        alone: bool,
    ) -> Result<(), Broken> {
        if let (Some(session), true) = (held.refresh, held.reuse && alone)
            && self.ledger[session].stolen
            && self.ledger[session].fate == Fate::Kept
            && self.hub.row(self.ledger[session].sid).await.is_none()
        {
            self.ledger[session].fate = Fate::Ended;
            self.noticed = true;
        }
        match asked.kind {
            Kind::SignIn | Kind::SignOut => self.check_change(asked, node, held, open).await,
            Kind::Visit | Kind::Prefetch => {
                self.check_served(node, held, open)?;
                self.check_owed(asked, node, held, open.status, alone).await
            }
        }
    }

    /// A client that is served must hold a session that has not ended, or a valid access token
    /// whose session this node does not know to have ended.
    fn check_served(&mut self, node: usize, held: &Held, open: &Open) -> Result<(), Broken> {
        if open.status != StatusCode::OK {
            return Ok(());
        }
        let sid = open.session.sid().and_then(|sid| SessionId::parse(&sid));
        let served = sid.and_then(|sid| self.ledger.find(sid));
        let Some(session) = served.filter(|s| [held.access, held.refresh].contains(&Some(*s)))
        else {
            return Broken::new(Violation::Revived, "served as a session that was not presented");
        };
        let alive = match held.refresh == Some(session) {
            true => held.row.is_some(),
            false => held.access_alive,
        };
        if alive {
            return Ok(());
        }
        if held.access != Some(session) || !held.good() {
            return Broken::new(
                Violation::Revived,
                format!("session {session} is over, and served"),
            );
        }
        // A node whose clock is behind accepts access tokens of other nodes for longer than it
        // remembers the end.
        if !self.ledger.learned(session, node) {
            return Ok(());
        }
        self.tally.forgotten_ends += 1;
        let how = format!("session {session} is over, and served where that was known");
        if self.setup.strict { Broken::new(Violation::Revived, how) } else { Ok(()) }
    }

    async fn check_owed(
        &mut self,
        asked: &ClientRequest,
        node: usize,
        held: &Held,
        status: StatusCode,
        alone: bool,
    ) -> Result<(), Broken> {
        let Some(session) = held.refresh else { return Ok(()) };
        let now = self.nodes[node].clock.now();
        let reached = held.reaches_row && held.outage != Some(Outage::Refusing);
        if status == StatusCode::UNAUTHORIZED && reached && held.outage.is_none() {
            self.ledger.teach(session, node, now);
        }
        if !held.owed {
            return Ok(());
        }
        self.tally.unavailable += u64::from(status == StatusCode::SERVICE_UNAVAILABLE);
        let stolen = self.ledger[session].stolen;
        if stolen && reached && status == StatusCode::OK && !held.reuse {
            self.turns.push(asked.actor);
        }
        if stolen && held.reuse && alone && self.ledger[session].fate == Fate::Kept {
            let how = format!("two hold session {session}, and it lives on");
            return Broken::new(Violation::Unnoticed, how);
        }
        // An access token of a former session arrived after the sign-in. Once expired, it hides the
        // refresh token of this session.
        let reuse = stolen && held.reuse;
        if held.mixed() && !reuse && (!held.good() || held.outage.is_some()) {
            let hidden = status == StatusCode::UNAUTHORIZED;
            self.tally.ignored_refresh += u64::from(hidden);
            let how = format!("session {session} is hidden by an expired token of another one");
            return match self.setup.strict && hidden {
                true => Broken::new(Violation::SignedOut, how),
                false => Ok(()),
            };
        }
        let fitting = match (held.outage, status) {
            _ if stolen && (held.reuse || !alone) => true,
            (None, StatusCode::OK) => true,
            (Some(Outage::Refusing), StatusCode::OK) => held.good(),
            (Some(Outage::Refusing), StatusCode::SERVICE_UNAVAILABLE) => !held.good(),
            (Some(Outage::Mute), StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) => true,
            _ => false,
        };
        if fitting {
            return Ok(());
        }
        let how = format!("session {session} is not over, and the answer is {status}");
        let outage = held.outage.is_some() && status != StatusCode::UNAUTHORIZED;
        Broken::new(if outage { Violation::Outage } else { Violation::SignedOut }, how)
    }

    /// Checks a sign-in or a sign-out.
    async fn check_change(
        &mut self,
        asked: &ClientRequest,
        node: usize,
        held: &Held,
        open: &Open,
    ) -> Result<(), Broken> {
        let presented: Vec<_> = [held.refresh, held.access].into_iter().flatten().collect();
        let done = open.status == StatusCode::NO_CONTENT;
        let failed = open.status == StatusCode::SERVICE_UNAVAILABLE;
        let fitting = match (asked.kind, held.outage) {
            (_, None) => done,
            (Kind::SignIn, Some(_)) => failed,
            // If no session is left to end, nothing can fail.
            (_, Some(_)) => done || failed,
        };
        if !fitting {
            let how = format!("{:?} is answered with {}", asked.kind, open.status);
            return Broken::new(Violation::Outage, how);
        }
        if asked.kind == Kind::SignIn && !done {
            return Ok(());
        }
        // With tokens of two sessions, the session of the access token is ended. A session whose
        // sign-out failed before may continue.
        let one = held.access.or(held.refresh).filter(|_| !held.mixed());
        let one = one.filter(|one| done && self.ledger[*one].fate == Fate::Kept);
        for session in presented {
            let known = &mut self.ledger[session];
            known.fate = if known.fate == Fate::Kept { Fate::Left } else { known.fate };
        }
        if let Some(session) = one {
            if self.hub.row(self.ledger[session].sid).await.is_some() {
                return Broken::new(Violation::Revived, format!("session {session} lives on"));
            }
            self.ledger.teach(session, node, self.nodes[node].clock.now());
        }
        if asked.kind == Kind::SignIn {
            let sid = open.session.sid().and_then(|sid| SessionId::parse(&sid));
            let sid = sid.expect("a sign-in begins a session");
            let row = self.hub.row(sid).await.expect("a session that was made");
            self.ledger.add(sid, asked.actor, &row, self.tick);
        }
        Ok(())
    }

    /// Checks a slow response by the current state of the session whose tokens it carries.
    pub(super) fn check_late(&mut self, node: usize, cookies: &[String]) -> Result<(), Broken> {
        let sent = Tokens::set(cookies).refresh.and_then(|token| self.ledger.find(token.sid));
        match sent {
            Some(session) if self.ledger.learned(session, node) => {
                self.tally.late_tokens += 1;
                let how = format!("tokens of session {session}, where that was known to be over");
                if self.setup.strict { Broken::new(Violation::Revived, how) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Checks the cookies of a response.
    pub(super) fn check_cookies(
        &mut self,
        asked: &ClientRequest,
        held: &Held,
        status: StatusCode,
        cookies: &[String],
    ) -> Result<(), Broken> {
        let tokens = Tokens::set(cookies);
        let visit = matches!(asked.kind, Kind::Visit | Kind::Prefetch);
        let owed = held.refresh.is_some_and(|session| self.ledger.is_owed(session, self.tick));
        let seen = status == StatusCode::UNAUTHORIZED && asked.navigates;
        if tokens.cleared && visit && (owed || !seen) {
            return Broken::new(
                Violation::SignedOut,
                "cookies of a session that is not over cleared",
            );
        }
        // A node that processed a sign-out, or learned of the end, reports it without the store.
        let over = held.refresh.is_some_and(|session| self.ledger[session].fate != Fate::Kept);
        let known_over = tokens.cleared && over;
        if held.outage == Some(Outage::Refusing) && visit && !tokens.is_empty() && !known_over {
            return Broken::new(Violation::Outage, "cookies are touched while the store is down");
        }
        let sids = [tokens.access.as_ref().map(|t| t.sid), tokens.refresh.as_ref().map(|t| t.sid)];
        for sid in sids.into_iter().flatten() {
            let of = self.ledger.find(sid);
            if visit && (of.is_none() || of != held.refresh || held.row.is_none()) {
                return Broken::new(Violation::Revived, "tokens of a session that is over");
            }
        }
        if let Some(token) = &tokens.refresh
            && let Some(session) = self.ledger.find(token.sid)
            && !self.ledger.leaves(session, token)
        {
            let how = format!("two tokens of generation {} of {session}", token.generation);
            return Broken::new(Violation::Rotated, how);
        }
        Ok(())
    }

    /// After every event: checks which rows are gone, and which sessions were rotated too often.
    pub(super) async fn check_rows(&mut self) -> Result<(), Broken> {
        let alive: Vec<_> =
            self.ledger.all().filter(|(_, known)| known.alive).map(|(n, k)| (n, k.sid)).collect();
        let now = self.hub.clock.now();
        for (session, sid) in alive {
            match self.hub.row(sid).await {
                Some(row) => self.ledger.saw(session, &row),
                None if self.ledger.missed(session, now) => {}
                // Several requests at once: their order is unknown.
                None if self.ledger[session].stolen && self.concurrent => {
                    self.ledger[session].fate = Fate::Ended;
                    self.noticed = true;
                }
                None => {
                    return Broken::new(Violation::SignedOut, format!("session {session} ended"));
                }
            }
            let (rotations, known) = (self.hub.wires().rotations(sid), &self.ledger[session]);
            if known.fate == Fate::Kept && rotations > known.expiries {
                let how = format!("{rotations} rotations of session {session}");
                return Broken::new(Violation::Rotated, how);
            }
        }
        match self.hub.wires().hasty.first() {
            Some(sid) => Broken::new(
                Violation::Rotated,
                format!("{:?} twice in a reuse interval", self.ledger.find(*sid)),
            ),
            None => Ok(()),
        }
    }
}
