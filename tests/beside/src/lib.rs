//! An app that uses `jsonwebtoken` with a backend of its own choice, beside everfresh.
//!
//! Run with one backend, the other, or both: `cargo test --features aws_lc_rs`,
//! `--features rust_crypto`, `--features aws_lc_rs,rust_crypto`; and with `json`, which stands for
//! another crate that switches every feature of `serde_json` on.

/// Picks the app's backend, as its authors would: only needed where both are switched on.
pub fn install() {
    #[cfg(all(feature = "aws_lc_rs", feature = "rust_crypto"))]
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
