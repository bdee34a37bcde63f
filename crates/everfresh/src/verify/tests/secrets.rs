//! Row S30 for shared secrets: texts that are too weak.

use super::algorithms::Material;
use super::*;

// Rows: F113, S30.
#[test]
fn secrets_are_as_long_as_the_hash_and_not_published() {
    for (alg, needed) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        let secret: Vec<u8> = (0..needed as u8).collect();
        assert!(Key::hmac(alg, &secret).is_ok());
        let short = Key::hmac(alg, &secret[1..]).unwrap_err();
        let expected = KeyError::SecretTooShort { algorithm: alg, found: needed - 1, needed };
        assert_eq!(short, expected);
        assert!(short.to_string().contains(&format!("{} bytes", needed - 1)), "{short}");
    }
    let empty = Key::hmac(Algorithm::HS256, b"").unwrap_err().to_string();
    assert!(empty.contains("empty") && empty.contains("openssl rand"), "{empty}");
    for weak in [
        &b"a-string-secret-at-least-256-bits-long"[..],
        &[0; 32],
        b"-----BEGIN PUBLIC KEY-----\nMIIB",
        br#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
    ] {
        let padded = [weak, &[b'\n'; 8]].concat();
        let refused = [Key::hmac(Algorithm::HS256, weak), Key::hmac(Algorithm::HS256, &padded)];
        let weak = refused.iter().any(|key| matches!(key, Err(KeyError::WeakSecret(_))));
        assert!(weak, "{refused:?}");
    }
    for secret in
        [&b"{nAW8zYtzNpmvdPF5kRbE2xTqGhUcLsJ9"[..], b"nAW8zYtzNpmvdPF5\"kty\"kRbE2xTqGhUc"]
    {
        assert!(Key::hmac(Algorithm::HS256, secret).is_ok(), "no JWK");
    }
    assert!(Key::hmac(Algorithm::RS256, SECRET).is_err());
}

// Rows: L1.
#[test]
fn a_sample_and_a_text_that_is_repeated_are_no_secrets() {
    let samples: [&[u8]; 10] = [
        b"0123456789abcdef-0123456789abcdef",
        b"fedcba9876543210-fedcba9876543210",
        b"november-november-november-novem",
        b"october-october-october-october-",
        b"another-another-another-another-",
        b"password-password-password-password",
        b"0123456789abcdef-0123456789abcdef-0123456789abcdef-0123456789abc",
        b"changemechangemechangemechangeme",
        b"correct horse battery staple correct horse battery staple",
        b"0123456789abcdefghijklmnopqrstuv-0123456789abcdef",
    ];
    for sample in samples {
        let problem = Key::hmac(Algorithm::HS256, sample).unwrap_err();
        let text = problem.to_string();
        assert!(matches!(problem, KeyError::WeakSecret(_)), "{text}");
        assert!(text.contains("openssl rand"), "{text}");
        assert_eq!(crate::KeyRing::new(sample).unwrap_err().to_string(), text);
    }
    let of = |different: u8| {
        let secret: Vec<u8> =
            (0..64).map(|n: u8| (n.wrapping_mul(n) ^ n >> 3) % different).collect();
        Key::hmac(Algorithm::HS256, &secret)
    };
    for few in 1..10 {
        let problem = of(few).unwrap_err().to_string();
        assert!(problem.contains("fewer than 10 different bytes"), "{few}: {problem}");
    }
    // The output of `openssl rand` in hexadecimal and in base64, and a text whose first 15 bytes
    // recur.
    for secret in [
        &b"6f1c0b9de27a4583b1d06e92c4f7a8350e9b7d21ac56f38047de19b8235ca6f4"[..],
        b"kHq3m8ZrT1vXy0LwBd7oN5sFjCe2uGpA9iKxQhWtV4E=",
        b"abcdefghijklmnoPQRSTUVWXYZ0123456789abcdefghijklmno",
    ] {
        assert!(Key::hmac(Algorithm::HS256, secret).is_ok(), "{}", secret.escape_ascii());
    }
}

/// Each text of 32 bytes or more that documents and examples show as a secret.
// Rows: L1.
#[test]
fn no_document_shows_a_secret_that_would_be_taken() {
    fn look(folder: &std::path::Path, shown: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir()
                && !["target", "node_modules", "tests"].contains(&&*name)
                && !name.starts_with('.')
            {
                look(&entry, shown);
            }
            if entry.extension().is_none_or(|kind| kind != "md" && kind != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap();
            let whole = name.ends_with(".md")
                || entry.components().any(|part| part.as_os_str() == "examples");
            let lines = text.lines().filter(|line| {
                let line = line.trim_start();
                whole || line.starts_with("///") || line.starts_with("//!")
            });
            let calls =
                ["hs256(", "hs384(", "hs512(", "hmac(", "KeyRing::new(", "and_former(", "SECRET="];
            for line in lines.filter(|line| calls.iter().any(|call| line.contains(call))) {
                let literals = line.split('"').skip(1).step_by(2);
                shown.extend(literals.filter(|text| text.len() >= 32).map(str::to_owned));
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut shown = Vec::new();
    for folder in ["docs", "crates", "examples"] {
        look(&root.join(folder), &mut shown);
    }
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "THREAT_MODEL.md"] {
        assert!(!std::fs::read_to_string(root.join(name)).unwrap().contains("hs256(\""), "{name}");
    }
    shown.retain(|text| Key::hmac(Algorithm::HS256, text.as_bytes()).is_ok());
    assert_eq!(shown, Vec::<String>::new());
}

#[test]
fn a_random_secret_is_never_taken_for_a_public_key() {
    // Most 32-byte strings are a point of Ed25519, and one in 256 starts like DER.
    for length in [32, 33, 44, 48, 64] {
        for second in 0..=255 {
            let mut secret: Vec<u8> =
                (0..length).map(|n: u8| n.wrapping_mul(7).wrapping_add(second)).collect();
            (secret[0], secret[1]) = (0x30, second);
            Key::hmac(Algorithm::HS256, &secret).unwrap();
        }
    }
    for alg in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let problem = Key::hmac(Algorithm::HS256, &Material::new().public(alg)).unwrap_err();
        assert!(problem.to_string().contains("public key"), "{alg:?}: {problem}");
    }
}
