//! The rules of rotation: how a refresh token is treated, compared with its session's row.
//!
//! | presented generation g, stored G | answer |
//! |---|---|
//! | g = G, within `reuse_interval` after the last rotation | a new access token only |
//! | g = G otherwise | rotate to G+1 |
//! | g = G-1, within `reuse_interval` after the rotation | the same successor again |
//! | g = G-1, the successor not confirmed | the same successor again: its response was lost |
//! | g = G-1 otherwise, or g < G-1 | reuse: end this session |
//! | g > G, both tags good | the store was restored: continue from g; a new access token only |
//!
//! If the same successor is returned again while it is unconfirmed and the rotation is at least
//! half of `reuse_interval` old, that answer becomes the rotation's new time. An exhaustive search
//! found each of these rules to be necessary: without any one of them an honest browser is signed
//! out.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::SessionRecord;

/// The answer of the rules to a presented token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Rotate: the compare-and-set moves the row to this generation.
    Rotate { to: u64 },
    /// Issue a new access token; the refresh token stays.
    Keep,
    /// Issue the current generation again. `reanchor`: the rotation's time restarts.
    Again { reanchor: bool },
    /// The presented generation is ahead of the store, which was restored from a backup or lost a
    /// write in a failover. It becomes the row's generation.
    AheadOfStore,
    /// Two parties hold the session: end it.
    Reuse,
}

/// Applies the rules. The row is not over, and both tags of the token are good.
pub(crate) fn decide(
    row: &SessionRecord,
    presented: u64,
    reuse_interval: Duration,
    now: Timestamp,
) -> Answer {
    let age = now.since(row.rotated_at);
    if presented > row.generation {
        Answer::AheadOfStore
    } else if presented == row.generation {
        if age < reuse_interval { Answer::Keep } else { Answer::Rotate { to: row.generation + 1 } }
    } else if presented + 1 == row.generation && (age <= reuse_interval || !row.confirmed) {
        Answer::Again { reanchor: !row.confirmed && age >= reuse_interval / 2 }
    } else {
        Answer::Reuse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewSession, SessionId};

    const ROTATED: Timestamp = Timestamp::from_secs(1_800_000_000);
    const REUSE_INTERVAL: Duration = Duration::from_secs(30);

    /// The answer for the row's generation and `ahead`, so many milliseconds after the rotation.
    fn answer(ahead: i64, confirmed: bool, age: u64) -> Answer {
        let new = NewSession {
            sid: SessionId::from_bytes([1; 16]),
            subject: "alice".into(),
            key_id: 7,
            idle_lifetime: Duration::from_secs(86_400),
            absolute_lifetime: Duration::from_secs(86_400),
            persistent: true,
            claims: "{}".into(),
            attributes: Default::default(),
            salt: [2; 16],
            upstream: None,
        };
        let row = SessionRecord { generation: 5, confirmed, ..new.into_record(ROTATED) };
        let presented = row.generation.checked_add_signed(ahead).unwrap();
        decide(&row, presented, REUSE_INTERVAL, ROTATED.plus(Duration::from_millis(age)))
    }

    const DAY: u64 = 86_400_000;

    #[test]
    fn the_current_generation_rotates_after_the_reuse_interval() {
        for confirmed in [true, false] {
            for (age, expected) in [
                (0, Answer::Keep),
                (29_999, Answer::Keep),
                (30_000, Answer::Rotate { to: 6 }),
                (DAY, Answer::Rotate { to: 6 }),
            ] {
                assert_eq!(answer(0, confirmed, age), expected, "{age} ms");
            }
        }
    }

    #[test]
    fn the_previous_generation_gets_the_successor_within_the_interval_or_until_confirmation() {
        for age in [0, 14_999, 15_000, 30_000] {
            assert_eq!(answer(-1, true, age), Answer::Again { reanchor: false }, "{age} ms");
        }
        assert_eq!(answer(-1, true, 30_001), Answer::Reuse);
        for (age, reanchor) in
            [(0, false), (14_999, false), (15_000, true), (30_001, true), (DAY, true)]
        {
            assert_eq!(answer(-1, false, age), Answer::Again { reanchor }, "{age} ms");
        }
    }

    #[test]
    fn older_generations_are_reuse_and_later_ones_are_ahead_of_the_store() {
        for confirmed in [true, false] {
            for age in [0, 14_999, 30_000, DAY] {
                for older in [-2, -3, -5] {
                    assert_eq!(answer(older, confirmed, age), Answer::Reuse, "{older}, {age} ms");
                }
                for later in [1, 2, 1000] {
                    assert_eq!(
                        answer(later, confirmed, age),
                        Answer::AheadOfStore,
                        "{later}, {age} ms"
                    );
                }
            }
        }
    }
}
