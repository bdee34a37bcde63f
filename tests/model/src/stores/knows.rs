//! A node that knows of an end which the store has lost.
//!
//! # Contents of the scene
//! 1. A store that replicates asynchronously. A failover loses what the replica does not have.
//! 2. One session, and nodes that end it, read its end, refuse its refresh because the row is
//!    missing, or crash and forget.
//! 3. A wrong server that answers a refresh once: a replica behind, or a file that was replaced. It
//!    does not hold the row.
//!
//! # Promises
//! 1. A node that knows of an end, because it made or read it, lets no refresh through.
//! 2. A session that was never ended keeps its row.
//! 3. Once a node that knows has read the feed of the present server, or has refused a refresh, the
//!    row is gone.

use super::Scene;

/// The bounds and the rules.
#[derive(Clone, Copy, Debug)]
pub struct Knows {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many failovers happen at most.
    pub failovers: u8,
    /// How often a node asks a wrong server, at most.
    pub wrong_answers: u8,
    /// Rule: a refresh that finds the row of a session whose end this node knows ends it again.
    pub end_again: bool,
    /// Rule: only ends that this node made or read count, and no refresh that was refused.
    pub only_ends: bool,
    /// Rule: a node that reads another server for the first time tells it what it does not hold.
    pub tell_again: bool,
    /// Beyond the rules: no node at all lets a refresh of an ended session through.
    pub every_node: bool,
}

impl Knows {
    /// Every rule.
    pub const fn new() -> Self {
        Self {
            nodes: 3,
            failovers: 2,
            wrong_answers: 1,
            end_again: true,
            only_ends: true,
            tell_again: true,
            every_node: false,
        }
    }
}

impl Default for Knows {
    fn default() -> Self {
        Self::new()
    }
}

/// What a server holds of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Copy {
    row: bool,
    end: bool,
}

/// What a node knows of the session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Knowledge {
    Nothing,
    /// A refresh was refused, because there was no row.
    Refused,
    /// This node ended the session, or read its end from the feed.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    knows: Knowledge,
    /// The server whose feed it has read.
    server: u8,
}

/// The store, its replica, and the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    store: Copy,
    replica: Copy,
    server: u8,
    wrong_answers: u8,
    nodes: Vec<Node>,
    /// A client or an operator ended the session.
    ended: bool,
    /// A node that knows let a refresh through.
    passed_knowing: bool,
    /// Any node let a refresh through after the end.
    passed: bool,
    /// A node that knows has noticed the present server.
    noticed: bool,
}

/// The next event.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The session is ended at this node.
    End(usize),
    /// This node reads the feed.
    Read(usize),
    /// A client presents the session's refresh token at this node.
    Refresh(usize),
    /// The same, and the node asks a wrong server.
    RefreshAtWrong(usize),
    /// This node loses its memory.
    Crash(usize),
    /// The replica catches up.
    Replicate,
    /// The replica takes over.
    Failover,
}

impl Scene for Knows {
    type State = State;
    type Event = Event;

    fn start(&self) -> State {
        let live = Copy { row: true, end: false };
        let node = Node { knows: Knowledge::Nothing, server: 0 };
        State {
            store: live,
            replica: live,
            server: 0,
            wrong_answers: 0,
            nodes: vec![node; self.nodes],
            ended: false,
            passed_knowing: false,
            passed: false,
            noticed: false,
        }
    }

    fn events(&self, state: &State) -> Vec<Event> {
        let mut events = Vec::new();
        for node in 0..self.nodes {
            events.extend([Event::Read(node), Event::Refresh(node), Event::Crash(node)]);
            if !state.ended {
                events.push(Event::End(node));
            }
            if state.wrong_answers < self.wrong_answers {
                events.push(Event::RefreshAtWrong(node));
            }
        }
        events.push(Event::Replicate);
        if state.server < self.failovers {
            events.push(Event::Failover);
        }
        events
    }

    fn step(&self, state: &State, event: Event) -> State {
        let mut next = state.clone();
        match event {
            Event::End(node) => {
                next.ended = true;
                next.nodes[node].knows = Knowledge::End;
                next.store = Copy { row: false, end: true };
            }
            Event::Read(node) => self.read(&mut next, node),
            Event::Refresh(node) => self.refresh(&mut next, node),
            Event::RefreshAtWrong(node) => {
                next.wrong_answers += 1;
                refused(&mut next.nodes[node]);
            }
            Event::Crash(node) => {
                next.nodes[node] = Node { knows: Knowledge::Nothing, server: state.server };
            }
            Event::Replicate => next.replica = next.store,
            Event::Failover => {
                next.server += 1;
                next.store = next.replica;
                next.noticed = false;
            }
        }
        next
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        if state.passed_knowing {
            return Some("a node that knows of the end lets a refresh through");
        }
        if !state.ended && !state.store.row {
            return Some("a session that was never ended has lost its row");
        }
        if state.noticed && state.store.row {
            return Some("a node that knows has noticed, and the row is still there");
        }
        (self.every_node && state.passed).then_some("a session is refreshed after its end")
    }
}

impl Knows {
    fn read(&self, state: &mut State, node: usize) {
        let State { store, server, nodes, .. } = state;
        let node = &mut nodes[node];
        if store.end {
            node.knows = Knowledge::End;
        } else if node.server != *server && self.counts(node.knows) && self.tell_again {
            *store = Copy { row: false, end: true };
        }
        node.server = *server;
        state.noticed |= node.knows == Knowledge::End;
    }

    fn refresh(&self, state: &mut State, node: usize) {
        let knows = state.nodes[node].knows;
        if !state.store.row {
            return refused(&mut state.nodes[node]);
        }
        if self.counts(knows) && self.end_again {
            state.store = Copy { row: false, end: true };
            state.noticed |= knows == Knowledge::End;
            return;
        }
        state.passed_knowing |= knows == Knowledge::End;
        state.passed |= state.ended && self.every_node;
    }

    fn counts(&self, knows: Knowledge) -> bool {
        knows == Knowledge::End || knows == Knowledge::Refused && !self.only_ends
    }
}

fn refused(node: &mut Node) {
    if node.knows == Knowledge::Nothing {
        node.knows = Knowledge::Refused;
    }
}
