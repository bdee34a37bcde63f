//! Nodes over one store, backed by a provider, and clients with cookie jars.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everfresh::dialect::{AccessTokenResponse, ClientAuthentication};
use everfresh::refresher::RefreshToken;
use everfresh::store::{SessionRecord, SessionStore as _};
use everfresh::{
    AccessToken, Engine, EngineBuilder, Keys, ManualClock, MemoryStore, Rejection, Session,
    SessionId, SignIn, Timestamp,
};
use everfresh_upstream::{SecureUrl, Upstream};
use http::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::provider::{Grant, Provider};
use crate::wire::Wire;

pub(crate) const SECRET: &str = "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const ACCESS: &str = "__Host-access_token";
pub(crate) const REFRESH: &str = "__Host-refresh_token";

/// The lifetime of the provider's access tokens, and the longest lifetime of ours.
pub(crate) const LIFE: u64 = 300;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

pub(crate) struct Fixture {
    pub(crate) clock: ManualClock,
    pub(crate) store: Wire,
    pub(crate) provider: Provider,
    pub(crate) nodes: Vec<Node>,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) auth: Engine<User>,
    events: Arc<Mutex<Vec<String>>>,
}

/// A client with a cookie jar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) navigates: bool,
}

/// The parts of a response that the tests need.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<u64>,
    /// Every `Set-Cookie`.
    pub(crate) set: Vec<String>,
    pub(crate) body: String,
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn url(text: &str) -> SecureUrl {
    text.parse().unwrap()
}

pub(crate) fn public_client() -> ClientAuthentication {
    ClientAuthentication::None { id: "app".into() }
}

