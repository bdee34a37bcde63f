//! The feed of ends in PostgreSQL: what a node reads, and how it goes on from there.
//!
//! # Contents of the scene
//! 1. A server whose transactions take their ids in the order of their inserts, and commit in any
//!    order, at any later time, or roll back. Each inserts one end.
//! 2. A transaction of another application, which may stay open for ever.
//! 3. The server's clock, which may step back once.
//! 4. One node. It reads the ends that were kept when it starts, in pages, then polls, and reads in
//!    pages again if a poll finds more than a page.
//! 5. A loss, after which the server uses ids of transactions again: a standby that lacks the last
//!    transactions is promoted, the server crashes with transactions that it had not flushed, or
//!    one of its processes crashes. PostgreSQL flushes what commits, and not what rolls back.
//!
//! # Promise
//! In each state: if open transactions end now and the node polls until it has caught up, it has
//! read every end that the server holds. With [`Feed::prompt`] in addition: each poll that is
//! caught up brings every end that is committed.

mod node;
mod server;

use node::Node;
use server::{Outcome, Server};

use super::Scene;

/// By what a poll finds ends that it has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The number of a sequence is above the last one that was read.
    Number,
    /// The time of the end is at most so many ticks before the last poll.
    Time(u8),
    /// The transaction is below the oldest one that is open, and at or above the last poll's.
    BelowXmin,
    /// The transaction is at or above the last snapshot's xmin.
    FromXmin,
    /// The transaction is not visible in the last snapshot: it is at or above its xmax, or among
    /// those in progress.
    Difference,
    /// The first condition of [`Reading::Difference`] alone.
    OnlyFromXmax,
    /// The second condition of [`Reading::Difference`] alone.
    OnlyInProgress,
}

/// What makes the reading begin anew, besides the node's own start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew {
    /// Nothing: the node always goes on from its cursor.
    Never,
    /// The snapshot's xmax is below the cursor's.
    LowerXmax,
    /// The server's timeline is another.
    Timeline,
    /// The server's start is another.
    Started,
    /// The server's start, or the time at which its statistics were reset, is another: each
    /// recovery from a crash resets them.
    Recovered,
}

/// The bounds and the rules.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// How many transactions insert an end: at most 4.
    pub ends: usize,
    /// How many transactions may be open at once; SQLite has one writer.
    pub writers: usize,
    /// Whether another application's transaction is open beside them.
    pub foreign: bool,
    /// How many ends fit a page.
    pub page: usize,
    /// How many ticks may pass.
    pub ticks: u8,
    /// How many ticks a commit may follow the insert.
    pub commit: u8,
    /// By how many ticks the server's clock steps back, once.
    pub step_back: u8,
    /// Whether the server may lose its last transactions, once.
    pub loss: bool,
    /// By what a poll finds ends.
    pub reading: Reading,
    /// Rule: each poll that is caught up brings every end that is committed.
    pub prompt: bool,
    /// Rule: the snapshot to go on from is taken before the first page is read.
    pub snapshot_first: bool,
    /// Rule: the pages after a stop begin at the old cursor's xmin.
    pub pages_from_xmin: bool,
    /// Rule: what makes the reading begin anew.
    pub anew: Anew,
    /// Rule: the server that is read is no standby.
    pub primary: bool,
}

impl Feed {
    /// Every rule, three ends and no loss.
    pub const fn new() -> Self {
        Self {
            ends: 3,
            writers: 3,
            foreign: false,
            page: 9,
            ticks: 0,
            commit: 9,
            step_back: 0,
            loss: false,
            reading: Reading::Difference,
            prompt: true,
            snapshot_first: true,
            pages_from_xmin: true,
            anew: Anew::Recovered,
            primary: true,
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

/// The server, and the node that reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    server: Server,
    node: Node,
    stepped: bool,
}

/// The next event.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A transaction begins and inserts this end.
    Insert(usize),
    /// The transaction of this end commits.
    Commit(usize),
    /// The transaction of this end rolls back.
    RollBack(usize),
    /// Another application's transaction takes an id.
    BeginForeign,
    /// It ends.
    EndForeign,
    /// The node polls, or reads its next page.
    Poll,
    /// A standby is promoted that lacks so many of the last transactions.
    Promote(usize),
    /// The server is started again after a crash, and lacks so many of the last transactions.
    Restart(usize),
    /// One of the server's processes crashes. The server recovers by itself, without a new start.
    /// It keeps every commit. The ids of so many transactions that rolled back are used again.
    Recover(usize),
    /// Time passes.
    Tick,
    /// The server's clock steps back.
    StepBack,
}

impl Scene for Feed {
    type State = State;
    type Event = Event;

    fn start(&self) -> State {
        let server = Server::new(self.ends, self.step_back, self.loss);
        State { server, node: Node::default(), stepped: false }
    }

    fn events(&self, state: &State) -> Vec<Event> {
        let server = &state.server;
        let mut events = vec![Event::Poll];
        // Ends are alike, so they are inserted in their order.
        if server.open() < self.writers
            && let Some(end) = server.ends.iter().position(|end| end.outcome == Outcome::Waiting)
        {
            events.push(Event::Insert(end));
        }
        let open = |(at, _): (usize, _)| [Event::Commit(at), Event::RollBack(at)];
        let transactions = server.ends.iter().enumerate();
        events.extend(transactions.filter(|(_, end)| end.outcome == Outcome::Open).flat_map(open));
        match server.foreign.outcome {
            Outcome::Waiting if self.foreign => events.push(Event::BeginForeign),
            Outcome::Open => events.push(Event::EndForeign),
            _ => {}
        }
        if let Some(most) = server.losable() {
            events.extend((0..=most).flat_map(|lost| [Event::Promote(lost), Event::Restart(lost)]));
            events.extend((0..=server.rolled_back_last()).map(Event::Recover));
        }
        if server.ticks < self.ticks && server.may_wait(self.commit) {
            events.push(Event::Tick);
        }
        if self.step_back > 0 && !state.stepped {
            events.push(Event::StepBack);
        }
        events
    }

    fn step(&self, state: &State, event: Event) -> State {
        let mut next = state.clone();
        let server = &mut next.server;
        match event {
            Event::Insert(end) => server.insert(end),
            Event::Commit(end) => server.finish(end, Outcome::Committed),
            Event::RollBack(end) => server.finish(end, Outcome::Gone),
            Event::BeginForeign => server.begin_foreign(),
            Event::EndForeign => server.end_foreign(),
            Event::Poll => self.poll(server, &mut next.node),
            Event::Promote(lost) => server.lose(lost, true, true),
            Event::Restart(lost) => server.lose(lost, true, false),
            Event::Recover(lost) => server.lose(lost, false, false),
            Event::Tick => {
                server.ticks += 1;
                server.clock += 1;
            }
            Event::StepBack => server.clock -= self.step_back,
        }
        next.stepped |= matches!(event, Event::StepBack);
        next
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        if self.prompt && state.node.late {
            return Some("a poll leaves out an end that is committed");
        }
        let State { mut server, mut node, .. } = state.clone();
        server.finish_all();
        for _ in 0..2 * self.ends + 4 {
            self.poll(&server, &mut node);
        }
        let all = server.visible(|_| true).fold(0, |all, end| all | 1 << end);
        (all & !node.heard != 0).then_some("the node never reads an end")
    }
}
