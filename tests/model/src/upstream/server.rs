//! The other server, as a model: it issues, consumes, refuses and takes back refresh tokens.

use std::time::Duration;

use everfresh_upstream::Replay;

/// How long a server of [`Model::Grace`] or [`Model::Lenient`] gives the same successor again.
pub(super) const GRACE: Duration = Duration::from_secs(16);

/// What kind of server refreshes the sessions, and how everfresh is told to treat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Takes each refresh token once; a second time it ends the family of tokens (RFC 9700 section
    /// 4.14.2). `Replay::Never`.
    Strict,
    /// Gives the same successor again for 16 s, and after that it is strict. `Replay::Within`. What
    /// is sent to it arrives before time passes, or never.
    Grace,
    /// The same, and after that it says no and does nothing. What is sent to it may arrive late.
    Lenient,
    /// Its refresh tokens don't rotate. `Replay::Always`.
    Fixed,
    /// As `Strict`, under `Replay::Always`: a setting that sends tokens twice.
    Mistaken,
}

impl Model {
    pub(super) fn replay(self) -> Replay {
        match self {
            Self::Strict => Replay::Never,
            Self::Grace | Self::Lenient => Replay::Within(GRACE),
            Self::Fixed | Self::Mistaken => Replay::Always,
        }
    }
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Tokens: the refresh token of this number.
    Issued(u64),
    /// `invalid_grant`.
    Refused,
    /// 503, and nothing was done.
    Busy,
    /// 500, and what was done before is done.
    Broken,
    /// No connection: certainly nothing was sent.
    Unsent,
    /// A connection that ended: nobody knows.
    Lost,
}

/// One family of refresh tokens, numbered from 0.
#[derive(Debug)]
pub(super) struct Server {
    model: Model,
    /// The one that counts.
    pub(super) current: u64,
    /// When the one before it was consumed.
    consumed_at: Duration,
    /// The family was ended by whoever holds it.
    pub(super) revoked: bool,
    /// A token that was consumed came again: the family was ended.
    pub(super) reused: bool,
    /// How often it was asked for tokens.
    pub(super) calls: u64,
}

impl Server {
    pub(super) fn new(model: Model) -> Self {
        let (revoked, reused) = (false, false);
        Self { model, current: 0, consumed_at: Duration::ZERO, revoked, reused, calls: 0 }
    }

    pub(super) fn refresh(&mut self, token: u64, now: Duration) -> Said {
        self.calls += 1;
        if self.revoked || self.reused {
            return Said::Refused;
        }
        if self.model == Model::Fixed {
            return Said::Issued(token);
        }
        if token == self.current {
            self.current += 1;
            self.consumed_at = now;
            return Said::Issued(self.current);
        }
        let graceful = token + 1 == self.current && now - self.consumed_at <= GRACE;
        match self.model {
            Model::Grace | Model::Lenient if graceful => Said::Issued(self.current),
            Model::Lenient => Said::Refused,
            _ => {
                self.reused = true;
                Said::Refused
            }
        }
    }

    /// RFC 7009. A token that was consumed is none any more.
    pub(super) fn revoke(&mut self, token: u64) {
        self.revoked |= token == self.current;
    }
}
