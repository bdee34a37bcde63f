//! For authors of crates that work with another server's tokens or keys. `everfresh-upstream`
//! implements both for OAuth 2 and OpenID Connect, and for refresh endpoints of other formats.
//!
//! * [`KeySource`] fetches keys that a set lacks; [`Keys::with_source`](crate::Keys::with_source)
//!   adds it to the set.
//! * [`UpstreamTokenKeeper`] keeps another server's tokens in the session's row, sealed by a
//!   [`Sealer`]; [`Rotate::backed_by`](crate::Rotate::backed_by) takes it.
//! * [`UpstreamAccessToken`] is what a handler gets of another server's tokens.
//! * [`TrustedIssuer`](crate::TrustedIssuer) reads a token of another issuer into [`Received`].
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use everfresh::upstream::{KeySource, Seek};
//! use everfresh::{Algorithm, Key, Keys};
//!
//! /// Reads the issuer's public key when a token first needs it.
//! struct PemFile {
//!     /// A handle without a source.
//!     keys: Keys,
//!     is_read: AtomicBool,
//! }
//!
//! impl KeySource for PemFile {
//!     fn seek(&self) -> Seek {
//!         // One read: the bytes that clients send start no further one.
//!         if self.is_read.swap(true, Ordering::Relaxed) {
//!             return Seek::NotFound;
//!         }
//!         let keys = self.keys.clone();
//!         Seek::InFlight(Box::pin(async move {
//!             let Ok(pem) = std::fs::read("issuer.pem") else { return };
//!             let key = Key::from_pem(Algorithm::RS256, &pem);
//!             if let Ok(fresh) = key.and_then(|key| Keys::verifying([key])) {
//!                 keys.replace_with(&fresh);
//!             }
//!         }))
//!     }
//! }
//!
//! fn following(keys: Keys) -> Keys {
//!     let source = PemFile { keys: keys.clone(), is_read: AtomicBool::new(false) };
//!     keys.with_source(source)
//! }
//! ```

pub use crate::refresh::{Sealer, UnsealError, UpstreamAccessToken, UpstreamTokenKeeper};
pub use crate::verify::{KeySource, NotRead, Received, Seek};
