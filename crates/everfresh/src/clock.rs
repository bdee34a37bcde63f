//! The one file that reads time. All other code takes `now` as an argument.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A point in wall-clock time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Tokens count in whole seconds (RFC 7519 section 2, `NumericDate`). The windows before expiry
/// need less than a second, so the engine counts in milliseconds. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Makes a timestamp from whole seconds since the epoch, as `exp` and `iat` hold them.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns the whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns this point moved ahead by `by`.
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// Returns this point moved back by `by`, never before the epoch.
    pub const fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, millis))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let since_epoch = Duration::from_millis(time.0);
        // On a platform whose clock can't hold the time, the epoch is returned instead of a panic.
        UNIX_EPOCH.checked_add(since_epoch).unwrap_or(UNIX_EPOCH)
    }
}

const fn millis(duration: Duration) -> u64 {
    let ms = duration.as_millis();
    if ms > u64::MAX as u128 { u64::MAX } else { ms as u64 }
}

/// The engine's source of time: the machine's clocks, or one that a test moves by hand.
///
/// `exp` is compared with the wall clock. Windows inside a process, such as how long a result may
/// be returned again, are measured by a monotonic clock, so that a wall clock that is set neither
/// stretches nor shortens them.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { origin: Instant },
    Manual(ManualClock),
}

impl Clock {
    /// Returns the machine's own clocks. The default.
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn system() -> Self {
        Self(Source::System { origin: Instant::now() })
    }

    /// Returns the wall-clock time. On Linux, the machine's clock is read as of its last tick, up
    /// to 10 ms ago, because every request reads it, and this takes a fifth of the time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => last_tick(),
            Source::Manual(manual) => Timestamp(manual.0.wall.load(Ordering::SeqCst)),
        }
    }

    /// Completes once a test has moved the clock away from `then`. It never completes for the
    /// machine's clock, which moves by itself.
    pub(crate) async fn moved_from(&self, then: Timestamp) {
        let Source::Manual(manual) = &self.0 else { return std::future::pending().await };
        let mut moved = manual.0.moved.subscribe();
        while manual.now() == then && moved.changed().await.is_ok() {}
    }

    /// Returns the time since this clock was made, which never steps back.
    pub(crate) fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { origin } => origin.elapsed(),
            Source::Manual(manual) => Duration::from_millis(manual.0.steady.load(Ordering::SeqCst)),
        }
    }
}

#[cfg(target_os = "linux")]
fn last_tick() -> Timestamp {
    use nix::time::{ClockId, clock_gettime};
    // A kernel may have no such clock.
    let Ok(time) = clock_gettime(ClockId::CLOCK_REALTIME_COARSE) else { return machine_time() };
    // A time before the epoch becomes the epoch. Nanoseconds are fewer than a thousand million.
    let secs = u64::try_from(time.tv_sec()).unwrap_or(0);
    Timestamp(millis(Duration::new(secs, time.tv_nsec() as u32)))
}

#[cfg(not(target_os = "linux"))]
fn last_tick() -> Timestamp {
    machine_time()
}

#[expect(clippy::disallowed_methods, reason = "the one place that may")]
fn machine_time() -> Timestamp {
    SystemTime::now().into()
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// A clock that moves only when told to, for an app's tests.
///
/// ```
/// use std::time::Duration;
/// use everfresh::{Clock, ManualClock, Timestamp};
///
/// let hands = ManualClock::starting_at(Timestamp::from_secs(1_700_000_000));
/// let clock = Clock::from(hands.clone());
/// hands.advance(Duration::from_secs(90));
/// assert_eq!(clock.now(), Timestamp::from_secs(1_700_000_090));
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Hands>);

struct Hands {
    wall: AtomicU64,
    steady: AtomicU64,
    moved: watch::Sender<()>,
}

impl ManualClock {
    /// Makes a clock that stands at `now`.
    pub fn starting_at(now: Timestamp) -> Self {
        let (wall, steady) = (AtomicU64::new(now.0), AtomicU64::new(0));
        Self(Arc::new(Hands { wall, steady, moved: watch::Sender::new(()) }))
    }

    /// Lets time pass: the wall clock and the monotonic clock move together.
    pub fn advance(&self, by: Duration) {
        self.0.wall.fetch_add(millis(by), Ordering::SeqCst);
        self.0.steady.fetch_add(millis(by), Ordering::SeqCst);
        self.0.moved.send_replace(());
    }

    /// Sets the wall clock, ahead or back. The monotonic clock does not move.
    pub fn set_wall(&self, to: Timestamp) {
        self.0.wall.store(to.0, Ordering::SeqCst);
        self.0.moved.send_replace(());
    }

    /// Returns the wall clock's time.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.wall.load(Ordering::SeqCst))
    }
}

impl From<ManualClock> for Clock {
    fn from(manual: ManualClock) -> Self {
        Self(Source::Manual(manual))
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}
