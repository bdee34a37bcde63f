//! The exporters of metrics and traces.

use std::error::Error;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The buckets. A refresh takes milliseconds. A request waits for at most 3 s, a refresh for 30 s.
const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// Installs the recorder for metrics of everfresh and of the rest of the app.
pub(crate) fn metrics() -> Result<PrometheusHandle, Box<dyn Error>> {
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .install_recorder()?;
    let kept = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            kept.run_upkeep(); // moves measurements into the buckets, which limits the memory
        }
    });
    Ok(metrics)
}

/// Installs the subscriber. Events go to standard output. Spans go there as well when they end,
/// unless `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector, which then receives them. The variables
/// of the OpenTelemetry specification (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, ..) also apply.
pub(crate) fn traces() -> Result<Option<SdkTracerProvider>, Box<dyn Error>> {
    let provider = match std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") {
        None => None,
        Some(_) => {
            let exporter = SpanExporter::builder().with_tonic().build()?;
            let mut resource = Resource::builder();
            if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
                resource = resource.with_service_name("observed");
            }
            let provider = SdkTracerProvider::builder()
                .with_resource(resource.build())
                .with_batch_exporter(exporter)
                .build();
            Some(provider)
        }
    };
    let exported = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("observed")));
    let written = tracing_subscriber::fmt::layer().with_span_events(match &provider {
        None => FmtSpan::CLOSE,
        Some(_) => FmtSpan::NONE,
    });
    // The exporter's own spans are excluded, because each export would create new spans without
    // end.
    let ours = Targets::new()
        .with_default(Level::WARN)
        .with_target("observed", Level::INFO)
        .with_target("everfresh", Level::DEBUG); // with INFO, no spans of the store's calls
    tracing_subscriber::registry().with(ours).with(exported).with(written).try_init()?;
    Ok(provider)
}
