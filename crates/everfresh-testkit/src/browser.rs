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

/// A person's browser, as far as a server can tell: it keeps cookies and sends them back.
///
/// Fails loudly: an answer that can't be had is a panic, since it is a test that asked.
#[derive(Clone, Debug)]
pub struct Browser {
    http: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    clock: ManualClock,
    /// Its cookies.
    pub jar: Jar,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Browser {
    /// A browser that knows one server on this machine, and the server's clock.
    pub fn new(address: SocketAddr, clock: ManualClock) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, address, clock, jar: Jar::new() }
    }

    /// Another browser for the same server, with an empty jar.
    pub fn stranger(&self) -> Self {
        Self { jar: Jar::new(), ..self.clone() }
    }

    /// `GET path`, keeping the cookies of the answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, &[], Bytes::new())).await
    }

    /// `POST path` with a JSON body.
    pub async fn post_json(&mut self, path: &str, body: &serde_json::Value) -> Answer {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        self.send(self.request(Method::POST, path, &json, body.to_string().into())).await
    }

    /// A request with the jar's cookies and these fields beside them.
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

    /// Sends a request and keeps the cookies of the answer, as a browser would.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let site = self.site(request.uri().path());
        let answer = self.fetch(request).await;
        for cookie in answer.set_cookies() {
            self.jar.store(&cookie, &site, self.now()).expect("a cookie that a browser takes");
        }
        answer
    }

    /// Sends a request and forgets the cookies of the answer, as a browser whose tab was closed.
    pub async fn fetch(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.http.request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn site(&self, path: &str) -> Site {
        // Browsers trust loopback as they do https.
        Site::https(&self.address.ip().to_string(), path)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Answer {
    /// Every `Set-Cookie`.
    pub fn set_cookies(&self) -> Vec<String> {
        let values = self.headers.get_all(SET_COOKIE).iter();
        values.map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    /// The value of a header field, if it is there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).expect("JSON of this shape")
    }
}
