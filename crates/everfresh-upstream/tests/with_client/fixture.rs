//! A server whose refresh tokens stay valid, a node in front of it, and a browser.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use bytes::Bytes;
use everfresh::dialect::{AccessTokenResponse, ClientAuthentication};
use everfresh::refresher::{RefreshToken, Refresher};
use everfresh::{
    AccessToken, Engine, EngineBuilder, Keys, ManualClock, Session, SessionStatus, SignIn,
    Timestamp,
};
use everfresh_testkit::{Jar, Site};
use everfresh_upstream::{HttpClient, InCookies, Replay, Upstream};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) const SECRET: &str = "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
pub(crate) const OTHER_SECRET: &str = "Z8EoVK2UM8YxELyipgdDzaFjdKQSMfpve";
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const LIFE: u64 = 300;
/// How long an expired token is accepted if no refresh is possible.
pub(crate) const LEEWAY: u64 = 30;

/// A server whose refresh tokens stay valid after use, until they are revoked.
pub(crate) struct Issuer {
    pub(crate) good: Mutex<Vec<String>>,
    pub(crate) generation: AtomicU64,
    /// The refresh tokens that it received.
    pub(crate) sent: Mutex<Vec<String>>,
    pub(crate) revoked: Mutex<Vec<String>>,
    /// How many bytes its refresh tokens are longer than necessary.
    pub(crate) padding: AtomicUsize,
    pub(crate) fault: Mutex<Fault>,
    /// The server answers no request while this is false.
    pub(crate) open: watch::Sender<bool>,
}

/// The server's fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// It disconnects after it has received the token.
    Gone,
    /// Its access tokens have expired on arrival.
    Late,
}

