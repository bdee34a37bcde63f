//! How many instructions the layer executes per request, counted by callgrind, and the budget for
//! each kind of request. A budget is the count at its last justified change, plus a tenth for other
//! compilers and C libraries.
//!
//! Counts are for x86-64. callgrind has no SHA instructions, so HMAC counts eight times its real
//! cost.
//!
//! Run with: `cargo xtask budget`

#![expect(unused_qualifications, missing_docs, reason = "of what the macros write")]

use std::hint::black_box;

use everfresh::Engine;
use everfresh::layer::Refresh;
use everfresh_bench::{
    Bare, User, cookies, copy, engine, engine_without_cache, rotating_engine, token, with_bearer,
    with_cookie, with_cookies,
};
use futures::FutureExt as _;
use futures::executor::block_on;
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use http::Request;
use tower::{Service as _, ServiceBuilder};

/// One request, and the service that handles it.
struct Prepared(Refresh<Bare, User>, Request<()>);

/// Creates everything that is created once per process, and caches the token if possible.
fn prepare(auth: &Engine<User>, request: &Request<()>) -> Prepared {
    let mut service = ServiceBuilder::new().layer(auth.layer()).service(Bare);
    for _ in 0..3 {
        assert!(service.call(copy(request)).now_or_never().is_some_and(|served| served.is_ok()));
    }
    Prepared(service, copy(request))
}

fn nothing() -> Prepared {
    prepare(&engine(), &Request::new(()))
}

fn bearer() -> Prepared {
    let auth = engine();
    prepare(&auth, &with_bearer(&block_on(token(&auth))))
}

fn cookie(others: usize) -> Prepared {
    let auth = engine();
    prepare(&auth, &with_cookie(&block_on(token(&auth)), others))
}

/// The default settings with sign-out and reuse detection: two cookies, one of them only for
/// everfresh.
fn rotating() -> Prepared {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let auth = rotating_engine();
    let request = with_cookies(&runtime.block_on(cookies(&auth)));
    let prepared = prepare(&auth, &request);
    // The first use of a generation is reported beside the request.
    runtime.block_on(async {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    });
    prepared
}

fn first_sight() -> Prepared {
    let auth = engine_without_cache();
    prepare(&auth, &with_bearer(&block_on(token(&auth))))
}

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let limit = instructions + instructions / 10;
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, limit)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

// The cost of a request without a layer: served and dropped.
#[library_benchmark]
#[bench::without_headers(args = (Request::new(())))]
#[bench::with_bearer(args = (with_bearer(&block_on(token(&engine())))))]
fn bare(request: Request<()>) {
    drop(black_box(Bare.call(black_box(request)).now_or_never()));
}

#[library_benchmark]
#[bench::no_token(args = (nothing()), config = at_most(2_160))]
#[bench::known_bearer(args = (bearer()), config = at_most(3_250))]
#[bench::known_cookie(args = (cookie(0)), config = at_most(4_010))]
#[bench::known_cookie_among_50(args = (cookie(50)), config = at_most(8_870))]
#[bench::known_cookies_of_rotate(args = (rotating()), config = at_most(7_660))]
#[bench::first_sight(args = (first_sight()), config = at_most(30_610))]
fn serve(prepared: Prepared) -> Refresh<Bare, User> {
    let Prepared(mut service, request) = prepared;
    drop(black_box(service.call(black_box(request)).now_or_never()));
    service
}

library_benchmark_group!(name = fresh_path, benchmarks = [bare, serve]);
main!(library_benchmark_groups = fresh_path);
