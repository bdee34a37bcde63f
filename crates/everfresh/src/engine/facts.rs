//! What the engine notes of a request before it looks at tokens.

use crate::decide::Occasion;
use crate::head::RequestHead;

/// What is known of a request beside its tokens.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) own_site: bool,
    pub(super) slides: bool,
}

/// How a request came, which is looked at only where its token is not fresh.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) occasion: Occasion,
    pub(super) navigates: bool,
}

impl Manner {
    pub(super) fn of(head: &impl RequestHead) -> Self {
        Self { occasion: Occasion::of(head), navigates: Occasion::navigates(head) }
    }
}
