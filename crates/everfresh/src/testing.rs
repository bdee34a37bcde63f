//! What the core's own tests share: an engine on a manual clock, and requests in one line.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use tower_service::Service;

use crate::adapter::ResponseHead;
use crate::upstream::{KeySource, Seek};
use crate::{
    Algorithm, ClaimSet, Clock, Engine, EngineBuilder, Key, Keys, ManualClock, MemoryStore,
    Reissue, Rotate, Session, Timestamp,
};

pub(crate) const SECRET: &str = "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// The default cookie that carries the access token.
pub(crate) const COOKIE_NAME: &str = "__Host-access_token";

pub(crate) const REFRESH_NAME: &str = "__Host-refresh_token";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

pub(crate) fn user(name: &str) -> User {
    User { name: name.into() }
}

/// A key of this name, the same each time.
pub(crate) fn named_key(kid: &str) -> Key {
    let secret = format!("a secret of 32 bytes and more for {kid}");
    Key::hmac(Algorithm::HS256, secret.as_bytes()).unwrap().with_kid(kid).unwrap()
}

/// Does what the test says, which is told how often it was asked before.
struct Source<F>(Arc<AtomicUsize>, F);

impl<F: Fn(usize) -> Seek + Send + Sync + 'static> KeySource for Source<F> {
    fn seek(&self) -> Seek {
        (self.1)(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// These keys with a source, and how often it was asked. `answer` is told how often before, and given
/// the set to fill.
pub(crate) fn sourced(
    set: Keys,
    answer: impl Fn(usize, &Keys) -> Seek + Send + Sync + 'static,
) -> (Keys, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let filled = set.clone();
    let source = Source(asked.clone(), move |before| answer(before, &filled));
    (set.with_source(source), asked)
}

/// A fetch that brings these keys.
pub(crate) fn brings(keys: Keys, set: &Keys) -> Seek {
    let set = set.clone();
    Seek::InFlight(Box::pin(async move {
        tokio::task::yield_now().await;
        set.replace_with(&keys);
    }))
}

/// An engine, its clock, and what it reported.
pub(crate) struct Fixture {
    pub(crate) clock: ManualClock,
    pub(crate) auth: Engine<User>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>) -> Self {
        Self::keyed(Keys::hs256(SECRET).unwrap(), change)
    }

    /// A fixture with these keys.
    pub(crate) fn keyed(
        keys: Keys,
        change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        let clock = ManualClock::starting_at(START);
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        let builder = Engine::builder(keys)
            .issuer("https://app.example")
            .audience("app")
            .clock(Clock::from(clock.clone()))
            .refresh_with(Reissue::new())
            .on_event(move |event| log.lock().unwrap().push(format!("{event:?}")));
        Self { clock, auth: change(builder).build().unwrap(), events }
    }

    /// A fixture whose sessions are kept and rotated, and their store.
    pub(crate) fn rotating() -> (Self, MemoryStore) {
        Self::rotating_with(|builder| builder)
    }

    pub(crate) fn rotating_with(
        change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> (Self, MemoryStore) {
        let clock = ManualClock::starting_at(START);
        let store = MemoryStore::new().clock(clock.clone());
        (Self::node(&clock, &store, change), store)
    }

    /// One node of several over a store. Their clocks may differ from the store's.
    pub(crate) fn node(
        clock: &ManualClock,
        store: &MemoryStore,
        change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        let (clock, store) = (clock.clone(), store.clone());
        let mut fixture = Self::with(|builder| {
            change(builder.clock(clock.clone()).refresh_with(Rotate::new(store)))
        });
        fixture.clock = clock;
        fixture
    }

    /// Signs in and returns both tokens.
    pub(crate) async fn sign_in_pair(&self, name: &'static str) -> Pair {
        let response = self
            .send(get(&[]), move |session, _| async move {
                session.sign_in(name, user(name)).await.unwrap();
                Response::new(String::new())
            })
            .await;
        let mut pair = Pair::default();
        pair.keep(&response);
        pair
    }

    pub(crate) fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// Lets time pass until this token has `secs` left. Minted lifetimes vary by 5 %.
    pub(crate) fn pass_until_left(&self, token: &str, secs: u64) {
        let payload = token.split('.').nth(1).unwrap();
        let payload: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let expires = Timestamp::from_secs(payload["exp"].as_u64().unwrap());
        self.clock.advance(expires.minus(Duration::from_secs(secs)).since(self.clock.now()));
    }

    pub(crate) fn events(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// A service that does `handler` with the session, inside the layer.
    pub(crate) fn service<F, Fut>(
        &self,
        handler: F,
    ) -> impl Service<
        Request<()>,
        Response = Response<String>,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + use<F, Fut>
    where
        F: Fn(Session<User>, Request<()>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Response<String>> + Send + 'static,
    {
        tower::ServiceBuilder::new().layer(self.auth.layer()).service(tower::service_fn(
            move |request: Request<()>| {
                let session = request.extensions().get::<Session<User>>().unwrap().clone();
                let handler = handler.clone();
                async move { Ok(handler(session, request).await) }
            },
        ))
    }

    /// Sends one request to a handler inside the layer.
    pub(crate) async fn send<F, Fut>(&self, request: Request<()>, handler: F) -> Response<String>
    where
        F: Fn(Session<User>, Request<()>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Response<String>> + Send + 'static,
    {
        use tower::ServiceExt as _;
        self.service(handler).oneshot(request).await.unwrap()
    }

    /// Sends one request to a handler that says who is signed in.
    pub(crate) async fn me(&self, request: Request<()>) -> Response<String> {
        self.send(request, |session, _| async move { show_user(&session) }).await
    }

    /// Signs in and returns the access token.
    pub(crate) async fn sign_in(&self, name: &'static str) -> String {
        let response = self
            .send(get(&[]), move |session, _| async move {
                session.sign_in(name, user(name)).await.unwrap();
                Response::new(String::new())
            })
            .await;
        token_of(&response).expect("signed in")
    }
}

/// The two cookies of a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Pair {
    /// A request with both.
    pub(crate) fn request(&self) -> Request<()> {
        get(&[("cookie", &self.header())])
    }

    pub(crate) fn header(&self) -> String {
        let Self { access, refresh } = self;
        format!("{COOKIE_NAME}={access}; {REFRESH_NAME}={refresh}")
    }

    /// With the refresh token alone.
    pub(crate) fn refresh_only(&self) -> Request<()> {
        get(&[("cookie", &format!("{REFRESH_NAME}={}", self.refresh))])
    }

    /// Does with a response what a browser does. Says whether the refresh token changed.
    pub(crate) fn keep<B>(&mut self, response: &Response<B>) -> bool {
        let former = self.refresh.clone();
        for cookie in set_cookies(response) {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            match name {
                COOKIE_NAME => self.access = value,
                REFRESH_NAME => self.refresh = value,
                other => panic!("whose is {other}?"),
            }
        }
        self.refresh != former
    }

    pub(crate) fn after<B>(&self, response: &Response<B>) -> Self {
        let mut after = self.clone();
        after.keep(response);
        after
    }
}

/// 200 with the name, or the rejection.
pub(crate) fn show_user(session: &Session<User>) -> Response<String> {
    match session.claims() {
        Ok(user) => Response::new(user.name.clone()),
        Err(rejection) => {
            rejection.into_response::<Vec<u8>>().map(|body| String::from_utf8(body).unwrap())
        }
    }
}

pub(crate) fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub(crate) fn get(headers: &[(&str, &str)]) -> Request<()> {
    request("GET", headers)
}

pub(crate) fn cookie(token: &str) -> Request<()> {
    get(&[(COOKIE.as_str(), &format!("{COOKIE_NAME}={token}"))])
}

pub(crate) fn bearer(token: &str) -> Request<()> {
    get(&[(AUTHORIZATION.as_str(), &format!("Bearer {token}"))])
}

/// Every `Set-Cookie` of a response.
pub(crate) fn set_cookies<B>(response: &Response<B>) -> Vec<String> {
    let values = response.headers().get_all(SET_COOKIE).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The access token that a response sets as a cookie, if it sets one.
pub(crate) fn token_of<B>(response: &Response<B>) -> Option<String> {
    let prefix = format!("{COOKIE_NAME}=");
    let cookies = set_cookies(response);
    let mut ours = cookies.iter().filter_map(|cookie| cookie.strip_prefix(&prefix));
    let token = ours.next()?.split(';').next()?;
    assert!(ours.next().is_none(), "one cookie of a name: {cookies:?}");
    (!token.is_empty()).then(|| token.to_owned())
}

/// What is logged on this thread while it is there, at every level.
pub(crate) struct Log(Lines, #[expect(dead_code, reason = "listens until it is dropped")] Guard);

type Guard = tracing::subscriber::DefaultGuard;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn listen() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        // A callsite that another thread meets first is off for all threads, unless that one listens
        // too.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        Self(lines, tracing::subscriber::set_default(subscriber))
    }

    /// What was written since it was asked before.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.0.lock().unwrap())).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sends `response` with what the session's changes add to it, as adapters do.
pub(crate) async fn finish<C: ClaimSet, R: ResponseHead>(
    auth: &Engine<C>,
    session: &Session<C>,
    response: R,
) -> R {
    auth.attach(session.clone(), &mut get(&[])).finish(response).await
}
