//! The facts when a request arrives: the tokens that it presents, and the store's rows for them.

use everfresh::store::SessionRecord;
use everfresh::{SessionId, Timestamp};

use super::browser::{ClientRequest, Kind, Tokens};
use super::link::Outage;
use super::play::Simulation;
use super::setup::LEEWAY;

/// The facts at a request's arrival.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The sessions of its tokens.
    pub(super) access: Option<usize>,
    pub(super) refresh: Option<usize>,
    /// Seconds until the access token expires, by the node's clock.
    pub(super) left: i64,
    /// The node remembers that the access token's session has ended.
    pub(super) knows: bool,
    pub(super) access_alive: bool,
    /// The row of the refresh token's session.
    pub(super) row: Option<SessionRecord>,
    /// The node must serve the refresh token's session.
    pub(super) owed: bool,
    /// The node compares the refresh token with the row.
    pub(super) reaches_row: bool,
    /// The comparison detects two holders of the session.
    pub(super) reuse: bool,
    pub(super) outage: Option<Outage>,
}

impl Held {
    /// The two tokens belong to different sessions.
    pub(super) fn mixed(&self) -> bool {
        self.access.is_some() && self.refresh.is_some() && self.access != self.refresh
    }

    /// The access token is still valid.
    pub(super) fn good(&self) -> bool {
        self.access.is_some() && self.left > -(LEEWAY.as_secs() as i64) && !self.knows
    }
}

impl Simulation {
    /// Collects the facts before a request is processed.
    pub(super) async fn look(&mut self, asked: &ClientRequest, node: usize) -> Held {
        let Tokens { access, refresh, .. } = &asked.tokens;
        let of = |sid: SessionId| self.ledger.find(sid);
        let (access_of, refresh_of) = (
            access.as_ref().and_then(|token| of(token.sid)),
            refresh.as_ref().and_then(|token| of(token.sid)),
        );
        let left = access.as_ref().map_or(0, |token| self.nodes[node].left(token.expires));
        let now = self.nodes[node].clock.now();
        let lifetime = self.setup.lifetime();
        let knows =
            access_of.is_some_and(|session| self.ledger.remembers(session, node, now, lifetime));
        let access_alive = access_of.is_some_and(|session| self.ledger[session].alive);
        let row = match refresh {
            Some(token) => self.hub.row(token.sid).await,
            None => None,
        };
        let outage = self.hub.wires().outage;
        // Tokens with such a short lifetime are refreshed from 4 s before their expiry; for a
        // prefetch, from 2 s.
        let window = if asked.kind == Kind::Prefetch { 2 } else { 4 };
        let reaches_row = refresh_of.is_some()
            && match access_of {
                None => true,
                _ if knows => true,
                // After its expiry, a refresh token of another session counts instead.
                same => left <= 0 || same == refresh_of && left <= window,
            };
        let reuse = reaches_row
            && outage != Some(Outage::Refusing)
            && row.as_ref().zip(refresh.as_ref()).is_some_and(|(row, token)| {
                self.tells_two(row, token.generation, self.hub.clock.now())
            });
        let owed = refresh_of.is_some_and(|session| self.ledger.is_owed(session, self.tick));
        // Beside an access token of another session it may count, depending on the node's state.
        let other = access_of.is_some() && access_of != refresh_of;
        if let (true, Some(session)) = (reaches_row || other, refresh_of) {
            let none = refresh.as_ref().map(|token| token.generation.to_string());
            let text = access.as_ref().map(|token| token.text.clone()).or(none);
            self.ledger.ran_out(session, &text.unwrap_or_default());
        }
        let (access, refresh) = (access_of, refresh_of);
        Held { access, refresh, left, knows, access_alive, row, owed, reaches_row, reuse, outage }
    }

    /// Whether a presented generation proves two holders: its successor was presented as well and
    /// the reuse interval is over, or the generation is older still.
    fn tells_two(&self, row: &SessionRecord, generation: u64, now: Timestamp) -> bool {
        let closed = row.confirmed && now.since(row.rotated_at) > self.setup.reuse_interval();
        generation + 1 < row.generation || generation + 1 == row.generation && closed
    }
}
