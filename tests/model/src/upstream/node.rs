//! A node: a real engine on a runtime of its own, which the schedule advances step by step.

use std::time::Duration;

use everfresh::adapter::Progress;
use everfresh::dialect::AccessTokenResponse;
use everfresh::refresher::RefreshToken;
use everfresh::store::SessionRecord;
use everfresh::{
    AccessToken, Clock, Engine, Keys, ManualClock, Rotate, Session, SessionErrorKind, SignIn,
    Timestamp,
};
use everfresh_upstream::{HttpClient, Upstream};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::carry::{Carry, LIFE, REVOKE, TOKEN, text};
use super::gate::{Hub, StoreLink};
use super::provider::ProviderKind;

/// The start time of the simulation.
pub(super) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// How long a refresh may take before it is in doubt.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long a request waits at most: the engine's own limit.
pub(super) const WAITS: Duration = Duration::from_secs(3);

/// The shortest time that passes. Afterwards every task that could make progress has done so.
pub(super) const INSTANT: Duration = Duration::from_millis(1);

/// Longer than the engine's longest back-off.
const LONG: Duration = Duration::from_secs(64);

const ACCESS: &str = "__Host-access_token";
const REFRESH: &str = "__Host-refresh_token";

/// The kinds of requests that a client sends to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// A page, with an access token that has expired.
    Visit,
    SignOut,
}

/// A request that a node processes.
pub(super) struct PendingRequest {
    pub(super) wish: RequestKind,
    /// Its arrival time, plus the time for which the node was stopped.
    pub(super) since: Duration,
    /// The session was over at its arrival.
    pub(super) after: bool,
    /// The node was stopped meanwhile.
    pub(super) stopped: bool,
    pub(super) task: JoinHandle<Answer>,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) cookies: Cookies,
    /// A cookie was deleted.
    pub(super) cleared: bool,
}

/// A browser's two cookies.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies {
    pub(super) access: Option<String>,
    pub(super) refresh: Option<String>,
}

/// The initial state of every simulation: a session whose tokens at the other server have expired.
pub(super) struct Beginning {
    pub(super) record: SessionRecord,
    pub(super) jar: Cookies,
}

pub(super) struct Node {
    pub(super) life: u32,
    pub(super) asked: Vec<PendingRequest>,
    pub(super) stopped: bool,
    /// How long it was stopped.
    behind: Duration,
    clock: ManualClock,
    engine: Engine<()>,
    runtime: Runtime,
}

impl Node {
    pub(super) fn new(hub: &Hub, kind: ProviderKind, number: usize, life: u32) -> Self {
        let clock = ManualClock::starting_at(hub.clock.now());
        let runtime = runtime();
        let link = hub.link(number, life);
        let engine = engine(&link, &clock, &runtime, kind);
        let (stopped, behind) = (false, Duration::ZERO);
        Self { life, asked: Vec::new(), stopped, behind, clock, engine, runtime }
    }

    /// Time passes for this node, unless it is stopped.
    pub(super) fn pass(&mut self, by: Duration) {
        self.clock.advance(by);
        if self.stopped {
            self.behind += by;
        } else {
            self.run(by);
        }
    }

    fn run(&mut self, by: Duration) {
        self.runtime.block_on(async {
            if by > INSTANT {
                tokio::time::advance(by - INSTANT).await;
            }
            // Time stands still, so this returns only when no other task can make progress.
            tokio::time::sleep(INSTANT).await;
        });
    }

    /// Runs for the given number of task polls, and then stops. Clocks continue.
    pub(super) fn stop_after(&mut self, polls: u8) {
        self.runtime.block_on(async {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        });
        self.stopped = true;
        self.asked.iter_mut().for_each(|asked| asked.stopped = true);
    }

    pub(super) fn go_on(&mut self) {
        self.stopped = false;
        let behind = std::mem::take(&mut self.behind);
        self.asked.iter_mut().for_each(|asked| asked.since += behind);
        self.run(behind + INSTANT);
    }

    pub(super) fn ask(&mut self, wish: RequestKind, jar: &Cookies, now: Duration, after: bool) {
        if wish == RequestKind::Visit {
            // The back-off after a failure is random and covered by other tests. The steady clock
            // jumps past it.
            let wall = self.clock.now();
            self.clock.advance(LONG);
            self.clock.set_wall(wall);
        }
        let request = request(jar, wish);
        let task = self.runtime.spawn(handle(self.engine.clone(), request, wish));
        self.asked.push(PendingRequest { wish, since: now, after, stopped: false, task });
    }

