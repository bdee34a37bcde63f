//! The names in a `PromQL` expression that belong to everfresh.

use std::collections::BTreeSet;

use super::super::{METRICS, Metric, MetricKind};

/// Labels that Prometheus itself adds.
const ITS_OWN: [&str; 3] = ["job", "instance", "le"];

/// Checks every metric, label and label value of an expression against the list. Returns the names
/// of the metrics.
pub(super) fn mentioned(expression: &str) -> Result<BTreeSet<&'static str>, String> {
    let mut names = BTreeSet::new();
    let mut labels: BTreeSet<&str> = ITS_OWN.into();
    for (at, _) in expression.match_indices("everfresh_") {
        let text = &expression[at..];
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let metric = find(&text[..end])?;
        names.insert(metric.name);
        labels.extend(metric.labels.iter().map(|(label, _)| *label));
        if let Some(matchers) = text[end..].strip_prefix('{') {
            let (matchers, _) = matchers.split_once('}').ok_or("a `{` without its `}`")?;
            for matcher in matchers.split(',').filter(|one| !one.trim().is_empty()) {
                check_matcher(metric, matcher.trim())?;
            }
        }
    }
    let by = expression.match_indices("by (").map(|(at, by)| &expression[at + by.len()..]);
    for list in by {
        let (list, _) = list.split_once(')').ok_or("a `by (` without its `)`")?;
        if let Some(unknown) = list.split(',').find(|one| !labels.contains(one.trim())) {
            return Err(format!("`by ({list})`: no metric of {names:?} has `{unknown}`"));
        }
    }
    Ok(names)
}

/// The metric of a series. A histogram has three series in Prometheus.
fn find(series: &str) -> Result<&'static Metric, String> {
    let found = METRICS.iter().find(|metric| match metric.kind {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| series.strip_suffix(suffix) == Some(metric.name)),
        _ => series == metric.name,
    });
    found.ok_or_else(|| format!("there is no metric `{series}`"))
}

/// Checks `label="value"`, or one of the other three operators.
fn check_matcher(metric: &Metric, matcher: &str) -> Result<(), String> {
    let (label, rest) = matcher.split_once(['=', '!']).ok_or_else(|| matcher.to_owned())?;
    let value = rest.trim_start_matches(['=', '~']);
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = value.ok_or_else(|| format!("`{matcher}`: the value is not in quotes"))?;
    if ITS_OWN.contains(&label) {
        return Ok(());
    }
    let known = metric.labels.iter().find(|(name, _)| *name == label);
    let (_, values) = known.ok_or_else(|| format!("`{}` has no `{label}`", metric.name))?;
    match value.split('|').find(|one| !values.contains(one)) {
        Some(one) => Err(format!("`{label}` of `{}` is never {one:?}", metric.name)),
        None => Ok(()),
    }
}

#[test]
fn foreign_items_are_found() {
    for good in [
        r#"sum by (outcome) (rate(everfresh_refreshes_total{outcome!="refreshed", job=~"$job"}[5m]))"#,
        "histogram_quantile(0.9, sum by (le) (rate(everfresh_flight_seconds_bucket[5m])))",
        "up",
    ] {
        mentioned(good).unwrap();
    }
    for bad in [
        "everfresh_refresh_total",
        "everfresh_flight_seconds",
        "everfresh_refreshes_total_sum",
        r#"everfresh_refreshes_total{result="refreshed"}"#,
        r#"everfresh_refreshes_total{outcome=~"refreshed|rejcted"}"#,
        r#"everfresh_refreshes_total{outcome="refreshed""#,
        "everfresh_refreshes_total{outcome=refreshed}",
        "sum by (reason) (everfresh_refreshes_total)",
    ] {
        mentioned(bad).unwrap_err();
    }
}
