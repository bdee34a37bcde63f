//! Engines over one store, and browsers.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use everfresh::{
    Engine, EngineBuilder, Keys, ManualClock, MemoryStore, Rejection, Rotate, Session, SignIn,
    Timestamp,
};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use shuttle::future::{JoinHandle, spawn};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::store::Store;
use crate::turns::{Line, Turns};

/// The lifetime of access tokens, ours and the provider's.
pub(crate) const LIFE: Duration = Duration::from_secs(300);

const ACCESS: &str = "__Host-access_token";
const REFRESH: &str = "__Host-refresh_token";

/// How many schedules of each kind, unless `SCHEDULES=long` is set.
const SCHEDULES: usize = 45;
const LONG: usize = 2_000;

/// The most priority changes in a schedule of PCT.
const DEPTHS: [usize; 3] = [2, 3, 5];

/// Plays a scene in many orders: with a random choice at each step, and with priorities that change
/// a few times.
#[expect(clippy::print_stdout, reason = "what `cargo xtask schedules` adds up")]
pub(crate) fn explore(name: &str, scene: impl Fn() + Send + Sync + 'static) {
    let played = Arc::new(AtomicUsize::new(0));
    let scene = Arc::new(scene);
    let long = std::env::var("SCHEDULES").is_ok_and(|how| how == "long");
    let each = if long { LONG } else { SCHEDULES };
    let counting = || {
        let (scene, played) = (scene.clone(), played.clone());
        move || {
            scene();
            played.fetch_add(1, Ordering::SeqCst);
        }
    };
    Runner::new(RandomScheduler::new(each), config()).run(counting());
    for depth in DEPTHS {
        Runner::new(PctScheduler::new(depth, each / DEPTHS.len()), config()).run(counting());
    }
    println!("shuttle: {} schedules: {name}", played.load(Ordering::SeqCst));
}

fn config() -> Config {
    let mut config = Config::new();
    // Signatures and futures need more stack than the default.
    config.stack_size = 1 << 20;
    config
}

/// The action of a handler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    Me,
    SignIn,
    SignOut,
}

/// The two cookies of a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// A response, and the browser's cookies after it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) pair: Pair,
}

pub(crate) struct Simulation {
    pub(crate) clock: ManualClock,
    pub(crate) store: Store,
    pub(crate) turns: Turns,
    pub(crate) nodes: Vec<Engine<()>>,
    /// Held by each engine and nothing else.
    alive: Vec<Weak<()>>,
    sign_in: SignIn<()>,
}

impl Simulation {
    /// Nodes with `Rotate`.
    pub(crate) fn rotating(nodes: usize) -> Self {
        let sign_in = SignIn::new("ada", ());
        Self::new(nodes, sign_in, |builder, store, _| builder.refresh_with(Rotate::new(store)))
    }

    pub(crate) fn new(
        nodes: usize,
        sign_in: SignIn<()>,
        refresh: impl Fn(EngineBuilder<()>, Store, &Turns) -> EngineBuilder<()>,
    ) -> Self {
        let turns = Turns::new();
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let store = Store::new(MemoryStore::new().clock(clock.clone()), turns.clone());
        let (nodes, alive) = (0..nodes)
            .map(|_| {
                let fingerprint = Arc::new(());
                let alive = Arc::downgrade(&fingerprint);
                let builder =
                    Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
                        .issuer("https://app.example")
                        .audience("app")
                        .access_lifetime(LIFE)
                        .leeway(Duration::ZERO)
                        .runtime(turns.runtime().handle().clone())
                        .clock(clock.clone())
                        .on_event(move |_| {
                            let _ = &fingerprint;
                        });
                (refresh(builder, store.clone(), &turns).build().unwrap(), alive)
            })
            .unzip();
        Self { clock, store, turns, nodes, alive, sign_in }
    }

    /// A client whose access token has expired.
    pub(crate) fn expired(&self) -> Pair {
        let signing_in = self.request(0, &Pair::default(), Handler::SignIn);
        let pair = self.turns.runtime().block_on(signing_in).pair;
        assert!(!pair.refresh.is_empty());
        self.clock.advance(LIFE);
        pair
    }

    fn request(
        &self,
        node: usize,
        pair: &Pair,
        handler: Handler,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let (before, sign_in) = (pair.clone(), self.sign_in.clone());
        let inner = service_fn(move |request: Request<()>| {
            let session = request.extensions().get::<Session<()>>().unwrap().clone();
            let sign_in = sign_in.clone();
            async move {
                let answer = match handle(session, handler, sign_in).await {
                    Ok(()) => Response::new(Vec::new()),
                    Err(rejection) => rejection.into_response(),
                };
                Ok::<_, Infallible>(answer)
            }
        });
        let service = ServiceBuilder::new().layer(self.nodes[node].layer()).service(inner);
        let cookies = format!("{ACCESS}={}; {REFRESH}={}", pair.access, pair.refresh);
        let request = Request::builder().header(COOKIE, cookies).body(()).unwrap();
        async move {
            let response = service.oneshot(request).await.unwrap();
            Answer { status: response.status(), pair: before.after(&response) }
        }
    }

    /// Sends a request. Also returns the sender that drops it.
    pub(crate) fn send(
        &self,
        node: usize,
        pair: &Pair,
        handler: Handler,
    ) -> (JoinHandle<Option<Answer>>, Line) {
        let (sent, line) = self.turns.send(self.request(node, pair, handler));
        (spawn(sent), line)
    }

    /// A visit that waits for its answer.
    pub(crate) fn visit(&self, node: usize, pair: &Pair) -> JoinHandle<Option<Answer>> {
        self.send(node, pair, Handler::Me).0
    }

    /// A visit that is dropped at some point, unless it was answered before.
    pub(crate) fn hasty(&self, node: usize, pair: &Pair) -> [JoinHandle<()>; 2] {
        let (visit, line) = self.send(node, pair, Handler::Me);
        let visit = spawn(async move {
            visit.await.unwrap();
        });
        [visit, spawn(async move { line.hang_up() })]
    }

    /// Checks that no spawned task is left, and that every dropped engine is freed.
    pub(crate) async fn end(self) {
        for node in &self.nodes {
            assert_eq!(node.shutdown().await, 0, "everything ended");
        }
        // Each engine keeps one task, which notices the end of the runtime.
        self.turns.settle(self.nodes.len()).await;
        let Self { nodes, alive, turns, .. } = self;
        drop(nodes);
        turns.settle(0).await;
        let held = alive.iter().filter(|alive| alive.upgrade().is_some()).count();
        assert_eq!(held, 0, "an engine that ended is still held");
    }
}

async fn handle(
    session: Session<()>,
    handler: Handler,
    sign_in: SignIn<()>,
) -> Result<(), Rejection> {
    match handler {
        Handler::Me => session.claims().map(drop)?,
        Handler::SignIn => session.sign_in_with(sign_in).await?,
        Handler::SignOut => session.sign_out().await?,
    }
    Ok(())
}

impl Pair {
    fn after<B>(mut self, response: &Response<B>) -> Self {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            match name {
                ACCESS => self.access = value,
                REFRESH => self.refresh = value,
                other => panic!("whose is {other}?"),
            }
        }
        self
    }
}

/// The answer of a visit that waited.
pub(crate) async fn answer(visit: JoinHandle<Option<Answer>>) -> Answer {
    visit.await.unwrap().expect("no client hung up")
}
