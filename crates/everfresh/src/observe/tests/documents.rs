//! `crates/everfresh/docs/observability.md` and `docs/grafana/everfresh.json`.

use serde_json::Value;

use super::expressions::mentioned;
use super::*;

fn document(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table under this heading, split into cells.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
    rows.collect()
}

/// `` `label`: one, two; `other`: three ``
fn labels_of(metric: &Metric) -> String {
    let one = |(name, values): &(&str, &[&str])| format!("`{name}`: {}", values.join(", "));
    metric.labels.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_page_names_every_metric_and_no_other() {
    let rows = table(&document("docs/observability.md"), "Metrics");
    let expected: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let name = format!("`{}`", metric.name);
            [name, kind.into(), metric.unit.into(), labels_of(metric)]
        })
        .collect();
    let found: Vec<_> = rows.iter().map(|row| row[..4].to_vec()).collect();
    assert_eq!(found, expected);
    for row in rows {
        assert!(row.len() == 6 && row[4..].iter().all(|cell| cell.len() > 3), "{row:?}");
    }
}

#[test]
fn the_page_explains_every_event() {
    let rows = table(&document("docs/observability.md"), "Events");
    let before = || {
        let fixture = Fixture::new();
        // A gauge can only go down after it was up.
        fixture.auth.core.emit(&Event::UpstreamDown);
        fixture.auth.core.emit(&Event::FeedLive);
        fixture
    };
    let unchanged = recorded(|| drop(before()));
    let mut expected: Vec<(String, Vec<String>, BTreeSet<String>, String)> = Vec::new();
    for event in every_event() {
        let counted = recorded(|| before().auth.core.emit(&event));
        let changed = counted.iter().find(|(series, value)| unchanged.get(series) != Some(value));
        let metric = match (&event, changed) {
            (_, Some(((name, _), _))) => name.as_str(),
            (Event::FeedLive, None) => "everfresh_feed_live",
            (Event::UpstreamDown, None) => "everfresh_upstream_down",
            (event, None) => panic!("{event:?} counts nothing"),
        };
        let (level, fields) = match (&event, written(&event)) {
            // Logged where the error occurs.
            (Event::StoreFailed | Event::FeedLost, None) => {
                (tracing::Level::WARN, BTreeSet::from(["error".to_owned()]))
            }
            (event, written) => written.unwrap_or_else(|| panic!("{event:?} is not written")),
        };
        let level = level.as_str().to_lowercase();
        match expected.last_mut().filter(|row| row.0 == event.name()) {
            Some((_, levels, all, _)) => {
                if !levels.contains(&level) {
                    levels.push(level);
                }
                all.extend(fields);
            }
            None => expected.push((event.name().into(), vec![level], fields, metric.into())),
        }
    }
    let plain = |cell: &str| cell.replace('`', "");
    let listed = |cell: &str| plain(cell).split(", ").map(str::to_owned).collect::<Vec<_>>();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let fields = listed(&row[2]).into_iter().filter(|field| !field.is_empty());
            (plain(&row[0]), listed(&row[1]), fields.collect(), plain(&row[3]))
        })
        .collect();
    assert_eq!(found, expected);
    for row in rows {
        assert!(row.len() == 6 && row[4..].iter().all(|cell| cell.len() > 3), "{row:?}");
    }
}

#[test]
fn alerts_name_existing_metrics_and_labels() {
    let page = document("docs/observability.md");
    let blocks: Vec<_> = page.split("```promql\n").skip(1).collect();
    assert!(blocks.len() >= 2);
    let mut alerts = 0;
    for block in blocks {
        let (block, _) = block.split_once("```").unwrap();
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            let names = mentioned(line).unwrap_or_else(|problem| panic!("{line}: {problem}"));
            assert!(!names.is_empty(), "{line}");
            alerts += 1;
        }
    }
    assert!(alerts >= 10);
}

/// Every `expr` in a dashboard, with the title of its panel.
fn expressions(panels: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in panels.as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((title.to_owned(), target["expr"].as_str().expect("expr").to_owned()));
        }
    }
    found
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value =
        serde_json::from_str(&document("../../docs/grafana/everfresh.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    let mut names = BTreeSet::new();
    for (title, expression) in expressions(&dashboard["panels"]) {
        let mentions = mentioned(&expression);
        let mentions =
            mentions.unwrap_or_else(|problem| panic!("{title}: {expression}: {problem}"));
        assert!(!mentions.is_empty(), "{title}: {expression}");
        assert!(expression.contains(r#"job=~"$job""#), "{title}: all jobs at once");
        names.extend(mentions);
    }
    let all: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names, all);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let at = &panel["gridPos"];
        assert!(at["x"].as_u64().unwrap() + at["w"].as_u64().unwrap() <= 24, "{panel}");
    }
}
