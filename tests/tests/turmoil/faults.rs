//! The faults of a schedule, drawn from a seed before the run.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use crate::{BROWSERS, NODES, browser, node, provider, store};

/// The latency of a link, normally and when it is slow.
pub(crate) const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(700);

/// The distance between two faults of one link or host. Held messages arrive in between.
const GAP: Duration = Duration::from_millis(300);

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Messages wait, and arrive after the fault.
    Hold,
    /// Messages are lost, both ways.
    Part,
    /// Messages are lost, one way.
    PartOneWay,
    /// Messages are slow.
    Slow,
    /// A host crashes and restarts.
    Crash,
}

/// One fault.
#[derive(Clone, Debug)]
struct Fault {
    kind: Kind,
    from: Duration,
    until: Duration,
    /// The host, or one end of the link.
    a: String,
    b: String,
}

/// All faults of one schedule.
#[derive(Debug)]
pub(crate) struct Faults {
    all: Vec<Fault>,
    /// The faults that have started, and those that are over.
    begun: Vec<(bool, bool)>,
}

impl Faults {
    /// `held`: how long a message may be in transit.
    pub(crate) fn draw(
        random: &mut Rng,
        length: Duration,
        held: Duration,
        has_provider: bool,
    ) -> Self {
        let nodes: Vec<String> = (0..NODES).map(node::name).collect();
        let mut links = Vec::new();
        for node in &nodes {
            links.extend((0..BROWSERS).map(|n| (browser::name(n), node.clone())));
            // The links behind the nodes fail as often as all links before them.
            links.extend((0..BROWSERS).map(|_| (node.clone(), store::HOST.to_owned())));
            if has_provider {
                links.extend((0..BROWSERS).map(|_| (node.clone(), provider::HOST.to_owned())));
            }
        }
        let mut hosts = nodes;
        hosts.push(store::HOST.to_owned());
        if has_provider {
            hosts.push(provider::HOST.to_owned());
        }
        let mut all: Vec<Fault> = Vec::new();
        for _ in 0..random.usize(8..36) {
            let from = Duration::from_millis(random.u64(2000..millis(length)));
            let (kind, least, most) = match random.u8(..10) {
                0..3 => (Kind::Hold, millis(held) / 2, millis(held)),
                3..5 => (Kind::Part, 50, 6000),
                5 => (Kind::PartOneWay, 50, 3000),
                6..8 => (Kind::Slow, 50, 6000),
                _ => (Kind::Crash, 50, 3000),
            };
            let (a, b) = match kind {
                Kind::Crash => (hosts[random.usize(..hosts.len())].clone(), String::new()),
                _ => links[random.usize(..links.len())].clone(),
            };
            let until = from + Duration::from_millis(random.u64(least..most));
            let is_free = |other: &Fault| {
                (&other.a, &other.b) != (&a, &b)
                    || other.until + GAP < from
                    || until + GAP < other.from
            };
            if all.iter().all(is_free) {
                all.push(Fault { kind, from, until, a, b });
            }
        }
        let begun = vec![(false, false); all.len()];
        Self { all, begun }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Starts and ends the faults that are due.
    pub(crate) fn apply(&mut self, sim: &mut Sim<'_>, now: Duration, mut tell: impl FnMut(String)) {
        for (fault, (begun, over)) in self.all.iter().zip(&mut self.begun) {
            let (a, b) = (&*fault.a, &*fault.b);
            if !*begun && now >= fault.from {
                *begun = true;
                tell(fault.to_string());
                match fault.kind {
                    Kind::Hold => sim.hold(a, b),
                    Kind::Part => sim.partition(a, b),
                    Kind::PartOneWay => sim.partition_oneway(a, b),
                    Kind::Slow => sim.set_link_max_message_latency(a, b, SLOW),
                    Kind::Crash => sim.crash(a),
                }
            }
            if *begun && !*over && now >= fault.until {
                *over = true;
                tell(format!("over: {fault}"));
                match fault.kind {
                    Kind::Hold => sim.release(a, b),
                    Kind::Part => sim.repair(a, b),
                    Kind::PartOneWay => sim.repair_oneway(a, b),
                    Kind::Slow => sim.set_link_max_message_latency(a, b, QUICK),
                    Kind::Crash => sim.bounce(a),
                }
            }
        }
    }

    /// Whether the link between a browser and a node had any fault in this time.
    pub(crate) fn touch(&self, browser: &str, node: &str, from: Duration, until: Duration) -> bool {
        self.all.iter().any(|fault| {
            let there = fault.a == node && fault.kind == Kind::Crash
                || fault.a == browser && fault.b == node;
            there && fault.from <= until && from <= fault.until + GAP
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.kind, self.a, self.b)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
