//! The events of a schedule. They are drawn from a seed before the run starts, so the engine's own
//! random values (ids, salts) don't influence them. Any event can be left out.

use super::setup::Habit;

/// One event. The pick selects its target among the current candidates. Without a candidate
/// the event has no effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) what: EventKind,
    pub(super) pick: Pick,
    /// Its position in the drawn schedule, by which the requests are numbered.
    pub(super) place: u32,
    /// The request that it applies to, if a former run recorded that.
    pub(super) about: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// Time passes.
    Tick,
    /// The device sleeps for hours; then every tab sends a request at once.
    Sleep,
    /// A browser tab sends a request.
    Send,
    /// A tab prefetches a page that it may never show.
    Prefetch,
    /// A tab signs in, over any existing session.
    SignIn,
    /// A tab signs out.
    SignOut,
    /// A request or a response advances by one step.
    Work,
    /// All requests in transit arrive at once.
    Together,
    /// A request or a response is lost; a slow handler never ends.
    Lose,
    /// A confirmation reaches the store, or is lost.
    Confirm,
    /// The user's other device sends a request.
    Device,
    /// A node crashes and restarts.
    Crash,
    /// The next step of a rotation of the key ring.
    Keys,
    /// The store is backed up.
    Backup,
    /// The nodes are stopped, and the store is restored from the backup.
    Restore,
    /// The store fails for a while.
    Outage,
    /// A thief copies the jar.
    Copy,
    /// The thief sends a request.
    Thief,
    /// The browser stops sending requests.
    Gone,
}

/// A number that picks one of the candidates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick(pub(super) u32);

impl Pick {
    /// Picks one of `bound`; the quotient is kept for the next pick.
    pub(super) fn of(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u32;
        let picked = self.0 % bound;
        self.0 /= bound;
        picked as usize
    }

    /// True once in `bound` times.
    pub(super) fn once_in(&mut self, bound: usize) -> bool {
        self.of(bound) == 0
    }
}

/// How often each event occurs, in thousandths. The rest are the thief's requests or `Work`.
const OFTEN: [(u32, EventKind); 15] = [
    (480, EventKind::Work),
    (110, EventKind::Send),
    (130, EventKind::Tick),
    (85, EventKind::Confirm),
    (35, EventKind::Device),
    (20, EventKind::Lose),
    (20, EventKind::Together),
    (15, EventKind::Prefetch),
    (15, EventKind::Keys),
    (7, EventKind::Sleep),
    (7, EventKind::Crash),
    (7, EventKind::Outage),
    (3, EventKind::SignIn),
    (3, EventKind::SignOut),
    (8, EventKind::Backup),
];

/// How often a backup is restored, in thousandths.
const RESTORES: u32 = 2;

/// The events of a schedule.
pub(super) fn draw(random: &mut Random, steps: usize, habit: Option<Habit>) -> Vec<Event> {
    let event = |what, pick| Event { what, pick, place: 0, about: None };
    let mut draw = |_| event(what(random, habit), Pick(random.next() as u32));
    let mut events: Vec<_> = (0..steps).map(&mut draw).collect();
    if let Some(habit) = habit {
        let mut once = |what, at: usize| {
            events.insert(at.min(events.len()), event(what, Pick(0)));
        };
        let copied = random.below(steps as u32 / 2) as usize;
        once(EventKind::Copy, copied);
        if habit == Habit::TakeOver {
            once(EventKind::Gone, copied + 1 + random.below(steps as u32 / 4) as usize);
        }
    }
    (1..).zip(&mut events).for_each(|(place, event)| event.place = place);
    events
}

fn what(random: &mut Random, habit: Option<Habit>) -> EventKind {
    let mut at = random.below(1000);
    for (often, what) in OFTEN {
        match at.checked_sub(often) {
            None => return what,
            Some(rest) => at = rest,
        }
    }
    match (at, habit) {
        (0..RESTORES, _) => EventKind::Restore,
        (_, Some(_)) => EventKind::Thief,
        (_, None) => EventKind::Work,
    }
}

/// `SplitMix64`: the same schedules from the same seed, everywhere.
pub(super) struct Random(u64);

impl Random {
    /// Mixes the seed, so that neighbouring seeds produce unrelated sequences.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.0 = random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound.max(1))) as u32
    }
}
