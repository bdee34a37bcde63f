//! Errors of dialects.

use std::fmt;

/// An error in a dialect. It names the field, what was found and what is wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct DialectError {
    field: String,
    problem: String,
}

impl DialectError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// Returns the path of the field, such as `errors.invalid.status`.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the dialect's `{}`: {}", self.field, self.problem)
    }
}

crate::debug_is_display!(DialectError);

impl std::error::Error for DialectError {}