    /// The answers so far.
    pub(super) fn answers(&mut self) -> Vec<(PendingRequest, Answer)> {
        let mut answers = Vec::new();
        while let Some(at) = self.asked.iter().position(|asked| asked.task.is_finished()) {
            let mut asked = self.asked.remove(at);
            let answer = self.runtime.block_on(&mut asked.task).expect("handlers don't panic");
            answers.push((asked, answer));
        }
        answers
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // The runtime calls this between two polls of tasks, to ask whether to continue.
    let runtime = builder.enable_time().start_paused(true).event_interval(1).build();
    runtime.expect("a runtime")
}

fn engine(
    link: &StoreLink,
    clock: &ManualClock,
    runtime: &Runtime,
    kind: ProviderKind,
) -> Engine<()> {
    let http = HttpClient::over(Carry(link.clone()));
    let upstream = Upstream::oauth2(&http, TOKEN.parse().expect("an address"))
        .client(everfresh::dialect::ClientAuthentication::None { id: "app".into() })
        .revoke_at(REVOKE.parse().expect("an address"))
        .replay(kind.replay())
        .limit(LIMIT);
    build(upstream.kept_in(link.clone()), clock, runtime)
}

fn build(rotate: Rotate, clock: &ManualClock, runtime: &Runtime) -> Engine<()> {
    let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").expect("a good secret");
    let builder = Engine::builder(keys)
        .issuer("https://app.example")
        .audience("app")
        .leeway(Duration::ZERO)
        .clock(Clock::from(clock.clone()))
        .runtime(runtime.handle().clone())
        .refresh_with(rotate.reuse_interval(Duration::from_secs(300)));
    builder.token_cache(0).build().expect("a good configuration")
}

impl Beginning {
    pub(super) fn new(kind: ProviderKind) -> Self {
        let clock = ManualClock::starting_at(START.minus(Duration::from_secs(2 * LIFE)));
        let hub = Hub::new(kind, clock);
        let mut node = Node::new(&hub, kind, 0, 0);
        let signed_in = node.runtime.block_on(async {
            let mut issued = AccessTokenResponse::new(AccessToken::new("access-0".into()));
            issued = issued.with_refresh_token(RefreshToken::new(text(0)));
            issued.expires_in = Some(Duration::from_secs(LIFE));
            let Progress::Pass(session) = node.engine.begin(&Request::new(())) else {
                panic!("there is nothing to wait for")
            };
            let sign_in = SignIn::new("alice", ()).backed_by(issued);
            session.sign_in_with(sign_in).await.expect("signed in");
            leave(&node.engine, session, StatusCode::OK).await
        });
        hub.clock.advance(Duration::from_secs(2 * LIFE));
        node.pass(Duration::from_secs(2 * LIFE));
        // A valid access token for signing out, from an engine without upstream tokens.
        let plain = build(Rotate::new(hub.store.clone()), &node.clock, &node.runtime);
        let request = request(&signed_in.cookies, RequestKind::Visit);
        let renewed = node.runtime.block_on(handle(plain, request, RequestKind::Visit));
        let records =
            node.runtime.block_on(everfresh::store::SessionStore::list(&hub.store, "alice"));
        Self { record: records.expect("a store").remove(0), jar: renewed.cookies }
    }
}

fn request(jar: &Cookies, wish: RequestKind) -> Request<()> {
    let mut pairs: Vec<_> = jar.refresh.iter().map(|token| format!("{REFRESH}={token}")).collect();
    if wish == RequestKind::SignOut {
        pairs.extend(jar.access.iter().map(|token| format!("{ACCESS}={token}")));
    }
    let mut request = Request::new(());
    let fields = request.headers_mut();
    fields.insert(COOKIE, pairs.join("; ").parse().expect("a header value"));
    // Navigations are the only requests whose cookies may be cleared.
    fields.insert("sec-fetch-mode", http::HeaderValue::from_static("navigate"));
    request
}

async fn handle(engine: Engine<()>, request: Request<()>, wish: RequestKind) -> Answer {
    let session = match engine.begin(&request) {
        Progress::Pass(session) => session,
        Progress::Wait(waiting) => waiting.settle().await,
    };
    let status = match wish {
        RequestKind::Visit => session.require().map_or_else(|no| no.status(), |()| StatusCode::OK),
        RequestKind::SignOut => match session.sign_out().await {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(error) if error.kind() == SessionErrorKind::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
    };
    leave(&engine, session, status).await
}

async fn leave(engine: &Engine<()>, session: Session<()>, status: StatusCode) -> Answer {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let response = engine.attach(session, &mut Request::new(())).finish(response).await;
    let (mut cookies, mut cleared) = (Cookies::default(), false);
    for field in response.headers().get_all(SET_COOKIE) {
        let pair = field.to_str().expect("text").split(';').next().unwrap_or_default();
        match pair.split_once('=') {
            Some((_, "")) => cleared = true,
            Some((ACCESS, token)) => cookies.access = Some(token.to_owned()),
            Some((REFRESH, token)) => cookies.refresh = Some(token.to_owned()),
            _ => {}
        }
    }
    Answer { status, cookies, cleared }
}
