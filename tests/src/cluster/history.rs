//! What clients saw of one session, and whether some order of single steps explains it.
//!
//! A history is linearizable if each call can be given a moment between its beginning and its end
//! at which it took effect at once, so that the answers are those of one session at one place. The
//! search is that of Wing and Gong, with Lowe's memory of what was tried: a session has few states,
//! and without the memory, as in the testers of model checkers, eight clients at once are too many.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// The most calls of one history.
pub(super) const MOST: usize = 128;

/// What a client asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Presented the refresh token of this generation, and nothing else.
    Refresh(u64),
    /// Presented an access token alone.
    Verify,
    /// Signed out.
    Revoke,
}

/// What the node said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Welcome; a refresh brought tokens of this generation.
    Alive(u64),
    /// Done: signed out.
    Ended,
    /// 401.
    Over,
    /// 503, or no answer: whatever was asked for may have been done, or may yet be.
    Nothing,
}

/// A call and its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The node.
    pub node: usize,
    /// What was asked.
    pub did: Did,
    /// When, by the clock of all clients.
    pub began: Duration,
    /// When the answer was there.
    pub ended: Duration,
    /// What it was.
    pub said: Said,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, did, began, ended, said } = self;
        let (began, ended) = (began.as_micros(), ended.as_micros());
        write!(f, "{began:>9}..{ended:<9} node {node}: {did:?} -> {said:?}")
    }
}

/// The calls of one session.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<Call>);

/// The session as one place would have it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// None: it is over.
    generation: Option<u64>,
    /// The nodes, a bit each, that know that it is. They need not ask the store again.
    known: u32,
}

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

    /// Whether some order of single steps explains all answers, of a session that began at
    /// generation 0.
    pub fn is_linearizable(&self) -> bool {
        let all = if self.0.len() == MOST { u128::MAX } else { (1 << self.0.len()) - 1 };
        let mut tried = HashSet::new();
        let mut open = vec![(0_u128, State { generation: Some(0), known: 0 })];
        while let Some((done, state)) = open.pop() {
            if done == all {
                return true;
            }
            if !tried.insert((done, state)) {
                continue;
            }
            let left = || self.0.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
            // What has no answer may take effect whenever it likes.
            let ends = left().filter(|(_, call)| call.said != Said::Nothing);
            let first_end = ends.map(|(_, call)| call.ended).min().unwrap_or(Duration::MAX);
            let possible = || left().take_while(|(_, call)| call.began <= first_end);
            let signing_out = possible().filter(|(_, call)| call.did == Did::Revoke);
            let signing_out = signing_out.fold(0, |nodes, (_, call)| nodes | 1 << call.node);
            for (n, call) in possible() {
                let next = state.after(call, signing_out).into_iter().flatten();
                open.extend(next.map(|next| (done | (1 << n), next)));
            }
        }
        false
    }
}

