//! A node: a real engine with a clock and keys of its own.

use std::time::Duration;

use everfresh::adapter::Progress;
use everfresh::{
    Clock, Engine, KeyRing, Keys, ManualClock, Rotate, Session, SessionErrorKind, Timestamp,
};
use http::{Request, Response, StatusCode};

use super::browser::Kind;
use super::link::StoreLink;
use super::setup::{ABSOLUTE, IDLE, LEEWAY, Setup};

/// Longer than the engine's longest back-off.
const LONG: Duration = Duration::from_secs(64);

pub(super) struct Node {
    pub(super) engine: Engine<()>,
    pub(super) clock: ManualClock,
    /// The newest key of the ring that this node has.
    pub(super) newest: usize,
    /// The key that it derives with.
    pub(super) current: usize,
    setup: Setup,
    link: StoreLink,
}

impl Node {
    pub(super) fn new(setup: Setup, clock: ManualClock, link: StoreLink) -> Self {
        let engine = build(&setup, &clock, link.clone(), ring(0, 0));
        Self { engine, clock, newest: 0, current: 0, setup, link }
    }

    /// Restarts the node without its former memory.
    pub(super) fn rebuild(&mut self) {
        let ring = ring(self.current, self.newest);
        self.engine = build(&self.setup, &self.clock, self.link.clone(), ring);
    }

    /// After a failed refresh the engine backs off for a random time, which other tests cover. Here
    /// the steady clock jumps past the back-off, so that each run of a schedule is the same. The
    /// engine then takes pending responses for late ones and checks them again.
    pub(super) fn leap(&self) {
        let now = self.clock.now();
        self.clock.advance(LONG);
        self.clock.set_wall(now);
    }

    /// The seconds until then, by this node's clock.
    pub(super) fn left(&self, expires: Timestamp) -> i64 {
        expires.as_secs() as i64 - self.clock.now().as_secs() as i64
    }
}

fn build(setup: &Setup, clock: &ManualClock, link: StoreLink, ring: KeyRing) -> Engine<()> {
    let rotate =
        Rotate::new(link).reuse_interval(setup.reuse_interval()).idle_lifetime(IDLE).key_ring(ring);
    let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").expect("a good secret");
    let builder = Engine::builder(keys)
        .issuer("https://app.example")
        .audience("app")
        .access_lifetime(setup.lifetime())
        .session_lifetime(ABSOLUTE)
        .leeway(LEEWAY)
        .clock(Clock::from(clock.clone()))
        .refresh_with(rotate);
    builder.token_cache(0).build().expect("a good configuration")
}

/// A ring that derives with `current` and knows every key up to `newest`.
fn ring(current: usize, newest: usize) -> KeyRing {
    let secret = |n: usize| format!("a secret of the ring, number {n:08}");
    let ring = KeyRing::new(secret(current).as_bytes()).expect("a good secret");
    let former = (0..=newest).filter(|n| *n != current);
    former.fold(ring, |ring, n| ring.and_former(secret(n).as_bytes()).expect("another secret"))
}

/// The result of a request, before its response is sent.
pub(super) struct Open {
    pub(super) session: Session<()>,
    pub(super) status: StatusCode,
}

/// A request arrives and is handled.
pub(super) async fn handle(engine: Engine<()>, request: Request<()>, kind: Kind) -> Open {
    let session = match engine.begin(&request) {
        Progress::Pass(session) => session,
        Progress::Wait(waiting) => waiting.settle().await,
    };
    let done = match kind {
        Kind::SignIn => Some(session.sign_in("alice", ()).await),
        Kind::SignOut => Some(session.sign_out().await),
        Kind::Visit | Kind::Prefetch => None,
    };
    let status = match done {
        None => session.require().map_or_else(|no| no.status(), |()| StatusCode::OK),
        Some(Ok(())) => StatusCode::NO_CONTENT,
        Some(Err(error)) if error.kind() == SessionErrorKind::Unavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Some(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Open { session, status }
}

/// Sends the response and returns its `Set-Cookie` fields.
pub(super) async fn leave(engine: &Engine<()>, open: &Open) -> Vec<String> {
    let mut response = Response::new(());
    *response.status_mut() = open.status;
    let in_flight = engine.attach(open.session.clone(), &mut Request::new(()));
    let response = in_flight.finish(response).await;
    let fields = response.headers().get_all(http::header::SET_COOKIE).iter();
    fields.map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// Runs every task that can make progress.
pub(super) async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}