impl Issuer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            good: Mutex::new(vec!["r0".into()]),
            generation: AtomicU64::new(0),
            sent: Mutex::default(),
            revoked: Mutex::default(),
            padding: AtomicUsize::new(0),
            fault: Mutex::new(Fault::Nothing),
            open: watch::Sender::new(true),
        })
    }

    /// The app's configuration for this server.
    pub(crate) fn sealed(self: &Arc<Self>) -> InCookies {
        self.upstream().replay(Replay::Always).sealed_in_cookies()
    }

    pub(crate) fn upstream(self: &Arc<Self>) -> Upstream {
        let issuer = self.clone();
        let client = HttpClient::over(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let issuer = issuer.clone();
            async move { issuer.answer(request).await }
        }));
        let url = |path: &str| format!("https://id.example{path}").parse().unwrap();
        Upstream::oauth2(&client, url("/token"))
            .client(ClientAuthentication::None { id: "app".into() })
            .revoke_at(url("/revoke"))
    }

    pub(crate) async fn answer(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Gone> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap().to_owned();
        let field = |name: &str| {
            let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
        };
        let fault = *self.fault.lock().unwrap();
        if path == "/revoke" {
            let token = field("token").unwrap();
            self.good.lock().unwrap().clear();
            self.revoked.lock().unwrap().push(token);
            return Ok(Response::new(Full::default()));
        }
        let token = field("refresh_token").unwrap();
        self.sent.lock().unwrap().push(token.clone());
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        if fault == Fault::Gone {
            return Err(Gone);
        }
        let mut good = self.good.lock().unwrap();
        if !good.contains(&token) {
            let mut refused = Response::new(Full::from(r#"{"error":"invalid_grant"}"#));
            *refused.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refused);
        }
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let next = format!("r{generation}{}", "x".repeat(self.padding.load(Ordering::SeqCst)));
        good.push(next.clone());
        let life = if fault == Fault::Late { 0 } else { LIFE };
        let answer = json!({
            "access_token": access(generation, life), "token_type": "Bearer",
            "expires_in": life, "refresh_token": next,
        });
        Ok(Response::new(Full::from(answer.to_string())))
    }

    pub(crate) fn calls(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    pub(crate) fn fails(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn pads(&self, padding: usize) {
        self.padding.store(padding, Ordering::SeqCst);
    }

    /// Runs the tasks beside requests to their end.
    pub(crate) async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// The connection closes after the request.
#[derive(Debug)]
pub(crate) struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gone")
    }
}

impl std::error::Error for Gone {}

/// An access token of the other server's.
pub(crate) fn access(generation: u64, life: u64) -> String {
    let iat = NOW.as_secs() + generation * LIFE;
    let claims = json!({
        "iss": "https://id.example", "aud": "app", "sub": "alice", "iat": iat, "exp": iat + life,
    });
    let part = |value: Value| B64.encode(value.to_string());
    let signed = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, OTHER_SECRET.as_bytes());
    format!("{signed}.{}", B64.encode(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// A node, and a browser that visits it.
pub(crate) struct Fixture {
    pub(crate) auth: Engine<()>,
    pub(crate) clock: ManualClock,
    pub(crate) jar: Jar,
}

/// The result of a visit.
pub(crate) struct Visit {
    pub(crate) status: SessionStatus,
    /// The names and sizes of the cookies that were set, in order. The size 0 means deleted.
    pub(crate) set: Vec<(String, usize)>,
    /// The `Cookie` field that the handler saw.
    pub(crate) seen: String,
}

impl Fixture {
    pub(crate) fn new(refresher: impl Refresher, clock: &ManualClock) -> Self {
        Self::with(refresher, clock, |builder| builder)
    }

    pub(crate) fn with(
        refresher: impl Refresher,
        clock: &ManualClock,
        more: impl FnOnce(EngineBuilder<()>) -> EngineBuilder<()>,
    ) -> Self {
        let builder = Engine::builder(Keys::hs256(SECRET).unwrap())
            .issuer("https://app.example")
            .audience("app")
            .clock(clock.clone())
            .refresh_with(refresher);
        let auth = more(builder).build().unwrap();
        Self { auth, clock: clock.clone(), jar: Jar::new() }
    }

    pub(crate) async fn visit<F: Future<Output = ()>>(
        &mut self,
        work: impl FnOnce(Session<()>) -> F,
    ) -> Visit {
        let site = Site::https("app.example", "/");
        let cookies = self.jar.header(&site, self.clock.now());
        let mut request = Request::new(());
        request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        let session = self.auth.begin(&request).settle().await;
        let in_flight = self.auth.attach(session.clone(), &mut request);
        let seen = request.headers().get(COOKIE);
        let seen = seen.map_or_else(String::new, |seen| seen.to_str().unwrap().to_owned());
        let status = session.status();
        work(session).await;
        let response = in_flight.finish(Response::new(())).await;
        let mut set = Vec::new();
        for line in response.headers().get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            self.jar.store(line, &site, self.clock.now()).unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            set.push((name.to_owned(), rest.split(';').next().unwrap().len()));
        }
        Visit { status, set, seen }
    }

    pub(crate) async fn look(&mut self) -> Visit {
        self.visit(|_| async {}).await
    }

    pub(crate) async fn sign_in(&mut self) -> Visit {
        let issued = AccessTokenResponse::new(AccessToken::new(access(0, LIFE)))
            .with_refresh_token(RefreshToken::new("r0".into()))
            .with_expires_in(Duration::from_secs(LIFE));
        let sign_in = SignIn::new("alice", ()).backed_by(issued);
        self.visit(|session| async move { session.sign_in_with(sign_in).await.unwrap() }).await
    }

    pub(crate) async fn sign_out(&mut self) -> Visit {
        let visit = self.visit(|session| async move { session.sign_out().await.unwrap() }).await;
        Issuer::settle().await;
        visit
    }

    /// The same node, and a browser that holds only this session cookie.
    pub(crate) fn thief(&self, sealed: &str) -> Self {
        let mut jar = Jar::new();
        let cookie = format!("{REFRESH}={sealed}; Secure; Path=/");
        jar.store(&cookie, &Site::https("app.example", "/"), self.clock.now()).unwrap();
        Self { auth: self.auth.clone(), clock: self.clock.clone(), jar }
    }

    pub(crate) fn sealed(&self) -> String {
        self.jar.get(REFRESH).unwrap().to_owned()
    }

    pub(crate) fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

pub(crate) fn names(visit: &Visit) -> Vec<&str> {
    visit.set.iter().filter(|(_, size)| *size > 0).map(|(name, _)| &**name).collect()
}

pub(crate) const ACCESS: &str = "__Host-access_token";
pub(crate) const REFRESH: &str = "__Host-refresh_token";
