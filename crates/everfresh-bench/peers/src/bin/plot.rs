//! Draws the recorded data, and writes its tables into `BENCHMARKS.md`, between the marks there.

use std::path::PathBuf;

use everfresh_peers::record::{Cost, Count, Kept, Load, Shared, Storm, Time, read};
use everfresh_peers::subjects::BARE;
use plotters::prelude::*;

/// Readable on white and on black; the background is transparent.
const INK: RGBColor = RGBColor(125, 133, 144);
const OURS: RGBColor = RGBColor(31, 136, 217);
const OTHERS: RGBColor = RGBColor(200, 120, 40);
const STORES: [(&str, RGBColor); 4] = [
    ("memory", OURS),
    ("sqlite", OTHERS),
    ("redis", RGBColor(190, 70, 90)),
    ("postgres", RGBColor(60, 150, 100)),
];
const OURS_NAME: &str = "everfresh";
const ALGORITHMS: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

fn main() {
    let (times, counts) = (read::<Time>("times.csv"), read::<Count>("allocations.csv"));
    let (loads, storms) = (read::<Load>("sockets.csv"), read::<Storm>("expiry.csv"));
    let (costs, growth) = (read::<Cost>("costs.csv"), read::<Cost>("growth.csv"));
    let kept = read::<Kept>("memory.csv");

    for carried in ["bearer", "cookie among 10"] {
        let name = format!("added-{}.svg", carried.replace(' ', "-"));
        let title = format!("Added to a request, nanoseconds ({carried})");
        bars(&name, &title, &ALGORITHMS.map(|alg| (alg, added(&times, alg, carried))));
    }
    let allocations = counts
        .iter()
        .filter(|row| row.algorithm == "HS256" && row.carried == "cookie among 10")
        .filter(|row| row.subject != BARE)
        .map(|row| (label(&row.host, &row.subject), row.allocations as f64))
        .collect();
    bars("allocations.svg", "Allocations of a request (cookie among 10)", &[("", allocations)]);
    curves("growth.svg", "A refresh by the number of sessions, microseconds", &growth);

    let mut text = std::fs::read_to_string(root().join("BENCHMARKS.md")).expect("BENCHMARKS.md");
    for (mark, table) in [
        ("times-bearer", times_table(&times, &counts, "bearer")),
        ("times-cookie", times_table(&times, &counts, "cookie among 10")),
        ("ratios", ratios_table(&times)),
        ("cookies", cookies_table(&times)),
        ("threads", threads_table(&read("threads.csv"))),
        ("sockets", sockets_table(&loads)),
        ("expiry", expiry_table(&storms)),
        ("costs", costs_table(&costs)),
        ("growth", growth_table(&growth)),
        ("memory", memory_table(&kept)),
    ] {
        text = between_marks(&text, mark, &table);
    }
    std::fs::write(root().join("BENCHMARKS.md"), text).expect("written");
}

fn between_marks(text: &str, mark: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
    let (before, rest) = text.split_once(&begin).expect("a mark");
    let (_, after) = rest.split_once(&end).expect("its end");
    format!("{before}{begin}{table}{end}{after}")
}

fn label(host: &str, subject: &str) -> String {
    if subject.starts_with("everfresh") { format!("{subject} ({host})") } else { subject.into() }
}

fn added(times: &[Time], algorithm: &str, carried: &str) -> Vec<(String, f64)> {
    times
        .iter()
        .filter(|row| row.algorithm == algorithm && row.carried == carried && row.subject != BARE)
        .map(|row| (label(&row.host, &row.subject), row.added_ns.max(1.0)))
        .collect()
}

