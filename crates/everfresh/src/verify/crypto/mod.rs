//! Signing and checking signatures: one module per backend, each with the same two types.
//!
//! Features are additive: with several backends the first in this file is used, with none every
//! key is refused by `KeyError::NoBackend`.

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

/// A signature's largest size in bytes: RSA with 8,192 bits.
pub(crate) const MAX_SIGNATURE: usize = 1024;

/// The backend refused the key material; no detail, since it may be secret.
#[derive(Debug)]
pub(crate) struct Refused;
