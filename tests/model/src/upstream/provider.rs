//! The provider: it issues, consumes, refuses and takes back refresh tokens.

use std::time::Duration;

use everfresh_upstream::Replay;

/// How long a server of [`ProviderKind::Grace`] or [`ProviderKind::Lenient`] returns the same successor.
pub(super) const GRACE: Duration = Duration::from_secs(16);

/// The kind of server that refreshes the sessions, with everfresh's setting for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
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

impl ProviderKind {
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
pub(super) enum ProviderAnswer {
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
pub(super) struct Provider {
    kind: ProviderKind,
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

impl Provider {
    pub(super) fn new(kind: ProviderKind) -> Self {
        let (revoked, reused) = (false, false);
        Self { kind, current: 0, consumed_at: Duration::ZERO, revoked, reused, calls: 0 }
    }

    pub(super) fn refresh(&mut self, token: u64, now: Duration) -> ProviderAnswer {
        self.calls += 1;
        if self.revoked || self.reused {
            return ProviderAnswer::Refused;
        }
        if self.kind == ProviderKind::Fixed {
            return ProviderAnswer::Issued(token);
        }
        if token == self.current {
            self.current += 1;
            self.consumed_at = now;
            return ProviderAnswer::Issued(self.current);
        }
        let graceful = token + 1 == self.current && now - self.consumed_at <= GRACE;
        match self.kind {
            ProviderKind::Grace | ProviderKind::Lenient if graceful => {
                ProviderAnswer::Issued(self.current)
            }
            ProviderKind::Lenient => ProviderAnswer::Refused,
            _ => {
                self.reused = true;
                ProviderAnswer::Refused
            }
        }
    }

    /// RFC 7009. A consumed token is no longer a token.
    pub(super) fn revoke(&mut self, token: u64) {
        self.revoked |= token == self.current;
    }
}