/// Horizontal bars in groups. The scale is logarithmic if values differ by more than a factor of
/// ten.
fn bars(name: &str, title: &str, groups: &[(&str, Vec<(String, f64)>)]) {
    const ROW: i32 = 20;
    let rows: i32 = groups.iter().map(|(_, bars)| bars.len() as i32 + 1).sum();
    let path = folder().join(name);
    let area = SVGBackend::new(&path, (860, (50 + rows * ROW) as u32)).into_drawing_area();
    let text = |size| ("sans-serif", size).into_font().color(&INK);
    area.draw(&Text::new(title.to_owned(), (12, 12), text(18))).expect("drawn");
    let most =
        groups.iter().flat_map(|(_, bars)| bars).map(|(_, value)| *value).fold(1.0, f64::max);
    let wide = most > 200.0;
    let length = |value: f64| {
        let part =
            if wide { (value.max(10.0) / 10.0).ln() / (most / 10.0).ln() } else { value / most };
        (part * 440.0) as i32
    };
    let mut y = 44;
    if wide {
        // A logarithmic scale is labelled, because a bar's length is not proportional.
        let powers = (1..).map(|power| 10_f64.powi(power)).take_while(|power| *power <= most);
        for power in powers {
            let x = 270 + length(power);
            let line = [(x, y + ROW), (x, y + rows * ROW)];
            area.draw(&PathElement::new(line, INK.mix(0.3))).expect("drawn");
            area.draw(&Text::new(format!("{power:.0}"), (x - 8, y), text(12))).expect("drawn");
        }
    }
    for (group, bars) in groups {
        area.draw(&Text::new((*group).to_owned(), (12, y), text(14))).expect("drawn");
        y += ROW;
        for (name, value) in bars {
            let color = if name.starts_with("everfresh") { OURS } else { OTHERS };
            let bar = [(270, y), (270 + length(*value).max(1), y + ROW - 6)];
            area.draw(&Rectangle::new(bar, color.filled())).expect("drawn");
            area.draw(&Text::new(name.clone(), (24, y), text(13))).expect("drawn");
            let figure = Text::new(format!("{value:.0}"), (bar[1].0 + 6, y), text(13));
            area.draw(&figure).expect("drawn");
            y += ROW;
        }
    }
    area.present().expect("written");
}

/// One line per store, over the number of sessions in powers of ten.
fn curves(name: &str, title: &str, rows: &[Cost]) {
    let path = folder().join(name);
    let area = SVGBackend::new(&path, (860, 360)).into_drawing_area();
    let most = rows.iter().map(|row| row.refresh_us).fold(1.0, f64::max) * 3.0;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d((800.0..1_400_000.0).log_scale(), (1.0..most).log_scale())
        .expect("a chart");
    let style = ("sans-serif", 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(INK.mix(0.25))
        .light_line_style(INK.mix(0.0))
        .label_style(style.clone())
        .x_label_formatter(&|sessions| format!("{sessions:.0}"))
        .y_label_formatter(&|us| format!("{us:.0}"))
        .draw()
        .expect("a mesh");
    for (store, color) in STORES {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| row.store == store)
            .map(|row| (row.sessions as f64, row.refresh_us))
            .collect();
        chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2))).expect("drawn");
        let dots = points.iter().map(|point| Circle::new(*point, 4, color.filled()));
        let named = chart.draw_series(dots).expect("drawn").label(store);
        named.legend(move |at| Circle::new(at, 4, color.filled()));
    }
    // Stores on disk take similar amounts. The store in memory takes far less.
    let mut labels = chart.configure_series_labels();
    let labels = labels.position(SeriesLabelPosition::MiddleRight).label_font(style);
    labels.draw().expect("drawn");
    area.present().expect("written");
}

fn folder() -> PathBuf {
    let folder = root().join("crates/everfresh-bench/plots");
    std::fs::create_dir_all(&folder).expect("a folder for the plots");
    folder
}