impl State {
    /// What the session can be after this call took effect; nothing if it can't have been answered
    /// so. `signing_out`: the nodes that are at it. There access tokens are refused from its first
    /// moment on, and refreshes that land; what is refreshed then is as the store says.
    fn after(self, call: &Call, signing_out: u32) -> [Option<Self>; 2] {
        let node = 1 << call.node;
        let over = Some(Self { generation: None, known: self.known | node });
        let knows = self.known & node != 0;
        let hears = (self.known | signing_out) & node != 0;
        let one = |state| [state, None];
        match (call.did, call.said, self.generation) {
            // Told so by the store, or known here.
            (Did::Refresh(_) | Did::Verify, Said::Over, None) => one(over),
            // Theft: an older token than the current one.
            (Did::Refresh(shown), Said::Over, Some(now)) if shown < now => {
                [over, hears.then_some(Self { known: self.known | node, ..self })]
            }
            (Did::Refresh(_) | Did::Verify, Said::Over, Some(_)) if hears => {
                one(Some(Self { known: self.known | node, ..self }))
            }
            (Did::Refresh(shown), Said::Alive(given), Some(now)) => {
                let kept = given == now && (shown == now || shown + 1 == now);
                let rotated = shown == now && given == now + 1;
                match kept || rotated {
                    true => one(Some(Self { generation: Some(given), ..self })),
                    false => [None; 2],
                }
            }
            // An access token counts until its node hears that the session is over.
            (Did::Verify, Said::Alive(_), _) if !knows => one(Some(self)),
            (Did::Revoke, Said::Ended, _) => one(over),
            (Did::Revoke, Said::Over, None) => one(over),
            (Did::Refresh(shown), Said::Nothing, Some(now)) if shown == now => {
                [Some(self), Some(Self { generation: Some(now + 1), ..self })]
            }
            (Did::Refresh(_) | Did::Revoke, Said::Nothing, Some(_)) => [Some(self), over],
            (_, Said::Nothing, _) => one(Some(self)),
            _ => [None; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(node: usize, did: Did, began: u64, ended: u64, said: Said) -> Call {
        let at = Duration::from_micros;
        Call { node, did, began: at(began), ended: at(ended), said }
    }

    fn holds(calls: &[Call]) -> bool {
        History::new(calls.to_vec()).is_linearizable()
    }

    #[test]
    fn what_one_place_would_have_said_is_taken() {
        use Did::{Refresh, Revoke, Verify};
        use Said::{Alive, Ended, Over};
        assert!(holds(&[]));
        // Racers are given one successor, and a late one the same.
        assert!(holds(&[
            call(0, Refresh(0), 0, 9, Alive(1)),
            call(1, Refresh(0), 1, 8, Alive(1)),
            call(2, Refresh(0), 10, 11, Alive(1)),
            call(2, Refresh(1), 12, 13, Alive(1)),
            call(2, Refresh(1), 14, 15, Alive(2)),
        ]));
        // While it is signed out, it may be alive or over; another node may not have heard.
        assert!(holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(1, Refresh(0), 1, 5, Alive(0)),
            call(2, Refresh(0), 4, 6, Over),
            call(1, Verify, 10, 11, Alive(0)),
            call(1, Verify, 12, 13, Over),
        ]));
        // It counts at its own node while the store is still being told.
        assert!(holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(0, Verify, 1, 2, Over),
            call(1, Refresh(0), 3, 4, Alive(0)),
            call(0, Refresh(0), 5, 6, Alive(0)),
        ]));
        assert!(holds(&[
            call(0, Refresh(0), 0, 1, Alive(1)),
            call(0, Refresh(1), 2, 3, Alive(2)),
            call(1, Refresh(0), 4, 5, Over),
            call(0, Refresh(2), 6, 7, Over),
        ]));
    }

    #[test]
    fn what_no_one_place_would_have_said_is_refused() {
        use Did::{Refresh, Revoke, Verify};
        use Said::{Alive, Ended, Nothing, Over};
        // Signed out for no reason.
        assert!(!holds(&[call(0, Refresh(0), 0, 1, Over)]));
        assert!(!holds(&[call(0, Verify, 0, 1, Over)]));
        // A generation is left out, or comes back.
        assert!(!holds(&[call(0, Refresh(0), 0, 1, Alive(2))]));
        assert!(!holds(&[
            call(0, Refresh(0), 0, 1, Alive(1)),
            call(1, Refresh(0), 2, 3, Alive(0)),
        ]));
        // After the sign-out was answered, nothing is refreshed anywhere, and nothing counts there.
        for (node, did) in [(0, Refresh(0)), (1, Refresh(0)), (0, Verify)] {
            let calls = [call(0, Revoke, 0, 1, Ended), call(node, did, 2, 3, Alive(0))];
            assert!(!holds(&calls), "{calls:?}");
        }
        // Access tokens that were refused once stay so.
        assert!(!holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(0, Verify, 1, 2, Over),
            call(0, Verify, 3, 4, Alive(0)),
        ]));
        // Elsewhere it counts when the store has been told.
        assert!(!holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(1, Verify, 1, 2, Over),
            call(1, Refresh(0), 3, 4, Alive(0)),
        ]));
        // A node that has said so does not take it back.
        assert!(!holds(&[
            call(0, Revoke, 0, 9, Ended),
            call(1, Verify, 1, 2, Over),
            call(1, Verify, 3, 4, Alive(0)),
        ]));
        // What had no answer explains a rotation, and no more than one.
        let lost = call(0, Refresh(0), 0, 1, Nothing);
        assert!(holds(&[lost, call(1, Refresh(1), 2, 3, Alive(1))]));
        assert!(!holds(&[lost, call(1, Refresh(2), 2, 3, Alive(2))]));
    }
}
