//! Small models of the rules that the stores follow. Each is searched through all orders of events.
//!
//! A [`Scene`] has its rules as flags. With every rule in place [`explore`] visits all states
//! within the scene's bounds and finds no broken promise. With one rule taken back it returns the
//! shortest trace to a state in which a promise is broken, so no rule is unnecessary or untested.
//!
//! * [`feed`]: how a node reads the ends of sessions from PostgreSQL, whose transactions commit in
//!   any order, and after a failover.
//! * [`knows`]: a node that knows of an end which the store has lost.
//!
//! An *end* is a session that was signed out, revoked or found stolen. These models run neither
//! the engine nor a database: the stores' own tests check that the SQL and the scripts do what a
//! model assumes.

pub mod feed;
pub mod knows;

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

/// A small model: its states, its events, and what must hold in each state.
pub trait Scene {
    /// Everything that can differ.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// The next event.
    type Event: Copy + fmt::Debug;

    /// The first state.
    fn start(&self) -> Self::State;
    /// The events that are possible in this state.
    fn events(&self, state: &Self::State) -> Vec<Self::Event>;
    /// The state after the event.
    fn step(&self, state: &Self::State, event: Self::Event) -> Self::State;
    /// The promise that this state breaks, if any.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Explored {
    /// How many different states were reached.
    pub states: usize,
    /// Whether these are all states within the scene's bounds.
    pub complete: bool,
    /// The shortest way to a broken promise.
    pub failed: Option<Failed>,
}

/// A schedule that broke a promise.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which promise.
    pub wrong: &'static str,
    /// The events, in order.
    pub trace: Vec<String>,
    /// The state that breaks it.
    pub state: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.trace.join(", "))?;
        writeln!(f, "  -> {}: {}", self.wrong, self.state)
    }
}

/// Visits every state of the scene, breadth first, up to `most` of them.
pub fn explore<S: Scene>(scene: &S, most: usize) -> Explored {
    let start = scene.start();
    let mut known = HashSet::from([start.clone()]);
    let mut visited: Vec<Visited<S>> = vec![(start, 0, None)];
    let mut at = 0;
    while at < visited.len() && visited.len() < most {
        let state = visited[at].0.clone();
        if let Some(wrong) = scene.broken(&state) {
            let (trace, state) = (trace::<S>(&visited, at), format!("{state:?}"));
            let failed = Some(Failed { wrong, trace, state });
            return Explored { states: visited.len(), complete: false, failed };
        }
        for event in scene.events(&state) {
            let next = scene.step(&state, event);
            if known.insert(next.clone()) {
                visited.push((next, at, Some(event)));
            }
        }
        at += 1;
    }
    Explored { states: visited.len(), complete: at == visited.len(), failed: None }
}

/// A state, the index of its predecessor, and the event between them.
type Visited<S> = (<S as Scene>::State, usize, Option<<S as Scene>::Event>);

fn trace<S: Scene>(visited: &[Visited<S>], mut at: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while let (_, from, Some(event)) = &visited[at] {
        at = *from;
        lines.push(format!("{event:?}"));
    }
    lines.reverse();
    lines
}
