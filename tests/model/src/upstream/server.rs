//! The other server, as a model: it issues, consumes, refuses and takes back refresh tokens.

use std::time::Duration;

use everfresh_upstream::Replay;

/// How long a server of [`Model::Grace`] or [`Model::Lenient`] returns the same successor.
pub(super) const GRACE: Duration = Duration::from_secs(16);

/// The kind of server that refreshes the sessions, with everfresh's setting for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Accepts each refresh token once. A second use ends the token family (RFC 9700 section
    /// 4.14.2). `Replay::Never`.
    Strict,
    /// Returns the same successor for 16 s, and is strict afterwards. `Replay::Within`. A request
    /// to it arrives before time passes, or never.
    Grace,
    /// The same, but afterwards it refuses and changes nothing. A request to it may arrive late.
    Lenient,
    /// Its refresh tokens don't rotate. `Replay::Always`.
    Fixed,
    /// Behaves as `Strict`, but is configured as `Replay::Always`, a wrong setting that sends
    /// tokens twice.
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

/// The server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Tokens: the refresh token of this number.
    Issued(u64),
    /// `invalid_grant`.
    Refused,
    /// 503; the request had no effect.
    Busy,
    /// 500; the request took effect.
    Broken,
    /// No connection: the request was certainly not sent.
    Unsent,
    /// The connection ended: it is unknown whether the request took effect.
    Lost,
}

/// One family of refresh tokens, numbered from 0.
#[derive(Debug)]
pub(super) struct Server {
    model: Model,
    /// The token that is valid.
    pub(super) current: u64,
    /// When the previous token was consumed.
    consumed_at: Duration,
    /// The client that holds the family has revoked it.
    pub(super) revoked: bool,
    /// A consumed token was presented again, and the family was ended.
    pub(super) reused: bool,
    /// How many token requests it received.
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

    /// RFC 7009. A consumed token is no longer a token.
    pub(super) fn revoke(&mut self, token: u64) {
        self.revoked |= token == self.current;
    }
}
