//! One user's browser, with many tabs at several servers of this machine.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use everfresh::{Clock, Timestamp};
use everfresh_testkit::{Jar, Site};
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Tabs that share their cookies. A clone is another tab.
#[derive(Clone)]
pub struct Tabs {
    http: Client<HttpConnector, Full<Bytes>>,
    jar: Arc<Mutex<Jar>>,
}

impl Default for Tabs {
    fn default() -> Self {
        Self::new()
    }
}

impl Tabs {
    /// A browser without cookies.
    pub fn new() -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, jar: Arc::default() }
    }

    /// Sends a `GET` request.
    pub async fn get(&self, url: &str) -> Response<Bytes> {
        self.send(Request::get(url).body(Full::default()).unwrap()).await
    }

    /// Posts JSON, as a page's own script does.
    pub async fn post_json(&self, url: &str, body: &Value) -> Response<Bytes> {
        self.post(url, "application/json", body.to_string()).await
    }

    /// As a form of the page's own site.
    pub async fn post_form(&self, url: &str, body: &str) -> Response<Bytes> {
        self.post(url, "application/x-www-form-urlencoded", body.to_owned()).await
    }

    async fn post(&self, url: &str, kind: &str, body: String) -> Response<Bytes> {
        let request = Request::post(url)
            .header(CONTENT_TYPE, kind)
            .header("sec-fetch-site", "same-origin")
            .body(Full::new(body.into()));
        self.send(request.unwrap()).await
    }

    /// Follows redirects from site to site. Returns the last answer and its address.
    pub async fn watch_revocations(
        &self,
        mut answer: Response<Bytes>,
        at: &str,
    ) -> (Response<Bytes>, String) {
        let mut url = at.to_owned();
        while answer.status().is_redirection() {
            let location = answer.headers()[LOCATION].to_str().unwrap();
            url = match location.starts_with('/') {
                true => {
                    let from: Uri = url.parse().unwrap();
                    format!("http://{}{location}", from.authority().unwrap())
                }
                false => location.to_owned(),
            };
            let request = Request::get(&url)
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-mode", "navigate")
                .body(Full::default());
            answer = self.send(request.unwrap()).await;
        }
        (answer, url)
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Response<Bytes> {
        // Cookies ignore ports.
        let site = Site::https("127.0.0.1", request.uri().path());
        let cookies = self.jar.lock().unwrap().header(&site, now());
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, HeaderValue::try_from(cookies).unwrap());
        }
        let answer = self.http.request(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            self.jar.lock().unwrap().store(cookie, &site, now()).unwrap();
        }
        Response::from_parts(parts, body.collect().await.expect("a whole body").to_bytes())
    }
}

fn now() -> Timestamp {
    Clock::system().now()
}
