//! Random schedules: a browser with many tabs, and perhaps a thief who copied its jar.

use super::{DELAY, LIFETIME, LONG_EXPIRED, OLD, OVERLAP, Presented, Row, Server};

/// What became of many schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many schedules there were.
    pub schedules: u32,
    /// An honest browser was signed out though nobody else held its tokens.
    pub signed_out: u32,
    /// A thief copied a jar, and it was noticed: the session was ended.
    pub noticed: u32,
    /// A thief copied a jar and never got anything for it.
    pub worthless: u32,
    /// A thief was served and not noticed while the schedule lasted: in lock-step with the
    /// browser, or in place of a browser that came no more.
    pub unnoticed: u32,
    /// How many rotations there were.
    pub rotations: u64,
    /// How often an access token had run out, over all schedules: no less than the rotations.
    pub expiries: u64,
}

/// A holder of tokens, by absolute generation; when the access token expires, in ticks.
#[derive(Clone, Debug)]
struct Holder {
    refresh: i64,
    access: i64,
    expires: i64,
    flights: Vec<Flight>,
}

/// A request or a response under way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    since: i64,
    refresh: i64,
    access: i64,
    expires: i64,
    /// On its way back, with tokens; a refresh token that is not new stays as it was.
    answered: bool,
}

struct World<'s> {
    server: &'s mut Server,
    random: Random,
    now: i64,
    /// The row's generation, when it began, and whether it was shown. None: ended.
    row: Option<(i64, i64, bool)>,
    confirms: Vec<i64>,
    rotations: u64,
}

/// Runs schedules from `seed` on, each of `steps` events; with a thief in each if `thief`.
pub fn random(server: &mut Server, seed: u64, schedules: u32, steps: u32, thief: bool) -> Tally {
    let mut tally = Tally::default();
    for schedule in 0..schedules {
        let random = Random::new(seed.wrapping_add(u64::from(schedule)));
        one(server, random, steps, thief, &mut tally);
    }
    tally
}

fn one(server: &mut Server, random: Random, steps: u32, thief: bool, tally: &mut Tally) {
    let row = Some((0, 0, false));
    let mut world = World { server, random, now: 0, row, confirms: Vec::new(), rotations: 0 };
    let expires = i64::from(LIFETIME);
    let mut browser = Holder { refresh: 0, access: 0, expires, flights: Vec::new() };
    let mut other: Option<Holder> = None;
    let (mut served_thief, mut ended) = (false, false);
    let copy_at = world.random.below(steps / 2);
    for step in 0..steps {
        if thief && step == copy_at {
            other = Some(Holder { flights: Vec::new(), ..browser.clone() });
        }
        let thiefs_turn = world.random.below(4) == 0;
        let (holder, is_thief) = match &mut other {
            Some(other) if thiefs_turn => (other, true),
            _ => (&mut browser, false),
        };
        match world.event(holder, if is_thief { 2 } else { 8 }) {
            Served::Yes => served_thief |= is_thief,
            Served::No => ended |= world.row.is_none() || !is_thief,
            Served::Nothing => {}
        }
        if world.random.below(3) == 0 {
            let mut holders = vec![&mut browser];
            holders.extend(other.as_mut());
            world.tick(&mut holders);
        }
        if ended {
            break;
        }
    }
    tally.schedules += 1;
    tally.rotations += world.rotations;
    tally.expiries += (world.now / i64::from(OVERLAP)) as u64 + 1;
    match (thief, ended) {
        (false, ended) => tally.signed_out += u32::from(ended),
        (true, true) => tally.noticed += 1,
        (true, false) if served_thief => tally.unnoticed += 1,
        (true, false) => tally.worthless += 1,
    }
}

enum Served {
    Yes,
    No,
    Nothing,
}

impl World<'_> {
    /// Something happens to one holder's requests, or to what the server has yet to report.
    fn event(&mut self, holder: &mut Holder, tabs: usize) -> Served {
        match self.random.below(6) {
            0 | 1 if holder.flights.len() < tabs => {
                let Holder { refresh, access, expires, .. } = *holder;
                let since = self.now;
                holder.flights.push(Flight { since, refresh, access, expires, answered: false });
            }
            0..=3 if !holder.flights.is_empty() => {
                let at = self.random.below(holder.flights.len() as u32) as usize;
                let flight = holder.flights[at];
                if flight.answered {
                    holder.flights.remove(at);
                    (holder.refresh, holder.access) = (flight.refresh, flight.access);
                    holder.expires = flight.expires;
                    return Served::Nothing;
                }
                return self.process(holder, at);
            }
            4 if !holder.flights.is_empty() => {
                // Lost, or the node that had it crashed.
                let at = self.random.below(holder.flights.len() as u32) as usize;
                holder.flights.remove(at);
            }
            5 if !self.confirms.is_empty() => {
                let at = self.random.below(self.confirms.len() as u32) as usize;
                let generation = self.confirms.remove(at);
                let lost = self.random.below(4) == 0;
                if let Some((current, _, confirmed)) = &mut self.row
                    && *current == generation
                    && !lost
                {
                    *confirmed = true;
                }
            }
            _ => {}
        }
        Served::Nothing
    }

    fn process(&mut self, holder: &mut Holder, at: usize) -> Served {
        let flight = holder.flights[at];
        let Some((current, since, confirmed)) = self.row else {
            holder.flights.remove(at);
            return Served::No;
        };
        let near = |generation: i64| (generation - current).clamp(-3, 3) as i8;
        let left = (flight.expires - self.now).clamp(i64::from(LONG_EXPIRED), i64::from(LIFETIME));
        let presented = Presented {
            refresh: near(flight.refresh),
            access: near(flight.access),
            left: left as i8,
        };
        let age = (self.now - since).min(i64::from(OLD)) as i8;
        let lands = self.random.below(2) == 0;
        let outcome = self.server.process(Row { age, confirmed }, presented, lands);
        self.row = outcome.row.map(|(row, moved)| {
            self.rotations += u64::from(moved > 0);
            let began =
                if row.age == age && moved == 0 { since } else { self.now - i64::from(row.age) };
            (current + i64::from(moved), began, row.confirmed)
        });
        self.confirms.extend(outcome.confirms.map(|generation| current + i64::from(generation)));
        let tokens = outcome.tokens;
        match tokens.access {
            Some((access, left)) => {
                let refresh = tokens.refresh.map_or(holder.refresh, |g| current + i64::from(g));
                holder.flights[at] = Flight {
                    since: self.now,
                    refresh,
                    access: current + i64::from(access),
                    expires: self.now + i64::from(left),
                    answered: true,
                };
            }
            None => drop(holder.flights.remove(at)),
        }
        if outcome.served { Served::Yes } else { Served::No }
    }

    /// Time goes by; what was on its way for too long is lost.
    fn tick(&mut self, holders: &mut [&mut Holder]) {
        self.now += 1;
        for holder in holders {
            holder.flights.retain(|flight| self.now - flight.since <= i64::from(DELAY));
        }
    }
}

/// `SplitMix64`: the same schedules from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(bound.max(1))) as u32
    }
}
