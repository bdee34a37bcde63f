//! Hammers one SQLite file: many tasks that rotate, confirm and revoke the same few sessions, and
//! say on standard output what the store acknowledged. The test reads it and counts.
//!
//! Arguments: the file, seconds, tasks.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use everfresh::{Loaded, Rotation, SessionId, SessionStore as _};
use everfresh_sqlx::SqliteStore;
use everfresh_tests::hammer::{REVOKED_FROM, SESSIONS, id};
use everfresh_tests::settings::exit;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, seconds, tasks] = &arguments[..] else { exit("want: FILE SECONDS TASKS") };
    let (Ok(seconds), Ok(tasks)) = (seconds.parse(), tasks.parse::<u8>()) else {
        exit("SECONDS and TASKS are whole numbers")
    };
    let store = SqliteStore::open(PathBuf::from(file)).await;
    let store = store.unwrap_or_else(|error| exit(&error.to_string()));
    say("ready");
    let work = (0..tasks).map(|task| tokio::spawn(hammer(store.clone(), task)));
    let work: Vec<_> = work.collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    work.iter().for_each(tokio::task::JoinHandle::abort);
    store.close().await;
}

/// Goes round the sessions, each task from another one.
async fn hammer(store: SqliteStore, task: u8) {
    let mut round = u32::from(task);
    loop {
        round = round.wrapping_add(1);
        let sid = id((round.wrapping_mul(7) % u32::from(SESSIONS)) as u8);
        // An error is no answer: the file was locked for too long.
        let Ok(Some(Loaded { record, .. })) = store.load(sid).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let n = sid.as_bytes()[0];
        let rotation = Rotation {
            sid,
            from: record.generation,
            to: record.generation + 1,
            key_id: record.key_id,
            claims: Some(record.claims),
            slides: true,
        };
        if matches!(store.rotate(rotation).await, Ok(true)) {
            say(&format!("rotated {n} {}", record.generation));
        }
        let _ = store.confirm(sid, record.generation, false).await;
        if n >= REVOKED_FROM && record.generation > 20 {
            revoke(&store, sid, n).await;
        }
    }
}

async fn revoke(store: &SqliteStore, sid: SessionId, n: u8) {
    if matches!(store.revoke(sid).await, Ok(true)) {
        say(&format!("revoked {n}"));
    }
}

/// One write, so that what is killed was either said or not.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush());
}
