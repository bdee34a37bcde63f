//! The allocations of one request with each subject, above the bare host. This is a program of its
//! own, because counting costs time.

use std::collections::HashMap;

use allocation_counter::measure;
use everfresh_peers::record::{Count, write};
use everfresh_peers::subjects::{BARE, all};
use everfresh_peers::{Alg, Carried, Scene};
use futures::executor::block_on;

fn main() {
    let system = actix_web::rt::System::new();
    let _entered = system.runtime().tokio_runtime().enter();
    let mut rows = Vec::new();
    for alg in Alg::ALL {
        for carried in Carried::ALL {
            let scene = block_on(Scene::new(alg, carried));
            let mut bare: HashMap<&str, (i64, i64)> = HashMap::new();
            for mut subject in all(&scene) {
                for _ in 0..100 {
                    (subject.serve)();
                }
                let counted = measure(|| {
                    (subject.serve)();
                });
                let (count, bytes) = (counted.count_total as i64, counted.bytes_total as i64);
                if subject.name == BARE {
                    bare.insert(subject.host, (count, bytes));
                }
                let (bare_count, bare_bytes) = bare[subject.host];
                rows.push(Count {
                    algorithm: alg.name().into(),
                    carried: carried.name(),
                    host: subject.host.into(),
                    subject: subject.name.into(),
                    allocations: count - bare_count,
                    bytes: bytes - bare_bytes,
                });
            }
        }
    }
    write("allocations.csv", &rows);
}
