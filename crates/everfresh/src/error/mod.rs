//! Errors: of a configuration, of a dialect, of a refresh, and of the methods by which a handler uses
//! its session.

mod config;
mod dialect;
mod failure;

use std::fmt;
use std::time::Duration;

use crate::reject::{Rejection, RejectionKind};

pub use config::ConfigError;
pub use dialect::DialectError;
pub use failure::Failure;

/// The error of [`Session::sign_in`](crate::Session::sign_in), `refresh`, `sign_out` and the other
/// methods that use a session.
///
/// Opaque, with a [`kind`](Self::kind). Converts to the [`Rejection`] that answers the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionError {
    kind: SessionErrorKind,
    detail: Option<String>,
    retry_after: Duration,
}

/// The kind of a [`SessionError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionErrorKind {
    /// The head of the response has been sent, so no cookie can be set any more. Sign in before the
    /// handler returns its response.
    ResponseSent,
    /// The claims can't be put into a token. The message names the member.
    Claims,
    /// The engine was not built with this transport.
    UnknownTransport,
    /// The audience of a token for another service is empty, or this engine's own.
    Audience,
    /// No user is signed in, or the token names no session.
    NotSignedIn,
    /// Another site caused the request.
    CrossSite,
    /// The request names a host other than this machine, and the engine was built with
    /// [`insecure_dev_only`](crate::EngineBuilder::insecure_dev_only).
    InsecureHost,
    /// The session is over, or the app's type does not take its claims.
    Rejected,
    /// The operation is not possible at the moment. A later attempt may succeed.
    Unavailable,
    /// The user has reached the maximum number of sessions, so the sign-in was refused.
    TooManySessions,
    /// The configuration does not allow the operation. An event says what is wrong.
    Misconfigured,
}

impl SessionError {
    pub(crate) fn claims(detail: String) -> Self {
        Self { detail: Some(detail), ..SessionErrorKind::Claims.into() }
    }

    /// Returns the kind of this error.
    pub fn kind(&self) -> SessionErrorKind {
        self.kind
    }
}

impl From<SessionErrorKind> for SessionError {
    fn from(kind: SessionErrorKind) -> Self {
        Self { kind, detail: None, retry_after: Duration::from_secs(1) }
    }
}

impl From<Failure> for SessionError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected
            | Failure::InDoubt
            | Failure::Refused
            | Failure::Foreign
            | Failure::UnreadClaims => SessionErrorKind::Rejected.into(),
            Failure::Misconfigured => SessionErrorKind::Misconfigured.into(),
            // The error tells the caller what to change; the client only learns when to try again.
            Failure::NoRuntime => {
                let detail = Some(failure.to_string());
                Self { detail, ..SessionErrorKind::Unavailable.into() }
            }
            Failure::TooManySessions => SessionErrorKind::TooManySessions.into(),
            Failure::Unavailable { retry_after } => {
                Self { retry_after, ..SessionErrorKind::Unavailable.into() }
            }
        }
    }
}

impl From<SessionError> for Rejection {
    fn from(error: SessionError) -> Self {
        match error.kind {
            SessionErrorKind::NotSignedIn => Self::new(RejectionKind::NoCredentials),
            SessionErrorKind::CrossSite => Self::new(RejectionKind::CrossSite),
            SessionErrorKind::InsecureHost => Self::new(RejectionKind::InsecureHost),
            SessionErrorKind::Rejected => Self::new(RejectionKind::InvalidToken),
            SessionErrorKind::TooManySessions => Self::new(RejectionKind::TooManySessions),
            SessionErrorKind::Unavailable => {
                Self::new(RejectionKind::Unavailable).retry_after(error.retry_after)
            }
            _ => {
                // The response tells the client nothing about the error, so the log has to.
                tracing::error!(target: "everfresh", %error, "a session could not be used");
                Self::new(RejectionKind::Internal)
            }
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(detail) = &self.detail {
            return f.write_str(detail);
        }
        if self.kind == SessionErrorKind::Unavailable {
            let seconds = self.retry_after.as_secs_f64().ceil().max(1.0) as u64;
            return write!(
                f,
                "the session can't be changed at the moment; try again in {seconds} s"
            );
        }
        f.write_str(match self.kind {
            SessionErrorKind::ResponseSent => {
                "the response's head has been sent; sign in or refresh before the handler returns"
            }
            SessionErrorKind::Claims => {
                "the claims can't go into a token; make them an object without registered names"
            }
            SessionErrorKind::UnknownTransport => {
                "the transport is not one of the engine's; name it in `.transports(..)` too"
            }
            SessionErrorKind::Audience => {
                "the audience must be another service's; for this service use `access_token`"
            }
            SessionErrorKind::NotSignedIn => "no user is signed in; call `sign_in` first",
            SessionErrorKind::CrossSite => {
                "another site caused this request; allow its origin with `trusted_origin` or \
                 `trusted_origin_for`"
            }
            SessionErrorKind::InsecureHost => {
                "the request names another host than this machine, and `insecure_dev_only` allows \
                 only this machine; remove that setting, or allow the host with \
                 `insecure_dev_host`"
            }
            SessionErrorKind::Rejected => "the session is over; sign in again",
            SessionErrorKind::TooManySessions => {
                "the user has the maximum number of sessions; sign out of another session first"
            }
            SessionErrorKind::Unavailable => {
                "the session can't be changed at the moment; try again"
            }
            SessionErrorKind::Misconfigured => {
                "the configuration does not allow this; the event in the log names the cause"
            }
        })
    }
}

impl std::error::Error for SessionError {}
