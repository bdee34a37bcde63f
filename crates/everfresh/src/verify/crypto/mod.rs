//! Cryptographic backends: one module per backend, each with the same types and functions.
//!
//! Features are additive. With several backends the first in this file is used. Without a backend
//! every key is refused with `KeyError::NoBackend`.

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(not(feature = "aws-lc"))]
mod none;

#[cfg(feature = "aws-lc")]
pub(crate) use aws_lc::{Aead, Mac, Signer, Verifier, public_parts, rsa_bits, same_bytes};
#[cfg(not(feature = "aws-lc"))]
pub(crate) use none::{Aead, Mac, Signer, Verifier, public_parts, rsa_bits, same_bytes};

use super::key::PublicParts;

/// Whether this build can sign and verify at all.
pub(crate) const HAS_BACKEND: bool = cfg!(feature = "aws-lc");

/// The largest size of a signature in bytes: RSA with 8,192 bits.
pub(crate) const MAX_SIGNATURE: usize = 1024;

/// The backend refused the key material. The error has no detail, because it may be secret.
#[derive(Debug)]
pub(crate) struct Refused;
