//! Starts several processes that rotate, confirm and revoke the same few sessions, and kills some
//! of them. Compares the changes that the store acknowledged with its content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::SessionStore;
use everfresh_testkit::store::session;
use rustix::process::Signal;

use crate::process::{Running, Workplace};

/// The number of sessions.
pub const SESSIONS: u8 = 24;

/// Sessions from this number on may be revoked.
pub const REVOKED_FROM: u8 = 16;

/// The id of a session.
pub fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

/// `HAMMER_SECONDS`: the duration, by default a few seconds.
pub fn seconds() -> u64 {
    std::env::var("HAMMER_SECONDS").map_or(4, |seconds| seconds.parse().expect("whole seconds"))
}

/// Creates the sessions.
pub async fn fill(store: &impl SessionStore) {
    for n in 0..SESSIONS {
        let mut new = session(n, "alice");
        new.idle_lifetime = Duration::from_secs(86_400);
        store.create(new).await.expect("kept");
    }
}

/// Processes on one store, and their folder.
#[derive(Debug)]
pub struct Hammer {
    /// Their home folder.
    pub workplace: Workplace,
    program: PathBuf,
    store: String,
}

impl Hammer {
    /// Uses the built program on a `STORE`.
    pub fn new(built: &str, store: &str) -> Self {
        let workplace = Workplace::new().expect("a folder");
        let program = workplace.program(Path::new(built)).expect("a copy");
        Self { workplace, program, store: store.into() }
    }

    /// One process that has started its work.
    pub fn start(&self, seconds: u64) -> Running {
        let mut command = self.workplace.command(&self.program);
        command.args([&self.store, &seconds.to_string(), "16"]);
        let mut hammer = Running::start(command).expect("a process");
        hammer.wait_for("ready");
        hammer
    }

    /// Runs four processes at once, to their end. Returns the acknowledged changes.
    pub fn four(&self) -> Vec<String> {
        let hammers: Vec<_> = (0..4).map(|_| self.start(seconds())).collect();
        let mut said = Vec::new();
        for mut hammer in hammers {
            assert!(hammer.wait().expect("it ends").success(), "{}", hammer.stderr());
            said.extend(hammer.rest());
        }
        said
    }

    /// Runs one process to the end while others are killed. Returns the acknowledged changes.
    pub async fn kill(&self, kills: u64) -> Vec<String> {
        let mut said = Vec::new();
        let steady = self.start(3600);
        for _ in 0..kills {
            let victim = self.start(3600);
            // In the middle of its work, which began when it was ready.
            tokio::time::sleep(Duration::from_millis(150)).await;
            said.extend(killed(victim));
        }
        said.extend(killed(steady));
        said
    }

    /// Runs two processes while `happens` does something to the server. Returns the acknowledged
    /// changes.
    pub async fn during(&self, happens: impl AsyncFnOnce()) -> Vec<String> {
        let hammers = [self.start(3600), self.start(3600)];
        happens().await;
        hammers.into_iter().flat_map(killed).collect()
    }
}

fn killed(mut hammer: Running) -> Vec<String> {
    hammer.signal(Signal::KILL);
    hammer.wait().expect("it ends");
    hammer.rest()
}

/// Compares the acknowledged changes of all processes with the store. Returns the number of
/// rotations.
pub async fn check(store: &impl SessionStore, said: &[String]) -> usize {
    let mut rotated: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
    let mut revoked = BTreeSet::new();
    for line in said {
        let words: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match (line.split(' ').next(), &words[..]) {
            (Some("rotated"), [n, from]) => {
                let first = rotated.entry(*n as u8).or_default().insert(*from);
                assert!(first, "two successors of generation {from} of session {n}");
            }
            (Some("revoked"), [n]) => {
                assert!(revoked.insert(*n as u8), "{n} was revoked twice");
            }
            _ => panic!("{line:?}"),
        }
    }
    for n in 0..SESSIONS {
        let loaded = store.load(id(n)).await.expect("an answer");
        if revoked.contains(&n) {
            assert!(loaded.is_none(), "session {n} came back");
            continue;
        }
        let last = rotated.get(&n).and_then(|rotated| rotated.last()).map_or(0, |from| from + 1);
        match loaded {
            Some(loaded) => assert!(loaded.record.generation >= last, "session {n} went back"),
            // The process was killed after the revocation and before it printed the line.
            None => assert!(n >= REVOKED_FROM, "session {n} was lost"),
        }
    }
    rotated.values().map(BTreeSet::len).sum()
}

