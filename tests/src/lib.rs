//! The contract servers: one small application, served by every framework.
//!
//! The tests here and any HTTP client use them; the examples are for reading. `tests/CONTRACT.md`
//! specifies their answers.

pub mod actix;
pub mod axum;
pub mod browser;
pub mod cluster;
pub mod database;
#[cfg(doctest)]
mod documents;
pub mod hammer;
pub mod herd;
pub mod idp;
pub mod load;
pub mod process;
mod serve;
pub mod settings;
pub mod store;
pub mod tabs;
pub mod tower;
mod upstream;
pub mod warp;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::runtime::Handle;

pub use serve::run;

/// `GET /metrics`: the metrics of this process's engines, in Prometheus format.
pub(crate) fn metrics() -> String {
    let mut text = recorder().map_or_else(String::new, PrometheusHandle::render);
    if let Some(runtime) = RUNTIME.get() {
        let tasks = runtime.metrics().num_alive_tasks();
        text.push_str(&format!("# TYPE {TASKS} gauge\n{TASKS} {tasks}\n"));
    }
    text
}

/// The number of live tasks on the engine's runtime: the engine's own, and those of connections if
/// the framework runs them there.
pub(crate) const TASKS: &str = "contract_tasks";

/// That runtime, set once a server runs.
static RUNTIME: OnceLock<Handle> = OnceLock::new();

/// Counts the tasks of the current runtime.
pub(crate) fn count_tasks() {
    // A second server in the process keeps the first one's runtime.
    let _ = RUNTIME.set(Handle::current());
}

/// The recorder of this process. Engines that were built before the first call record nothing.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    /// In seconds: a request waits for at most 3, a refresh takes at most 30.
    const BUCKETS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    let install = || PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder();
    RECORDER.get_or_init(|| install().ok()).as_ref()
}

/// The content type of [`metrics`].
pub(crate) const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// `GET /openapi.json`: the engine's endpoints as a document.
pub(crate) fn openapi(auth: &everfresh::Engine<everfresh_testkit::contract::User>) -> String {
    // A document of plain values is always JSON.
    everfresh_openapi::document(auth).to_json().unwrap_or_default()
}
