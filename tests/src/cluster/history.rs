//! The answers that clients got for one session, and a search for an order of single steps that
//! explains them.
//!
//! A session consists of two parts, each of which must be linearizable: every call takes effect at
//! one point between its beginning and its end. The store's row holds the current generation, or
//! records that the session is over. Each node has a mark that makes it refuse access tokens of an
//! ended session. The node sets the mark once, when it learns of the end, and never clears it.
//! Until then it also returns the result of a pending refresh to every request with the same token.
//!
//! The search is by Wing and Gong, with Lowe's memory of tried states. A session has few states.
//! Without the memory, eight concurrent clients are too many for a search, as in the testers of
//! model checkers.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// The largest number of calls in one history.
pub(super) const MOST: usize = 128;

/// A client's request to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Presented only the refresh token of this generation.
    Refresh(u64),
    /// Presented an access token alone.
    Verify,
    /// Signed out.
    Revoke,
}

/// The node's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted; a refresh brought tokens of this generation.
    Alive(u64),
    /// Signed out.
    Ended,
    /// 401.
    Over,
    /// 503 or no answer: the request may have taken effect, or may still do so.
    Nothing,
}

/// A call and its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The node.
    pub node: usize,
    /// The request.
    pub operation: Operation,
    /// The start, by the clock of all clients.
    pub began: Duration,
    /// The time of the answer.
    pub ended: Duration,
    /// The answer.
    pub outcome: Outcome,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, operation, began, ended, outcome } = self;
        let (began, ended) = (began.as_micros(), ended.as_micros());
        write!(f, "{began:>9}..{ended:<9} node {node}: {operation:?} -> {outcome:?}")
    }
}

/// The calls of one session.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<Call>);

/// The row: its generation, or `None` if the session is over.
type Row = Option<u64>;

impl History {
    /// At most 128 calls, in any order.
    pub fn new(mut calls: Vec<Call>) -> Self {
        assert!(calls.len() <= MOST, "{} calls", calls.len());
        calls.sort_by_key(|call| call.began);
        Self(calls)
    }

    /// How many calls.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some order of single steps explains all answers. The session starts at generation 0.
    pub fn is_linearizable(&self) -> bool {
        !self.takes_back() && self.fits_a_row()
    }

    /// Whether a node accepted an access token after it had reported the session's end.
    fn takes_back(&self) -> bool {
        let taken = |call: &Call| {
            matches!((call.operation, call.outcome), (Operation::Verify, Outcome::Alive(_)))
        };
        self.0.iter().any(|call| taken(call) && self.knew_the_end(call))
    }

    /// Whether the node had reported the session's end before this call began.
    fn knew_the_end(&self, call: &Call) -> bool {
        let says = |one: &Call| matches!(one.outcome, Outcome::Over | Outcome::Ended);
        self.0.iter().any(|one| one.node == call.node && says(one) && one.ended < call.began)
    }

    /// Whether a call may have joined an earlier refresh of its node.
    fn joins(&self, call: &Call) -> bool {
        let first = |one: &Call| {
            (one.node, one.operation, one.outcome) == (call.node, call.operation, call.outcome)
                && one.began < call.began
                && call.began <= one.ended
        };
        matches!((call.operation, call.outcome), (Operation::Refresh(_), Outcome::Alive(_)))
            && !self.knew_the_end(call)
            && self.0.iter().any(first)
    }

    fn fits_a_row(&self) -> bool {
        let all = if self.0.len() == MOST { u128::MAX } else { (1 << self.0.len()) - 1 };
        let mut tried = HashSet::new();
        let mut open: Vec<(u128, Row)> = vec![(0, Some(0))];
        while let Some((done, row)) = open.pop() {
            if done == all {
                return true;
            }
            if !tried.insert((done, row)) {
                continue;
            }
            let left = || self.0.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
            // A call without an answer may take effect at any later time.
            let ends = left().filter(|(_, call)| call.outcome != Outcome::Nothing);
            let first_end = ends.map(|(_, call)| call.ended).min().unwrap_or(Duration::MAX);
            for (n, call) in left().take_while(|(_, call)| call.began <= first_end) {
                let joined = self.joins(call).then_some(row);
                let next = call.changes(row, self.signs_out(call)).into_iter().flatten();
                open.extend(next.chain(joined).map(|next| (done | (1 << n), next)));
            }
        }
        false
    }

