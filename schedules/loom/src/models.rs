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
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(Counter::new(0));
    let count = runs.clone();
    let mut builder = loom::model::Builder::new();
    let long = std::env::var("SCHEDULES").is_ok_and(|how| how == "long");
    builder.preemption_bound = Some(if long { LONG } else { PREEMPTIONS });
    builder.max_branches = 10_000;
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!("loom: {} schedules: {name}", runs.load(Relaxed));
}

/// The single flight, and the running flights.
#[derive(Clone)]
struct Field {
    flights: FlightGroup,
    /// How many flights were started, and how many are running and listed.
    started: Arc<Counter>,
    aloft: Arc<AtomicUsize>,
}

impl Field {
    fn new() -> Self {
        Self {
            flights: FlightGroup::default(),
            started: Arc::default(),
            aloft: Arc::new(AtomicUsize::new(0)),
        }
    }

    fn enter(&self, fingerprint: u64) -> Entry {
        self.flights.enter(&key(fingerprint), || NOW)
    }

    /// Starts a flight. No other flight of this key runs.
    fn start(&self, fingerprint: u64) -> (Leader, usize) {
        let Entry::Lead(running) = self.enter(fingerprint) else { panic!("somebody flies it") };
        (running, self.take_off())
    }

    /// Its number.
    fn take_off(&self) -> usize {
        self.started.fetch_add(1, Relaxed) + 1
    }

    /// Completes a flight as the core does: first it lands, then it announces the result. Returns
    /// the announced result.
    fn fly(&self, running: Leader, end: FlightResult) -> FlightResult {
        let result = running.complete(end, false, NOW, RANDOM, REUSE_INTERVAL);
        running.publish(result.clone());
        result
    }

