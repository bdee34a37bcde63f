//! All orders of events, breadth first.

use std::collections::HashSet;
use std::fmt;

use super::{DELAY, LIFETIME, LONG_EXPIRED, OLD, Oracle, Presented, REUSE_INTERVAL, Row, Tokens};

/// The bounds of the search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many requests may be in transit at once: at most 3.
    pub in_flight: usize,
    /// How many ticks may pass.
    pub ticks: u8,
    /// How many states are visited at most.
    pub states: usize,
}

/// The result of a search.
#[derive(Debug)]
pub struct Found {
    /// How many different states were reached.
    pub states: usize,
    /// How many questions the search asked the engine.
    pub asked: usize,
    /// Whether every state within the bounds was visited.
    pub complete: bool,
    /// The shortest path to a state in which an honest browser was signed out.
    pub trace: Option<Vec<String>>,
}

/// One request of the browser's, between the click and the jar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Flight {
    /// In transit to the server, for the given number of ticks.
    Sent(Presented, i8),
    /// The server has processed it, and the handler is slow. Holds the generation of the presented
    /// refresh token, the response's tokens, and how many ticks ago the new token was issued.
    Slow(i8, Tokens, i8),
    /// In transit to the browser, for the given number of ticks.
    Answered(Tokens, i8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    row: Row,
    jar: Presented,
    flights: Vec<Flight>,
    /// Generations that await confirmation.
    confirms: Vec<i8>,
    ticks: u8,
    /// The store was restored from a backup. This happens once at most.
    restored: bool,
}

/// The next event.
#[derive(Clone, Copy, Debug)]
enum Event {
    Send,
    /// The server processes a request. A refresh beside it finishes in time, or does not.
    Process(usize, bool),
    /// The same, and the handler is slow.
    ProcessSlowly(usize),
    /// A slow handler's response is sent.
    Leave(usize),
    Deliver(usize),
    Lose(usize),
    Confirm(usize),
    LoseConfirm(usize),
    /// The store loses one generation: a failover lost a write, or a backup was restored. That
    /// generation was confirmed, or not.
    Restore(bool),
    Tick,
}

/// Visits every state that an honest browser and the network can produce.
pub fn search(server: &mut Oracle, bounds: Bounds) -> Found {
    let start = State {
        row: Row { age: 0, confirmed: false },
        jar: Presented { refresh: 0, access: 0, left: LIFETIME },
        flights: Vec::new(),
        confirms: Vec::new(),
        ticks: 0,
        restored: false,
    };
    let mut known: HashSet<Packed> = HashSet::from([pack(&start)]);
    // The predecessor of each state, to print the path.
    let mut visited: Vec<(State, u32, Event)> = vec![(start, 0, Event::Tick)];
    let mut at = 0;
    while at < visited.len() && visited.len() < bounds.states {
        let state = visited[at].0.clone();
        for event in events(&state, bounds) {
            match step(server, &state, event) {
                Err(Expelled) => {
                    let trace = Some(trace(&visited, at, event));
                    let (states, asked) = (visited.len(), server.asked());
                    return Found { states, asked, complete: false, trace };
                }
                Ok(next) => {
                    if known.insert(pack(&next)) {
                        visited.push((next, at as u32, event));
                    }
                }
            }
        }
        at += 1;
    }
    let complete = at == visited.len();
    Found { states: visited.len(), asked: server.asked(), complete, trace: None }
}

/// An honest browser was not served.
struct Expelled;

