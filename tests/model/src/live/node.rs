//! A node: a real engine on a clock of its own, with the keys that it was given.

use std::time::Duration;

use everfresh::adapter::Progress;
use everfresh::{
    Clock, Engine, KeyRing, Keys, ManualClock, Rotate, Session, SessionErrorKind, Timestamp,
};
use http::{Request, Response, StatusCode};

use super::browser::Kind;
use super::link::Link;
use super::setup::{ABSOLUTE, IDLE, LEEWAY, Setup};

/// Longer than the longest pause that the engine makes after failures.
const LONG: Duration = Duration::from_secs(64);

pub(super) struct Node {
    pub(super) engine: Engine<()>,
    pub(super) clock: ManualClock,
    /// The newest key of the ring that it has.
    pub(super) newest: usize,
    /// The one that it derives with.
    pub(super) current: usize,
    setup: Setup,
    link: Link,
}

impl Node {
    pub(super) fn new(setup: Setup, clock: ManualClock, link: Link) -> Self {
        let engine = build(&setup, &clock, link.clone(), ring(0, 0));
        Self { engine, clock, newest: 0, current: 0, setup, link }
    }

    /// Begins anew: what it had in memory is gone.
    pub(super) fn rebuild(&mut self) {
        let ring = ring(self.current, self.newest);
        self.engine = build(&self.setup, &self.clock, self.link.clone(), ring);
    }

    /// The engine leaves a session whose refresh failed alone for a random time, which is tested
    /// elsewhere. Here its steady clock leaps over that, so that a schedule is the same each time;
    /// responses under way are then taken for late, and looked at again.
    pub(super) fn leap(&self) {
        let now = self.clock.now();
        self.clock.advance(LONG);
        self.clock.set_wall(now);
    }

    /// How many seconds are left until then, by this node's clock.
    pub(super) fn left(&self, expires: Timestamp) -> i64 {
        expires.as_secs() as i64 - self.clock.now().as_secs() as i64
    }
}

fn build(setup: &Setup, clock: &ManualClock, link: Link, ring: KeyRing) -> Engine<()> {
    let rotate =
        Rotate::new(link).reuse_interval(setup.reuse_interval()).idle_lifetime(IDLE).key_ring(ring);
    let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").expect("a good secret");
    let builder = Engine::builder(keys)
        .issuer("https://world.test")
        .audience("world")
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

/// What a node made of a request, before its response leaves.
pub(super) struct Open {
    pub(super) session: Session<()>,
    pub(super) status: StatusCode,
}

/// A request comes in and is handled.
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

/// The response leaves: its `Set-Cookie` fields.
pub(super) async fn leave(engine: &Engine<()>, open: &Open) -> Vec<String> {
    let mut response = Response::new(());
    *response.status_mut() = open.status;
    let underway = engine.attach(open.session.clone(), &mut Request::new(()));
    let response = underway.finish(response).await;
    let fields = response.headers().get_all(http::header::SET_COOKIE).iter();
    fields.map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// Lets every task that can go on do so.
pub(super) async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}
