//! Rows S12, S14 and S31: every algorithm signs and verifies, and accepts no token of another one.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaKeyPair,
};

use super::*;

const ALL: [Algorithm; 12] = Algorithm::ALL;

#[test]
fn an_algorithm_is_read_and_written_by_its_registered_name() {
    for alg in ALL {
        // `Debug` prints the variant's name.
        assert_eq!(format!("{alg}"), format!("{alg:?}"));
        assert_eq!(alg.to_string().parse(), Ok(alg));
        assert_eq!(json!(alg), json!(alg.to_string()));
        // The types that read key sets know the same names.
        assert!(alg.name().parse::<jsonwebtoken::Algorithm>().is_ok(), "{alg}");
    }
    for name in ["none", "hs256", "HS256 ", "ES512", "Ed25519", ""] {
        let unknown = KeyError::UnknownAlgorithm(name.into());
        assert_eq!(name.parse::<Algorithm>(), Err(unknown));
    }
}

/// Private keys, PKCS#8, generated for each run.
pub(super) struct Material {
    pub(super) rsa: Vec<u8>,
    pub(super) rsa_public: Vec<u8>,
    pub(super) p256: Vec<u8>,
    pub(super) p384: Vec<u8>,
    pub(super) ed25519: Vec<u8>,
    secret: [u8; 64],
}

impl Material {
    pub(super) fn new() -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = |alg| EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap().as_ref().to_vec();
        let mut secret = [0; 64];
        getrandom::fill(&mut secret).unwrap();
        Self {
            rsa: rsa.as_der().unwrap().as_ref().to_vec(),
            rsa_public: rsa.public_key().as_der().unwrap().as_ref().to_vec(),
            p256: ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            ed25519: Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref().to_vec(),
            secret,
        }
    }

    /// SPKI.
    pub(super) fn public(&self, alg: Algorithm) -> Vec<u8> {
        use aws_lc_rs::encoding::PublicKeyX509Der;

        let ecdsa = |signing, der: &[u8]| {
            let pair = EcdsaKeyPair::from_pkcs8(signing, der).unwrap();
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            spki.as_ref().to_vec()
        };
        match alg {
            Algorithm::ES256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.p256),
            Algorithm::ES384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, &self.p384),
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(&self.ed25519).unwrap();
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                spki.as_ref().to_vec()
            }
            _ => self.rsa_public.clone(),
        }
    }

    pub(super) fn private(&self, alg: Algorithm) -> &[u8] {
        match alg {
            Algorithm::ES256 => &self.p256,
            Algorithm::ES384 => &self.p384,
            Algorithm::EdDSA => &self.ed25519,
            _ => &self.rsa,
        }
    }

    fn key(&self, alg: Algorithm) -> Key {
        match alg.is_hmac() {
            true => Key::hmac(alg, &self.secret).unwrap(),
            false => Key::from_der(alg, self.private(alg)).unwrap(),
        }
    }

    /// The public halves, as bytes that an attacker knows.
    fn public_bytes(&self) -> Vec<Vec<u8>> {
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.p256).unwrap();
        let spki = p256.public_key().as_der().unwrap().as_ref().to_vec();
        vec![
            self.rsa_public.clone(),
            spki.clone(),
            pem::encode(&pem::Pem::new("PUBLIC KEY", self.rsa_public.clone())).into_bytes(),
            pem::encode(&pem::Pem::new("PUBLIC KEY", spki)).into_bytes(),
        ]
    }
}

fn token_of(key: &Key, named: Algorithm) -> String {
    let header = json!({"typ": "at+jwt", "alg": format!("{named:?}")});
    sign_text(key, &header.to_string(), &claims().to_string())
}

// Rows: S12.
#[test]
fn each_algorithm_verifies_its_own_tokens_and_no_others() {
    let material = Material::new();
    let now = Timestamp::from_secs(NOW);
    for own in ALL {
        let keys = Keys::new(material.key(own)).unwrap();
        let check = |token: &str| verify::<User>(token.as_bytes(), &keys.current(), &rules(), now);
        assert!(check(&token_of(&material.key(own), own)).is_ok(), "{own:?}");
        for other in ALL.into_iter().filter(|other| *other != own) {
            // Signed with our key under another algorithm's name. The token does not select the
            // algorithm.
            let named = check(&token_of(&material.key(own), other)).unwrap_err();
            assert_eq!(named, InvalidReason::UnknownKey, "{own:?} named {other:?}");
            // Signed with another algorithm and the same key material, under our algorithm's name.
            let signed = check(&token_of(&material.key(other), own));
            assert!(signed.is_err(), "{other:?} for {own:?}");
        }
    }
}

// Rows: S14.
#[test]
fn public_key_bytes_are_no_hmac_secret() {
    let material = Material::new();
    let keys = Keys::new(material.key(Algorithm::RS256)).unwrap();
    for bytes in material.public_bytes() {
        let problem = Key::hmac(Algorithm::HS256, &bytes).unwrap_err();
        assert!(matches!(problem, KeyError::WeakSecret(_)), "{problem}");
        // An attacker does not need our constructor, so this signs with the bytes directly.
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &bytes);
        let signed =
            format!("{}.{}", B64.encode(header().to_string()), B64.encode(claims().to_string()));
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        let token = format!("{signed}.{}", B64.encode(tag.as_ref()));
        let refused =
            verify::<User>(token.as_bytes(), &keys.current(), &rules(), Timestamp::from_secs(NOW));
        assert_eq!(refused.unwrap_err(), InvalidReason::UnknownKey);
    }
    let mixed = Keys::with_former(material.key(Algorithm::RS256), [hs256()]);
    assert_eq!(mixed.unwrap_err(), KeyError::MixedFamilies);
}

// Rows: S31.
#[test]
fn the_second_signature_form_of_an_ecdsa_token_is_the_same_session() {
    // n - s verifies as well as s, so a token's bytes alone must not identify it.
    let material = Material::new();
    let key = material.key(Algorithm::ES256);
    let keys = Keys::new(material.key(Algorithm::ES256)).unwrap();
    let token = token_of(&key, Algorithm::ES256);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = B64.decode(signature).unwrap();
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(N[at]) - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = difference.rem_euclid(256) as u8;
    }
    let twin = format!("{signed}.{}", B64.encode(&signature));
    assert_ne!(twin, token);
    let check = |token: &str| {
        verify::<User>(token.as_bytes(), &keys.current(), &rules(), Timestamp::from_secs(NOW))
            .unwrap()
    };
    let (one, other) = (check(&token), check(&twin));
    assert_eq!(one.sid, other.sid);
    assert_eq!(
        one.fingerprint, other.fingerprint,
        "the same flight: r comes first and is the same"
    );
}
