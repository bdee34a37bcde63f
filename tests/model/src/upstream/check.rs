//! The promises that every step and the end are checked against.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;

use super::gate::{Change, Id, Kind, Operation};
use super::node::{Answer, INSTANT, PendingRequest, RequestKind, WAITS};
use super::play::Simulation;
use super::provider::{ProviderAnswer, ProviderKind};
use super::step::{ChangeResult, letter};

/// The promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The other server received a token again that it had consumed.
    Reused,
    /// A single-use token was sent or reserved although another node had done so.
    SentTwice,
    /// Tokens that a node had received, or that no node had sent, were useless at the end.
    Lost,
    /// The session ended without a sign-out.
    Ended,
    /// A request was refused although its session was neither over nor in doubt.
    Refused,
    /// A response cleared the cookies of a session that was not over.
    Cleared,
    /// A request was not answered within the refresh timeout.
    Hung,
    /// A request was served although the row held no valid token.
    Unfounded,
    /// A session was served after its sign-out.
    Resurrected,
    /// A token of a signed-out session is still valid at the other server.
    NotRevoked,
    /// The same steps led to another state. The simulation is not deterministic, and the run proves
    /// nothing.
    Diverged,
}

#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) wrong: Violation,
    pub(super) how: String,
}

pub(super) fn broken(wrong: Violation, how: impl Into<String>) -> Broken {
    Broken { wrong, how: how.into() }
}

/// The events of a run, as far as they decide which results are allowed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// A client has asked to sign out.
    pub(super) signs_out: bool,
    /// The node that was asked, unless it has crashed since. It refuses the session regardless of
    /// the row.
    pub(super) asked_to_end: Option<usize>,
    /// The row is gone.
    pub(super) over: bool,
    /// The node that holds the current reservation.
    reserving_node: Option<usize>,
    /// Refreshes that may have arrived, by token.
    sent: BTreeMap<Id, u64>,
    /// The refresh token that each node has received and not lost.
    heard: BTreeMap<usize, u64>,
    /// An event after which a session may stay in doubt.
    pub(super) doubtful: bool,
    /// A sign-out may have missed that the row is gone.
    unheard: bool,
    /// The server did the work and answered 500.
    broken: bool,
}

impl Ledger {
    pub(super) fn note_fate(&mut self, id: Id, fate: ChangeResult) {
        self.unheard |= id.kind == Kind::Revoke && fate != ChangeResult::Done;
    }

    pub(super) fn note_reached(
        &mut self,
        id: Id,
        token: u64,
        said: ProviderAnswer,
        instead: Option<ProviderAnswer>,
    ) {
        match instead {
            Some(ProviderAnswer::Unsent | ProviderAnswer::Busy) => drop(self.sent.remove(&id)),
            Some(ProviderAnswer::Lost) => self.doubtful = true,
            Some(_) => {
                self.sent.remove(&id);
                self.broken = true;
            }
            None if said == ProviderAnswer::Refused => drop(self.sent.remove(&id)),
            None => drop(self.sent.insert(id, token)),
        }
    }

    pub(super) fn note_heard(&mut self, id: Id, said: ProviderAnswer, heard: bool) {
        match said {
            ProviderAnswer::Issued(token) if heard => drop(self.heard.insert(id.node, token)),
            _ => self.doubtful |= !heard,
        }
    }

    pub(super) fn note_crash(&mut self, node: usize, engaged: bool) {
        self.doubtful |= engaged || self.reserving_node == Some(node);
        self.unheard = true;
        self.heard.remove(&node);
        self.asked_to_end = self.asked_to_end.filter(|asked| *asked != node);
    }
}

impl Simulation {
    /// A change that was made.
    pub(super) fn note_change(&mut self, id: Id, change: &Change) -> Result<(), Broken> {
        match change {
            Change::Reservation(reservation) => {
                self.ledger.reserving_node = Some(id.node);
                // A node whose reservation was replaced can't release it any more.
                self.ledger.doubtful |= reservation.replaces.is_some();
                let tries = self.upstream().map_or(0, |upstream| upstream.0);
                if tries > 1 && self.plan.kind == ProviderKind::Strict {
                    return Err(broken(Violation::SentTwice, "a token was reserved twice"));
                }
            }
            Change::Release(_) => self.ledger.reserving_node = None,
            Change::Publish(_) => {
                self.tally.published += 1;
                self.ledger.reserving_node = None;
            }
            Change::Revoke(_) | Change::End(_) => {
                self.ledger.over = true;
                let provider = &self.hub.wires().provider;
                if !self.ledger.signs_out && !provider.reused {
                    return Err(broken(Violation::Ended, "the session was ended"));
                }
            }
        }
        Ok(())
    }

    /// How often the row's token was sent, and its sequence number; `None` once the row is gone.
    fn upstream(&self) -> Option<(u32, u64)> {
        let upstream = self.hub.row(self.sid)?.upstream?;
        Some((upstream.tries, upstream.seq))
    }

