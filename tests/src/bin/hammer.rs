//! Loads one store with many tasks that rotate, confirm and revoke the same few sessions. Prints
//! every change that the store acknowledged. The test reads the output and counts.
//!
//! Arguments: a `STORE`, seconds, tasks.

use std::io::Write as _;
use std::pin::Pin;
use std::time::Duration;

use everfresh::store::{Loaded, Rotation, SessionStore, UpstreamTokenStore};
use everfresh_tests::hammer::{REVOKED_FROM, SESSIONS, id};
use everfresh_tests::settings::exit;
use everfresh_tests::store::{Store, UseStore};

/// The pause after an error, such as a lock timeout or an unreachable store.
const PAUSE: Duration = Duration::from_millis(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, seconds, tasks] = &arguments[..] else { exit("want: STORE SECONDS TASKS") };
    let (Ok(seconds), Ok(tasks)) = (seconds.parse(), tasks.parse::<u8>()) else {
        exit("SECONDS and TASKS are whole numbers")
    };
    let store = Store::read(store).unwrap_or_else(|problem| exit(&problem));
    let opened = store.open(Hammers(tasks)).await;
    let work = opened.unwrap_or_else(|problem| exit(&problem));
    say("ready");
    let work: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    for task in work {
        task.abort();
        let _ = task.await;
    }
}

struct Hammers(u8);

impl UseStore for Hammers {
    type Output = Vec<Pin<Box<dyn Future<Output = ()> + Send>>>;

    fn use_store(self, store: impl UpstreamTokenStore + Clone) -> Self::Output {
        (0..self.0).map(|task| Box::pin(hammer(store.clone(), task)) as _).collect()
    }
}

/// Visits the sessions in turn; each task starts at another one.
async fn hammer(store: impl SessionStore, task: u8) {
    let mut round = u32::from(task);
    loop {
        round = round.wrapping_add(1);
        let sid = id((round.wrapping_mul(7) % u32::from(SESSIONS)) as u8);
        let record = match store.load(sid).await {
            Ok(Some(Loaded { record, .. })) => record,
            Ok(None) => {
                tokio::task::yield_now().await;
                continue;
            }
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let n = sid.as_bytes()[0];
        let from = record.generation;
        let mut rotation = Rotation::new(sid, from, from + 1, record.key_id);
        rotation.claims = round.is_multiple_of(2).then_some(record.claims);
        rotation.user_activity = true;
        if matches!(store.rotate(rotation).await, Ok(true)) {
            say(&format!("rotated {n} {}", record.generation));
        }
        let _ = store.confirm(sid, record.generation, false).await;
        if n >= REVOKED_FROM
            && record.generation > 20
            && matches!(store.revoke(sid).await, Ok(true))
        {
            say(&format!("revoked {n}"));
        }
    }
}

/// A single write, so that a killed process has printed the whole line or nothing.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush());
}
