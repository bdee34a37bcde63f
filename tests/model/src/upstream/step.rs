//! The possible moves, and their descriptions.

use std::fmt;
use std::time::Duration;

use super::gate::{Id, Kind};
use super::node::{LIMIT, RequestKind};
use super::provider::{GRACE, ProviderAnswer, ProviderKind};

/// The fate of a change to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeResult {
    Done,
    /// The change is made, and the answer is an error.
    Mute,
    /// The change is not made, and the answer is an error.
    Failed,
}

/// One step of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A request arrives.
    Ask(usize, RequestKind),
    /// The store processes a change.
    Change(Id, ChangeResult),
    /// The change takes effect, and the node stops the given number of polls after it got the
    /// answer.
    Stop(Id, u8),
    /// The other server gets a request, or the network answers instead.
    Reach(Id, Option<ProviderAnswer>),
    /// Its answer arrives, or is lost.
    Hear(Id, bool),
    /// A node crashes and restarts.
    Crash(usize),
    /// A node is paused at this point.
    Pause(usize),
    Resume(usize),
    /// Starts or ends an outage of the store.
    Down,
    Up,
    Pass(Span),
}

/// How much time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// More than the time within which a token is sent after its reservation.
    Second,
    /// More than the time after which a reservation is in doubt.
    Limit,
}

impl Span {
    pub(super) fn length(self, kind: ProviderKind) -> Duration {
        let limit = match kind {
            ProviderKind::Strict | ProviderKind::Fixed | ProviderKind::Mistaken => LIMIT,
            ProviderKind::Grace | ProviderKind::Lenient => LIMIT.min(GRACE / 2),
        };
        match self {
            Self::Second => Duration::from_millis(1_100),
            Self::Limit => limit + Duration::from_millis(100),
        }
    }
}

impl Move {
    /// Whether this is a fault. A schedule has a limited number of faults.
    pub(super) fn is_fault(self) -> bool {
        match self {
            Self::Ask(_, wish) => wish == RequestKind::SignOut,
            Self::Change(_, fate) => fate != ChangeResult::Done,
            Self::Reach(_, instead) => instead.is_some(),
            Self::Hear(_, heard) => !heard,
            Self::Stop(..) | Self::Crash(_) | Self::Pause(_) | Self::Down => true,
            Self::Resume(_) | Self::Up | Self::Pass(_) => false,
        }
    }
}

/// Nodes by letters.
pub(super) fn letter(node: usize) -> char {
    char::from(b'A' + u8::try_from(node).unwrap_or(25).min(25))
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Reservation => "reservation",
            Kind::Release => "release",
            Kind::Publish => "publication",
            Kind::Revoke => "end of the session",
            Kind::Request => "refresh",
            Kind::Answer => "answer",
        };
        write!(f, "{}'s {what} {}", letter(self.node), self.nth)
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ask(node, RequestKind::Visit) => write!(f, "a request comes to {}", letter(node)),
            Self::Ask(node, RequestKind::SignOut) => {
                write!(f, "a client signs out at {}", letter(node))
            }
            Self::Change(id, ChangeResult::Done) => write!(f, "{id} reaches the store"),
            Self::Change(id, ChangeResult::Mute) => {
                write!(f, "{id} reaches the store, whose answer is lost")
            }
            Self::Change(id, ChangeResult::Failed) => write!(f, "{id} does not reach the store"),
            Self::Stop(id, polls) => {
                let node = letter(id.node);
                write!(f, "{id} reaches the store, and {node} is stopped {polls} polls later")
            }
            Self::Reach(id, None) => write!(f, "{id} reaches the other server"),
            Self::Reach(id, Some(ProviderAnswer::Unsent)) => write!(f, "{id} finds no connection"),
            Self::Reach(id, Some(ProviderAnswer::Lost)) => write!(f, "{id} is lost on its way"),
            Self::Reach(id, Some(ProviderAnswer::Busy)) => write!(f, "{id} is answered with 503"),
            Self::Reach(id, Some(said)) => {
                write!(f, "{id} is done and answered with 500 ({said:?})")
            }
            Self::Hear(id, true) => write!(f, "{id} arrives"),
            Self::Hear(id, false) => write!(f, "{id} is lost"),
            Self::Crash(node) => write!(f, "{} crashes and restarts", letter(node)),
            Self::Pause(node) => write!(f, "{} is stopped", letter(node)),
            Self::Resume(node) => write!(f, "{} continues", letter(node)),
            Self::Down => f.write_str("the store fails from now on"),
            Self::Up => f.write_str("the store works again"),
            Self::Pass(Span::Second) => f.write_str("a second passes"),
            Self::Pass(Span::Limit) => f.write_str("the limit of a refresh passes"),
        }
    }
}
