//! What fuzz targets alone reach: there with `--cfg fuzzing` alone.

use crate::cookie::chunks;
use crate::refresh::{KeyRing, Scope, Sealer};

/// A token as the values of one cookie or several.
pub fn split(token: &str) -> Option<Vec<String>> {
    chunks::split(token)
}

/// The tokens that come in pieces, from the values of each cookie.
pub fn join(cookies: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let values = |index: usize| cookies.get(index).into_iter().flatten().map(Vec::as_slice);
    chunks::join(values).iter().map(|token| token.to_vec()).collect()
}

/// A sealer of one key.
///
/// # Panics
/// The secret is too weak.
pub fn sealer(secret: &[u8]) -> Sealer {
    let ring = KeyRing::new(secret).expect("a secret");
    Sealer::new(ring, Scope::new("https://app.example", "app"))
}
