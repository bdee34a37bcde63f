//! The shared part of the targets: an engine whose clock stands still, and one user's tokens.

use std::cell::RefCell;
use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::adapter::Progress;
use everfresh::{
    Engine, EngineBuilder, Keys, ManualClock, MemoryStore, Rotate, Session, Timestamp, Transport,
};
use http::{HeaderName, HeaderValue, Request, Response};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

pub const SECRET: &[u8] = b"o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
pub const START: u64 = 1_800_000_000;
pub const ISSUER: &str = "https://app.example";
pub const AUDIENCE: &str = "app";
pub const ACCESS: &str = "__Host-access_token";
pub const REFRESH: &str = "__Host-refresh_token";

/// The app's claims, of any type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(pub serde_json::Map<String, serde_json::Value>);

/// An engine, and one session of Alice.
pub struct Fixture {
    pub auth: Engine<Claims>,
    pub clock: ManualClock,
    pub access: String,
    pub refresh: String,
    runtime: Runtime,
}

impl Fixture {
    /// Tokens travel in cookies.
    pub fn cookies() -> Self {
        Self::with(|builder| builder)
    }

    /// Tokens travel in headers.
    pub fn headers() -> Self {
        Self::with(|builder| builder.transports([Transport::headers()]))
    }

    fn with(change: impl FnOnce(EngineBuilder<Claims>) -> EngineBuilder<Claims>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let clock = ManualClock::starting_at(Timestamp::from_secs(START));
        let store = MemoryStore::new().clock(clock.clone());
        let builder = Engine::builder(Keys::hs256(SECRET).expect("a secret"))
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .clock(clock.clone())
            .runtime(runtime.handle().clone())
            .refresh_with(Rotate::new(store));
        let auth = change(builder).build().expect("a configuration");
        let mut fixture =
            Self { auth, clock, access: String::new(), refresh: String::new(), runtime };
        (fixture.access, fixture.refresh) = fixture.sign_in("alice");
        fixture
    }

    /// Both tokens of a new session.
    pub fn sign_in(&self, subject: &str) -> (String, String) {
        let response = self.respond(Request::new(()), Response::new(()), |session| {
            let subject = subject.to_owned();
            async move { session.sign_in(subject, Claims::default()).await.expect("a session") }
        });
        let field = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let cookie = |name: &str| {
            let fields = response.headers().get_all("set-cookie").iter();
            let texts = fields.filter_map(|field| field.to_str().ok());
            let mut ours = texts.filter_map(|text| text.strip_prefix(&format!("{name}=")));
            ours.next().and_then(|text| text.split(';').next()).map(str::to_owned)
        };
        let bearer = || field("authorization")?.strip_prefix("Bearer ").map(str::to_owned);
        let access = cookie(ACCESS).or_else(bearer).expect("an access token");
        let refresh = cookie(REFRESH).or_else(|| field("x-refresh-token"));
        (access, refresh.expect("a refresh token"))
    }

    /// The session of a request, after a refresh if the request must wait for one.
    pub fn settle(&self, request: &Request<()>) -> Session<Claims> {
        let step = self.auth.begin(request);
        self.runtime.block_on(async { step.settle().await })
    }

    /// The engine's decision for a request, with no task left running.
    pub fn begin(&self, request: &Request<()>) -> (bool, Session<Claims>) {
        let step = self.auth.begin(request);
        let passes = matches!(step, Progress::Pass(_));
        (passes, self.runtime.block_on(step.settle()))
    }

    /// A request and its response, headers only.
    pub fn respond<Fut: Future<Output = ()>>(
        &self,
        mut request: Request<()>,
        response: Response<()>,
        handler: impl FnOnce(Session<Claims>) -> Fut,
    ) -> Response<()> {
        self.runtime.block_on(async {
            let session = self.auth.begin(&request).settle().await;
            let in_flight = self.auth.attach(session, &mut request);
            handler(in_flight.session().clone()).await;
            let finished: Result<_, Infallible> = Ok(in_flight.finish(response).await);
            let Ok(response) = finished;
            response
        })
    }

    /// Replaces one byte by Alice's access token and another by her refresh token, so that a fuzzer
    /// need not guess them.
    pub fn fill(&self, text: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(text.len());
        for byte in text {
            match *byte {
                0xff => filled.extend_from_slice(self.access.as_bytes()),
                0xfe => filled.extend_from_slice(self.refresh.as_bytes()),
                other => filled.push(other),
            }
        }
        filled
    }
}

/// Runs `body` with a fixture that is replaced after some thousand inputs, because its sessions
/// accumulate.
pub fn with_fixture(new: fn() -> Fixture, body: impl FnOnce(&Fixture)) {
    thread_local!(static FIXTURE: RefCell<Option<(Fixture, u32)>> = const { RefCell::new(None) });
    FIXTURE.with_borrow_mut(|fixture| {
        if fixture.as_ref().is_some_and(|(_, used)| *used > 5000) {
            *fixture = None;
        }
        let (fixture, used) = fixture.get_or_insert_with(|| (new(), 0));
        *used += 1;
        body(fixture);
    });
}

/// The lines that are valid values of a header field.
pub fn values(lines: &[u8]) -> impl Iterator<Item = HeaderValue> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok())
}

pub fn request(fields: impl IntoIterator<Item = (&'static str, HeaderValue)>) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in fields {
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    request
}

/// A compact token with a valid signature.
pub fn sign(header: &[u8], payload: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let signed = format!("{}.{}", B64.encode(header), B64.encode(payload));
    format!("{signed}.{}", B64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}
