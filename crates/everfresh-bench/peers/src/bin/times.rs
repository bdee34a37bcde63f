//! The duration of a request with each subject, in interleaved rounds. Each round measures every
//! subject once, so a disturbance of the machine affects all of them.

use std::collections::HashMap;
use std::time::Instant;

use everfresh_peers::record::{Time, at, median, write};
use everfresh_peers::subjects::{BARE, all};
use everfresh_peers::{Alg, Carried, Scene, Subject};
use futures::executor::block_on;

const ROUNDS: usize = 41;
/// The measurement time of one subject in one round, in nanoseconds.
const SLICE: f64 = 1_000_000.0;

fn main() {
    let system = actix_web::rt::System::new();
    let _entered = system.runtime().tokio_runtime().enter();
    let mut rows = Vec::new();
    for alg in Alg::ALL {
        for carried in Carried::ALL {
            let scene = block_on(Scene::new(alg, carried));
            let mut subjects = all(&scene);
            rows.extend(measure(&scene, &mut subjects));
        }
        println!("{} is done", alg.name());
    }
    write("times.csv", &rows);
}

fn measure(scene: &Scene, subjects: &mut [Subject]) -> Vec<Time> {
    let mut counts = Vec::new();
    for subject in &mut *subjects {
        run(subject, 200);
        counts.push(((SLICE / run(subject, 200)) as u32).max(10));
    }
    let mut taken: Vec<Vec<f64>> = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for ((subject, count), taken) in subjects.iter_mut().zip(&counts).zip(&mut taken) {
            taken.push(run(subject, *count));
        }
    }
    let bare: HashMap<&str, Vec<f64>> = subjects
        .iter()
        .zip(&taken)
        .filter(|(subject, _)| subject.name == BARE)
        .map(|(subject, taken)| (subject.host, taken.clone()))
        .collect();
    let row = |(subject, mut taken): (&Subject, Vec<f64>)| {
        let added = taken.iter().zip(&bare[subject.host]).map(|(with, bare)| with - bare);
        let added_ns = median(added.collect());
        taken.sort_by(f64::total_cmp);
        Time {
            algorithm: scene.material.alg.name().into(),
            carried: scene.carried.name(),
            host: subject.host.into(),
            subject: subject.name.into(),
            ns: at(&taken, 0.5),
            p10: at(&taken, 0.1),
            p90: at(&taken, 0.9),
            added_ns,
        }
    };
    subjects.iter().zip(taken).map(row).collect()
}

/// Nanoseconds per request.
fn run(subject: &mut Subject, count: u32) -> f64 {
    let began = Instant::now();
    for _ in 0..count {
        std::hint::black_box((subject.serve)());
    }
    began.elapsed().as_nanos() as f64 / f64::from(count)
}
