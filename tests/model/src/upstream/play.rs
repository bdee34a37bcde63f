//! One schedule, step by step.

use std::time::Duration;

use everfresh::SessionId;

use super::check::{Broken, Ledger};
use super::gate::{Hub, Id, Kind, Made, Operation, Pending, down};
use super::node::{Beginning, Cookies, INSTANT, Node, RequestKind, START};
use super::provider::{ProviderAnswer, ProviderKind};
use super::step::{ChangeResult, Move, Span, letter};
use super::{Plan, Tally};

/// How many task polls a node may get between the store's answer and its stop.
const POLLS: u8 = 4;

/// A pending operation at the gate, and whether its node has crashed.
#[derive(Clone, Copy)]
struct At {
    id: Id,
    orphan: bool,
}

fn is_engaged(node: usize, gate: &[At]) -> bool {
    gate.iter().any(|at| at.id.node == node && !at.orphan)
}

pub(super) struct Simulation {
    pub(super) plan: Plan,
    pub(super) hub: Hub,
    pub(super) nodes: Vec<Node>,
    pub(super) sid: SessionId,
    pub(super) jar: Cookies,
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    pub(super) trace: Option<Vec<String>>,
    pub(super) did: Vec<Move>,
    asks: usize,
    faults: usize,
    passes: usize,
}

