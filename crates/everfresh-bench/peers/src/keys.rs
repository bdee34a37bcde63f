//! One new key of each algorithm per run, in the form that each subject needs.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use everfresh::{Algorithm, Key, Keys};

/// The secret of HS256.
pub const SECRET: &str = "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";

/// The compared algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Alg {
    HS256,
    RS256,
    ES256,
    EdDSA,
}

impl Alg {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA];

    /// The algorithm's name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// One key.
pub struct Material {
    /// The key's algorithm.
    pub alg: Alg,
    private_pem: String,
    /// SPKI; empty for the secret.
    pub public_pem: String,
}

impl Material {
    /// A new key; RSA has 2,048 bits.
    pub fn new(alg: Alg) -> Self {
        let (private, public) = match alg {
            Alg::HS256 => (Vec::new(), Vec::new()),
            Alg::RS256 => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048);
                let pair = pair.expect("an RSA key");
                let private: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("SPKI");
                (private.as_ref().to_vec(), public.as_ref().to_vec())
            }
            Alg::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                let pair = pair.expect("an EC key");
                let private = pair.to_pkcs8v1().expect("PKCS#8");
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("SPKI");
                (private.as_ref().to_vec(), public.as_ref().to_vec())
            }
            Alg::EdDSA => {
                let pair = Ed25519KeyPair::generate().expect("an Ed25519 key");
                let private = pair.to_pkcs8v1().expect("PKCS#8");
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("SPKI");
                (private.as_ref().to_vec(), public.as_ref().to_vec())
            }
        };
        let pem = |tag: &str, der: Vec<u8>| pem::encode(&pem::Pem::new(tag, der));
        let (private_pem, public_pem) = (pem("PRIVATE KEY", private), pem("PUBLIC KEY", public));
        Self { alg, private_pem, public_pem }
    }

    /// For everfresh.
    pub fn keys(&self) -> Keys {
        let alg = match self.alg {
            Alg::HS256 => return Keys::hs256(SECRET).expect("a good secret"),
            Alg::RS256 => Algorithm::RS256,
            Alg::ES256 => Algorithm::ES256,
            Alg::EdDSA => Algorithm::EdDSA,
        };
        Keys::new(Key::from_pem(alg, self.private_pem.as_bytes()).expect("a good key"))
            .expect("a key that signs")
    }

    /// For `jsonwebtoken` 11, by hand.
    pub fn decoding(&self) -> (jsonwebtoken::DecodingKey, jsonwebtoken::Validation) {
        use jsonwebtoken::{Algorithm, DecodingKey, Validation};
        let pem = self.public_pem.as_bytes();
        let (key, alg) = match self.alg {
            Alg::HS256 => (Ok(DecodingKey::from_secret(SECRET.as_bytes())), Algorithm::HS256),
            Alg::RS256 => (DecodingKey::from_rsa_pem(pem), Algorithm::RS256),
            Alg::ES256 => (DecodingKey::from_ec_pem(pem), Algorithm::ES256),
            Alg::EdDSA => (DecodingKey::from_ed_pem(pem), Algorithm::EdDSA),
        };
        let mut validation = Validation::new(alg);
        validation.set_issuer(&["https://app.example"]);
        validation.set_audience(&["app"]);
        (key.expect("a good key"), validation)
    }

    /// For `jsonwebtoken` 10, in axum-jwt-auth.
    pub fn decoding_10(&self) -> (jsonwebtoken_10::DecodingKey, jsonwebtoken_10::Validation) {
        use jsonwebtoken_10::{Algorithm, DecodingKey, Validation};
        let pem = self.public_pem.as_bytes();
        let (key, alg) = match self.alg {
            Alg::HS256 => (Ok(DecodingKey::from_secret(SECRET.as_bytes())), Algorithm::HS256),
            Alg::RS256 => (DecodingKey::from_rsa_pem(pem), Algorithm::RS256),
            Alg::ES256 => (DecodingKey::from_ec_pem(pem), Algorithm::ES256),
            Alg::EdDSA => (DecodingKey::from_ed_pem(pem), Algorithm::EdDSA),
        };
        let mut validation = Validation::new(alg);
        validation.set_issuer(&["https://app.example"]);
        validation.set_audience(&["app"]);
        (key.expect("a good key"), validation)
    }

    /// For jwt-compact, which actix-jwt-auth-middleware uses.
    pub fn compact_jwk(&self) -> jwt_compact::jwk::JsonWebKey<'static> {
        let set = self.keys().public_jwk_set();
        let mut set: serde_json::Value = serde_json::from_str(&set).expect("JSON");
        let mut jwk = set["keys"][0].take();
        // jwt-compact rejects these members.
        let members = jwk.as_object_mut().expect("an object");
        members.retain(|name, _| ["kty", "n", "e", "crv", "x", "y"].contains(&&**name));
        serde_json::from_value(jwk).expect("a JWK")
    }
}
