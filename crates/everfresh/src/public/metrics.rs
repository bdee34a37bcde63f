//! For dashboards and alerts: the list of the metrics that everfresh keeps through the `metrics`
//! facade. An app that only records them needs no name of this module.
//!
//! ```
//! use everfresh::metrics::{METRICS, MetricKind};
//!
//! for metric in METRICS {
//!     let kind = match metric.kind {
//!         MetricKind::Counter => "counter",
//!         MetricKind::Gauge => "gauge",
//!         MetricKind::Histogram => "histogram",
//!         _ => "other",
//!     };
//!     println!("{} ({kind}, labels {:?}): {}", metric.name, metric.labels, metric.help);
//! }
//! assert!(METRICS.iter().any(|metric| metric.name == "everfresh_refreshes_total"));
//! ```

pub use crate::observe::{METRICS, Metric, MetricKind};
