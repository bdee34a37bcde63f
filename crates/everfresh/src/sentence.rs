//! Errors that `main` returns: Rust prints those by `Debug`, and what to do is said by `Display`.

/// For everfresh's own crates: `Debug` of these errors is their sentence.
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
