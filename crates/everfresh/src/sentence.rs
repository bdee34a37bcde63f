//! Errors that `main` returns. Rust prints them by `Debug`, while `Display` says what to do.

/// For everfresh's own crates: implements `Debug` of these errors by their `Display`.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_is_display {
    ($($error:ty),+) => {$(
        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    )+};
}
