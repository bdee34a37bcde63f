//! Counters of requests and their answers.

use std::fmt;

/// How many broken promises are described.
const TOLD: usize = 20;

/// Sums over requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were sent.
    pub requests: u64,
    /// Answers with a new access token.
    pub refreshed: u64,
    /// Sign-ins.
    pub signed_in: u64,
    /// Sign-outs of one device.
    pub signed_out: u64,
    /// Sign-outs of all devices of a user.
    pub signed_out_everywhere: u64,
    /// Answers 401 to clients without tokens, with hostile tokens, or after a sign-out.
    pub refused: u64,
    /// Requests with hostile tokens or bodies.
    pub hostile: u64,
    /// Connections that were slow or broke off.
    pub broken_off: u64,
    /// Answers 503 during outages of the store.
    pub away: u64,
    /// The app's own answers 500.
    pub own: u64,
    /// Unexpected answers 5xx.
    pub ours: u64,
    /// Sessions that were lost.
    pub lost: u64,
    /// Requests that waited for an answer and got none.
    pub unanswered: u64,
    /// Descriptions of the first violations.
    pub wrong: Vec<String>,
}

impl Tally {
    pub(super) fn tell(&mut self, wrong: String) {
        if self.wrong.len() < TOLD {
            self.wrong.push(wrong);
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.requests += other.requests;
        self.refreshed += other.refreshed;
        self.signed_in += other.signed_in;
        self.signed_out += other.signed_out;
        self.signed_out_everywhere += other.signed_out_everywhere;
        self.refused += other.refused;
        self.hostile += other.hostile;
        self.broken_off += other.broken_off;
        self.away += other.away;
        self.own += other.own;
        self.ours += other.ours;
        self.lost += other.lost;
        self.unanswered += other.unanswered;
        other.wrong.iter().cloned().for_each(|wrong| self.tell(wrong));
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} refreshed, {} sign-ins, {} sign-outs, {} of them everywhere, {} hostile, \
             {} broken off; 401 where due {}, 503 while the store was away {}, 500 of the app's own {}, \
             unexpected 5xx {}, sessions lost {}, unanswered {}",
            self.requests,
            self.refreshed,
            self.signed_in,
            self.signed_out + self.signed_out_everywhere,
            self.signed_out_everywhere,
            self.hostile,
            self.broken_off,
            self.refused,
            self.away,
            self.own,
            self.ours,
            self.lost,
            self.unanswered,
        )
    }
}
