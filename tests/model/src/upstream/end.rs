//! The end of a schedule: all faults stop, and a client sends one more request.

use http::StatusCode;

use super::check::Broken;
use super::gate::Kind;
use super::node::RequestKind;
use super::play::Simulation;
use super::step::{ChangeResult, Move, Span};

/// How often the pending operations at the gate are let through before the simulation is at rest.
const ROUNDS: usize = 64;

impl Simulation {
    pub(super) fn calm(&mut self) -> Result<(), Broken> {
        self.hub.wires().down = false;
        for node in 0..self.nodes.len() {
            if self.nodes[node].stopped {
                self.apply(Move::Resume(node))?;
            }
        }
        // Operations that dead nodes left behind never arrive.
        self.hub.wires().pending.retain(|pending| !pending.is_orphan());
        self.let_through()?;
        // Long enough for clients that retry, and for tokens in doubt.
        for _ in 0..2 {
            self.pass(Span::Limit.length(self.plan.kind))?;
            self.let_through()?;
        }
        Ok(())
    }

    fn let_through(&mut self) -> Result<(), Broken> {
        for _ in 0..ROUNDS {
            let first = self.hub.wires().pending.first().map(|pending| pending.id);
            let Some(id) = first else { break };
            self.apply(match id.kind {
                Kind::Request => Move::Reach(id, None),
                Kind::Answer => Move::Hear(id, true),
                _ => Move::Change(id, ChangeResult::Done),
            })?;
        }
        Ok(())
    }

    /// Sends a last request and returns its status.
    pub(super) fn finally(&mut self, node: usize) -> Result<StatusCode, Broken> {
        let counts = |simulation: &Self| (simulation.tally.served, simulation.tally.refused);
        let before = counts(self);
        self.apply(Move::Ask(node, RequestKind::Visit))?;
        self.let_through()?;
        if counts(self) == before {
            // The request waits for an operation, or was told to retry.
            self.pass(super::node::WAITS)?;
            self.let_through()?;
        }
        let after = counts(self);
        Ok(match (after.0 > before.0, after.1 > before.1) {
            (true, _) => StatusCode::OK,
            (_, true) => StatusCode::UNAUTHORIZED,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        })
    }
}
