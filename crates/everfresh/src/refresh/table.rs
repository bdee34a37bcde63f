//! The table of rotation: what a refresh token is worth, held against its session's row.
//!
//! | presented generation g, stored G | answer |
//! |---|---|
//! | g = G | rotate to G+1; sooner than `overlap` after the last rotation: a new access token alone |
//! | g = G-1, within `overlap` of the rotation | the same successor again |
//! | g = G-1, the successor not confirmed | the same successor again: its response was lost |
//! | g = G-1 otherwise, or g < G-1 | theft: end this session |
//! | g > G, both tags good | the store was restored: the row goes on from g; a new access token alone |
//!
//! Whenever the same successor is given again while it is unconfirmed and the rotation is older
//! than half of `overlap`, that answer is the rotation's new time. Each of these rules was found
//! to be needed by exhaustive search; taken back alone it signs an honest browser out.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::SessionRecord;

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Rotate: the compare-and-set goes to this generation.
    Rotate { to: u64 },
    /// A new access token; the refresh token stays.
    Keep,
    /// The current generation once more. `reanchor`: its time begins anew.
    Again { reanchor: bool },
    /// The presented generation is ahead of the store, which was restored from a backup or lost a
    /// write in a failover: it becomes the row's.
    Adopt,
    /// Two holders: end the session.
    Theft,
}

/// Asks the table. The row is not over; both tags of the token are good.
pub(crate) fn consult(
    row: &SessionRecord,
    presented: u64,
    overlap: Duration,
    now: Timestamp,
) -> Answer {
    let age = now.since(row.rotated_at);
    if presented == row.generation {
        if age < overlap { Answer::Keep } else { Answer::Rotate { to: row.generation + 1 } }
    } else if presented > row.generation {
        Answer::Adopt
    } else if presented + 1 == row.generation && (age <= overlap || !row.confirmed) {
        Answer::Again { reanchor: !row.confirmed && age >= overlap / 2 }
    } else {
        Answer::Theft
    }
}
