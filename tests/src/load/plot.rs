//! The samples as a table and as pictures.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use super::{Outcome, StoreKind};

/// Readable on white and on black; the background is transparent.
const INK: RGBColor = RGBColor(125, 133, 144);

fn color(store: StoreKind) -> RGBColor {
    match store {
        StoreKind::Memory => RGBColor(31, 136, 217),
        StoreKind::Sqlite => RGBColor(200, 120, 40),
        StoreKind::Redis => RGBColor(200, 70, 90),
        StoreKind::Postgres => RGBColor(60, 150, 90),
    }
}

/// All samples, one per line.
pub fn csv(outcomes: &[Outcome]) -> String {
    let mut text = String::from("server,store,second,memory_kib,descriptors,tasks,requests\n");
    for outcome in outcomes {
        for sample in &outcome.samples {
            let _ = writeln!(
                text,
                "{},{},{:.1},{},{},{},{}",
                outcome.server,
                outcome.store,
                sample.at,
                sample.memory,
                sample.descriptors,
                sample.tasks,
                sample.requests
            );
        }
    }
    text
}

/// Draws one picture for each server, `load-NAME.svg` in this folder: resident memory over time,
/// with a line for each store.
pub fn draw(outcomes: &[Outcome], folder: &Path) -> Result<(), String> {
    let mut servers: Vec<&str> = outcomes.iter().map(|outcome| &*outcome.server).collect();
    servers.dedup();
    servers.sort_unstable();
    servers.dedup();
    for server in servers {
        let of: Vec<_> = outcomes.iter().filter(|outcome| outcome.server == server).collect();
        let path = folder.join(format!("load-{server}.svg"));
        picture(&of, server, &path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn picture(
    outcomes: &[&Outcome],
    server: &str,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = |outcome: &Outcome| -> Vec<(f64, f64)> {
        let mib = |kib: u64| kib as f64 / 1024.0;
        outcome.samples.iter().map(|sample| (sample.at, mib(sample.memory))).collect()
    };
    let all: Vec<(f64, f64)> = outcomes.iter().flat_map(|outcome| points(outcome)).collect();
    let most = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).fold(1.0, f64::max);
    let (long, high) = (most(|(x, _)| *x), most(|(_, y)| *y) * 1.25);

    let area = SVGBackend::new(path, (860, 360)).into_drawing_area();
    let style = ("sans-serif", 13).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .caption(
            format!("Memory of serve-{server} under load, MiB by seconds"),
            ("sans-serif", 18).into_font().color(&INK),
        )
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..long * 1.12, 0.0..high)?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(INK.mix(0.25))
        .light_line_style(INK.mix(0.0))
        .label_style(style.clone())
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|mib| format!("{mib:.0}"))
        .draw()?;
    for (n, outcome) in outcomes.iter().enumerate() {
        let (points, color) = (points(outcome), color(outcome.store));
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
        // The names are stacked, independent of the lines.
        let at = (long * 1.01, high * (0.97 - 0.07 * n as f64));
        let name = ("sans-serif", 13).into_font().color(&color);
        chart.draw_series([Text::new(outcome.store.to_string(), at, name)])?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Sample, Tally};

    #[test]
    fn samples_become_a_table_and_a_picture() {
        let sample =
            |at: f64, memory| Sample { at, memory, descriptors: 9, tasks: 3, requests: 70 };
        let outcome = Outcome {
            server: "axum".into(),
            store: StoreKind::Sqlite,
            tally: Tally::default(),
            faults: 0,
            reuses: 0,
            samples: vec![sample(0.0, 20_480), sample(1.0, 30_720)],
            memory: (0, 0),
            rest: Default::default(),
            broken: Vec::new(),
        };
        let table = csv(std::slice::from_ref(&outcome));
        assert_eq!(table.lines().nth(2), Some("axum,SQLite,1.0,30720,9,3,70"));
        let folder = tempfile::tempdir().unwrap();
        draw(&[outcome], folder.path()).unwrap();
        let picture = std::fs::read_to_string(folder.path().join("load-axum.svg")).unwrap();
        assert!(picture.contains("<polyline") && picture.contains("SQLite"), "{picture}");
        assert!(!picture.contains("#FFFFFF\" stroke=\"none\" width=\"860"), "no background");
    }
}
