//! The cost of the layer around a bare service.
//!
//! Run with: `cargo bench -p everfresh-bench`

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use everfresh_bench::{Bare, copy, engine, token, with_bearer, with_cookie};
use futures::executor::block_on;
use http::Request;
use tower::{Service, ServiceBuilder};

fn hot_path(c: &mut Criterion) {
    let auth = engine();
    let token = block_on(token(&auth));
    let mut layered = ServiceBuilder::new().layer(auth.layer()).service(Bare);

    let mut group = c.benchmark_group("hot_path");
    let mut measure = |name: &str, service: &mut dyn FnMut(Request<()>), request: &Request<()>| {
        group.bench_function(name, |b| {
            b.iter_batched(|| copy(request), &mut *service, BatchSize::SmallInput);
        });
    };
    let nothing = Request::new(());
    let mut bare = |request| {
        black_box(block_on(Bare.call(request)).is_ok());
    };
    measure("bare", &mut bare, &with_cookie(&token, 0));
    let mut inside = |request| {
        black_box(block_on(layered.call(request)).is_ok());
    };
    measure("no token", &mut inside, &nothing);
    measure("fresh HS256, bearer", &mut inside, &with_bearer(&token));
    measure("fresh HS256, cookie", &mut inside, &with_cookie(&token, 0));
    measure("fresh HS256, cookie among 10", &mut inside, &with_cookie(&token, 10));
    measure("fresh HS256, cookie among 50", &mut inside, &with_cookie(&token, 50));
    group.finish();
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
