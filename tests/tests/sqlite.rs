//! Several processes on one SQLite file, some of them killed. F03, F30, rows 43 and 46.
//!
//! `HAMMER_SECONDS` makes it longer than a few seconds.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use everfresh::SessionStore as _;
use everfresh_sqlx::SqliteStore;
use everfresh_testkit::store::session;
use everfresh_tests::hammer::{REVOKED_FROM, SESSIONS, id};
use everfresh_tests::process::{Running, Workplace};
use rustix::process::Signal;

const HAMMER: &str = env!("CARGO_BIN_EXE_hammer-sqlite");

fn seconds() -> u64 {
    std::env::var("HAMMER_SECONDS").map_or(4, |seconds| seconds.parse().expect("whole seconds"))
}

fn start(workplace: &Workplace, seconds: u64) -> Running {
    let program = workplace.path().join(Path::new(HAMMER).file_name().unwrap());
    let mut command = workplace.command(program);
    command.args(["sessions.db", &seconds.to_string(), "16"]);
    let mut hammer = Running::start(command).unwrap();
    hammer.wait_for("ready");
    hammer
}

async fn fill(workplace: &Workplace) {
    workplace.program(Path::new(HAMMER)).unwrap();
    let path = workplace.path().join("sessions.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for n in 0..SESSIONS {
        let mut new = session(n, "alice");
        new.idle_lifetime = Duration::from_secs(86_400);
        store.create(new).await.unwrap();
    }
    store.close().await;
    workplace.share(&path).unwrap();
}

/// What the store acknowledged to all processes together, held against the file.
async fn check(workplace: &Workplace, said: &[String]) -> usize {
    let mut rotated: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
    let mut revoked = BTreeSet::new();
    for line in said {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["rotated", n, from] => {
                let first =
                    rotated.entry(n.parse().unwrap()).or_default().insert(from.parse().unwrap());
                assert!(first, "two successors of generation {from} of session {n}");
            }
            ["revoked", n] => {
                assert!(revoked.insert(n.parse::<u8>().unwrap()), "{n} was revoked twice");
            }
            _ => panic!("{line:?}"),
        }
    }
    let store = SqliteStore::open(workplace.path().join("sessions.db")).await.unwrap();
    for n in 0..SESSIONS {
        let loaded = store.load(id(n)).await.unwrap();
        if revoked.contains(&n) {
            assert!(loaded.is_none(), "session {n} came back");
            continue;
        }
        let last = rotated.get(&n).and_then(|rotated| rotated.last()).map_or(0, |from| from + 1);
        match loaded {
            Some(loaded) => assert!(loaded.record.generation >= last, "session {n} went back"),
            // Killed between the revocation and the word of it.
            None => assert!(n >= REVOKED_FROM, "session {n} was lost"),
        }
    }
    rotated.values().map(BTreeSet::len).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_f30_four_processes_on_one_file_make_one_successor_a_generation() {
    let workplace = Workplace::new().unwrap();
    fill(&workplace).await;
    let hammers: Vec<_> = (0..4).map(|_| start(&workplace, seconds())).collect();
    let mut said = Vec::new();
    for mut hammer in hammers {
        assert!(hammer.wait().unwrap().success(), "{}", hammer.stderr());
        said.extend(hammer.rest());
    }
    let rotations = check(&workplace, &said).await;
    assert!(rotations > 100, "{rotations} rotations");
    eprintln!("{rotations} rotations in {} s by 64 tasks in 4 processes", seconds());
}

#[tokio::test(flavor = "multi_thread")]
async fn s46_killed_processes_lose_nothing_that_was_acknowledged() {
    let workplace = Workplace::new().unwrap();
    fill(&workplace).await;
    let mut said = Vec::new();
    let kills = seconds() * 3;
    let mut steady = start(&workplace, 3600);
    for _ in 0..kills {
        let mut victim = start(&workplace, 3600);
        // Somewhere in the middle of its work, which began when it was ready.
        tokio::time::sleep(Duration::from_millis(150)).await;
        victim.signal(Signal::KILL);
        victim.wait().unwrap();
        said.extend(victim.rest());
    }
    steady.signal(Signal::KILL);
    steady.wait().unwrap();
    said.extend(steady.rest());
    let rotations = check(&workplace, &said).await;
    assert!(rotations > 100, "{rotations} rotations");
    eprintln!("{rotations} rotations through {kills} kills");
}
