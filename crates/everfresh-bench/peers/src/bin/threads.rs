//! One known token on one thread and on several threads at once. Shared state must not make
//! requests wait for each other. Rounds are interleaved. Each thread has a clone of the service, as
//! each connection of a server does.

use std::sync::Barrier;
use std::time::Instant;

use everfresh::Session;
use everfresh_peers::record::{Shared, median, write};
use everfresh_peers::scene::engine;
use everfresh_peers::{Alg, Carried, NAME, Scene, User};
use futures::FutureExt as _;
use futures::executor::block_on;
use http::{Extensions, HeaderMap, Request, Response, StatusCode};
use tower::{Layer as _, Service};

const ROUNDS: usize = 41;
const REQUESTS: u32 = 20_000;
const THREADS: usize = 2;

fn main() {
    let scene = block_on(Scene::new(Alg::HS256, Carried::Bearer));
    let bare = || Inner(|_| true);
    let ours = || {
        engine(&scene.material, 10_000).layer().layer(Inner(|extensions| {
            let session = extensions.get::<Session<User>>();
            session.and_then(|session| session.claims().ok()).is_some_and(|user| user.name == NAME)
        }))
    };
    let fields = scene.fields();
    let (bare, shared) = (bare(), ours());
    let apart: Vec<_> = (0..THREADS).map(|_| ours()).collect();
    let mut taken: [Vec<f64>; 5] = Default::default();
    for round in 0..=ROUNDS {
        let now = [
            at_once(&[&bare], &fields),
            at_once(&[&shared], &fields),
            at_once(&[&bare; THREADS], &fields),
            at_once(&apart.iter().collect::<Vec<_>>(), &fields),
            at_once(&[&shared; THREADS], &fields),
        ];
        // The first round warms up.
        if round > 0 {
            taken.iter_mut().zip(now).for_each(|(taken, ns)| taken.push(ns));
        }
    }
    let [bare_1, ours_1, bare_n, apart_n, shared_n] = taken.map(median);
    let row = |threads, how: &str, bare_ns, ours_ns: f64| Shared {
        threads,
        how: how.into(),
        bare_ns,
        ours_ns,
        added_ns: ours_ns - bare_ns,
    };
    let rows = [
        row(1, "", bare_1, ours_1),
        row(THREADS, "each with an engine of its own", bare_n, apart_n),
        row(THREADS, "one engine, one token", bare_n, shared_n),
    ];
    write("threads.csv", &rows);
}

/// Nanoseconds per request and thread, with one thread for each service, all at once.
fn at_once<S>(services: &[&S], fields: &HeaderMap) -> f64
where
    S: Service<Request<()>, Response = Response<()>> + Clone + Sync + Send,
{
    let together = Barrier::new(services.len());
    let work = |service: &S| {
        let mut service = service.clone();
        together.wait();
        let began = Instant::now();
        for _ in 0..REQUESTS {
            let mut request = Request::new(());
            *request.headers_mut() = fields.clone();
            let served = service.call(std::hint::black_box(request)).now_or_never();
            assert!(matches!(served, Some(Ok(response)) if response.status() == 200));
        }
        began.elapsed().as_nanos() as f64 / f64::from(REQUESTS)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> =
            services.iter().map(|service| scope.spawn(|| work(service))).collect();
        let taken = running.into_iter().map(|thread| thread.join().expect("a thread"));
        taken.sum::<f64>() / services.len() as f64
    })
}

/// Answers at once, with 200 if it finds the name.
#[derive(Clone)]
struct Inner(fn(&Extensions) -> bool);

impl Service<Request<()>> for Inner {
    type Response = Response<()>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<()>, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut response = Response::new(());
        if !(self.0)(request.extensions()) {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        std::future::ready(Ok(response))
    }
}
