//! Calls to other servers, over everfresh's HTTP client or any Tower service.

mod body;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "client")]
mod connection;
mod error;
#[cfg(test)]
mod tests;
mod transport;
mod url;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower_service::Service;

use body::{BoxError, Permission, SentFlag};
use transport::{HttpTransport, TowerTransport};

#[cfg(feature = "client")]
pub use client::{ClientError, HttpClientBuilder};
pub use error::HttpError;
pub use url::{SecureUrl, UrlError};

/// The default limit of a call, from connecting to the answer's last byte.
const LIMIT: Duration = Duration::from_secs(10);

/// The default limit of an answer's body, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// An HTTP client that makes one attempt per call, within limits, and follows no redirect.
///
/// The client is a cheap handle. Clones share the settings and the TLS sessions.
///
/// # Rules
/// 1. One attempt per call. The client sends nothing again and follows no redirect. It returns the
///    answer as it is, whatever its status.
/// 2. A call takes 10 s at the most, unless [`Call::limit`] sets another limit. The client reads 64
///    KiB of an answer's body, unless [`Call::at_most`] sets another limit. It asks for no content
///    coding, and undoes `gzip` and `deflate` within the same limit.
/// 3. [`HttpError`] distinguishes a request that was certainly not sent from a request that the
///    server may have processed.
/// 4. The client stores and sends no cookies. Neither errors nor `Debug` show a body or the value
///    of a header field.
///
/// [`new`](Self::new) returns everfresh's own client: HTTP/1.1 and HTTP/2, TLS 1.2 and 1.3 with the
/// machine's certificates, 5 s to connect, a connection of its own for each call, and the proxy that
/// `HTTPS_PROXY` or `ALL_PROXY` names unless `NO_PROXY` lists the host. [`over`](Self::over) takes
/// any Tower service, for a client certificate or a test.
///
/// # Caveat
/// Your own service must keep rule 1: no retries, no redirects. Its errors count as unsent only if
/// they are or contain an unsent [`HttpError`] or a connect error of hyper-util, or if the service
/// was not ready.
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
pub struct HttpClient(Arc<dyn HttpTransport>);

impl HttpClient {
    /// Returns everfresh's own client with the default settings.
    ///
    /// # Errors
    /// Returns an error if the machine has no certificates. See [`ClientError`].
    #[cfg(feature = "client")]
    pub fn new() -> Result<Self, ClientError> {
        Self::builder().build()
    }

    /// Returns a builder of everfresh's own client.
    #[cfg(feature = "client")]
    pub fn builder() -> HttpClientBuilder {
        HttpClientBuilder::default()
    }

    /// Returns a client over any Tower service for HTTP.
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
        Self::with_transport(TowerTransport(Mutex::new(service)))
    }

    fn with_transport(transport: impl HttpTransport + 'static) -> Self {
        Self(Arc::new(transport))
    }

    /// Begins a `GET` request.
    pub fn get<'c>(&'c self, url: &SecureUrl) -> Call<'c> {
        Call::new(self, Method::GET, url)
    }

    /// Begins a `POST` request. Its body is empty until one is set.
    pub fn post<'c>(&'c self, url: &SecureUrl) -> Call<'c> {
        Call::new(self, Method::POST, url)
    }
}

/// A request that has not been sent yet. Made by [`HttpClient::get`] and [`HttpClient::post`].
#[must_use = "the call is sent only by `send()`"]
pub struct Call<'c> {
    client: &'c HttpClient,
    request: Request<Bytes>,
    limit: Duration,
    at_most: usize,
    permission: Option<Permission>,
    /// The address and the query together are no URL.
    too_long: bool,
}

impl<'c> Call<'c> {
    fn new(client: &'c HttpClient, method: Method, url: &SecureUrl) -> Self {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = url.uri().clone();
        let agent = concat!("everfresh/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Without this field, any coding is acceptable (RFC 9110 section 12.5.3).
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self {
            client,
            request,
            limit: LIMIT,
            at_most: MAX_ANSWER,
            permission: None,
            too_long: false,
        }
    }

    /// Sets a header field, in place of one of the same name. The value is marked sensitive.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Sets the body to a form (`application/x-www-form-urlencoded`).
    pub fn form<K, V>(self, fields: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.body("application/x-www-form-urlencoded", form.finish())
    }

    /// Sets the body to JSON.
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Takes the method, query, header fields and body of another request. The call keeps its own
    /// address and adds the query to its own. All of the values are marked sensitive.
    pub fn like(mut self, request: Request<Vec<u8>>) -> Self {
        let (mut parts, body) = request.into_parts();
        if let Some(query) = parts.uri.query() {
            match with_query(self.request.uri(), query) {
                Some(uri) => *self.request.uri_mut() = uri,
                None => self.too_long = true,
            }
        }
        parts.headers.iter_mut().for_each(|(_, value)| {
            // Any of the values may hold a token, so none of them is shown.
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

    /// Limits the time of the whole call, from connecting to the answer's last byte. The default is
    /// 10 s.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Limits the answer's body, in bytes. A larger body is an error. The default is 64 KiB.
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.at_most = bytes;
        self
    }

    /// Sends the request only if `permission` resolves to `true`. Use it for a token that may be sent
    /// once, and only while the node holds a reservation.
    ///
    /// The client polls `permission` once it is connected. It writes the request in the same poll in
    /// which the permission was granted, so that a process that was stopped in between can check how
    /// old the permission is. With your own service, the client polls `permission` once the service
    /// is ready.
    pub fn after(mut self, permission: impl Future<Output = bool> + Send + 'static) -> Self {
        self.permission = Some(Box::pin(permission));
        self
    }

    /// Sends the request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// Returns an error if there is no complete answer within the limits. See [`HttpError`].
    pub async fn send(self) -> Result<Answer, HttpError> {
        let Self { client, request, limit, at_most, permission, too_long } = self;
        if too_long {
            return Err(HttpError::Unsent { cause: "the URL would be too long".into() });
        }
        let sent_flag = SentFlag::default();
        let call = async {
            let answer = client.0.send(request, permission, sent_flag.clone()).await?;
            let (mut parts, body) = answer.into_parts();
            let body = body::read(body, parts.status, &mut parts.headers, at_most).await?;
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer,
            Err(_) if sent_flag.is_sent() => Err(HttpError::Timeout { limit }),
            Err(_) => Err(HttpError::Unsent { cause: format!("not within {limit:?}") }),
        }
    }
}

/// Returns the URI with these parameters behind its own. `None`: it would be too long for a URI.
fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let (path, joint) = match uri.query() {
        Some(own) => (format!("{}?{own}", uri.path()), '&'),
        None => (uri.path().to_owned(), '?'),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{path}{joint}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// A complete answer.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status, which may also be a redirect or an error.
    pub status: StatusCode,
    /// The header fields, without `Content-Encoding` if the client has undone the coding.
    pub headers: HeaderMap,
    /// The body, without its content coding.
    pub body: Bytes,
}

impl Answer {
    /// Parses the body as JSON.
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
            // Without the query, which may hold a key or a token.
            .field("host", &self.request.uri().host())
            .field("path", &self.request.uri().path())
            .field("bytes", &self.request.body().len())
            .finish_non_exhaustive()
    }
}

/// Shows neither header fields nor the body, because they may hold tokens.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
