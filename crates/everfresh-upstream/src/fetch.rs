//! Fetching of documents: key sets and metadata.

use std::fmt;

use everfresh::KeyError;
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::http::{Answer, HttpClient, HttpError, SecureUrl, UrlError};

/// An error of fetching a document: it could not be fetched, or can't be used.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchError(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    url: SecureUrl,
    problem: FetchProblem,
}

/// The cause of a [`FetchError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchProblem {
    /// The server did not answer.
    Http(HttpError),
    /// The server answered with a status other than 200. Redirects are not followed.
    Status(StatusCode),
    /// The answer is not the expected JSON. The text names the position.
    Json(String),
    /// The keys can't be used.
    Keys(KeyError),
    /// The key set holds a shared secret (`oct`). Any reader of the set could sign tokens with it.
    SharedSecret,
    /// The metadata belongs to another issuer (RFC 8414 section 3.3).
    Issuer {
        /// The issuer in the metadata, cut to 200 characters.
        found: String,
        /// The issuer that was asked for. The two must be the same, character by character.
        expected: String,
    },
    /// The metadata names an endpoint that may not be called.
    Endpoint {
        /// The member of the metadata.
        member: &'static str,
        /// The reason.
        error: UrlError,
    },
    /// The metadata lacks an endpoint.
    Missing {
        /// The member of the metadata.
        member: &'static str,
    },
}

impl FetchError {
    pub(crate) fn new(url: &SecureUrl, problem: impl Into<FetchProblem>) -> Self {
        Self(Box::new(Inner { url: url.clone(), problem: problem.into() }))
    }

    /// Returns the address of the document.
    pub fn url(&self) -> &SecureUrl {
        &self.0.url
    }

    /// Returns the cause.
    pub fn problem(&self) -> &FetchProblem {
        &self.0.problem
    }
}

/// Fetches a document. A status other than 200 is an error.
pub(crate) async fn fetch(client: &HttpClient, url: &SecureUrl) -> Result<Answer, FetchError> {
    let answer = client.get(url).send().await.map_err(|error| FetchError::new(url, error))?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        status => Err(FetchError::new(url, FetchProblem::Status(status))),
    }
}

pub(crate) fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, FetchProblem> {
    answer.json().map_err(|error| FetchProblem::Json(error.to_string().chars().take(200).collect()))
}

impl From<HttpError> for FetchProblem {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<KeyError> for FetchProblem {
    fn from(error: KeyError) -> Self {
        Self::Keys(error)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.url())?;
        match self.problem() {
            FetchProblem::Http(error) => error.fmt(f),
            FetchProblem::Status(status) => {
                write!(f, "answered {}, not 200; ", status.as_u16())?;
                f.write_str(match status {
                    _ if status.is_redirection() => {
                        "redirects are not followed, so give the address itself"
                    }
                    _ if status.is_server_error() => "read that server's log",
                    _ => {
                        "make sure that the server has the document and serves it without \
                         authentication"
                    }
                })
            }
            FetchProblem::Json(problem) => {
                write!(f, "not the expected JSON: {problem}; check the address")
            }
            FetchProblem::Keys(error) => error.fmt(f),
            FetchProblem::SharedSecret => f.write_str(
                "holds a shared secret (`oct`), and every client that reads it could sign tokens \
                 with it; a fetched key set must hold public keys only",
            ),
            FetchProblem::Issuer { found, expected } => write!(
                f,
                "names the issuer {found:?}, not {expected:?}; give it exactly as it names itself, \
                 down to the last slash"
            ),
            FetchProblem::Endpoint { member, error } => write!(f, "its `{member}` {error}"),
            FetchProblem::Missing { member } => {
                write!(f, "names no `{member}`; configure that address")
            }
        }
    }
}

everfresh::debug_is_display!(FetchError);

impl std::error::Error for FetchError {}
