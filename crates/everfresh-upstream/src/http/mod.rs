//! Calls to other servers, over whatever carries HTTP.

mod body;
mod carrier;
#[cfg(feature = "client")]
mod client;
mod error;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower_service::Service;

use body::{BoxError, Permission, SentFlag};
use carrier::{Carrier, Given};

#[cfg(feature = "client")]
pub use client::{ClientError, HttpClientBuilder};
pub use error::HttpError;
pub use url::{SecureUrl, UrlError};

/// How long a call may take, from its connection to its answer's last byte.
const LIMIT: Duration = Duration::from_secs(10);

/// How many bytes of an answer are read.
const MAX_ANSWER: usize = 64 * 1024;

/// Calls other servers: once, within limits, and never where it was not told to.
///
/// A cheap handle; a clone shares the connections.
///
/// # Rules
/// 1. One attempt per call. Nothing is sent again, and no redirect is followed: an answer is given
///    as it came, whatever its status.
/// 2. A call takes 10 s at the most unless it has a [`limit`](Call::limit) of its own, and 64 KiB
///    of its answer are read unless it says [`at_most`](Call::at_most). What is compressed is
///    not asked for, and not unpacked.
/// 3. [`HttpError`] tells what certainly was not sent from what may have been processed.
/// 4. No cookie is kept or sent. Neither errors nor `Debug` show anything of a body or a field.
///
/// [`new`](Self::new) gives the client that everfresh brings: HTTP/1.1 and HTTP/2, TLS 1.2 and 1.3
/// by the machine's certificates, connected within 5 s. [`over`](Self::over) takes any Tower
/// service, for a proxy, a client certificate, or a test.
///
/// # Caveat
/// A service of your own must keep rule 1: no retries, no redirects. Of its errors only those that
/// are or hold an [`HttpError`], or hyper-util's that could not connect, count as unsent.
///
/// # Example
/// ```
/// use everfresh_upstream::{HttpClient, SecureUrl};
///
/// # async fn token() -> Result<(), Box<dyn std::error::Error>> {
/// let client = HttpClient::new()?;
/// let endpoint: SecureUrl = "https://id.example/token".parse()?;
/// let form = [("grant_type", "refresh_token"), ("refresh_token", "..")];
/// match client.post(&endpoint).form(form).send().await {
///     Ok(answer) => println!("{}", answer.status),
///     Err(error) if error.certainly_unsent() => println!("nothing happened: {error}"),
///     Err(error) => println!("something may have happened: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpClient(Arc<dyn Carrier>);

impl HttpClient {
    /// The client that everfresh brings, as it is.
    ///
    /// Errors: see [`ClientError`]; a machine without certificates.
    #[cfg(feature = "client")]
    pub fn new() -> Result<Self, ClientError> {
        Self::builder().build()
    }

    /// The client that everfresh brings, with settings.
    #[cfg(feature = "client")]
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder::default()
    }

    /// A client over any Tower service that carries HTTP.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use bytes::Bytes;
    /// use everfresh_upstream::HttpClient;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    ///
    /// let service = tower::service_fn(|_: Request<Full<Bytes>>| async {
    ///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
    /// });
    /// let client = HttpClient::over(service);
    /// # let _ = client;
    /// ```
    pub fn over<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        Self::by(Given(Mutex::new(service)))
    }

    fn by(carrier: impl Carrier + 'static) -> Self {
        Self(Arc::new(carrier))
    }

    /// A `GET`.
    pub fn get<'c>(&'c self, url: &SecureUrl) -> Call<'c> {
        Call::new(self, Method::GET, url)
    }

    /// A `POST`, with an empty body until it is given one.
    pub fn post<'c>(&'c self, url: &SecureUrl) -> Call<'c> {
        Call::new(self, Method::POST, url)
    }
}

/// A call that has not been made yet. Made by [`HttpClient::get`] and [`HttpClient::post`].
#[must_use = "nothing is sent before `send()`"]
pub struct Call<'c> {
    client: &'c HttpClient,
    request: Request<Bytes>,
    limit: Duration,
    at_most: usize,
    permission: Option<Permission>,
    in_head: bool,
}

impl<'c> Call<'c> {
    fn new(client: &'c HttpClient, method: Method, url: &SecureUrl) -> Self {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = url.uri().clone();
        let agent = concat!("everfresh/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        Self {
            client,
            request,
            limit: LIMIT,
            at_most: MAX_ANSWER,
            permission: None,
            in_head: false,
        }
    }

    /// A header field, in place of one of the same name. Its value is taken for a secret.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.request.headers_mut().insert(name, value);
        self
    }

    /// A body as a browser's form (`application/x-www-form-urlencoded`).
    pub fn form<K, V>(self, fields: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.body("application/x-www-form-urlencoded", form.finish())
    }

    /// A body as JSON.
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Method, header fields and body of a request that was made elsewhere. Its URI is not looked
    /// at: the address is the call's.
    pub fn like(mut self, request: Request<Vec<u8>>) -> Self {
        let (mut parts, body) = request.into_parts();
        parts.headers.iter_mut().for_each(|(_, value)| {
            // A value that is shown nowhere does no harm; a token that is shown does.
            value.set_sensitive(true);
        });
        *self.request.method_mut() = parts.method;
        self.request.headers_mut().extend(parts.headers);
        *self.request.body_mut() = body.into();
        self
    }

    fn body(mut self, kind: &'static str, body: String) -> Self {
        self.request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        *self.request.body_mut() = body.into();
        self
    }

    /// How long it may take in all, in place of 10 s.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How many bytes of the answer's body are read, in place of 64 KiB.
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.at_most = bytes;
        self
    }

    /// Sends the body only if `permission` says yes: it is asked when the connection is there, and
    /// the body is handed to it in the same poll that got the answer, which over HTTP/1.1 also
    /// writes it. For what may be sent once, and only while somebody holds a claim to it.
    ///
    /// The head may have left by then. Over a service of your own permission is asked when the
    /// service is ready.
    pub fn after(mut self, permission: impl Future<Output = bool> + Send + 'static) -> Self {
        self.permission = Some(Box::pin(permission));
        self
    }

    /// What may be sent once is in the head: permission is asked before anything is done, and
    /// from then on nothing is certain but that there was no connection.
    pub fn in_head(mut self) -> Self {
        self.in_head = true;
        self
    }

    /// Makes the call and reads the answer, whatever its status.
    pub async fn send(self) -> Result<Answer, HttpError> {
        let Self { client, request, limit, at_most, mut permission, in_head } = self;
        let departure = SentFlag::default();
        let call = async {
            if in_head {
                if let Some(permission) = permission.take()
                    && !permission.await
                {
                    return Err(departure.withhold());
                }
                departure.depart();
            }
            let answer = client.0.carry(request, permission, departure.clone()).await?;
            let (parts, body) = answer.into_parts();
            let body = body::read(body, parts.status, at_most).await?;
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer,
            Err(_) if departure.has_departed() => Err(HttpError::Timeout { limit }),
            Err(_) => Err(HttpError::Unsent { cause: format!("not within {limit:?}") }),
        }
    }
}

/// An answer that was read to its end.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status, redirects and errors included.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", self.request.method())
            .field("uri", self.request.uri())
            .field("bytes", &self.request.body().len())
            .finish_non_exhaustive()
    }
}

/// What an answer says may be a token.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