impl Simulation {
    pub(super) fn begin(plan: Plan, beginning: &Beginning, traced: bool) -> Self {
        let hub = Hub::new(plan.kind, everfresh::ManualClock::starting_at(START));
        hub.store.restore(beginning.record.clone());
        let nodes = (0..plan.nodes).map(|n| Node::new(&hub, plan.kind, n, 0)).collect();
        Self {
            plan,
            hub,
            nodes,
            sid: beginning.record.sid,
            jar: beginning.jar.clone(),
            ledger: Ledger::default(),
            tally: Tally::default(),
            trace: traced.then(Vec::new),
            did: Vec::new(),
            asks: plan.asks,
            faults: plan.faults,
            passes: plan.passes,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.hub.wires().now
    }

    /// All possible next moves, the most ordinary first. Empty if the schedule is at its end.
    pub(super) fn moves(&self) -> Vec<Move> {
        if self.did.len() >= self.plan.steps {
            return Vec::new();
        }
        let (gate, down) = self.gate();
        let (mut moves, mut faults) = (Vec::new(), Vec::new());
        for At { id, orphan } in &gate {
            let (ordinary, mishaps) = self.fates(*id, down);
            moves.push(ordinary);
            // An operation of a crashed node either takes effect or is lost.
            faults.extend(mishaps.into_iter().filter(|_| !orphan));
        }
        let stopped = self.nodes.iter().any(|node| node.stopped);
        let busy = stopped || gate.iter().any(|at| !at.orphan);
        let waited_for = busy || self.nodes.iter().any(|node| !node.asked.is_empty());
        if self.asks > 0 {
            let askable = (0..self.met()).filter(|node| self.is_askable(*node, &gate));
            moves.extend(askable.map(|node| Move::Ask(node, RequestKind::Visit)));
        }
        moves.extend(down.then_some(Move::Up));
        for (number, node) in self.nodes.iter().enumerate() {
            if node.stopped {
                moves.push(Move::Resume(number));
            }
            if !node.stopped && (!node.asked.is_empty() || is_engaged(number, &gate)) {
                faults.extend([Move::Pause(number), Move::Crash(number)]);
            }
        }
        // A node counts from the time of sending, so it can't keep a grace period that starts at
        // the arrival.
        let prompt = self.plan.kind == ProviderKind::Grace;
        let on_its_way = gate.iter().any(|at| at.id.kind == Kind::Request && !at.orphan);
        if self.passes > 0 && waited_for && !(prompt && on_its_way) {
            moves.extend([Move::Pass(Span::Second), Move::Pass(Span::Limit)]);
        }
        faults.extend((busy && !down).then_some(Move::Down));
        if self.plan.sign_out && !self.ledger.signs_out {
            let running = (0..self.met()).filter(|node| !self.nodes[*node].stopped);
            faults.extend(running.map(|node| Move::Ask(node, RequestKind::SignOut)));
        }
        if self.faults > 0 {
            moves.append(&mut faults);
        }
        // If no operation is pending and no request will follow, further moves have no effect.
        if self.asks == 0 && !waited_for && !down { Vec::new() } else { moves }
    }

    /// The possible fates of a pending operation.
    fn fates(&self, id: Id, down: bool) -> (Move, Vec<Move>) {
        match id.kind {
            Kind::Request => {
                let broken = self.plan.broken.then_some(ProviderAnswer::Broken);
                let instead = [ProviderAnswer::Unsent, ProviderAnswer::Lost, ProviderAnswer::Busy]
                    .into_iter()
                    .chain(broken);
                let mishaps = instead.map(|said| Move::Reach(id, Some(said)));
                (Move::Reach(id, None), mishaps.collect())
            }
            Kind::Answer => (Move::Hear(id, true), vec![Move::Hear(id, false)]),
            _ if down => {
                (Move::Change(id, ChangeResult::Failed), vec![Move::Change(id, ChangeResult::Mute)])
            }
            kind => {
                let mut mishaps = vec![
                    Move::Change(id, ChangeResult::Mute),
                    Move::Change(id, ChangeResult::Failed),
                ];
                if kind == Kind::Reservation {
                    mishaps.extend((1..=POLLS).map(|polls| Move::Stop(id, polls)));
                }
                (Move::Change(id, ChangeResult::Done), mishaps)
            }
        }
    }

    fn gate(&self) -> (Vec<At>, bool) {
        let wires = self.hub.wires();
        let at = |p: &Pending| At { id: p.id, orphan: p.is_orphan() };
        (wires.pending.iter().map(at).collect(), wires.down)
    }

    /// The nodes used so far, and one more, because all unused nodes are alike.
    fn met(&self) -> usize {
        let met = self.did.iter().filter_map(|did| match did {
            Move::Ask(node, _) => Some(node + 1),
            _ => None,
        });
        (met.max().unwrap_or(0) + 1).min(self.nodes.len())
    }

    /// A node gets no second request while it processes one, and none while its steady clock can't
    /// jump.
    fn is_askable(&self, number: usize, gate: &[At]) -> bool {
        let node = &self.nodes[number];
        let claims = gate.iter().any(|at| at.id.kind == Kind::Reservation && at.id.node == number);
        !node.stopped && node.asked.is_empty() && !claims
    }

    /// Makes a move, then runs every task that can make progress.
    pub(super) fn apply(&mut self, what: Move) -> Result<(), Broken> {
        self.did.push(what);
        self.faults = self.faults.saturating_sub(usize::from(what.is_fault()));
        self.say(|_| what.to_string());
        match what {
            Move::Ask(node, wish) => {
                if wish == RequestKind::Visit {
                    self.asks = self.asks.saturating_sub(1);
                }
                self.ask(node, wish);
            }
            Move::Change(id, fate) => self.change(id, fate)?,
            Move::Stop(id, polls) => {
                self.change(id, ChangeResult::Done)?;
                self.nodes[id.node].stop_after(polls);
            }
            Move::Reach(id, instead) => self.reach(id, instead)?,
            Move::Hear(id, heard) => self.hear(id, heard),
            Move::Crash(node) => self.crash(node),
            Move::Pause(node) => self.nodes[node].stop_after(0),
            Move::Resume(node) => self.nodes[node].go_on(),
            Move::Down => self.hub.wires().down = true,
            Move::Up => self.hub.wires().down = false,
            Move::Pass(span) => {
                self.passes = self.passes.saturating_sub(1);
                if self.plan.kind == ProviderKind::Grace {
                    let gone = |p: &Pending| p.id.kind == Kind::Request && p.is_orphan();
                    self.hub.wires().pending.retain(|p| !gone(p));
                }
                return self.pass(span.length(self.plan.kind));
            }
        }
        self.pass(INSTANT)
    }

    pub(super) fn ask(&mut self, node: usize, wish: RequestKind) {
        if wish == RequestKind::SignOut {
            self.ledger.signs_out = true;
            self.ledger.asked_to_end = Some(node);
        }
        let (now, after) = (self.now(), self.ledger.over);
        self.nodes[node].ask(wish, &self.jar, now, after);
    }

    /// Time passes for all nodes. Checks the result.
    pub(super) fn pass(&mut self, by: Duration) -> Result<(), Broken> {
        self.hub.wires().now += by;
        self.hub.clock.advance(by);
        for node in &mut self.nodes {
            node.pass(by);
        }
        self.look()
    }

    fn take(&mut self, id: Id) -> Pending {
        let mut wires = self.hub.wires();
        let at = wires.pending.iter().position(|p| p.id == id).expect("it stands at the gate");
        wires.pending.remove(at)
    }

    fn change(&mut self, id: Id, fate: ChangeResult) -> Result<(), Broken> {
        let Pending { what: Operation::Change(change, answer), .. } = self.take(id) else {
            unreachable!("a change of the row")
        };
        let made = match fate {
            ChangeResult::Failed => Err(down()),
            ChangeResult::Done | ChangeResult::Mute => {
                let made = self.hub.make(change.clone());
                if matches!(made, Ok(Made(true, _))) {
                    self.note_change(id, &change)?;
                } else {
                    self.say(|_| "    without effect".to_owned());
                }
                if fate == ChangeResult::Done { made } else { Err(down()) }
            }
        };
        self.ledger.note_fate(id, fate);
        // A crashed node receives nothing.
        let _ = answer.send(made);
        Ok(())
    }

    fn reach(&mut self, id: Id, instead: Option<ProviderAnswer>) -> Result<(), Broken> {
        let Pending { what: Operation::Request(token, answer), life, .. } = self.take(id) else {
            unreachable!("a refresh")
        };
        let said = match instead {
            None | Some(ProviderAnswer::Broken) => {
                let mut wires = self.hub.wires();
                let now = wires.now;
                wires.provider.refresh(token, now)
            }
            Some(said) => said,
        };
        self.ledger.note_reached(id, token, said, instead);
        match instead {
            Some(said) => drop(answer.send(said)),
            // The receiver is gone.
            None if answer.is_closed() => {}
            None => {
                let id = Id { kind: Kind::Answer, ..id };
                let what = Operation::Answer(said, answer);
                self.hub.wires().pending.push(Pending { id, what, life });
            }
        }
        self.say(|_| format!("    refresh token {token}: {said:?}"));
        self.look_at_server()
    }

    fn hear(&mut self, id: Id, heard: bool) {
        let Pending { what: Operation::Answer(said, answer), .. } = self.take(id) else {
            unreachable!("an answer")
        };
        self.ledger.note_heard(id, said, heard);
        let _ = answer.send(if heard { said } else { ProviderAnswer::Lost });
    }

    fn crash(&mut self, node: usize) {
        let engaged = is_engaged(node, &self.gate().0) || self.nodes[node].stopped;
        self.ledger.note_crash(node, engaged);
        let life = self.nodes[node].life + 1;
        self.nodes[node] = Node::new(&self.hub, self.plan.kind, node, life);
        // Answers whose receiver has crashed.
        let deaf = |p: &Pending| p.id.kind == Kind::Answer && p.is_orphan();
        self.hub.wires().pending.retain(|p| !deaf(p));
    }

    /// Checks the answers that requests have received, one after the other.
    fn look(&mut self) -> Result<(), Broken> {
        self.look_at_sends()?;
        for node in 0..self.nodes.len() {
            if self.nodes[node].stopped {
                continue;
            }
            for (asked, answer) in self.nodes[node].answers() {
                self.say(|_| format!("    {} answers {}", letter(node), answer.status.as_u16()));
                if answer.cookies.refresh.is_some() {
                    self.jar.refresh = answer.cookies.refresh.clone();
                }
                self.check_answer(&asked, &answer)?;
            }
            self.check_waits(node)?;
        }
        Ok(())
    }

    pub(super) fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = line(self);
            self.trace.iter_mut().for_each(|trace| trace.push(line.clone()));
        }
    }
}
