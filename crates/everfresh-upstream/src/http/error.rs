//! The errors of calls, and whether the request may have arrived.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// An error of a call that returned no complete answer.
///
/// Check [`certainly_unsent`](Self::certainly_unsent) before a second attempt: a one-time token
/// that may have arrived must not be sent again. No variant holds any part of the request.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The client could not connect: no such host, refused, or unreachable. Nothing was sent.
    Connect {
        /// The system's error.
        cause: String,
    },
    /// The client could not connect within the limit. Nothing was sent.
    ConnectTimeout {
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// The TLS handshake failed: the certificate is not trusted, is another host's, or has expired.
    /// Nothing was sent.
    Tls {
        /// The error of TLS.
        cause: String,
    },
    /// The connection closed before the request was written, an HTTP/2 server stated that it did not
    /// process the request (RFC 9113 section 8.7), the service was not ready, or the permission did
    /// not come within the limit.
    Unsent {
        /// The innermost error.
        cause: String,
    },
    /// The permission of [`Call::after`](crate::Call::after) was refused. Nothing was sent.
    Withheld,
    /// The answer was not complete within the limit. The request may have been processed.
    Timeout {
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// The connection was reset or closed before the server answered. The request may have been
    /// processed.
    Lost {
        /// The innermost error.
        cause: String,
    },
    /// The answer is not HTTP. The request may have been processed.
    Garbled {
        /// The error of the parser.
        cause: String,
    },
    /// The answer ended before it was complete. The request may have been processed.
    Cut {
        /// The status of the answer.
        status: StatusCode,
    },
    /// The answer's body has a content coding that the client can't undo. The request may have been
    /// processed.
    Coding {
        /// The status of the answer.
        status: StatusCode,
        /// Why the coding can't be undone.
        cause: String,
    },
    /// The answer's body exceeds the limit. The request may have been processed.
    TooLarge {
        /// The status of the answer.
        status: StatusCode,
        /// The limit of the body, in bytes.
        limit: usize,
    },
}

impl HttpError {
    /// Returns `true` if the server certainly received nothing of the request, or stated that it did
    /// not process it. Otherwise the server may have processed the request.
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
            | Self::Coding { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

/// Returns the text of an error's innermost cause, cut to 200 characters.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let text = chain(error).last().unwrap_or(error).to_string();
    text.chars().take(200).collect()
}

/// Returns an error and its causes, the outermost first.
pub(crate) fn chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        // The `source` of an I/O error is the source of the error that it wraps, so `source` skips
        // the wrapped error.
        Some(io) => io.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

/// Returns the first error of this type in the chain.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The advice for errors of connecting.
const UP: &str = "make sure that the server is up and that this machine can reach it";

/// The warning for errors after something was sent.
const DONE: &str = "the request may have been done all the same";

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { cause } => write!(f, "the client could not connect: {cause}; {UP}"),
            Self::ConnectTimeout { limit } => {
                write!(f, "the client could not connect within {limit:?}; {UP}")
            }
            Self::Tls { cause } => {
                write!(
                    f,
                    "no secure connection: {cause}; make sure that this machine trusts its \
                     certificate, or add its authority with `trust_pem`"
                )
            }
            Self::Unsent { cause } => write!(f, "the request was not sent: {cause}; try it again"),
            Self::Withheld => {
                f.write_str("the request was not sent, because its permission was refused")
            }
            Self::Timeout { limit } => {
                write!(f, "the server did not answer within {limit:?}; {DONE}")
            }
            Self::Lost { cause } => write!(f, "the connection was lost: {cause}; {DONE}"),
            Self::Garbled { cause } => {
                write!(
                    f,
                    "the answer is not HTTP: {cause}; make sure that the address is a web \
                     server's"
                )
            }
            Self::Cut { status } => {
                write!(f, "the answer, with status {}, ended too soon; {DONE}", status.as_u16())
            }
            Self::Coding { status, cause } => write!(
                f,
                "the content coding of the answer, with status {}, can't be undone: {cause}; make \
                 the server send no coding; {DONE}",
                status.as_u16()
            ),
            Self::TooLarge { status, limit } => write!(
                f,
                "the answer, with status {}, has more than {limit} bytes, the limit of this call",
                status.as_u16()
            ),
        }
    }
}

everfresh::debug_is_display!(HttpError);

impl Error for HttpError {}
