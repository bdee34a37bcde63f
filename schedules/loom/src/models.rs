//! The models: a few threads each, and the conditions that hold in every order of their steps.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::refresh::single_flight::{Entry, FlightGroup, FlightResult, Leader, Outcome};
use crate::refresh::{Failure, FlightKey, Tokens};

/// How many preemptions one run has, normally and with `SCHEDULES=long`. With more there are too
/// many orders, and errors rarely need more.
const PREEMPTIONS: usize = 3;
const LONG: usize = 4;

const NOW: Duration = Duration::from_secs(100);
const REUSE_INTERVAL: Duration = Duration::from_secs(30);

/// The random value with the full back-off.
const RANDOM: u8 = u8::MAX;

/// Runs a model in every order, and prints their number.
#[expect(clippy::print_stdout, reason = "what `cargo xtask schedules` adds up")]
fn explore(name: &str, run: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(Counter::new(0));
    let count = runs.clone();
    let mut builder = loom::model::Builder::new();
    let long = std::env::var("SCHEDULES").is_ok_and(|how| how == "long");
    builder.preemption_bound = Some(if long { LONG } else { PREEMPTIONS });
    builder.max_branches = 10_000;
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        run();
    });
    println!("loom: {} schedules: {name}", runs.load(Relaxed));
}

/// The single flight, and the running flights.
#[derive(Clone)]
struct Model {
    flights: FlightGroup,
    /// How many flights were started, and how many are running and listed.
    started: Arc<Counter>,
    active: Arc<AtomicUsize>,
}

impl Model {
    fn new() -> Self {
        Self {
            flights: FlightGroup::default(),
            started: Arc::default(),
            active: Arc::new(AtomicUsize::new(0)),
        }
    }

    fn enter(&self, fingerprint: u64) -> Entry {
        self.flights.enter(&key(fingerprint), || NOW)
    }

    /// Starts a flight. No other flight of this key runs.
    fn start(&self, fingerprint: u64) -> (Leader, usize) {
        let Entry::Lead(running) = self.enter(fingerprint) else {
            panic!("another flight of the key runs")
        };
        (running, self.count())
    }

    /// Its number.
    fn count(&self) -> usize {
        self.started.fetch_add(1, Relaxed) + 1
    }

    /// Completes a flight as the core does: first it ends, then it publishes the result. Returns
    /// the published result.
    fn complete(&self, running: Leader, end: FlightResult) -> FlightResult {
        let result = running.complete(end, false, NOW, RANDOM, REUSE_INTERVAL);
        running.publish(result.clone());
        result
    }

    /// A request asks and waits, as in the core. The one that starts the flight also completes it.
    /// One request per key at a time.
    fn ask(&self, fingerprint: u64) -> FlightResult {
        match self.enter(fingerprint) {
            Entry::Lead(running) => {
                assert_eq!(self.active.fetch_add(1, Ordering::SeqCst), 0, "two flights of a token");
                let number = self.count();
                let mut outcome = running.outcome();
                self.active.fetch_sub(1, Ordering::SeqCst);
                let result = self.complete(running, Ok(Tokens(number)));
                assert_eq!(wait(&mut outcome), result, "what it published");
                result
            }
            Entry::Join(mut outcome) => wait(&mut outcome),
            Entry::Cached(tokens) => Ok(tokens),
            Entry::BackedOff(failure) => Err(failure),
            Entry::Full => Err(Failure::SOON),
        }
    }

    /// No flight is running, and the given number of results is kept.
    fn assert_kept(&self, results: usize) {
        let (running, kept, ends) = self.flights.sizes();
        assert_eq!(running, 0, "a flight that ended is still listed");
        assert_eq!(kept, results, "results that are kept");
        assert!(ends >= kept, "a result without an end");
    }
}

fn key(fingerprint: u64) -> FlightKey {
    FlightKey { sid: "s".into(), fingerprint }
}

/// Waits for the result of a flight.
fn wait(outcome: &mut Outcome) -> FlightResult {
    block_on(outcome.wait_for(Option::is_some)).flatten().unwrap_or(Err(Failure::SOON))
}

// Rows: F01.
#[test]
fn equal_requests_share_one_flight_and_its_result() {
    explore("three ask at once", || {
        let model = Model::new();
        let twins = [(); 2].map(|()| {
            let model = model.clone();
            thread::spawn(move || model.ask(1))
        });
        assert_eq!(model.ask(1), Ok(Tokens(1)));
        for twin in twins {
            assert_eq!(twin.join().unwrap(), Ok(Tokens(1)));
        }
        assert_eq!(model.started.load(Relaxed), 1);
        model.assert_kept(1);
    });
}

