//! What the engine notes of a request before it looks at tokens.

use crate::decide::Occasion;
use crate::head::RequestHead;

/// What is known of a request beside its tokens.
#[derive(Clone, Copy)]
pub(super) struct OriginFacts {
    pub(super) same_origin: bool,
    pub(super) user_activity: bool,
}

/// How a request came, which is looked at only where its token is not fresh.
#[derive(Clone, Copy)]
pub(super) struct RequestKind {
    pub(super) occasion: Occasion,
    pub(super) navigates: bool,
}

impl RequestKind {
    pub(super) fn of(head: &impl RequestHead) -> Self {
        Self { occasion: Occasion::of(head), navigates: Occasion::navigates(head) }
    }
}
