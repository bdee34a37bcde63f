//! Clients and their requests: jars, and the contents of the tokens in them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::{SessionId, Timestamp};
use http::header::COOKIE;
use http::{Method, Request, StatusCode};
use serde::Deserialize;

use super::held::Held;
use super::node::Open;
use everfresh_testkit::{Jar, Site};

/// The client that sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    Browser,
    Device,
    Thief,
}

/// The kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Visit,
    Prefetch,
    SignIn,
    SignOut,
}

const ACCESS: &str = "__Host-access_token";
const REFRESH: &str = "__Host-refresh_token";

/// The model's reading of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) sid: SessionId,
    pub(super) generation: u64,
    pub(super) expires: Timestamp,
    pub(super) text: String,
}

/// The model's reading of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refresh {
    pub(super) sid: SessionId,
    pub(super) generation: u64,
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Claims {
    sid: String,
    #[serde(rename = "gen")]
    generation: u64,
    exp: u64,
}

impl Access {
    fn read(text: &str) -> Option<Self> {
        let claims = B64.decode(text.split('.').nth(1)?).ok()?;
        let Claims { sid, generation, exp } = serde_json::from_slice(&claims).ok()?;
        let (sid, expires) = (SessionId::parse(&sid)?, Timestamp::from_secs(exp));
        Some(Self { sid, generation, expires, text: text.into() })
    }
}

impl Refresh {
    /// `version . key id . sid . generation . tags`.
    fn read(text: &str) -> Option<Self> {
        let bytes = B64.decode(text).ok()?;
        let sid = SessionId::from_bytes(bytes.get(5..21)?.try_into().ok()?);
        let generation = u64::from_be_bytes(bytes.get(21..29)?.try_into().ok()?);
        Some(Self { sid, generation, text: text.into() })
    }
}

/// Tokens, as a request presents them or a response brings them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) access: Option<Access>,
    pub(super) refresh: Option<Refresh>,
    /// True if a response deletes one of the session's cookies.
    pub(super) cleared: bool,
}

impl Tokens {
    fn read<'p>(pairs: impl Iterator<Item = &'p str>) -> Self {
        let mut tokens = Self::default();
        for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            match name {
                ACCESS | REFRESH if value.is_empty() => tokens.cleared = true,
                ACCESS => tokens.access = Access::read(value),
                REFRESH => tokens.refresh = Refresh::read(value),
                _ => {}
            }
        }
        tokens
    }

    /// Reads the tokens from `Set-Cookie` fields.
    pub(super) fn set(cookies: &[String]) -> Self {
        Self::read(cookies.iter().filter_map(|cookie| cookie.split(';').next()))
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A jar, and whether the last answer was a refusal.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    jar: Jar,
    /// The last answer was 401, so the browser shows a sign-in page.
    pub(super) refused: bool,
}

impl Client {
    pub(super) fn holds(&self, now: Timestamp) -> (String, Tokens) {
        let header = self.jar.header(&site(), now);
        let tokens = Tokens::read(header.split("; "));
        (header, tokens)
    }

    pub(super) fn keep(&mut self, answer: &Answer, now: Timestamp) {
        self.refused = answer.status == StatusCode::UNAUTHORIZED;
        for cookie in &answer.cookies {
            self.jar.store(cookie, &site(), now).expect("a cookie that browsers take");
        }
    }
}

fn site() -> Site {
    Site::https("app.example", "/")
}

/// A request with the tokens that it presents.
#[derive(Clone, Debug)]
pub(super) struct ClientRequest {
    pub(super) actor: Actor,
    pub(super) kind: Kind,
    /// True for a navigation, whose 401 the user would see.
    pub(super) navigates: bool,
    pub(super) cookies: String,
    pub(super) tokens: Tokens,
}

impl ClientRequest {
    pub(super) fn request(&self) -> Request<()> {
        let fetched = if self.navigates { "navigate" } else { "cors" };
        let mut request = Request::builder()
            .header("host", "app.example")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-mode", fetched);
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, &self.cookies);
        }
        match self.kind {
            Kind::Prefetch => request = request.header("sec-purpose", "prefetch"),
            Kind::SignIn | Kind::SignOut => request = request.method(Method::POST),
            Kind::Visit => {}
        }
        request.body(()).expect("a request")
    }
}

/// The response to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) cookies: Vec<String>,
}

/// One request of the browser's, between the click and the jar.
pub(super) struct Flight {
    pub(super) number: u32,
    pub(super) asked: ClientRequest,
    /// The tick at which the request or its response was sent.
    pub(super) since: u64,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    Sent,
    /// A node has the request, and its handler is slow.
    Slow(Box<Slow>),
    Back(Answer),
}

pub(super) struct Slow {
    pub(super) node: usize,
    pub(super) open: Open,
    /// The facts at its arrival.
    pub(super) held: Held,
    /// How many more times the handler is left waiting.
    pub(super) waits_left: usize,
}

impl Flight {
    /// Whether it is in transit.
    pub(super) fn travels(&self) -> bool {
        !matches!(self.stage, Stage::Slow(_))
    }
}