/// Creates the tests of one engine. The arguments start a server and open a store on it.
#[macro_export]
macro_rules! hammer_suite {
    ($start:path, $open:path) => {
        use std::time::Duration;

        use everfresh::store::SessionStore as _;
        use everfresh_testkit::fault::Cable;
        use everfresh_tests::database::Database;
        use everfresh_tests::hammer::{Hammer, check, fill, id, seconds};

        const HAMMER: &str = env!("CARGO_BIN_EXE_hammer");

        // Rows: S43, F30.
        #[tokio::test(flavor = "multi_thread")]
        async fn four_processes_make_one_successor_a_generation() {
            let database: Database = $start();
            let store = $open(&database.url()).await.unwrap();
            fill(&store).await;
            let said = Hammer::new(HAMMER, &database.url()).four();
            let rotations = check(&store, &said).await;
            assert!(rotations > 100, "{rotations} rotations");
            eprintln!("{rotations} rotations in {} s by 64 tasks in 4 processes", seconds());
        }

        // Rows: S46.
        #[tokio::test(flavor = "multi_thread")]
        async fn killed_processes_lose_nothing_that_was_acknowledged() {
            let database: Database = $start();
            let store = $open(&database.url()).await.unwrap();
            fill(&store).await;
            let kills = seconds() * 3;
            let said = Hammer::new(HAMMER, &database.url()).kill(kills).await;
            let rotations = check(&store, &said).await;
            assert!(rotations > 100, "{rotations} rotations");
            eprintln!("{rotations} rotations through {kills} kills");
        }

        // Rows: S46.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
            let mut database: Database = $start();
            let store = $open(&database.url()).await.unwrap();
            fill(&store).await;
            let hammer = Hammer::new(HAMMER, &database.url());
            let kills = seconds();
            let crashes = async || {
                for _ in 0..kills {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    database.restart();
                }
                // The processes have reconnected.
                tokio::time::sleep(Duration::from_millis(400)).await;
            };
            let said = hammer.during(crashes).await;
            while store.load(id(0)).await.is_err() {}
            let rotations = check(&store, &said).await;
            assert!(rotations > 100, "{rotations} rotations");
            eprintln!("{rotations} rotations through {kills} crashes of the server");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_cut_network_delays_no_request_beyond_the_limit() {
            const LIMIT: Duration = Duration::from_secs(10);

            let database: Database = $start();
            fill(&$open(&database.url()).await.unwrap()).await;
            let cable = Cable::start(database.address()).await;
            let url = database.url_by(cable.address());
            let store = $open(&url).await.unwrap();
            let hammer = Hammer::new(HAMMER, &url);
            let said = hammer.during(async || {
                for _ in 0..seconds().div_ceil(2) {
                    // As many tasks as a pool has connections.
                    let loads = (0..10).map(|n| store.load(id(n)));
                    for loaded in futures::future::join_all(loads).await {
                        assert!(loaded.unwrap().is_some());
                    }
                    cable.cut();
                    let loads = (0..10).map(|n| tokio::time::timeout(LIMIT, store.load(id(n))));
                    for loaded in futures::future::join_all(loads).await {
                        assert!(loaded.expect("an answer in time").is_err(), "none is made up");
                    }
                    cable.mend();
                    let back = async { while store.load(id(0)).await.is_err() {} };
                    tokio::time::timeout(LIMIT, back).await.expect("it finds its way back");
                }
            });
            let said = said.await;
            let rotations = check(&store, &said).await;
            assert!(rotations > 0, "between the cuts they work");
        }
    };
}
