//! The module for a build without a backend. No key can be created, so nothing is signed or
//! verified.

use zeroize::Zeroizing;

use super::{PublicParts, Refused};
use crate::verify::Algorithm;

pub(crate) enum Signer {}

pub(crate) enum Verifier {}

impl Signer {
    pub(crate) fn hmac(_: Algorithm, _: &[u8]) -> Result<Self, Refused> {
        Err(Refused)
    }

    pub(crate) fn from_private_der(_: Algorithm, _: &[u8]) -> Result<Self, Refused> {
        Err(Refused)
    }

    pub(crate) fn public_parts(&self, _: Algorithm) -> Option<PublicParts> {
        match *self {}
    }

    pub(crate) fn verifier(&self, _: Algorithm) -> Result<Verifier, Refused> {
        match *self {}
    }

    pub(crate) fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Refused> {
        match *self {}
    }
}

impl Verifier {
    pub(crate) fn from_public(_: Algorithm, _: &[u8]) -> Result<Self, Refused> {
        Err(Refused)
    }

    pub(crate) fn from_rsa_components(_: Algorithm, _: &[u8], _: &[u8]) -> Result<Self, Refused> {
        Err(Refused)
    }

    pub(crate) fn verify(&self, _: &[u8], _: &[u8]) -> bool {
        match *self {}
    }
}

pub(crate) fn public_parts(_: Algorithm, _: &[u8]) -> Option<PublicParts> {
    None
}

pub(crate) fn rsa_bits(_: &[u8]) -> Option<usize> {
    None
}

pub(crate) fn same_bytes(_: &[u8], _: &[u8]) -> bool {
    false
}

#[derive(Clone)]
pub(crate) enum Mac {}

impl Mac {
    pub(crate) fn tag(&self, _: &[&[u8]]) -> [u8; 32] {
        match *self {}
    }

    pub(crate) fn verify(&self, _: &[&[u8]], _: &[u8]) -> bool {
        match *self {}
    }
}

pub(crate) enum Aead {}

impl Aead {
    pub(crate) fn new(_: &[u8; 32]) -> Result<Self, Refused> {
        Err(Refused)
    }

    pub(crate) fn seal(&self, _: &[u8], _: &[u8], _: &mut Vec<u8>) -> Result<(), Refused> {
        match *self {}
    }

    pub(crate) fn open(&self, _: &[u8], _: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        match *self {}
    }
}
