//! The responses to requests that are not entitled to what they ask for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// Returns the body of a rejection: its content type and bytes.
pub(crate) type RejectionBody =
    Arc<dyn Fn(&Rejection) -> (HeaderValue, Vec<u8>) + Send + Sync + 'static>;

/// The response to a request that must be signed in and isn't: a status, the headers that belong to
/// it, and a problem+json body (RFC 9457). The body says what to do, and reveals nothing about the
/// token.
#[derive(Clone)]
pub struct Rejection {
    kind: RejectionKind,
    detail: Option<&'static str>,
    retry_after: Duration,
    body: Option<RejectionBody>,
}

/// The kind of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request carries no credentials: 401, with a challenge that names no error (RFC 6750
    /// section 3.1).
    NoCredentials,
    /// The session is over, or the token is not valid here: 401 `invalid_token`.
    InvalidToken,
    /// The user signed in too long ago for this request: 401 `insufficient_user_authentication`
    /// (RFC 9470 section 3).
    NotRecent,
    /// The request carries more than one credential in one place: 400 `invalid_request`.
    InvalidRequest,
    /// Another site caused the request: 403.
    CrossSite,
    /// The user has reached the maximum number of sessions: 403.
    TooManySessions,
    /// The session can't be refreshed or checked at the moment: 503 with `Retry-After`.
    Unavailable,
    /// The request has no session, because there is no layer around the service: 500.
    MissingLayer,
    /// The engine was built with [`insecure_dev_only`](crate::EngineBuilder::insecure_dev_only),
    /// and the request names a host other than this machine: 500.
    InsecureHost,
    /// The application used the session in a way that can't work: 500.
    Internal,
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind) -> Self {
        Self { kind, detail: None, retry_after: Duration::from_secs(1), body: None }
    }

    /// Returns the rejection for a handler that needs the layer if the layer is missing.
    pub fn missing_layer() -> Self {
        Self::new(RejectionKind::MissingLayer)
    }

    /// Returns the rejection for an application that uses the session in a way that can't work.
    pub fn internal() -> Self {
        Self::new(RejectionKind::Internal)
    }

    /// Replaces the sentence that [`detail`](Self::detail) returns. For adapters, whose users know
    /// the layer by another name.
    pub fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    pub(crate) fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    pub(crate) fn with_body(mut self, body: Option<RejectionBody>) -> Self {
        self.body = body;
        self
    }

    /// Returns the kind of this rejection.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns the status code.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            RejectionKind::NoCredentials
            | RejectionKind::InvalidToken
            | RejectionKind::NotRecent => StatusCode::UNAUTHORIZED,
            RejectionKind::InvalidRequest => StatusCode::BAD_REQUEST,
            RejectionKind::CrossSite | RejectionKind::TooManySessions => StatusCode::FORBIDDEN,
            RejectionKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectionKind::MissingLayer | RejectionKind::InsecureHost | RejectionKind::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// Returns one sentence for the reader of the response.
    pub fn detail(&self) -> &'static str {
        if let Some(detail) = self.detail {
            return detail;
        }
        match self.kind {
            RejectionKind::NoCredentials => "Sign in first: the request carries no access token.",
            RejectionKind::InvalidToken => {
                "Sign in again: the session is over, or its access token is not valid."
            }
            RejectionKind::NotRecent => {
                "Sign in again: this request needs a more recent sign-in. The session stays valid."
            }
            RejectionKind::InvalidRequest => {
                "The request carries several credentials, and one is allowed: send one."
            }
            RejectionKind::CrossSite => {
                "Another site caused this request, so the session in its cookies does not count: \
                 send the request from the app's own site."
            }
            RejectionKind::TooManySessions => {
                "You are signed in on the maximum number of devices: sign out on another device \
                 first."
            }
            RejectionKind::Unavailable => {
                "The session can't be checked or refreshed at the moment. It stays as it is; try \
                 again."
            }
            RejectionKind::MissingLayer => {
                "The request has no everfresh session: add `.layer(auth.layer())` around this \
                 service, outside of all layers and handlers that use a session, with the same \
                 claims type."
            }
            RejectionKind::InsecureHost => {
                "This server was built with `insecure_dev_only()`, and the request names another \
                 host than this machine: remove that setting and serve https, or allow the host \
                 with `insecure_dev_host`."
            }
            RejectionKind::Internal => {
                "The server could not change the session; its log has the reason."
            }
        }
    }

    /// Returns the challenge of a 401 or 400 (RFC 6750 section 3).
    fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match self.kind {
            RejectionKind::NoCredentials => "Bearer",
            RejectionKind::InvalidToken => {
                r#"Bearer error="invalid_token", error_description="The access token is expired or not valid""#
            }
            RejectionKind::NotRecent => {
                r#"Bearer error="insufficient_user_authentication", error_description="A more recent sign-in is required""#
            }
            RejectionKind::InvalidRequest => r#"Bearer error="invalid_request""#,
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }

    /// Returns the whole response, with a body of any type that converts from bytes.
    pub fn into_response<B: From<Vec<u8>>>(self) -> Response<B> {
        let (content_type, bytes) = match &self.body {
            Some(body) => body(&self),
            None => (PROBLEM, problem_body(self.status(), self.detail())),
        };
        let mut response = Response::new(B::from(bytes));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.kind == RejectionKind::Unavailable {
            // Rounded up, because with 0 clients would try again at once.
            let seconds = self.retry_after.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Returns a problem without a type of its own (RFC 9457).
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(problem_body(status, detail));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

fn problem_body(status: StatusCode, detail: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Problem<'d> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        detail: &'d str,
    }
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Rejection");
        shown.field("kind", &self.kind).field("detail", &self.detail()).finish_non_exhaustive()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Rejection {}
