//! An HTTP client with a cookie jar, over real sockets.

use std::net::SocketAddr;

use bytes::Bytes;
use everfresh::{ManualClock, Timestamp};
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::jar::{Jar, Site};

/// A user's browser, as a server sees it: it stores cookies and sends them back.
///
/// # Panics
/// Methods that send a request panic if they get no response, because the caller is a test.
#[derive(Clone, Debug)]
pub struct Browser {
    http: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    clock: ManualClock,
    /// The cookies of the browser.
    pub jar: Jar,
}

/// A complete response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Browser {
    /// Creates a browser for one server on this machine, with the server's clock.
    pub fn new(address: SocketAddr, clock: ManualClock) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, address, clock, jar: Jar::new() }
    }

    /// Returns another browser for the same server, with an empty jar.
    pub fn stranger(&self) -> Self {
        Self { jar: Jar::new(), ..self.clone() }
    }

    /// Sends `GET path`, and stores the cookies of the response.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, &[], Bytes::new())).await
    }

    /// Sends `POST path` with a JSON body, and stores the cookies of the response.
    pub async fn post_json(&mut self, path: &str, body: &serde_json::Value) -> Answer {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        self.send(self.request(Method::POST, path, &json, body.to_string().into())).await
    }

    /// Returns a request with the jar's cookies and these header fields.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let uri: Uri = format!("http://{}{path}", self.address).parse().expect("a path");
        let cookies = self.jar.header(&self.site(uri.path()), self.now());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.parse().expect("cookies of a jar"));
        }
        request.headers_mut().extend(fields.iter().cloned());
        request
    }

    /// Sends a request and stores the cookies of the response, as a browser does.
    ///
    /// # Panics
    /// There is no response, or the jar refuses one of its cookies.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let site = self.site(request.uri().path());
        let answer = self.fetch(request).await;
        for cookie in answer.set_cookies() {
            self.jar.store(&cookie, &site, self.now()).expect("a cookie that a browser takes");
        }
        answer
    }

    /// Sends a request and drops the cookies of the response, like a browser whose tab was closed.
    pub async fn fetch(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.http.request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn site(&self, path: &str) -> Site {
        // Browsers trust loopback as much as https.
        Site::https(&self.address.ip().to_string(), path)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Answer {
    /// Returns the value of every `Set-Cookie` field.
    pub fn set_cookies(&self) -> Vec<String> {
        let values = self.headers.get_all(SET_COOKIE).iter();
        values.map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    /// Returns the value of a header field, if it occurs exactly once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// Parses the body as JSON.
    ///
    /// # Panics
    /// The body is not JSON of this type.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).expect("JSON of this shape")
    }
}
