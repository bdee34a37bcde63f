//! Gives up connections whose server can't serve them: after a failover a name may resolve to
//! another server, while the old connections stay open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The interval within which all connections are given up at most once, so that a server that stays
/// read-only is not flooded with new connections.
const EVERY: Duration = Duration::from_secs(1);

/// The time at which all connections were last given up.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenUp(Arc<Mutex<Option<Instant>>>);

impl GivenUp {
    /// Records that a server reported that it can't serve.
    pub(super) fn note(&self) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none_or(|at| at.elapsed() >= EVERY) {
            *at = Some(Instant::now());
        }
    }

    /// Returns whether a connection of this age already existed at that time.
    pub(super) fn is_outdated(&self, age: Duration) -> bool {
        let at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() <= age)
    }
}

/// Returns whether the server reports that it is not writable, that it is shutting down or
/// starting, or that the connection failed: SQLSTATE `read_only_sql_transaction`, `admin_shutdown`,
/// `crash_shutdown`, `cannot_connect_now`, and the class of connection exceptions.
pub(super) fn cant_serve(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| {
        matches!(&*code, "25006" | "57P01" | "57P02" | "57P03") || code.starts_with("08")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rows: R2.
    #[tokio::test(start_paused = true)]
    async fn connections_from_before_a_refusal_are_closed_and_later_ones_are_kept() {
        let given_up = GivenUp::default();
        assert!(!given_up.is_outdated(Duration::from_secs(3600)), "no server has refused");
        given_up.note();
        tokio::time::advance(Duration::from_millis(500)).await;
        let is_outdated = |millis| given_up.is_outdated(Duration::from_millis(millis));
        assert!(is_outdated(600) && !is_outdated(400));
        given_up.note();
        assert!(!is_outdated(400), "not twice in a second");
        tokio::time::advance(EVERY).await;
        given_up.note();
        assert!(is_outdated(1));
    }
}
