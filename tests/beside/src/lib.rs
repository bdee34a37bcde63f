//! An app that uses `jsonwebtoken` with a backend of its own choice, beside everfresh.
//!
//! Run with one backend or both: `cargo test --features aws_lc_rs`, `--features rust_crypto`,
//! `--features aws_lc_rs,rust_crypto`. The feature `json` simulates another crate that enables
//! every feature of `serde_json`.

/// Selects the app's backend. Only needed if both are enabled.
pub fn install() {
    #[cfg(all(feature = "aws_lc_rs", feature = "rust_crypto"))]
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
