//! Nodes, a store and another server over a simulated network, driven by a seed: partitions, held
//! and slow messages, crashes. F01, F03, F19, rows S46, S54 and S57.
//!
//! The nodes are real engines with the Tower layer, served by hyper. The store answers over the
//! same network. Each browser has three tabs and talks to all nodes. Time is the simulation's.
//!
//! # Checks of every schedule
//! 1. No client is signed out unless it signed out itself: it gets no 401, keeps its cookies, is
//!    never taken for a thief, and is served at the end. Messages arrive within a quarter of the
//!    reuse interval, or never, as everfresh assumes. Handlers have no time limit.
//! 2. Each generation has one successor, byte for byte, and the store rotates it once.
//! 3. Each client is served as the user that signed in.
//! 4. A client with a good connection to a node gets an answer within a time limit.
//! 5. If another server accepts each token only once (`Replay::Never`), no token is sent twice. A
//!    refused client has a token that was reserved. A client that loses its session has a token
//!    whose answer reached no node that lived to store it.
//!
//! ```sh
//! SEEDS=10000 cargo test --release -p everfresh-tests --test turmoil -- --nocapture
//! SEED=4711 cargo test -p everfresh-tests --test turmoil -- --nocapture
//! ```
//!
//! A seed produces the same faults and the same requests each time. The engine's own random values
//! (ids, salts, back-offs) differ, so reproducing a failure may take a few tries. Its trace is
//! printed in full.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod browser;
mod faults;
mod ledger;
mod node;
mod provider;
mod store;
mod wire;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use everfresh::{ManualClock, MemoryStore, Timestamp};
use everfresh_tests::cluster::figure;
use everfresh_upstream::Replay;
use fastrand::Rng;

use browser::{Browser, Held};
use faults::{Faults, QUICK};
use ledger::{Ledger, Tally};
use node::{Backing, Node};
use provider::Provider;

const NODES: usize = 3;
const BROWSERS: usize = 3;

/// The step of the simulation. Events within one step are concurrent.
const TICK: Duration = Duration::from_millis(75);

/// The time span with faults.
const LENGTH: Duration = Duration::from_secs(24);

/// Longer than any schedule.
const LONGEST: Duration = Duration::from_secs(600);

/// The assumptions of a schedule.
#[derive(Clone, Copy)]
struct Terms {
    backing: Backing,
    /// Four times the longest transit time of a message.
    reuse_interval: Duration,
    /// How long the network holds a message. A link adds some latency.
    held: Duration,
}

impl Terms {
    fn of(backing: Backing) -> Self {
        let (reuse_interval, held) = (Duration::from_secs(6), Duration::from_secs(1));
        Self { backing, reuse_interval, held }
    }
}

/// A schedule that broke a promise.
struct Broken {
    seed: u64,
    what: String,
    trace: Vec<String>,
}

/// Runs one schedule.
fn play(seed: u64, terms: Terms) -> (Tally, Option<Broken>) {
    let Terms { backing, reuse_interval, held } = terms;
    let mut random = Rng::with_seed(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(LONGEST)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(QUICK)
        .enable_random_order()
        .build();
    let start = Timestamp::from_secs(1_800_000_000);
    let ledger = Arc::new(Ledger::default());
    let provider = Arc::new(Provider::new(random.u64(..)));
    let faults = Faults::draw(&mut random, LENGTH, held, backing != Backing::Store);
    ledger.count(|tally| tally.faults += faults.len() as u64);
    let faults = Rc::new(RefCell::new(faults));

    let mut clocks = vec![ManualClock::starting_at(start)];
    let rows = MemoryStore::new().clock(clocks[0].clone());
    let serving = (rows.clone(), ledger.clone());
    sim.host(store::HOST, move || store::serve(serving.0.clone(), serving.1.clone()));
    let serving = (provider.clone(), ledger.clone());
    sim.host(provider::HOST, move || provider::serve(serving.0.clone(), serving.1.clone()));
    let skewed = random.bool();
    for number in 0..NODES {
        // Clocks that differ run at the same speed.
        let skew = Duration::from_secs(if skewed { random.u64(..60) } else { 0 });
        let clock = ManualClock::starting_at(start.plus(skew));
        clocks.push(clock.clone());
        let node = Node { number, backing, reuse_interval, clock, ledger: ledger.clone() };
        sim.host(node::name(number), move || node.clone().serve());
    }
    for number in 0..BROWSERS {
        let browser = Rc::new(Browser {
            number,
            backing,
            ledger: ledger.clone(),
            provider: provider.clone(),
            rows: rows.clone(),
            faults: faults.clone(),
            calm: LENGTH + Duration::from_secs(8),
            seed: random.u64(..),
            held: RefCell::new(Held::default()),
            leaving: Cell::new(true),
            sign_ins: Cell::new(0),
            requests_lock: tokio::sync::RwLock::new(()),
        });
        sim.client(browser::name(number), browser.live());
    }

    loop {
        ledger.pass(sim.elapsed());
        let now = sim.elapsed();
        faults.borrow_mut().apply(&mut sim, now, |what| ledger.tell(|| what));
        match sim.step() {
            Ok(false) => {}
            Ok(true) => break,
            Err(error) => {
                ledger.wrong(error.to_string());
                break;
            }
        }
        clocks.iter().for_each(|clock| clock.advance(TICK));
    }
    let (tally, broken) = ledger.close();
    (tally, broken.map(|(what, trace)| Broken { seed, what, trace }))
}

/// Runs many schedules, and prints the first that breaks a promise.
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn promise(name: &str, backing: Backing) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("a whole number")],
        Err(_) => (0..figure("SEEDS", 100) as u64).collect(),
    };
    let (mut sum, mut count) = (Tally::default(), 0);
    for seed in seeds {
        let (tally, broken) = play(seed, Terms::of(backing));
        if let Some(Broken { seed, what, trace }) = broken {
            panic!("{}\nSEED={seed} of {name}: {what}", trace.join("\n"));
        }
        (sum, count) = (sum.and(tally), count + 1);
    }
    println!("turmoil, {name}: {count} seeds, {sum:?}");
    assert!(sum.served > sum.unavailable && sum.rotations > 0 && sum.faults > 0, "{sum:?}");
}

// Rows: F01, F03, S46.
#[test]
fn over_a_failing_network_no_honest_client_is_signed_out() {
    promise("rotate", Backing::Store);
}

// Rows: F19, S57.
#[test]
fn over_a_failing_network_a_token_of_another_server_is_sent_once() {
    promise("upstream", Backing::Provider(Replay::Never));
}

/// The first of some schedules that breaks a promise.
fn first_broken(terms: Terms) -> Broken {
    let broken =
        (0..400).find_map(|seed| play(seed, terms).1).expect("a schedule breaks a promise");
    assert!(!broken.trace.is_empty() && broken.seed < 400);
    broken
}

#[test]
fn the_search_finds_a_reuse_interval_shorter_than_message_delays() {
    let (reuse_interval, held) = (Duration::from_secs(1), Duration::from_secs(4));
    let what = first_broken(Terms { reuse_interval, held, ..Terms::of(Backing::Store) }).what;
    assert!(what.contains("reported reuse") || what.contains("signed out"), "{what}");
}

#[test]
fn the_search_finds_a_policy_that_sends_one_time_tokens_twice() {
    let what = first_broken(Terms::of(Backing::Provider(Replay::Always))).what;
    assert!(what.contains("came again"), "{what}");
}
