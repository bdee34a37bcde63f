//! Published test vectors: Wycheproof and the examples of the RFCs.
//!
//! `tests/VECTORS.md` lists their sources.

mod rfcs;
mod wycheproof;

use std::collections::BTreeMap;

use super::*;

/// The payload of a compact JWS, if one of these keys signed it: steps 1 to 3 of the verification
/// rules. The payloads of vectors are not claims.
///
/// Opens it twice, because a header that a key has signed is not parsed again.
fn open(token: &str, keys: &Keys) -> Result<Vec<u8>, InvalidReason> {
    let first = open_once(token, keys);
    assert_eq!(open_once(token, keys), first, "the second time: {token}");
    first
}

fn open_once(token: &str, keys: &Keys) -> Result<Vec<u8>, InvalidReason> {
    let compact = jws::Compact::split(token.as_bytes())?;
    let keys = keys.current();
    let mut read = None;
    let header = match keys.cached_header(compact.header) {
        Some(header) => header,
        None => &*read.insert(jws::Header::parse(compact.header)?),
    };
    let mut buffer = jws::SignatureBuffer::new();
    let signature = compact.signature(&mut buffer)?;
    let key = check_signature(&compact, header, signature, &keys)?;
    if let Some(header) = read {
        key.cache_header(compact.header, header);
    }
    let payload = token.split('.').nth(1).unwrap_or_default();
    B64.decode(payload).map_err(|_| InvalidReason::Malformed)
}

fn key(jwk: &Value) -> Result<Key, String> {
    // A secret in Wycheproof's base64 tests that everfresh would refuse as too simple.
    if let Some(secret) = jwk["k"].as_str().and_then(|text| B64.decode(text).ok())
        && secret.len() >= 32
        && secret.iter().all(|byte| *byte == secret[0])
    {
        let key = Key::hmac_of_a_vector(Algorithm::HS256, &secret);
        return key.map_err(|error| error.to_string());
    }
    Key::from_jwk(&jwk.to_string()).map_err(|error| error.to_string())
}

fn keys(jwk: &Value) -> Result<Keys, String> {
    Keys::verifying([key(jwk)?]).map_err(|error| error.to_string())
}

/// The results of one file's vectors.
struct Tally {
    name: &'static str,
    passed: usize,
    /// Vectors that were not run or that differ from their label: the reasons, with counts.
    excused: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

impl Tally {
    fn new(name: &'static str) -> Self {
        Self { name, passed: 0, excused: BTreeMap::new(), failed: Vec::new() }
    }

    fn note(&mut self, vector: impl fmt::Display, held: bool) {
        match held {
            true => self.passed += 1,
            false => self.failed.push(vector.to_string()),
        }
    }

    fn excuse(&mut self, reason: &'static str) {
        *self.excused.entry(reason).or_default() += 1;
    }

    /// Prints the totals. `expected` is the number of vectors, so that none is skipped unnoticed.
    #[expect(clippy::print_stdout, reason = "`cargo xtask vectors` reads it")]
    fn end(self, expected: usize) {
        let Self { name, passed, excused, failed } = self;
        let skipped: usize = excused.values().sum();
        let total = passed + skipped + failed.len();
        println!("vectors: {name}: {passed} of {total} passed, {skipped} skipped");
        for (reason, count) in excused {
            println!("vectors: {name}: skipped {count}: {reason}");
        }
        assert!(failed.is_empty(), "{name}: {failed:#?}");
        assert_eq!(total, expected, "{name}: vectors in the file");
    }
}
