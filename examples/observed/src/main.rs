//! An axum app with observability: Prometheus metrics at `/metrics`, OpenTelemetry traces by OTLP.
//!
//! Run with: `cargo run -p observed`, which prints spans to standard output if there is no
//! collector, or with a collector such as Jaeger that listens for OTLP over gRPC:
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 cargo run -p observed`
//!
//! ```sh
//! cargo run -p observed &
//! curl -i -c jar -d name=Ada http://127.0.0.1:3000/login            # 303
//! curl -i -b jar -c jar http://127.0.0.1:3000/me                    # 200, no everfresh span
//! curl -i -b jar -c jar -X POST http://127.0.0.1:3000/auth/refresh  # 200, everfresh.refresh
//! curl -s http://127.0.0.1:3000/metrics | grep everfresh_refreshes
//! ```
//!
//! After 20 s the access token has expired, and `/me` has `everfresh.wait` inside its own span. The
//! header `everfresh-debug` of each response reports the outcome for its request. For the rest, see
//! `crates/everfresh/docs/observability.md`. `docs/grafana/everfresh.json` is a dashboard for `/metrics`.

mod telemetry;

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use everfresh::{Engine, Keys, MemoryStore, Rotate};
use everfresh_axum::{Claims, Error, Session};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Instrument as _;

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Both go before the engine, because `build()` announces its metrics.
    let metrics = telemetry::metrics()?;
    let traces = telemetry::traces()?;

    let mut secret = [0; 32]; // a new secret ends all sessions; keep one in production
    getrandom::fill(&mut secret)?;
    let auth = Engine::<User>::builder(Keys::hs256(secret)?)
        .issuer("https://app.example")
        .audience("app")
        .access_lifetime(Duration::from_secs(20)) // short enough to watch
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .debug_headers(true) // for development; leave it out in production
        .refresh_with(Rotate::new(MemoryStore::new()).reuse_interval(Duration::from_secs(5)))
        .build()?;

    let app = Router::new()
        .route("/login", post(login))
        .route("/me", get(me))
        .route("/logout", post(logout))
        .merge(everfresh_axum::endpoints(&auth)) // POST /auth/refresh and others
        .layer(auth.layer())
        .layer(from_fn(in_a_span)) // outside, so that a wait is a part of it
        .route("/metrics", get(move || async move { metrics.render() })); // for internal use only

    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async move {
        tokio::select! {
            _ = stop.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    auth.shutdown().await;
    if let Some(traces) = traces {
        traces.shutdown()?; // sends the remaining spans
    }
    Ok(())
}

/// Creates a span for each request. The span contains neither the header fields, which hold tokens,
/// nor the query.
async fn in_a_span(request: Request, next: Next) -> Response {
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        path = request.uri().path(),
        status = tracing::field::Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    response
}

async fn login(session: Session<User>, Form(form): Form<Login>) -> Result<Redirect, Error> {
    session.sign_in(form.name.clone(), User { name: form.name }).await?;
    Ok(Redirect::to("/me"))
}

async fn me(Claims(user): Claims<User>) -> String {
    format!("You are {}\n", user.name)
}

async fn logout(session: Session<User>) -> Result<Redirect, Error> {
    session.sign_out().await?;
    Ok(Redirect::to("/me"))
}
