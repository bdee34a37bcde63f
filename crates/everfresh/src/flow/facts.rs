//! Facts that the engine records of a request before it reads tokens.

use crate::decide::Purpose;
use crate::head::RequestHead;

/// The origin of a request, and whether it is user activity.
#[derive(Clone, Copy)]
pub(super) struct OriginFacts {
    pub(super) same_origin: bool,
    pub(super) user_activity: bool,
}

/// The kind of a request, which is read only if its token is not fresh.
#[derive(Clone, Copy)]
pub(super) struct RequestKind {
    pub(super) purpose: Purpose,
    pub(super) navigates: bool,
}

impl RequestKind {
    pub(super) fn of(head: &impl RequestHead) -> Self {
        Self { purpose: Purpose::of(head), navigates: Purpose::navigates(head) }
    }
}