fn events(state: &State, bounds: Bounds) -> Vec<Event> {
    let mut events = Vec::new();
    if state.flights.len() < bounds.in_flight {
        events.push(Event::Send);
    }
    for (at, flight) in state.flights.iter().enumerate() {
        match flight {
            Flight::Sent(presented, _) => {
                events.push(Event::Process(at, true));
                if presented.left > 0 {
                    events.push(Event::Process(at, false));
                }
                events.push(Event::ProcessSlowly(at));
                events.push(Event::Lose(at));
            }
            Flight::Slow(..) => events.extend([Event::Leave(at), Event::Lose(at)]),
            Flight::Answered(..) => events.extend([Event::Deliver(at), Event::Lose(at)]),
        }
    }
    for at in 0..state.confirms.len() {
        events.extend([Event::Confirm(at), Event::LoseConfirm(at)]);
    }
    if !state.restored {
        events.extend([Event::Restore(true), Event::Restore(false)]);
    }
    let on_time = state.flights.iter().all(|flight| match flight {
        Flight::Sent(_, age) | Flight::Answered(_, age) => *age < DELAY,
        Flight::Slow(..) => true,
    });
    if state.ticks < bounds.ticks && on_time {
        events.push(Event::Tick);
    }
    events
}

fn step(server: &mut Oracle, state: &State, event: Event) -> Result<State, Expelled> {
    let mut next = state.clone();
    match event {
        Event::Send => next.flights.push(Flight::Sent(state.jar, 0)),
        Event::Process(at, finishes) => {
            let tokens = process(server, &mut next, at, finishes)?;
            match tokens {
                Some(tokens) => next.flights[at] = Flight::Answered(tokens, 0),
                None => drop(next.flights.remove(at)),
            }
        }
        Event::ProcessSlowly(at) => {
            let tokens = process(server, &mut next, at, true)?;
            match (tokens, next.flights[at]) {
                // The generations of this request are relative to the current row.
                (Some(tokens), Flight::Sent(presented, _)) if tokens.refresh.is_some() => {
                    next.flights[at] = Flight::Slow(presented.refresh, tokens, next.row.age);
                }
                (Some(tokens), _) => next.flights[at] = Flight::Answered(tokens, 0),
                (None, _) => drop(next.flights.remove(at)),
            }
        }
        Event::Leave(at) => {
            let Flight::Slow(presented, tokens, age) = state.flights[at] else { return Ok(next) };
            let mut attached = true;
            if age >= REUSE_INTERVAL / 2 {
                let (may, row) = server.recheck(state.row, presented);
                attached = may;
                next.row = row.ok_or(Expelled)?;
            }
            match attached {
                true => next.flights[at] = Flight::Answered(tokens, 0),
                false => drop(next.flights.remove(at)),
            }
        }
        Event::Deliver(at) => {
            if let Flight::Answered(tokens, _) = next.flights.remove(at) {
                if let Some(refresh) = tokens.refresh {
                    next.jar.refresh = refresh;
                }
                if let Some((access, left)) = tokens.access {
                    (next.jar.access, next.jar.left) = (access, left);
                }
            }
        }
        Event::Lose(at) => drop(next.flights.remove(at)),
        Event::Confirm(at) => {
            // The store's own rule, which the store suite checks.
            if next.confirms.remove(at) == 0 {
                next.row.confirmed = true;
            }
        }
        Event::LoseConfirm(at) => drop(next.confirms.remove(at)),
        Event::Restore(confirmed) => {
            next.restored = true;
            next.row = Row { age: OLD, confirmed };
            rebase(&mut next, -1);
        }
        Event::Tick => {
            next.ticks += 1;
            next.row.age = (next.row.age + 1).min(OLD);
            let older = |left: i8| (left - 1).max(LONG_EXPIRED);
            next.jar.left = older(next.jar.left);
            for flight in &mut next.flights {
                match flight {
                    Flight::Sent(presented, age) => {
                        presented.left = older(presented.left);
                        *age += 1;
                    }
                    Flight::Answered(tokens, age) => {
                        age_tokens(tokens);
                        *age += 1;
                    }
                    Flight::Slow(_, tokens, age) => {
                        age_tokens(tokens);
                        *age = (*age + 1).min(OLD);
                    }
                }
            }
        }
    }
    next.flights.sort_unstable();
    next.confirms.sort_unstable();
    next.confirms.dedup();
    Ok(next)
}

fn age_tokens(tokens: &mut Tokens) {
    if let Some((_, left)) = &mut tokens.access {
        *left = (*left - 1).max(LONG_EXPIRED);
    }
}

