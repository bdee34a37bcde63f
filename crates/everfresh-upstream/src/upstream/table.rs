//! The table of claims: what may be done with the tokens in a row, and by whom.
//!
//! | the row | answer |
//! |---|---|
//! | tokens that last for a while | keep |
//! | nobody has sent the refresh token | claim it and send it |
//! | somebody is sending it | wait for what comes of it |
//! | it was sent, and no answer will come: `Never` | in doubt: a late answer counts, nothing is sent again |
//! | the same: `Within(grace)` | once more, by a claim in place of the one that was seen, if the other server still takes it then |
//! | the same: `Always` | once more |
//!
//! That no answer will come is known to whoever sent it, or taken for granted when the limit is
//! over, counted from the claim by the store's clock. Each of these rules was found to be needed by
//! trying every order of events; taken back alone it sends a token twice or loses one.

use std::time::Duration;

use everfresh::{ReservationId, StoredUpstreamTokens, Timestamp};

use super::Replay;

/// A token is written within so long after its claim was asked for, or not at all.
pub(super) const SEND_LIMIT: Duration = Duration::from_secs(1);

/// What is settled before any row is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) replay: Replay,
    /// How long a refresh may take.
    pub(super) limit: Duration,
}

impl Rules {
    /// How long an answer is waited for before it is taken for granted that none will come.
    pub(super) fn patience(self) -> Duration {
        match self.replay {
            Replay::Within(grace) => self.limit.min(grace / 2),
            Replay::Never | Replay::Always => self.limit,
        }
    }
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendDecision {
    /// The tokens last for a while.
    Keep,
    /// Claim and send, in place of this claim, made then, if there is one.
    Send { replaces: Option<(ReservationId, Timestamp)> },
    /// Somebody is sending, since `age` ago; in doubt after `left`.
    Wait { left: Duration, age: Duration },
    /// It was sent, and nobody knows what came of it.
    InDoubt,
}

/// Asks the table. `due`: the tokens are to be renewed. `unanswered`: this node knows that no
/// answer will come to the row's claim.
pub(super) fn consult(
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
    let patience = rules.patience();
    if age < patience && !unanswered {
        return SendDecision::Wait { left: patience - age, age };
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
    const CLAIM: ReservationId = [7; 16];

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn row(tries: u32, age: u64) -> StoredUpstreamTokens {
        StoredUpstreamTokens {
            seq: 4,
            tries,
            reservation: (tries > 0).then_some(CLAIM),
            reserved_at: NOW.minus(secs(age)),
            sealed: Vec::new(),
            expires: NOW,
        }
    }

    fn ask(row: &StoredUpstreamTokens, replay: Replay, unanswered: bool) -> SendDecision {
        consult(row, true, unanswered, NOW, Rules { replay, limit: secs(30) })
    }

    #[test]
    fn s57_a_token_is_sent_once_unless_the_policy_says_more() {
        let within = |grace| Replay::Within(secs(grace));
        let again = |age| SendDecision::Send { replaces: Some((CLAIM, NOW.minus(secs(age)))) };
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
        let kept = consult(
            &row(1, 99),
            false,
            true,
            NOW,
            Rules { replay: Replay::Never, limit: secs(30) },
        );
        assert_eq!(kept, SendDecision::Keep, "what lasts is not touched");
    }
}
