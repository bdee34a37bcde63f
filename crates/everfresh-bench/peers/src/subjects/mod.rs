//! Who is compared. Each answers one request at once, and its inner service reads the person's
//! name: a request that is answered otherwise ends the run.

mod actix;
mod axum;
mod tower;

use crate::Scene;

/// One way to serve a request.
pub struct Subject {
    /// Who it is.
    pub name: &'static str,
    /// What it stands in: what is bare there is what it is compared with.
    pub host: &'static str,
    /// Serves one request, from a copy of its head to the dropped response. Gives the status.
    pub serve: Box<dyn FnMut() -> u16>,
}

/// The name of whoever has no middleware.
pub const BARE: &str = "nothing";

/// Everybody, for one scene.
pub fn all(scene: &Scene) -> Vec<Subject> {
    let mut all = tower::subjects(scene);
    all.extend(axum::subjects(scene));
    all.extend(actix::subjects(scene));
    for subject in &mut all {
        for _ in 0..3 {
            let status = (subject.serve)();
            assert_eq!(status, 200, "{} in {} refuses its own", subject.name, subject.host);
        }
    }
    all
}
