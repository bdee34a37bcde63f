//! The cases that every session store has to pass, including stores of other crates.

pub mod cases;
pub mod feed;
pub mod many;
pub mod upstream;

use std::collections::BTreeMap;
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{NewSession, Rotation, SessionRecord, SessionStore};

/// A kind of store, and a way to advance its time.
pub trait Harness: Sized + Send + Sync {
    /// The store.
    type Store: SessionStore + Clone;

    /// Whether expired sessions stay until they are swept. False for a store whose engine removes
    /// them.
    const KEEPS_ENDED_SESSIONS: bool = true;

    /// Opens an empty store that no other test uses.
    fn open() -> impl Future<Output = Self>;

    /// Returns the store that was opened.
    fn store(&self) -> &Self::Store;

    /// Advances the store's clock.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;
}

/// Returns a session id that is made of `n`.
pub fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

/// Returns a session with an idle lifetime of one hour and an absolute lifetime of one day.
pub fn session(n: u8, subject: &str) -> NewSession {
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    let mut new = NewSession::new(id(n), subject, hour, day);
    (new.key_id, new.salt, new.persistent) = (7, [n; 16], n.is_multiple_of(2));
    new.claims = format!(r#"{{"n":{n}}}"#);
    new.attributes = BTreeMap::from([("device".into(), format!("device {n}"))]);
    new
}

/// Returns the next rotation of a row.
pub fn next(row: &SessionRecord) -> Rotation {
    let mut next = Rotation::new(row.sid, row.generation, row.generation + 1, row.key_id + 1);
    (next.claims, next.user_activity) = (Some(row.claims.clone()), true);
    next
}

/// Returns a value after a change.
fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// Defines one test for each case, for a [`Harness`].
#[macro_export]
macro_rules! store_suite {
    ($harness:ty) => {
        $crate::store_suite!($harness; cases:
            kept_entries_are_returned_unchanged
            text_of_any_kind_comes_back_whole
            an_id_is_taken_once
            an_unknown_session_is_none
            a_rotation_changes_only_the_generation_it_has_read
            a_rotation_from_another_generation_changes_nothing
            the_same_generation_is_returned_again_only_while_unconfirmed
            only_the_current_generation_is_confirmed
            a_revoked_session_is_missing_for_every_call
            a_subject_is_revoked_but_for_one_session
            a_list_holds_the_live_sessions_of_one_subject_latest_first
            a_session_ends_when_idle
            a_rotation_moves_the_idle_end_and_not_the_absolute_one
            only_user_activity_moves_the_idle_end
            user_activity_extends_no_session_beyond_its_limit
            a_sweep_is_bounded_and_removes_only_ended_sessions
            generations_may_be_large
            of_many_rotations_at_once_one_succeeds
            after_a_revocation_was_acknowledged_nothing_succeeds
        );
        $crate::store_suite!($harness; many:
            the_newest_sessions_are_the_ones_that_began_last
            the_newest_sessions_are_not_over
            every_one_of_many_sessions_is_ended_but_one
            of_many_sessions_a_thousand_are_listed
        );
    };
    ($harness:ty; $module:ident: $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::store::$module::$case::<$harness>().await;
            }
        )*
    };
}
