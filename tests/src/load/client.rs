//! HTTP for the clients of the load test, with tokens in cookies or in header fields.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use everfresh_testkit::suite::{ACCESS_COOKIE, REFRESH_COOKIE};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const REFRESH_FIELD: &str = "x-refresh-token";

/// Longer than any wait at a saturated server.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Sends requests to one server. Clones share the connections.
#[derive(Clone)]
pub(super) struct Client {
    http: Hyper<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// How a client's tokens travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    Cookies,
    Fields,
}

/// The tokens that a client holds.
#[derive(Clone, Default)]
pub(super) struct Tokens {
    pub(super) access: Option<String>,
    pub(super) refresh: Option<String>,
}

impl Tokens {
    /// Replaces tokens with newer ones.
    pub(super) fn take(&mut self, new: Self) {
        self.access = new.access.or_else(|| self.access.take());
        self.refresh = new.refresh.or_else(|| self.refresh.take());
    }
}

/// A request without its tokens.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Bytes,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Bytes::new() }
    }

    pub(super) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), body: body.into() }
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) tokens: Tokens,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        // As a browser does, it resends a request that could not be written because the server had
        // closed an idle connection.
        let http = Hyper::builder(TokioExecutor::new()).build_http();
        Self { http, address }
    }

    /// `None` without a complete answer.
    pub(super) async fn send(&self, ask: Ask, carried: Carried, with: &Tokens) -> Option<Answer> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("http://{}{}", self.address, ask.path));
        for (name, value) in fields(carried, with) {
            request = request.header(name, value);
        }
        let kind = match ask.body.first() {
            Some(b'{') => Some("application/json"),
            Some(b'g') => Some("application/x-www-form-urlencoded"),
            _ => None,
        };
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(ask.body)).ok()?;
        let exchange = async {
            let (parts, body) = self.http.request(request).await.ok()?.into_parts();
            body.collect().await.ok()?;
            Some(parts)
        };
        let parts = tokio::time::timeout(ANSWER_LIMIT, exchange).await.ok()??;
        Some(Answer { status: parts.status.as_u16(), tokens: new_tokens(&parts.headers) })
    }
}

fn fields(carried: Carried, with: &Tokens) -> Vec<(&'static str, String)> {
    let (access, refresh) = (with.access.as_ref(), with.refresh.as_ref());
    match carried {
        Carried::Fields => {
            let access = access.map(|token| (AUTHORIZATION.as_str(), format!("Bearer {token}")));
            let refresh = refresh.map(|token| (REFRESH_FIELD, token.clone()));
            access.into_iter().chain(refresh).collect()
        }
        Carried::Cookies => {
            let access = access.map(|token| format!("{ACCESS_COOKIE}={token}"));
            let refresh = refresh.map(|token| format!("{REFRESH_COOKIE}={token}"));
            let cookies: Vec<String> = access.into_iter().chain(refresh).collect();
            let cookies = (!cookies.is_empty()).then(|| (COOKIE.as_str(), cookies.join("; ")));
            cookies.into_iter().collect()
        }
    }
}

fn new_tokens(fields: &HeaderMap) -> Tokens {
    let text = |name: &str| fields.get(name)?.to_str().ok();
    let mut tokens = Tokens {
        access: text(AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::to_owned),
        refresh: text(REFRESH_FIELD).map(str::to_owned),
    };
    for cookie in fields.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
        let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
        match pair {
            Some((ACCESS_COOKIE, token)) if !token.is_empty() => {
                tokens.access = Some(token.to_owned());
            }
            Some((REFRESH_COOKIE, token)) if !token.is_empty() => {
                tokens.refresh = Some(token.to_owned());
            }
            _ => {}
        }
    }
    tokens
}
