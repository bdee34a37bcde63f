//! Operations on nodes and store: restarts, key rotation, backups.

use everfresh::store::SessionStore as _;

use super::event::Pick;
use super::ledger::Fate;
use super::node::Node;
use super::play::Simulation;
use super::setup::NODES;

impl Simulation {
    /// Restarts a node.
    pub(super) fn renew(&mut self, node: usize) {
        self.hub.wires().renew(node);
        self.ledger.forget(node);
        self.nodes[node].rebuild();
    }

    /// Every node gets a new key before any node derives with it. Then the nodes switch one by one,
    /// and sometimes a node switches back. A node finishes its pending requests with its former
    /// keys.
    pub(super) fn turn_keys(&mut self, mut pick: Pick) {
        let newest = self.nodes.iter().map(|node| node.newest).max().unwrap_or(0);
        let first = pick.of(NODES);
        let mut order = (0..NODES).map(|at| (first + at) % NODES);
        let behind = |simulation: &Self, at: &usize| simulation.nodes[*at].newest < newest;
        let node = if let Some(at) = order.clone().find(|at| behind(self, at)) {
            self.nodes[at].newest = newest;
            at
        } else if let Some(at) = order.find(|at| self.nodes[*at].current < newest) {
            self.nodes[at].current = newest;
            self.tally.key_switches += 1;
            at
        } else if newest > 0 && pick.once_in(4) {
            self.nodes[first].current = newest - 1;
            first
        } else {
            self.nodes[first].newest = newest + 1;
            first
        };
        let Node { current, newest, .. } = self.nodes[node];
        self.say(|_| format!("node {node} has the keys up to {newest}, derives with {current}"));
        self.renew(node);
    }

    pub(super) async fn save(&mut self) {
        self.backup.clear();
        for (_, known) in self.ledger.all() {
            self.backup.extend(self.hub.row(known.sid).await);
        }
        self.say(|simulation| format!("{} sessions are saved", simulation.backup.len()));
    }

    /// Stops the nodes, restores the rows, and restarts the nodes after more than one reuse
    /// interval. Sessions revoked since the backup return; sessions created since then are lost.
    pub(super) async fn restore(&mut self) {
        self.tally.restores += 1;
        self.say(|simulation| format!("{} sessions are put back", simulation.backup.len()));
        self.drop_slow(None);
        let known: Vec<_> =
            self.ledger.all().map(|(session, known)| (session, known.sid)).collect();
        for (session, sid) in known {
            match self.backup.iter().find(|row| row.sid == sid) {
                Some(row) => {
                    self.hub.store.restore(row.clone());
                    self.ledger.saw(session, row);
                }
                None => {
                    let known = &mut self.ledger[session];
                    known.fate = if known.fate == Fate::Kept { Fate::Lost } else { known.fate };
                    let revoked = self.hub.store.revoke(sid).await;
                    revoked.expect("the store in memory does not fail");
                }
            }
        }
        self.ledger.rewind();
        self.hub.wires().rewind();
        for node in 0..NODES {
            self.hub.wires().hang_up(node);
            self.renew(node);
        }
        self.pass(self.setup.reuse_interval + 1);
    }
}
