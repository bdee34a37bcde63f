//! The cost of learning which sessions ended on another node, and of opening and closing watches.
//! Also the longest wait of other requests meanwhile. Times are the thread's own processor time, so
//! other load on the machine does not count.
//!
//! Run with: `cargo bench -p everfresh-bench --bench ends`

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everfresh::RevocationFeed;
use everfresh::adapter::Progress;
use everfresh::refresher::{
    Closing, Context, FlightKey, Presented, RefreshRequest, Refresher, SignInRequest, Tokens,
};
use everfresh::store::{RevocationSink, StoreError};
use everfresh::{Engine, Failure, SessionId, SessionWatch, Timestamp};
use everfresh_bench::{Bare, User, engine, keys, token, with_bearer};
use http::Request;
use tokio::sync::Notify;
use tower::{Service as _, ServiceBuilder};

/// How many ends one page of a store holds.
const PAGE: usize = 5000;

/// The processor time of this thread.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// A refresher whose feed reports the given number of ends each time it is notified.
struct Tells {
    ends: usize,
    again: Arc<Notify>,
}

impl Refresher for Tells {
    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    fn identify(&self, _: Presented<'_>, _: Timestamp) -> Option<FlightKey> {
        None
    }

    async fn refresh(&self, _: Context, _: RefreshRequest) -> Result<Tokens, Failure> {
        Err(Failure::SOON)
    }

    async fn sign_in(&self, _: Context, _: SignInRequest) -> Result<Tokens, Failure> {
        Err(Failure::SOON)
    }

    async fn sign_out(&self, _: Context, _: Closing) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        self.again.notified().await;
        for first in (0..self.ends).step_by(PAGE) {
            let page = first..self.ends.min(first + PAGE);
            let sids: Vec<_> = page.map(|n| SessionId::from_bytes(spread(n))).collect();
            sink.ended(&sids).await;
        }
        sink.live();
        self.again.notified().await;
        Err(StoreError::new("the connection was lost"))
    }
}

/// A pseudo-random id.
fn spread(n: usize) -> [u8; 16] {
    let n = n as u128 + 1;
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
}

/// The time until the feed is live, and the longest time that a request waited for its turn.
async fn learn(auth: &Engine<User>, again: &Notify, beside: bool) -> (Duration, Duration) {
    let learnt = Arc::new(AtomicBool::new(false));
    let ends = learnt.clone();
    let mut service = ServiceBuilder::new().layer(auth.layer()).service(Bare);
    let requests = tokio::spawn(async move {
        let (mut longest, mut last) = (Duration::ZERO, spent());
        while beside && !ends.load(Ordering::Relaxed) {
            drop(service.call(Request::new(())).await);
            tokio::task::yield_now().await;
            let now = spent();
            longest = longest.max(now.saturating_sub(last));
            last = now;
        }
        longest
    });
    tokio::task::yield_now().await;
    let began = spent();
    again.notify_one();
    while auth.feed() != RevocationFeed::Live {
        tokio::task::yield_now().await;
    }
    let took = spent() - began;
    learnt.store(true, Ordering::Relaxed);
    (took, requests.await.expect("no panic"))
}

fn ends(number: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let measure = async |beside| {
            let again = Arc::new(Notify::new());
            let tells = Tells { ends: number, again: again.clone() };
            let auth = Engine::<User>::builder(keys())
                .issuer("https://app.example")
                .audience("app")
                .refresh_with(tells)
                .build()
                .expect("a good configuration");
            let first = learn(&auth, &again, beside).await;
            // The connection is lost, and every end is reported again.
            again.notify_one();
            while auth.feed() == RevocationFeed::Live {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            (first, learn(&auth, &again, beside).await)
        };
        let ((learnt, _), (again, _)) = measure(false).await;
        let ((_, waited), (_, waited_again)) = measure(true).await;
        println!(
            "{number} ends: learnt in {} ms, heard again in {} ms; no request waits for more than \
             {:.1} ms",
            learnt.as_millis(),
            again.as_millis(),
            waited.max(waited_again).as_secs_f64() * 1000.0
        );
    });
}

fn watches(number: usize) {
    let auth = engine();
    let sessions: Vec<_> = (0..number)
        .map(|_| {
            let token = futures::executor::block_on(token(&auth));
            let Progress::Pass(session) = auth.begin(&with_bearer(&token)) else {
                unreachable!("a fresh token waits for nothing")
            };
            session
        })
        .collect();
    let began = spent();
    let open: Vec<SessionWatch> =
        sessions.iter().filter_map(|session| session.watch().ok()).collect();
    let opened = spent();
    assert_eq!(open.len(), number);
    drop(open);
    let (opened, closed) = (opened - began, spent() - opened);
    println!(
        "{number} watches: opened in {} ms, closed in {} ms",
        opened.as_millis(),
        closed.as_millis()
    );
}

fn main() {
    for number in [10_000, 100_000, 1_000_000] {
        ends(number);
    }
    for number in [5_000, 40_000] {
        watches(number);
    }
}