    /// A request asks and waits, as in the core. The one that starts the flight also completes it.
    /// One request per key at a time.
    fn ask(&self, fingerprint: u64) -> FlightResult {
        match self.enter(fingerprint) {
            Entry::Lead(running) => {
                assert_eq!(self.aloft.fetch_add(1, Ordering::SeqCst), 0, "two flights of a token");
                let number = self.take_off();
                let mut outcome = running.outcome();
                self.aloft.fetch_sub(1, Ordering::SeqCst);
                let result = self.fly(running, Ok(Tokens(number)));
                assert_eq!(wait(&mut outcome), result, "what it announced");
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

/// As `Flight::land` does.
fn wait(outcome: &mut Outcome) -> FlightResult {
    block_on(outcome.wait_for(Option::is_some)).flatten().unwrap_or(Err(Failure::SOON))
}

// Rows: F01.
#[test]
fn equal_requests_share_one_flight_and_its_result() {
    explore("three ask at once", || {
        let field = Field::new();
        let twins = [(); 2].map(|()| {
            let field = field.clone();
            thread::spawn(move || field.ask(1))
        });
        assert_eq!(field.ask(1), Ok(Tokens(1)));
        for twin in twins {
            assert_eq!(twin.join().unwrap(), Ok(Tokens(1)));
        }
        assert_eq!(field.started.load(Relaxed), 1);
        field.assert_kept(1);
    });
}

// Rows: F16.
#[test]
fn the_last_waiting_request_leaves_and_a_late_one_gets_the_result() {
    explore("the last waiter leaves while a flight lands, and another comes", || {
        let field = Field::new();
        let (running, number) = field.start(1);
        let waiting = running.outcome();
        let flying = field.clone();
        let flight = thread::spawn(move || flying.fly(running, Ok(Tokens(number))));
        let hasty = field.clone();
        let hasty = thread::spawn(move || {
            drop(waiting);
            match hasty.enter(1) {
                // This request is dropped as soon as it has joined.
                Entry::Join(_) => {}
                Entry::Cached(tokens) => assert_eq!(tokens, Tokens(1)),
                Entry::Lead(_) | Entry::BackedOff(_) | Entry::Full => {
                    panic!("it has landed, or it flies")
                }
            }
        });
        assert_eq!(field.ask(1), Ok(Tokens(1)), "whenever it comes");
        hasty.join().unwrap();
        assert_eq!(flight.join().unwrap(), Ok(Tokens(1)));
        assert_eq!(field.started.load(Relaxed), 1);
        field.assert_kept(1);
    });
}

#[test]
fn a_dropped_flight_leaves_no_request_waiting() {
    explore("a flight's runtime ends while others join", || {
        let field = Field::new();
        let (running, _) = field.start(1);
        let ending = thread::spawn(move || drop(running));
        let twin = field.clone();
        let twin = thread::spawn(move || twin.ask(1));
        for result in [field.ask(1), twin.join().unwrap()] {
            // It got the failure of the dropped flight at once, or started a new flight.
            assert!(matches!(result, Err(Failure::SOON) | Ok(Tokens(2))), "{result:?}");
        }
        ending.join().unwrap();
        let again = field.ask(1);
        assert_eq!(again, Ok(Tokens(2)), "nothing stands in the way");
        field.assert_kept(1);
    });
}

// Rows: F14, S47.
#[test]
fn a_result_that_comes_after_a_sign_out_is_not_kept() {
    explore("a sign-out while a flight lands, and the next flight of that token", || {
        let field = Field::new();
        let (running, number) = field.start(1);
        let flying = field.clone();
        let flight = thread::spawn(move || flying.fly(running, Ok(Tokens(number))));
        let late = field.clone();
        let late = thread::spawn(move || late.ask(1));
        field.flights.forget("s");
        assert_eq!(field.ask(1), Ok(Tokens(2)), "nothing from before the sign-out");
        let late = late.join().unwrap();
        // Before the sign-out it got a kept result, or the result of a flight that was then
        // forgotten.
        let told = matches!(late, Ok(Tokens(1 | 2)) | Err(Failure::Rejected));
        assert!(told, "{late:?}");
        let landed = flight.join().unwrap();
        assert!(matches!(landed, Ok(Tokens(1)) | Err(Failure::Rejected)), "{landed:?}");
        assert_eq!(field.started.load(Relaxed), 2);
        assert_eq!(field.ask(1), Ok(Tokens(2)), "the newer one is kept");
        field.assert_kept(1);
    });
}

// Rows: F17.
#[test]
fn after_a_shutdown_no_flight_runs() {
    // One key only, because a map's order is random and loom must be able to repeat an order.
    explore("a shutdown while two ask", || {
        let field = Field::new();
        let asking = [(); 2].map(|()| {
            let field = field.clone();
            thread::spawn(move || match field.enter(1) {
                Entry::Lead(running) => {
                    field.aloft.fetch_add(1, Ordering::SeqCst);
                    let number = field.take_off();
                    // A flight's store calls are complete when its result is announced.
                    field.aloft.fetch_sub(1, Ordering::SeqCst);
                    field.fly(running, Ok(Tokens(number)))
                }
                Entry::Join(mut outcome) => wait(&mut outcome),
                Entry::Cached(tokens) => Ok(tokens),
                Entry::BackedOff(failure) => Err(failure),
                Entry::Full => Err(Failure::SOON),
            })
        });
        for mut outcome in field.flights.close() {
            assert!(wait(&mut outcome).is_ok(), "it lands");
        }
        let took_off = field.started.load(Relaxed);
        assert_eq!(field.aloft.load(Ordering::SeqCst), 0, "the store may close");
        assert_eq!(field.ask(2), Err(Failure::SOON));
        for one in asking {
            let result = one.join().unwrap();
            assert!(matches!(result, Ok(_) | Err(Failure::SOON)), "{result:?}");
        }
        assert_eq!(field.started.load(Relaxed), took_off, "nothing takes off after it");
        field.assert_kept(took_off);
    });
}

// Rows: F72.
#[test]
fn a_failure_reaches_every_waiting_request_and_is_not_retried_at_once() {
    explore("a flight fails while others ask", || {
        let field = Field::new();
        let (running, _) = field.start(1);
        let flying = field.clone();
        let flight = thread::spawn(move || flying.fly(running, Err(Failure::SOON)));
        let twin = field.clone();
        let twin = thread::spawn(move || twin.ask(1));
        assert_eq!(field.ask(1), Err(Failure::SOON));
        assert_eq!(twin.join().unwrap(), Err(Failure::SOON));
        assert_eq!(flight.join().unwrap(), Err(Failure::SOON));
        assert_eq!(field.started.load(Relaxed), 1);
        field.assert_kept(0);
    });
}
