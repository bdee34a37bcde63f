//! The decision table of reservations: what a node may do with the tokens in a row.
//!
//! | the row | the decision |
//! |---|---|
//! | the tokens are not due | keep them |
//! | no node has sent the refresh token | reserve the row and send the token |
//! | a node is sending it | wait for the result |
//! | sent, no answer will come, `Never` | in doubt: send nothing; a late answer counts |
//! | the same, `Within(grace)` | send once more if it arrives within the grace, else in doubt |
//! | the same, `Always` | send once more |
//!
//! A second attempt replaces the reservation that the node saw in the row.
//!
//! The node that sent the token knows that no answer will come. Other nodes assume it when the
//! limit is over, counted from the reservation by the store's clock. A search over every order of
//! events showed that each of these rules is needed: without any one of them, a token is sent twice
//! or lost.

use std::time::Duration;

use everfresh::Timestamp;
use everfresh::store::{ReservationId, StoredUpstreamTokens};

use super::Replay;

/// The longest time from the request for a reservation to the write of the token. After it, the
/// token is not written.
pub(super) const SEND_LIMIT: Duration = Duration::from_secs(1);

/// The configured rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) replay: Replay,
    /// The time after which a refresh without an answer is in doubt.
    pub(super) limit: Duration,
}

impl Rules {
    /// Returns the time after which a node assumes that no answer will come.
    pub(super) fn answer_limit(self) -> Duration {
        match self.replay {
            Replay::Within(grace) => self.limit.min(grace / 2),
            Replay::Never | Replay::Always => self.limit,
        }
    }
}

/// A decision of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendDecision {
    /// Keep the tokens, which are not due.
    Keep,
    /// Reserve the row and send the token. `replaces` is the reservation to replace, if there is
    /// one, and the time at which it was made.
    Send { replaces: Option<(ReservationId, Timestamp)> },
    /// Wait, because a node reserved the row `age` ago. The refresh is in doubt after `left`.
    Wait { left: Duration, age: Duration },
    /// Send nothing, because the token was sent and its outcome is unknown.
    InDoubt,
}

/// Returns the table's decision. `due` states that the tokens are due for a refresh, and
/// `unanswered` that this node knows that no answer will come for the row's reservation.
pub(super) fn decide(
    upstream: &StoredUpstreamTokens,
    due: bool,
    unanswered: bool,
    now: Timestamp,
    rules: Rules,
) -> SendDecision {
    if !due {
        return SendDecision::Keep;
    }
    let Some(reservation) = upstream.reservation.filter(|_| upstream.tries > 0) else {
        return SendDecision::Send { replaces: None };
    };
    let age = now.since(upstream.reserved_at);
    let answer_limit = rules.answer_limit();
    if age < answer_limit && !unanswered {
        return SendDecision::Wait { left: answer_limit - age, age };
    }
    match rules.replay {
        Replay::Within(grace) if upstream.tries < 2 && age + SEND_LIMIT < grace => {
            SendDecision::Send { replaces: Some((reservation, upstream.reserved_at)) }
        }
        Replay::Always => {
            SendDecision::Send { replaces: Some((reservation, upstream.reserved_at)) }
        }
        Replay::Never | Replay::Within(_) => SendDecision::InDoubt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const ID: ReservationId = [7; 16];

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn row(tries: u32, age: u64) -> StoredUpstreamTokens {
        let mut row = StoredUpstreamTokens::new(Vec::new(), NOW);
        (row.seq, row.tries, row.reserved_at) = (4, tries, NOW.minus(secs(age)));
        row.reservation = (tries > 0).then_some(ID);
        row
    }

    fn ask(row: &StoredUpstreamTokens, replay: Replay, unanswered: bool) -> SendDecision {
        decide(row, true, unanswered, NOW, Rules { replay, limit: secs(30) })
    }

    // Rows: S57.
    #[test]
    fn a_token_is_sent_once_unless_the_policy_says_more() {
        let within = |grace| Replay::Within(secs(grace));
        let again = |age| SendDecision::Send { replaces: Some((ID, NOW.minus(secs(age)))) };
        for (tries, age, replay, unanswered, expected) in [
            (0, 0, Replay::Never, false, SendDecision::Send { replaces: None }),
            (0, 900, within(60), true, SendDecision::Send { replaces: None }),
            (1, 0, Replay::Never, false, SendDecision::Wait { left: secs(30), age: secs(0) }),
            (1, 29, Replay::Never, false, SendDecision::Wait { left: secs(1), age: secs(29) }),
            (1, 30, Replay::Never, false, SendDecision::InDoubt),
            (1, 0, Replay::Never, true, SendDecision::InDoubt),
            (2, 900, Replay::Never, true, SendDecision::InDoubt),
            // Half of the grace, or the limit if that is less.
            (1, 9, within(20), false, SendDecision::Wait { left: secs(1), age: secs(9) }),
            (1, 10, within(20), false, again(10)),
            (1, 29, within(600), false, SendDecision::Wait { left: secs(1), age: secs(29) }),
            (1, 30, within(600), false, again(30)),
            (1, 3, within(20), true, again(3)),
            (1, 18, within(20), false, again(18)),
            (1, 19, within(20), false, SendDecision::InDoubt),
            (2, 10, within(20), false, SendDecision::InDoubt),
            (1, 29, Replay::Always, false, SendDecision::Wait { left: secs(1), age: secs(29) }),
            (1, 30, Replay::Always, false, again(30)),
            (9, 99, Replay::Always, true, again(99)),
        ] {
            let found = ask(&row(tries, age), replay, unanswered);
            assert_eq!(found, expected, "{tries} tries, {age} s, {replay:?}, {unanswered}");
        }
        let kept =
            decide(&row(1, 99), false, true, NOW, Rules { replay: Replay::Never, limit: secs(30) });
        assert_eq!(kept, SendDecision::Keep, "what lasts is not touched");
    }
}
