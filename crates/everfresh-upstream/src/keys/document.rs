//! Parsing of a fetched key set, and how long it stays fresh.

use std::time::Duration;

use everfresh::{Algorithm, KeyError, Keys};
use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fetch::{FetchProblem, parse};
use crate::http::Answer;

/// The most keys that a set may hold, unusable keys included.
const MAX_KEYS: usize = 64;

/// How long a set stays fresh if its answer has no `max-age`.
const DEFAULT: Duration = Duration::from_secs(10 * 60);

/// The limits of an answer's `max-age`. The lower one protects the issuer from too many requests;
/// the upper one bounds the use of a key that the issuer has removed.
const LEAST: Duration = Duration::from_secs(5 * 60);
const MOST: Duration = Duration::from_secs(60 * 60);

/// A JWK set (RFC 7517 section 5).
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Returns the usable keys of an answer. `rsa` is the algorithm of RSA keys without `alg`.
pub(super) fn read(answer: &Answer, rsa: Algorithm) -> Result<Keys, FetchProblem> {
    let Document { mut keys } = parse(answer)?;
    if keys.len() > MAX_KEYS {
        return Err(KeyError::TooMany(keys.len()).into());
    }
    if keys.iter().any(|key| key["kty"] == "oct") {
        return Err(FetchProblem::SharedSecret);
    }
    for key in keys.iter_mut().filter(|key| key["kty"] == "RSA") {
        if let Value::Object(members) = key {
            members.entry("alg").or_insert_with(|| rsa.to_string().into());
        }
    }
    Ok(Keys::from_jwk_set(&json!({ "keys": keys }).to_string())?)
}

/// Returns how long an answer stays fresh (RFC 9111 section 4.2), within `LEAST` and `MOST`.
pub(super) fn freshness(headers: &HeaderMap) -> Duration {
    let texts = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let directives = texts(CACHE_CONTROL).flat_map(|value| value.split(',')).map(str::trim);
    let mut kept = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim_end().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return LEAST,
            "max-age" if kept.is_none() => {
                // An unreadable value means stale (section 4.2.1).
                kept = Some(value.trim().trim_matches('"').parse().unwrap_or(0));
            }
            _ => {}
        }
    }
    let Some(kept) = kept else { return DEFAULT };
    let age = texts(AGE).next().and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Duration::from_secs(u64::saturating_sub(kept, age)).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_max_age_counts_within_limits() {
        let of = |fields: &[(&'static str, &str)]| {
            let fields = fields.iter().map(|(name, value)| {
                (name.parse().unwrap(), value.parse::<http::HeaderValue>().unwrap())
            });
            freshness(&fields.collect()).as_secs()
        };
        let cache = |value| of(&[("cache-control", value)]);
        assert_eq!(of(&[]), 600);
        assert_eq!(cache("public"), 600);
        assert_eq!(cache("public, max-age=900, must-revalidate"), 900);
        assert_eq!(cache("Max-Age = \"1200\""), 1200);
        assert_eq!(cache("max-age=1"), 300);
        assert_eq!(cache("max-age=0"), 300);
        assert_eq!(cache("max-age=86400"), 3600);
        assert_eq!(cache("max-age=99999999999999999999999"), 300, "unreadable is stale");
        assert_eq!(cache("max-age=-1"), 300);
        assert_eq!(cache("max-age=900, no-cache"), 300);
        assert_eq!(cache("no-store"), 300);
        assert_eq!(of(&[("cache-control", "max-age=1800"), ("age", "600")]), 1200);
        assert_eq!(of(&[("cache-control", "max-age=1800"), ("age", "9999")]), 300);
        assert_eq!(of(&[("cache-control", "max-age=1800"), ("age", "x")]), 1800);
    }
}