    /// Whether a sign-out had begun at the answering node. From then on the node refuses access
    /// tokens and the results of refreshes; only then it calls the store.
    fn signs_out(&self, call: &Call) -> bool {
        let begun = |one: &Call| one.operation == Operation::Revoke && one.began <= call.ended;
        self.0.iter().any(|one| one.node == call.node && begun(one))
    }
}

impl Call {
    /// The possible rows after this call; `None` for each that the answer rules out.
    fn changes(&self, row: Row, signs_out: bool) -> [Option<Row>; 2] {
        let (kept, over) = (Some(row), Some(None));
        match (self.operation, self.outcome, row) {
            (Operation::Refresh(shown), Outcome::Alive(given), Some(now)) => {
                let keeps = given == now && (shown == now || shown + 1 == now);
                let rotates = shown == now && given == now + 1;
                [(keeps || rotates).then_some(Some(given)), None]
            }
            // Reuse: an older token than the current one.
            (Operation::Refresh(shown), Outcome::Over, Some(now)) if shown < now => {
                [over, kept.filter(|_| signs_out)]
            }
            // A node accepts an access token until it learns that the session is over.
            (Operation::Verify, Outcome::Alive(_), _) => [kept, None],
            (Operation::Refresh(_) | Operation::Verify, Outcome::Over, None) => [kept, None],
            (Operation::Refresh(_) | Operation::Verify, Outcome::Over, Some(_)) if signs_out => {
                [kept, None]
            }
            (Operation::Revoke, Outcome::Ended, _) | (Operation::Revoke, Outcome::Over, None) => {
                [over, None]
            }
            (Operation::Refresh(shown), Outcome::Nothing, Some(now)) if shown == now => {
                [kept, Some(Some(now + 1))]
            }
            (Operation::Refresh(_) | Operation::Revoke, Outcome::Nothing, Some(_)) => [kept, over],
            (_, Outcome::Nothing, _) => [kept, None],
            _ => [None, None],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(node: usize, operation: Operation, began: u64, ended: u64, outcome: Outcome) -> Call {
        let at = Duration::from_micros;
        Call { node, operation, began: at(began), ended: at(ended), outcome }
    }

    fn holds(calls: &[Call]) -> bool {
        History::new(calls.to_vec()).is_linearizable()
    }

    #[test]
    fn a_history_that_a_single_server_allows_is_accepted() {
        use Operation::{Refresh, Revoke, Verify};
        use Outcome::{Alive, Ended, Over};
        assert!(holds(&[]));
        // Racing requests get the same successor, and so does a late one.
        assert!(holds(&[
            call(0, Refresh(0), 0, 9, Alive(1)),
            call(1, Refresh(0), 1, 8, Alive(1)),
            call(2, Refresh(0), 10, 11, Alive(1)),
            call(2, Refresh(1), 12, 13, Alive(1)),
            call(2, Refresh(1), 14, 15, Alive(2)),
        ]));
        // During the sign-out the session may be live or over. Another node may not have learned of
        // the end.
        assert!(holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(1, Refresh(0), 1, 5, Alive(0)),
            call(2, Refresh(0), 4, 6, Over),
            call(1, Verify, 10, 11, Alive(0)),
            call(1, Verify, 12, 13, Over),
        ]));
        // A detected reuse ends the session in the store first, and then on its node.
        assert!(holds(&[
            call(0, Refresh(0), 0, 1, Alive(1)),
            call(0, Refresh(1), 2, 3, Alive(2)),
            call(0, Refresh(0), 4, 20, Over),
            call(1, Refresh(2), 5, 6, Over),
            call(0, Verify, 7, 8, Alive(2)),
        ]));
        // The node accepts the access token while the call to the store is pending.
        assert!(holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(0, Verify, 1, 2, Over),
            call(1, Refresh(0), 3, 4, Alive(0)),
            call(0, Refresh(0), 5, 6, Alive(0)),
            call(0, Refresh(0), 7, 8, Alive(0)),
        ]));
        assert!(holds(&[
            call(0, Refresh(0), 0, 1, Alive(1)),
            call(0, Refresh(1), 2, 3, Alive(2)),
            call(1, Refresh(0), 4, 5, Over),
            call(0, Refresh(2), 6, 7, Over),
        ]));
        // A request that joins a refresh gets its result, even if another node signed the session
        // out meanwhile.
        assert!(holds(&[
            call(0, Refresh(0), 0, 9, Alive(1)),
            call(1, Revoke, 1, 2, Ended),
            call(0, Refresh(0), 3, 9, Alive(1)),
        ]));
    }

    #[test]
    fn a_history_that_no_single_server_allows_is_refused() {
        use Operation::{Refresh, Revoke, Verify};
        use Outcome::{Alive, Ended, Nothing, Over};
        // Signed out for no reason.
        assert!(!holds(&[call(0, Refresh(0), 0, 1, Over)]));
        assert!(!holds(&[call(0, Verify, 0, 1, Over)]));
        // No request joins a refresh of another node, of another token, or one that has finished,
        // and a refresh can't be revived.
        let began = [call(0, Refresh(0), 0, 9, Alive(1)), call(1, Revoke, 1, 2, Ended)];
        for wrong in [
            call(1, Refresh(0), 3, 9, Alive(1)),
            call(0, Refresh(1), 3, 9, Alive(1)),
            call(0, Refresh(0), 10, 11, Alive(1)),
        ] {
            assert!(!holds(&[&began[..], &[wrong]].concat()), "{wrong:?}");
        }
        let over = [call(0, Verify, 3, 4, Over), call(0, Refresh(0), 5, 6, Alive(1))];
        assert!(!holds(&[&began[..], &over].concat()));
        // A generation is skipped, or occurs again.
        assert!(!holds(&[call(0, Refresh(0), 0, 1, Alive(2))]));
        assert!(!holds(&[
            call(0, Refresh(0), 0, 1, Alive(1)),
            call(1, Refresh(0), 2, 3, Alive(0)),
        ]));
        // After the answer to a sign-out, no node refreshes the session, and its own node accepts
        // no access token.
        for (node, operation) in [(0, Refresh(0)), (1, Refresh(0)), (0, Verify)] {
            let calls = [call(0, Revoke, 0, 1, Ended), call(node, operation, 2, 3, Alive(0))];
            assert!(!holds(&calls), "{calls:?}");
        }
        // A node that refused an access token refuses it from then on.
        assert!(!holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(0, Verify, 1, 2, Over),
            call(0, Verify, 3, 4, Alive(0)),
        ]));
        // Another node accepts the access token after the store was told.
        assert!(!holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(1, Verify, 1, 2, Over),
            call(1, Refresh(0), 3, 4, Alive(0)),
        ]));
        // A node that reported the end keeps reporting it.
        assert!(!holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(1, Verify, 1, 2, Over),
            call(1, Verify, 3, 4, Alive(0)),
        ]));
        // A call without an answer explains one rotation, and no second one.
        let lost = call(0, Refresh(0), 0, 1, Nothing);
        assert!(holds(&[lost, call(1, Refresh(1), 2, 3, Alive(1))]));
        assert!(!holds(&[lost, call(1, Refresh(2), 2, 3, Alive(2))]));
    }
}