    /// Checks the requests in transit to the other server.
    pub(super) fn look_at_sends(&mut self) -> Result<(), Broken> {
        let strict = self.plan.kind == ProviderKind::Strict;
        for pending in &self.hub.wires().pending {
            let Operation::Request(token, _) = pending.what else { continue };
            let twice =
                self.ledger.sent.iter().any(|(id, sent)| *id != pending.id && *sent == token);
            if twice && strict && !self.ledger.broken {
                return Err(broken(
                    Violation::SentTwice,
                    format!("refresh token {token} is sent again"),
                ));
            }
            self.ledger.sent.insert(pending.id, token);
        }
        Ok(())
    }

    pub(super) fn look_at_server(&mut self) -> Result<(), Broken> {
        match self.hub.wires().provider.reused && !self.ledger.broken {
            true => Err(broken(Violation::Reused, "the other server detected a reuse")),
            false => Ok(()),
        }
    }

    pub(super) fn check_answer(
        &mut self,
        asked: &PendingRequest,
        answer: &Answer,
    ) -> Result<(), Broken> {
        let upstream = self.upstream();
        // A node that was asked to sign out refuses the session at once.
        let over = self.ledger.over || self.ledger.signs_out;
        if answer.cleared && !over {
            return Err(broken(Violation::Cleared, "the cookies are gone, and the session is not"));
        }
        if asked.wish == RequestKind::SignOut {
            return Ok(());
        }
        match answer.status {
            StatusCode::OK => {
                self.tally.served += 1;
                if asked.after {
                    return Err(broken(
                        Violation::Resurrected,
                        "a request after the sign-out was served",
                    ));
                }
                if upstream.is_some_and(|(_, seq)| seq == 0) {
                    return Err(broken(Violation::Unfounded, "the served token is not in the row"));
                }
            }
            StatusCode::UNAUTHORIZED => {
                self.tally.refused += 1;
                let in_doubt = upstream.is_some_and(|(tries, _)| tries > 0);
                self.tally.in_doubt += u64::from(in_doubt);
                if !over && !in_doubt && !asked.stopped {
                    return Err(broken(
                        Violation::Refused,
                        "the session was good, and was refused",
                    ));
                }
            }
            _ => self.tally.unavailable += 1,
        }
        Ok(())
    }

    pub(super) fn check_waits(&self, node: usize) -> Result<(), Broken> {
        let now = self.now();
        let hung = self.nodes[node].asked.iter().any(|asked| {
            asked.wish == RequestKind::Visit
                && now.saturating_sub(asked.since) > WAITS + 20 * INSTANT
        });
        match hung {
            true => Err(broken(Violation::Hung, format!("{} does not answer", letter(node)))),
            false => Ok(()),
        }
    }

    /// Whether the session must be fully usable once the simulation is at rest.
    fn must_be_good(&self) -> bool {
        let current = self.hub.wires().provider.current;
        match self.plan.kind {
            ProviderKind::Fixed => true,
            _ if current == 0 => !self.ledger.doubtful,
            _ => {
                let published = self.upstream().is_some_and(|(_, seq)| seq > 0);
                published || self.ledger.heard.values().any(|token| *token == current)
            }
        }
    }

    /// Whether the other server must have received a revocation.
    fn must_be_revoked(&self) -> bool {
        let current = self.hub.wires().provider.current;
        let known = current == 0 || self.ledger.heard.values().any(|token| *token == current);
        known && !self.ledger.unheard && !self.ledger.doubtful
    }

    /// Lets the simulation come to rest: late messages arrive, and stopped nodes continue. The session
    /// must then be usable, unless an event explains why not.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        self.say(|_| "-- all faults stop".to_owned());
        self.calm()?;
        let must = self.must_be_good();
        let mut first = self.finally(0)?;
        for _ in 0..4 {
            if first != StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
            self.calm()?;
            first = self.finally(0)?;
        }
        if self.ledger.over {
            self.tally.signed_out += 1;
            let revoked = self.hub.wires().provider.revoked;
            if first == StatusCode::OK {
                return Err(broken(Violation::Resurrected, "a signed-out session is served"));
            }
            if !revoked && self.must_be_revoked() {
                return Err(broken(
                    Violation::NotRevoked,
                    "the other server still takes its token",
                ));
            }
            return Ok(());
        }
        if self.ledger.asked_to_end == Some(0) {
            return match first {
                StatusCode::OK => Err(broken(
                    Violation::Resurrected,
                    "a node that was asked to sign out serves the session",
                )),
                _ => Ok(()),
            };
        }
        if first != StatusCode::OK {
            let how = format!("in the end the answer is {}", first.as_u16());
            self.tally.lost += 1;
            return if must { Err(broken(Violation::Lost, how)) } else { Ok(()) };
        }
        // The tokens in the row must stay usable after this expiry, too.
        self.pass(Duration::from_secs(super::carry::LIFE + 100))?;
        let last = self.nodes.len() - 1;
        match self.finally(last)? {
            StatusCode::UNAUTHORIZED if self.ledger.asked_to_end == Some(last) => Ok(()),
            StatusCode::OK => Ok(()),
            status => {
                let how = format!("the next refresh is answered {}", status.as_u16());
                Err(broken(Violation::Lost, how))
            }
        }
    }
}
