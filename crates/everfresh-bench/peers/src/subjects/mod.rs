//! The compared subjects. Each answers one request at once, and its inner service reads the user's
//! name. Any other answer ends the run.

mod actix;
mod axum;
mod tower;

use crate::Scene;

/// One way to serve a request.
pub struct Subject {
    /// The name of the subject.
    pub name: &'static str,
    /// The host of the subject. Its baseline is the bare service in the same host.
    pub host: &'static str,
    /// Serves one request, from a copy of its head to the dropped response. Returns the status.
    pub serve: Box<dyn FnMut() -> u16>,
}

/// The name of the subject without middleware.
pub const BARE: &str = "nothing";

/// All subjects, for one scene.
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
