//! The store of a server under load, and its outages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everfresh_testkit::fault::Cable;
use rustix::process::Signal;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

use super::GRACE;
use crate::database::Database;

/// The time before the first outage, and the time between outages.
const FIRST: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_secs(25);

/// How long a connection stays cut or a server stopped: longer than a store's time limit, so that
/// some calls fail.
const OUTAGE: Duration = Duration::from_secs(4);

/// How long another writer locks SQLite's file: longer than a writer waits.
const LOCKED: Duration = Duration::from_secs(7);

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the process.
    Memory,
    /// In a file.
    Sqlite,
    /// In a `redis-server`, behind a cable that can be cut.
    Redis,
    /// In PostgreSQL, behind a cable that can be cut.
    Postgres,
}

impl StoreKind {
    /// All kinds of stores.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Sqlite, Self::Redis, Self::Postgres];

    /// Whether `name` is this store's name.
    pub fn is_named(self, name: &str) -> bool {
        self.to_string().eq_ignore_ascii_case(name)
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Whether the store is failing, or failed within [`GRACE`].
#[derive(Debug, Default)]
pub(super) struct OutageState(Mutex<Option<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    Unknown,
    Then(Instant),
}

impl OutageState {
    fn begins(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Until::Unknown);
    }

    fn ends(&self) {
        let then = Until::Then(Instant::now() + GRACE);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(then);
    }

    pub(super) fn is_recent(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => false,
            Some(Until::Unknown) => true,
            Some(Until::Then(then)) => Instant::now() < then,
        }
    }

    /// Whether it ever failed.
    pub(super) fn ever_began(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// A store, and the control over its outages.
pub(super) struct Backend {
    kind: Kind,
    outage: Arc<OutageState>,
}

enum Kind {
    Memory,
    File(PathBuf),
    Server { database: Option<Database>, cable: Cable },
}

impl Backend {
    /// A new store. A file is created in `folder`.
    pub(super) async fn start(kind: StoreKind, folder: &Path) -> Self {
        let start: fn() -> Database = match kind {
            StoreKind::Memory => return Self::at(Kind::Memory),
            StoreKind::Sqlite => return Self::at(Kind::File(folder.join("sessions.db"))),
            StoreKind::Redis => Database::redis,
            StoreKind::Postgres => Database::postgres,
        };
        let database = tokio::task::spawn_blocking(start).await.expect("a server");
        let cable = Cable::start(database.address()).await;
        Self::at(Kind::Server { database: Some(database), cable })
    }

    fn at(kind: Kind) -> Self {
        Self { kind, outage: Arc::default() }
    }

    pub(super) fn outage(&self) -> Arc<OutageState> {
        self.outage.clone()
    }

    /// The value of `STORE`.
    pub(super) fn setting(&self) -> String {
        match &self.kind {
            Kind::Memory => "memory".into(),
            Kind::File(path) => format!("sqlite:{}", path.display()),
            Kind::Server { database, cable } => {
                database.as_ref().expect("a server").url_by(cable.address())
            }
        }
    }

    /// Causes outages until `time` is over. The last one ends early enough for recovery. `turn`
    /// selects the first kind of outage. Returns the number of outages.
    pub(super) async fn faults(&mut self, time: Duration, turn: usize) -> usize {
        if let Kind::Memory = self.kind {
            return 0;
        }
        let began = Instant::now();
        for n in 0.. {
            let at = FIRST + EVERY * n;
            if at + LOCKED > time {
                return n as usize;
            }
            tokio::time::sleep_until(began + at).await;
            self.outage.begins();
            self.fail(turn + n as usize).await;
            self.outage.ends();
        }
        unreachable!("time is over some day")
    }

    async fn fail(&mut self, turn: usize) {
        match &mut self.kind {
            Kind::Memory => {}
            Kind::File(path) => lock(path).await.expect("the file"),
            Kind::Server { database, cable } => match turn % 3 {
                0 => {
                    cable.cut();
                    tokio::time::sleep(OUTAGE).await;
                    cable.mend();
                }
                1 => {
                    let running = database.as_ref().expect("a server");
                    running.signal(Signal::STOP);
                    tokio::time::sleep(OUTAGE).await;
                    running.signal(Signal::CONT);
                }
                _ => {
                    let mut crashed = database.take().expect("a server");
                    let restart = tokio::task::spawn_blocking(move || {
                        crashed.restart();
                        crashed
                    });
                    *database = Some(restart.await.expect("it starts again"));
                }
            },
        }
    }
}

/// Another writer locks the file for a while.
async fn lock(path: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(LOCKED);
    let mut other: SqliteConnection = options.connect().await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    tokio::time::sleep(LOCKED).await;
    sqlx::query("ROLLBACK").execute(&mut other).await?;
    other.close().await
}
