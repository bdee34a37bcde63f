//! Why a call gave no answer, and whether the request may have arrived.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// Why a call gave no answer.
///
/// What matters most is [`certainly_unsent`](Self::certainly_unsent): a one-time token that may
/// have arrived must not be sent again. No variant holds anything that was sent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// There was no connection: no such host, refused, unreachable. Nothing was sent.
    Connect {
        /// What the system said.
        cause: String,
    },
    /// There was no connection in time. Nothing was sent.
    ConnectTimeout {
        /// The limit that was over.
        limit: Duration,
    },
    /// The connection could not be made secure: a certificate that nobody here trusts, of another
    /// host, or expired. Nothing was sent.
    Tls {
        /// What TLS said.
        cause: String,
    },
    /// There was a connection, and it was gone before the request's body was written; the service
    /// that should carry it was not ready; or permission did not come in time. Nothing was sent.
    Unsent {
        /// What happened.
        cause: String,
    },
    /// [`Call::after`](crate::Call::after) said no. Nothing was sent.
    Withheld,
    /// No answer, or not the whole of it, in time. The request may have been processed.
    Timeout {
        /// The limit that was over.
        limit: Duration,
    },
    /// The connection was reset, or closed before there was an answer. The request may have been
    /// processed.
    Lost {
        /// What happened.
        cause: String,
    },
    /// What came is no HTTP. The request may have been processed.
    Garbled {
        /// What could not be read.
        cause: String,
    },
    /// The answer began, and ended too soon.
    Cut {
        /// The status that it had.
        status: StatusCode,
    },
    /// The answer is larger than what is read of it.
    TooLarge {
        /// The status that it had.
        status: StatusCode,
        /// How many bytes are read.
        limit: usize,
    },
}

impl HttpError {
    /// Whether the other side certainly got nothing of the request's body. Otherwise it may have
    /// done what it says.
    pub fn certainly_unsent(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Tls { .. }
            | Self::Unsent { .. }
            | Self::Withheld => true,
            Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::Garbled { .. }
            | Self::Cut { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

/// The innermost of an error's causes: the one that says what happened.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let text = chain(error).last().unwrap_or(error).to_string();
    text.chars().take(200).collect()
}

/// An error and its causes, from the outside in.
pub(crate) fn chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        // An I/O error stands for what it wraps, and names only that one's cause.
        Some(io) => io.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

/// The first cause of this type.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// What to look at where there is no connection.
const UP: &str = "see that the server is up and that this machine may reach it";

/// What nobody knows once something was sent.
const DONE: &str = "the request may have been done all the same";

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { cause } => write!(f, "no connection: {cause}; {UP}"),
            Self::ConnectTimeout { limit } => write!(f, "no connection within {limit:?}; {UP}"),
            Self::Tls { cause } => {
                write!(
                    f,
                    "no secure connection: {cause}; see that its certificate is one that this \
                           machine trusts, or name its authority by `trust_pem`"
                )
            }
            Self::Unsent { cause } => write!(f, "not sent: {cause}; it may be tried again"),
            Self::Withheld => {
                f.write_str("not sent: the permission that it was to wait for was refused")
            }
            Self::Timeout { limit } => write!(f, "no answer within {limit:?}; {DONE}"),
            Self::Lost { cause } => write!(f, "the connection was lost: {cause}; {DONE}"),
            Self::Garbled { cause } => {
                write!(f, "the answer is no HTTP: {cause}; see that the address is a web server's")
            }
            Self::Cut { status } => {
                write!(f, "the answer, with status {}, ended too soon; {DONE}", status.as_u16())
            }
            Self::TooLarge { status, limit } => write!(
                f,
                "the answer, with status {}, has more than {limit} bytes, which is all that is read",
                status.as_u16()
            ),
        }
    }
}

everfresh::debug_is_display!(HttpError);

impl Error for HttpError {}