// Rows: F16.
#[test]
fn the_last_waiting_request_leaves_and_a_late_one_gets_the_result() {
    explore("the last waiting request leaves while a flight ends, and another comes", || {
        let model = Model::new();
        let (running, number) = model.start(1);
        let waiting = running.outcome();
        let leader = model.clone();
        let flight = thread::spawn(move || leader.complete(running, Ok(Tokens(number))));
        let leaving = model.clone();
        let leaving = thread::spawn(move || {
            drop(waiting);
            match leaving.enter(1) {
                // This request is dropped as soon as it has joined.
                Entry::Join(_) => {}
                Entry::Cached(tokens) => assert_eq!(tokens, Tokens(1)),
                Entry::Lead(_) | Entry::BackedOff(_) | Entry::Full => {
                    panic!("the flight has ended, or it runs")
                }
            }
        });
        assert_eq!(model.ask(1), Ok(Tokens(1)), "whenever it comes");
        leaving.join().unwrap();
        assert_eq!(flight.join().unwrap(), Ok(Tokens(1)));
        assert_eq!(model.started.load(Relaxed), 1);
        model.assert_kept(1);
    });
}

#[test]
fn a_dropped_flight_leaves_no_request_waiting() {
    explore("a flight's runtime ends while others join", || {
        let model = Model::new();
        let (running, _) = model.start(1);
        let ending = thread::spawn(move || drop(running));
        let twin = model.clone();
        let twin = thread::spawn(move || twin.ask(1));
        for result in [model.ask(1), twin.join().unwrap()] {
            // It got the failure of the dropped flight at once, or started a new flight.
            assert!(matches!(result, Err(Failure::SOON) | Ok(Tokens(2))), "{result:?}");
        }
        ending.join().unwrap();
        let again = model.ask(1);
        assert_eq!(again, Ok(Tokens(2)), "nothing stands in the way");
        model.assert_kept(1);
    });
}

// Rows: F14, S47.
#[test]
fn a_result_that_comes_after_a_sign_out_is_not_kept() {
    explore("a sign-out while a flight ends, and the next flight of that token", || {
        let model = Model::new();
        let (running, number) = model.start(1);
        let leader = model.clone();
        let flight = thread::spawn(move || leader.complete(running, Ok(Tokens(number))));
        let late = model.clone();
        let late = thread::spawn(move || late.ask(1));
        model.flights.forget("s");
        assert_eq!(model.ask(1), Ok(Tokens(2)), "nothing from before the sign-out");
        let late = late.join().unwrap();
        // Before the sign-out it got a kept result, or the result of a flight that was then
        // forgotten.
        let told = matches!(late, Ok(Tokens(1 | 2)) | Err(Failure::Rejected));
        assert!(told, "{late:?}");
        let ended = flight.join().unwrap();
        assert!(matches!(ended, Ok(Tokens(1)) | Err(Failure::Rejected)), "{ended:?}");
        assert_eq!(model.started.load(Relaxed), 2);
        assert_eq!(model.ask(1), Ok(Tokens(2)), "the newer one is kept");
        model.assert_kept(1);
    });
}

// Rows: F17.
#[test]
fn after_a_shutdown_no_flight_runs() {
    // One key only, because a map's order is random and loom must be able to repeat an order.
    explore("a shutdown while two ask", || {
        let model = Model::new();
        let asking = [(); 2].map(|()| {
            let model = model.clone();
            thread::spawn(move || match model.enter(1) {
                Entry::Lead(running) => {
                    model.active.fetch_add(1, Ordering::SeqCst);
                    let number = model.count();
                    // A flight's store calls are complete when its result is published.
                    model.active.fetch_sub(1, Ordering::SeqCst);
                    model.complete(running, Ok(Tokens(number)))
                }
                Entry::Join(mut outcome) => wait(&mut outcome),
                Entry::Cached(tokens) => Ok(tokens),
                Entry::BackedOff(failure) => Err(failure),
                Entry::Full => Err(Failure::SOON),
            })
        });
        for mut outcome in model.flights.close() {
            assert!(wait(&mut outcome).is_ok(), "it ends");
        }
        let started = model.started.load(Relaxed);
        assert_eq!(model.active.load(Ordering::SeqCst), 0, "the store may close");
        assert_eq!(model.ask(2), Err(Failure::SOON));
        for one in asking {
            let result = one.join().unwrap();
            assert!(matches!(result, Ok(_) | Err(Failure::SOON)), "{result:?}");
        }
        assert_eq!(model.started.load(Relaxed), started, "no flight starts after it");
        model.assert_kept(started);
    });
}

// Rows: F72.
#[test]
fn a_failure_reaches_every_waiting_request_and_is_not_retried_at_once() {
    explore("a flight fails while others ask", || {
        let model = Model::new();
        let (running, _) = model.start(1);
        let leader = model.clone();
        let flight = thread::spawn(move || leader.complete(running, Err(Failure::SOON)));
        let twin = model.clone();
        let twin = thread::spawn(move || twin.ask(1));
        assert_eq!(model.ask(1), Err(Failure::SOON));
        assert_eq!(twin.join().unwrap(), Err(Failure::SOON));
        assert_eq!(flight.join().unwrap(), Err(Failure::SOON));
        assert_eq!(model.started.load(Relaxed), 1);
        model.assert_kept(0);
    });
}
