//! The contract servers: one small application, served by every framework.
//!
//! They are for driving, by the tests here and by any HTTP client; the examples are for reading.
//! What they answer is written down in `tests/CONTRACT.md`.

pub mod actix;
pub mod axum;
pub mod browser;
pub mod cluster;
pub mod database;
#[cfg(doctest)]
mod documents;
pub mod hammer;
pub mod idp;
pub mod load;
pub mod process;
mod serve;
pub mod settings;
pub mod store;
pub mod tower;
mod upstream;
pub mod warp;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::runtime::Handle;

pub use serve::run;

/// `GET /metrics`: what the engines of this process count, as Prometheus reads it.
pub(crate) fn metrics() -> String {
    let mut text = recorder().map_or_else(String::new, PrometheusHandle::render);
    if let Some(runtime) = RUNTIME.get() {
        let tasks = runtime.metrics().num_alive_tasks();
        text.push_str(&format!("# TYPE {TASKS} gauge\n{TASKS} {tasks}\n"));
    }
    text
}

/// How many tasks live on the runtime that the engine is on: its own, and the connections' where the
/// framework has them there.
pub(crate) const TASKS: &str = "contract_tasks";

/// That runtime, once a server runs.
static RUNTIME: OnceLock<Handle> = OnceLock::new();

/// Counts the tasks of the runtime that this is called on.
pub(crate) fn count_tasks() {
    // A second server in a process has the first one's.
    let _ = RUNTIME.set(Handle::current());
}

/// The recorder of this process. Engines that were built before it is asked for count nothing.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    /// Seconds: a request waits for 3 at the most, a refresh takes 30.
    const BUCKETS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    let install = || PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder();
    RECORDER.get_or_init(|| install().ok()).as_ref()
}

/// The content type of [`metrics`].
pub(crate) const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// `GET /openapi.json`: what the engine serves, as a document.
pub(crate) fn openapi(auth: &everfresh::Engine<everfresh_testkit::contract::User>) -> String {
    // A document of plain values is always JSON.
    everfresh_openapi::document(auth).to_json().unwrap_or_default()
}
