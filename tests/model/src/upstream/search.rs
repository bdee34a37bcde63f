//! All schedules within bounds, or many random ones. A schedule that breaks a promise is shortened.

use super::check::{Broken, broken};
use super::node::Beginning;
use super::play::Simulation;
use super::step::Move;
use super::{Explored, Failed, Plan, Tally, Violation};

/// Tries every schedule: first those without a fault, then those with one fault, and so on, so the
/// first violation found has the fewest faults. Stops after `most` schedules.
///
/// Stateless: each schedule runs from the beginning, with real engines.
pub fn explore(plan: Plan, most: u64) -> Explored {
    let beginning = Beginning::new(plan.kind);
    let mut explored = Explored { tally: Tally::default(), complete: true, failed: None };
    for faults in 0..=plan.faults {
        let plan = Plan { faults, ..plan };
        // The choice at each step, and the number of alternatives.
        let mut path: Vec<(usize, usize)> = Vec::new();
        loop {
            if explored.tally.schedules >= most {
                explored.complete = false;
                return explored;
            }
            let ran = run(plan, &beginning, &mut path);
            explored.tally = explored.tally.and(ran.tally);
            if let Some(broken) = ran.broken {
                explored.failed = Some(told(plan, &beginning, ran.did, &broken));
                return explored;
            }
            while path.last().is_some_and(|(chosen, of)| chosen + 1 == *of) {
                path.pop();
            }
            match path.last_mut() {
                Some((chosen, _)) => *chosen += 1,
                None => break,
            }
        }
    }
    explored
}

/// Tries random schedules, starting with this seed.
pub fn wander(plan: Plan, seed: u64, schedules: u64) -> Explored {
    let beginning = Beginning::new(plan.kind);
    let mut explored = Explored { tally: Tally::default(), complete: false, failed: None };
    for seed in (seed..).take(schedules as usize) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // A sign-out hides most later violations, so only some schedules have one.
        let plan = Plan { sign_out: plan.sign_out && seed % 4 == 0, ..plan };
        let mut simulation = Simulation::begin(plan, &beginning, false);
        let end = simulation.go(|moves| {
            // Faults are as likely as all other moves together, if there are moves of both kinds.
            let ordinary = moves.iter().take_while(|what| !what.is_fault()).count();
            let mishaps = moves.len() - ordinary;
            match random.below(5) {
                0 if mishaps > 0 => ordinary + random.below(mishaps),
                _ if ordinary > 0 => random.below(ordinary),
                _ => random.below(moves.len()),
            }
        });
        explored.tally = explored.tally.and(simulation.sum());
        if let Err(broken) = end {
            explored.failed = Some(told(plan, &beginning, simulation.did, &broken));
            return explored;
        }
    }
    explored
}

/// The result of one schedule.
struct Ran {
    tally: Tally,
    did: Vec<Move>,
    broken: Option<Broken>,
}

/// Follows the path, then always takes the first move.
fn run(plan: Plan, beginning: &Beginning, path: &mut Vec<(usize, usize)>) -> Ran {
    let mut simulation = Simulation::begin(plan, beginning, false);
    let (mut at, mut diverged) = (0, false);
    let end = simulation.go(|moves| {
        match path.get(at) {
            Some((_, of)) => diverged |= *of != moves.len(),
            None => path.push((0, moves.len())),
        }
        at += 1;
        path[at - 1].0.min(moves.len() - 1)
    });
    let end = match diverged || at < path.len() {
        true => Err(broken(Violation::Diverged, "the same steps led elsewhere")),
        false => end,
    };
    Ran { tally: simulation.sum(), did: simulation.did, broken: end.err() }
}

/// The shortest schedule that breaks the same promise, with a description.
fn told(plan: Plan, beginning: &Beginning, did: Vec<Move>, broken: &Broken) -> Failed {
    // Shrinking must not add moves, so the bounds of the search don't apply.
    let wide = Plan { faults: usize::MAX, asks: usize::MAX, passes: usize::MAX, ..plan };
    let wide = Plan { steps: usize::MAX, ..wide };
    let mut shortest = did;
    let mut again = true;
    while again {
        again = false;
        let mut at = 0;
        while at < shortest.len() {
            let mut fewer = shortest.clone();
            fewer.remove(at);
            let (simulation, end) = replay(wide, beginning, &fewer, false);
            if end.is_err_and(|end| end.wrong == broken.wrong)
                && simulation.did.len() < shortest.len()
            {
                shortest = simulation.did;
                again = true;
            } else {
                at += 1;
            }
        }
    }
    let (simulation, end) = replay(wide, beginning, &shortest, true);
    let mut trace = simulation.trace.unwrap_or_default();
    trace.extend(end.err().map(|end| format!("{:?}: {}", end.wrong, end.how)));
    Failed { wrong: broken.wrong, trace }
}

/// Makes the moves that are possible, in order.
fn replay(
    plan: Plan,
    beginning: &Beginning,
    moves: &[Move],
    traced: bool,
) -> (Simulation, Result<(), Broken>) {
    let mut simulation = Simulation::begin(plan, beginning, traced);
    for what in moves {
        if simulation.moves().contains(what)
            && let Err(broken) = simulation.apply(*what)
        {
            return (simulation, Err(broken));
        }
    }
    let kept = simulation.did.len();
    let end = simulation.end();
    if end.is_ok() {
        simulation.did.truncate(kept);
    }
    (simulation, end)
}

impl Simulation {
    /// Makes the moves that `choose` selects until none is left, and ends the schedule.
    fn go(&mut self, mut choose: impl FnMut(&[Move]) -> usize) -> Result<(), Broken> {
        loop {
            let moves = self.moves();
            if moves.is_empty() {
                return self.end();
            }
            let chosen = choose(&moves);
            self.apply(moves[chosen])?;
        }
    }

    fn sum(&self) -> Tally {
        let calls = self.hub.wires().provider.calls;
        let steps = self.did.len() as u64;
        Tally { schedules: 1, steps, calls, ..self.tally }
    }
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