fn times_table(times: &[Time], counts: &[Count], carried: &str) -> String {
    let mut table = String::from(
        "| in | who | HS256 | RS256 | ES256 | EdDSA | allocations | bytes |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let first = times.iter().filter(|row| row.algorithm == "HS256" && row.carried == carried);
    for row in first {
        let same = |host: &str, subject: &str, by: &str| {
            host == row.host && subject == row.subject && by == carried
        };
        let ns = ALGORITHMS.map(|algorithm| {
            let of = times.iter().find(|other| {
                same(&other.host, &other.subject, &other.carried) && other.algorithm == algorithm
            });
            let shown = |row: &Time| if row.subject == BARE { row.ns } else { row.added_ns };
            of.map_or("".into(), |row| format!("{:.0}", shown(row)))
        });
        let count = counts.iter().find(|count| {
            same(&count.host, &count.subject, &count.carried) && count.algorithm == "HS256"
        });
        let (allocations, bytes) = count.map_or((0, 0), |count| (count.allocations, count.bytes));
        let name = match &*row.subject {
            BARE => "nothing (the whole request)".into(),
            everfresh if everfresh.starts_with("everfresh") => format!("**{everfresh}**"),
            other => other.to_owned(),
        };
        let ns = ns.join(" | ");
        table += &format!("| {} | {name} | {ns} | {allocations} | {bytes} |\n", row.host);
    }
    table
}

/// everfresh's added cost as a fraction of each peer's, in the same host, run and rounds.
fn ratios_table(times: &[Time]) -> String {
    let mut table = String::from(
        "| token | beside | HS256 | RS256 | ES256 | EdDSA |\n|---|---|---|---|---|---|\n",
    );
    for carried in ["bearer", "cookie among 10"] {
        let of = |algorithm: &str, host: &str, subject: &str| {
            let mut rows = times.iter().filter(|row| row.carried == carried);
            rows.find(|row| {
                row.algorithm == algorithm && row.host == host && row.subject == subject
            })
            .map(|row| row.added_ns)
        };
        let peers = times.iter().filter(|row| row.algorithm == "HS256" && row.carried == carried);
        let peers = peers.filter(|row| row.subject != BARE && !row.subject.starts_with(OURS_NAME));
        for peer in peers {
            let cells = ALGORITHMS.map(|algorithm| {
                let part = |subject| {
                    let theirs = of(algorithm, &peer.host, &peer.subject)?;
                    of(algorithm, &peer.host, subject).map(|ours| ours / theirs)
                };
                match (part(OURS_NAME), part("everfresh without its cache")) {
                    (Some(known), Some(first)) => format!("{known:.3}, {first:.2}"),
                    _ => String::new(),
                }
            });
            table += &format!("| {carried} | {} | {} |\n", peer.subject, cells.join(" | "));
        }
    }
    table
}

fn cookies_table(times: &[Time]) -> String {
    let mut table =
        String::from("| in | who | among 1 | among 10 | among 50 |\n|---|---|---|---|---|\n");
    let shown = |row: &&Time| row.algorithm == "HS256" && row.subject != BARE;
    for row in times.iter().filter(shown).filter(|row| row.carried == "cookie among 1") {
        let ns = ["cookie among 1", "cookie among 10", "cookie among 50"].map(|carried| {
            let mut of = times.iter().filter(shown);
            let of = of.find(|other| {
                other.carried == carried && other.host == row.host && other.subject == row.subject
            });
            of.map_or("".into(), |row| format!("{:.0}", row.added_ns))
        });
        table += &format!("| {} | {} | {} |\n", row.host, row.subject, ns.join(" | "));
    }
    table
}

fn threads_table(rows: &[Shared]) -> String {
    let mut table = String::from(
        "| threads | | nothing (the whole request) | with everfresh | added | of one thread's |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in rows {
        table += &format!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.2} |\n",
            row.threads,
            row.how,
            row.bare_ns,
            row.ours_ns,
            row.added_ns,
            row.ours_ns / rows[0].ours_ns
        );
    }
    table
}

fn sockets_table(loads: &[Load]) -> String {
    let mut table = String::from(
        "| framework | who | token | requests/s | of bare | p50 | p99 | p99.9 |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in loads {
        let subject = match &*row.subject {
            "uncached" => "everfresh without its cache",
            other => other,
        };
        table += &format!(
            "| {} | {subject} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} |\n",
            row.framework,
            row.algorithm,
            row.per_second,
            row.ratio,
            row.p50_us,
            row.p99_us,
            row.p999_us
        );
    }
    table
}

fn expiry_table(storms: &[Storm]) -> String {
    let mut table = String::from(
        "| when | answered 200 | got new tokens | requests/s | p50 | p99 | p99.9 |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in storms {
        table += &format!(
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} |\n",
            row.moment,
            row.good,
            row.refreshed,
            row.per_second,
            row.p50_us,
            row.p99_us,
            row.p999_us
        );
    }
    table
}

fn costs_table(costs: &[Cost]) -> String {
    let mut table = String::from(
        "| store | what | HS256 | RS256 | ES256 | EdDSA |\n|---|---|---|---|---|---|\n",
    );
    for store in ["reissue"].into_iter().chain(STORES.map(|(store, _)| store)) {
        for (what, read) in [
            ("sign-in", (|row| row.sign_in_us) as fn(&Cost) -> f64),
            ("refresh", |row| row.refresh_us),
        ] {
            let figures = ALGORITHMS.map(|algorithm| {
                let mut rows = costs.iter();
                let row = rows.find(|row| row.algorithm == algorithm && row.store == store);
                row.map_or("".into(), |row| format!("{:.1}", read(row)))
            });
            table += &format!("| {store} | {what} | {} |\n", figures.join(" | "));
        }
    }
    table
}

fn growth_table(growth: &[Cost]) -> String {
    let mut table = String::from("| store | sessions | sign-in | refresh |\n|---|---|---|---|\n");
    for row in growth.iter().filter(|row| row.store != "reissue") {
        table += &format!(
            "| {} | {} | {:.1} | {:.1} |\n",
            row.store, row.sessions, row.sign_in_us, row.refresh_us
        );
    }
    table
}

fn memory_table(kept: &[Kept]) -> String {
    let mut table = String::from("| of each | how many | bytes |\n|---|---|---|\n");
    for row in kept {
        table += &format!("| {} | {} | {:.0} |\n", row.what, row.count, row.bytes);
    }
    table
}