/// A refresher with the settings of most tests.
pub(crate) fn upstream(provider: &Provider) -> Upstream {
    Upstream::oauth2(&provider.client(), url("https://id.example/token"))
        .client(public_client())
        .revoke_at(url("https://id.example/revoke"))
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::nodes(1)
    }

    pub(crate) fn nodes(n: usize) -> Self {
        Self::with(n, |upstream| upstream, |builder| builder)
    }

    /// Nodes with other settings.
    pub(crate) fn set(change: impl Fn(Upstream) -> Upstream) -> Self {
        Self::with(1, change, |builder| builder)
    }

    pub(crate) fn with(
        n: usize,
        change: impl Fn(Upstream) -> Upstream,
        build: impl Fn(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        let provider = Provider::new();
        let made = provider.clone();
        Self::over(provider, n, move || change(upstream(&made)), build)
    }

    /// Nodes with this refresher.
    pub(crate) fn over(
        provider: Provider,
        n: usize,
        upstream: impl Fn() -> Upstream,
        build: impl Fn(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        Self::over_clock(ManualClock::starting_at(START), provider, n, upstream, build)
    }

    /// The same with this clock.
    pub(crate) fn over_clock(
        clock: ManualClock,
        provider: Provider,
        n: usize,
        upstream: impl Fn() -> Upstream,
        build: impl Fn(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        let store = Wire::new(MemoryStore::new().clock(clock.clone()));
        let node = |_| {
            Node::new(&clock, |builder| {
                build(builder.refresh_with(upstream().kept_in(store.clone())))
            })
        };
        let nodes = (0..n).map(node).collect();
        Self { clock, store, provider, nodes }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.nodes[0]
    }

    /// Couples the manual clock to tokio's, which advances while all tasks are idle.
    pub(crate) fn tick(&self) {
        let clock = self.clock.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                clock.advance(Duration::from_millis(10));
            }
        });
    }

    /// Advances the clocks at once.
    pub(crate) fn pass(&self, by: u64) {
        self.clock.advance(secs(by));
    }

    /// Advances the clocks until the client's access token has `left` seconds left.
    pub(crate) fn pass_until_left(&self, client: &Client, left: u64) {
        let until = client.expires().minus(secs(left));
        self.clock.advance(until.since(self.clock.now()));
    }

    /// Signs a user in with the first tokens of a family.
    pub(crate) async fn adopt(&self, family: &str) -> Client {
        self.node().adopt(family).await
    }

    pub(crate) async fn get(&self, client: &mut Client) -> Answer {
        self.node().get(client).await
    }

    /// A client whose access tokens, ours and the provider's, have expired.
    pub(crate) async fn expired(&self, family: &str) -> Client {
        let client = self.adopt(family).await;
        self.pass(LIFE + 1);
        client
    }

    /// The session's row, read around any fault of the connection.
    pub(crate) async fn row(&self, client: &Client) -> Option<SessionRecord> {
        let sid = SessionId::parse(client.claim("sid").as_str().unwrap()).unwrap();
        self.store.store.load(sid).await.unwrap().map(|loaded| loaded.record)
    }

    /// How often the row's tokens were replaced, and how often the current ones were sent.
    pub(crate) async fn upstream(&self, client: &Client) -> (u64, u32) {
        let upstream = self.row(client).await.expect("a row").upstream.expect("tokens");
        (upstream.seq, upstream.tries)
    }

    /// Waits until the condition holds.
    pub(crate) async fn until(&self, holds: impl AsyncFn() -> bool) {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Node {
    pub(crate) fn new(
        clock: &ManualClock,
        build: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        let builder = Engine::builder(Keys::hs256(SECRET).unwrap())
            .issuer("https://app.example")
            .audience("app")
            .access_lifetime(secs(LIFE))
            .leeway(Duration::ZERO)
            .clock(clock.clone())
            .on_event(move |event| log.lock().unwrap().push(format!("{event:?}")));
        Self { auth: build(builder).build().unwrap(), events }
    }

    /// The events since the last call.
    pub(crate) fn events(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    pub(crate) async fn adopt(&self, family: &str) -> Client {
        let grant = Grant { family: family.into(), n: 0 };
        let issued = AccessTokenResponse::new(AccessToken::new(grant.access()))
            .with_refresh_token(RefreshToken::new(grant.refresh()))
            .with_expires_in(secs(LIFE));
        self.adopt_issued(family, issued).await.unwrap()
    }

    /// Signs a user in whose session these tokens back. `Err`: the answer.
    pub(crate) async fn adopt_issued(
        &self,
        sub: &str,
        issued: AccessTokenResponse,
    ) -> Result<Client, Answer> {
        let mut client = Client::default();
        let sign_in = SignIn::new(sub, User { name: sub.into() }).backed_by(issued);
        let answer = self
            .send(&mut client, move |session| {
                let sign_in = sign_in.clone();
                async move {
                    session.sign_in_with(sign_in).await?;
                    Ok(String::new())
                }
            })
            .await;
        if answer.status == StatusCode::OK { Ok(client) } else { Err(answer) }
    }

    /// A request of a client that must be signed in.
    pub(crate) async fn get(&self, client: &mut Client) -> Answer {
        self.send(client, |session| async move { Ok(session.claims()?.name.clone()) }).await
    }

    /// A request to a handler. Stores the cookies of the response in the jar.
    pub(crate) async fn send<F, Fut>(&self, client: &mut Client, handler: F) -> Answer
    where
        F: Fn(Session<User>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<String, Rejection>> + Send + 'static,
    {
        let inner = service_fn(move |request: Request<()>| {
            let session = request.extensions().get::<Session<User>>().unwrap().clone();
            let handled = handler(session);
            async move {
                let answer = match handled.await {
                    Ok(body) => Response::new(body.into_bytes()),
                    Err(rejection) => rejection.into_response(),
                };
                Ok::<_, Infallible>(answer)
            }
        });
        let service = ServiceBuilder::new().layer(self.auth.layer()).service(inner);
        let response = service.oneshot(client.request()).await.unwrap();
        client.keep(response)
    }
}

impl Client {
    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        let pairs = [(ACCESS, &self.access), (REFRESH, &self.refresh)];
        let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
        let cookies: Vec<_> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
        request.headers_mut().insert(COOKIE, cookies.join("; ").parse().unwrap());
        if self.navigates {
            request.headers_mut().insert("sec-fetch-mode", "navigate".parse().unwrap());
        }
        request
    }

    fn keep(&mut self, response: Response<Vec<u8>>) -> Answer {
        let (head, body) = response.into_parts();
        let set = head.headers.get_all(SET_COOKIE).iter();
        let set: Vec<_> = set.map(|value| value.to_str().unwrap().to_owned()).collect();
        for cookie in &set {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match name {
                ACCESS => self.access = value.into(),
                REFRESH => self.refresh = value.into(),
                other => panic!("an unknown cookie: {other}"),
            }
        }
        let retry_after = head.headers.get(RETRY_AFTER);
        Answer {
            status: head.status,
            retry_after: retry_after.map(|value| value.to_str().unwrap().parse().unwrap()),
            set,
            body: String::from_utf8(body).unwrap(),
        }
    }

    /// A claim of the access token.
    pub(crate) fn claim(&self, name: &str) -> serde_json::Value {
        let payload = self.access.split('.').nth(1).expect("a token");
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        payload[name].clone()
    }

    /// When the access token expires.
    pub(crate) fn expires(&self) -> Timestamp {
        Timestamp::from_secs(self.claim("exp").as_u64().unwrap())
    }
}

impl Answer {
    /// The response neither set nor deleted a cookie.
    pub(crate) fn left_cookies_alone(&self) -> bool {
        self.set.is_empty()
    }
}