/// The server's part. Returns the response's tokens, if any, relative to the row afterwards.
fn process(
    server: &mut Oracle,
    next: &mut State,
    at: usize,
    finishes: bool,
) -> Result<Option<Tokens>, Expelled> {
    let Flight::Sent(presented, _) = next.flights[at] else { return Ok(None) };
    let outcome = server.process(next.row, presented, finishes);
    let (row, moved) = outcome.row.ok_or(Expelled)?;
    if !outcome.served {
        return Err(Expelled);
    }
    next.row = row;
    next.confirms.extend(outcome.confirms);
    let mut tokens = outcome.tokens;
    rebase_tokens(&mut tokens, moved);
    rebase(next, moved);
    Ok((tokens != Tokens::default()).then_some(tokens))
}

/// The row advanced by the given number of generations. Makes everything relative to the new row.
fn rebase(state: &mut State, by: i8) {
    if by == 0 {
        return;
    }
    state.jar.refresh -= by;
    state.jar.access -= by;
    state.confirms.iter_mut().for_each(|generation| *generation -= by);
    // A generation that can't become current again can't be confirmed.
    state.confirms.retain(|generation| *generation >= 0);
    for flight in &mut state.flights {
        match flight {
            Flight::Sent(presented, _) => {
                presented.refresh -= by;
                presented.access -= by;
            }
            Flight::Slow(refresh, tokens, _) => {
                *refresh -= by;
                rebase_tokens(tokens, by);
            }
            Flight::Answered(tokens, _) => rebase_tokens(tokens, by),
        }
    }
}

fn rebase_tokens(tokens: &mut Tokens, by: i8) {
    if let Some(refresh) = &mut tokens.refresh {
        *refresh -= by;
    }
    if let Some((access, _)) = &mut tokens.access {
        *access -= by;
    }
}

/// A state, packed into few bytes.
type Packed = Box<[u8]>;

fn pack(state: &State) -> Packed {
    let mut bytes = Vec::with_capacity(48);
    let mut put = |value: i8| bytes.push(value as u8);
    put(state.row.age);
    put(i8::from(state.row.confirmed));
    put(state.ticks as i8);
    put(i8::from(state.restored));
    for value in [state.jar.refresh, state.jar.access, state.jar.left] {
        put(value);
    }
    for flight in &state.flights {
        let (kind, values, tokens) = match flight {
            Flight::Sent(p, age) => (1 + 4 * age, [p.refresh, p.access, p.left], None),
            Flight::Slow(refresh, tokens, age) => (2, [*refresh, *age, 0], Some(tokens)),
            Flight::Answered(tokens, age) => (3, [*age, 0, 0], Some(tokens)),
        };
        put(kind);
        values.into_iter().for_each(&mut put);
        if let Some(tokens) = tokens {
            put(tokens.refresh.unwrap_or(i8::MIN));
            let (access, left) = tokens.access.unwrap_or((i8::MIN, 0));
            put(access);
            put(left);
        }
    }
    put(i8::MAX);
    state.confirms.iter().copied().for_each(put);
    bytes.into()
}

fn trace(visited: &[(State, u32, Event)], mut at: usize, last: Event) -> Vec<String> {
    let mut lines = vec![format!("{}  -> signed out", Line(&visited[at].0, last))];
    while at != 0 {
        let (_, from, event) = &visited[at];
        at = *from as usize;
        lines.push(Line(&visited[at].0, *event).to_string());
    }
    lines.reverse();
    lines
}

/// A state, and the event that followed.
struct Line<'s>(&'s State, Event);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { row, jar, flights, confirms, ticks, restored: _ } = self.0;
        write!(
            f,
            "tick {ticks}: rotated {} ticks ago, {}; jar refresh {:+}, access {:+} with {} left; \
             flights {flights:?}; to confirm {confirms:?}: {:?}",
            row.age,
            if row.confirmed { "confirmed" } else { "unconfirmed" },
            jar.refresh,
            jar.access,
            jar.left,
            self.1
        )
    }
}
