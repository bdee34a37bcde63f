//! Checks every error text against the rules of [`texts`].
//!
//! Each list goes through all kinds of errors by an exhaustive match, so a new kind does not
//! compile until it is listed with the words that its text must contain.

use http::StatusCode;
use serde_json::Value;

use super::*;
use crate::error::ConfigError;
use crate::mint::ClaimsProblem;
use crate::store::StoreError;
use crate::testing::*;
use crate::upstream::UnsealError;
use crate::{
    Algorithm, CookieSpec, Engine, Failure, Key, KeyError, Location, MemoryStore, NativeEndpoint,
    Reissue, Rejection, RejectionKind, Rotate, SessionError, SessionErrorKind,
};
use everfresh_error_texts::{SECRET, check_detail, check_error};

/// An error, and the words that its text must contain: the setting, the value found, the remedy.
type Says<E> = (E, &'static [&'static str]);

fn walk<E>(first: Says<E>, next: impl Fn(&E) -> Option<Says<E>>) -> Vec<Says<E>> {
    std::iter::successors(Some(first), |(error, _)| next(error)).collect()
}

fn key_errors() -> Vec<Says<KeyError>> {
    let alg = Algorithm::RS256;
    let short = |found| KeyError::SecretTooShort { algorithm: Algorithm::HS256, found, needed: 32 };
    walk((KeyError::NoBackend, &["without a cryptographic backend", "`aws-lc`"]), |error| {
        Some(match error {
            KeyError::NoBackend => (short(0), &["HS256", "empty", "openssl rand -hex 32"]),
            KeyError::SecretTooShort { found: 0, .. } => {
                (short(5), &["HS256", "5 bytes", "at least 32", "openssl rand"])
            }
            KeyError::SecretTooShort { .. } => {
                (KeyError::WeakSecret("one character repeated"), &["one character", "openssl rand"])
            }
            KeyError::WeakSecret(_) => (
                KeyError::Pem("there is no BEGIN line".into()),
                &["no BEGIN", "allowed are PRIVATE KEY"],
            ),
            KeyError::Pem(_) => (
                KeyError::NotForAlgorithm { algorithm: alg, found: Some("an EC key on P-256") },
                &["RS256 needs an RSA key", "this is an EC key"],
            ),
            KeyError::NotForAlgorithm { found: Some(_), .. } => (
                KeyError::NotForAlgorithm { algorithm: alg, found: None },
                &["RS256 needs an RSA key", "can't be read as a key"],
            ),
            KeyError::NotForAlgorithm { found: None, .. } => (
                KeyError::UnknownAlgorithm("HS265".into()),
                &["\"HS265\"", "allowed are HS256, HS384", "EdDSA"],
            ),
            KeyError::UnknownAlgorithm(_) => (
                KeyError::RsaSize { bits: 1024 },
                &["1024 bits", "2048 to 8192", "openssl genpkey"],
            ),
            KeyError::RsaSize { .. } => {
                (KeyError::Jwk("its `use` is not `sig`".into()), &["JWK", "`use`", "use a key"])
            }
            KeyError::Jwk(_) => (
                KeyError::Kid("caf\u{e9}\n".into()),
                &["kid \"caf\u{e9}\\n\"", "6 bytes", "1 to 256"],
            ),
            KeyError::Kid(found) if found.len() < 100 => {
                (KeyError::Kid("k".repeat(300)), &["kkk..", "300 bytes", "1 to 256"])
            }
            KeyError::Kid(_) => {
                (KeyError::DuplicateKid("a".into()), &["the kid \"a\"", "every key needs its own"])
            }
            KeyError::DuplicateKid(_) => {
                (KeyError::MixedFamilies, &["HMAC keys and public", "use only one kind"])
            }
            KeyError::MixedFamilies => (KeyError::Empty, &["no usable key", "at least one"]),
            KeyError::Empty => (KeyError::TooMany(65), &["65 keys", "1 to 64"]),
            KeyError::TooMany(_) => (KeyError::CannotSign, &["is public", "give the private key"]),
            KeyError::CannotSign => {
                (KeyError::CannotRetire("a".into()), &["the kid \"a\"", "rotate to another key"])
            }
            KeyError::CannotRetire(_) => return None,
        })
    })
}

fn config_errors() -> Vec<Says<ConfigError>> {
    let first = ConfigError::Missing { setting: "issuer", remedy: "name the issuer" };
    walk((first, &["`issuer` is missing", "name the issuer"]), |error| {
        Some(match error {
            ConfigError::Missing { .. } => (
                ConfigError::Unfit {
                    setting: "refresh_with",
                    found: "has no refresh tokens".into(),
                    remedy: "use `Rotate`",
                },
                &["`refresh_with` has no", "use `Rotate`"],
            ),
            ConfigError::Unfit { .. } => (
                ConfigError::OutOfRange {
                    setting: "leeway",
                    found: Duration::from_secs(301),
                    least: Duration::ZERO,
                    most: Duration::from_secs(300),
                },
                &["`leeway` is 301s", "allowed are 0 s to 300 s"],
            ),
            ConfigError::OutOfRange { .. } => (
                ConfigError::CacheSize { found: 2_000_000, most: 1_000_000 },
                &["`token_cache` is 2000000", "allowed are 0 to 1000000"],
            ),
            ConfigError::CacheSize { .. } => {
                (ConfigError::Key(KeyError::Empty), &["`keys`: ", "no usable key", "at least one"])
            }
            ConfigError::Key(_) => {
                (ConfigError::NoSigningKey, &["`keys` can only verify", "pass a private key"])
            }
            ConfigError::NoSigningKey => {
                (ConfigError::TransportCount { found: 5 }, &["`transports` holds 5", "1 to 4"])
            }
            ConfigError::TransportCount { .. } => (
                ConfigError::TransportClash { location: "the cookie \"at\"".into() },
                &["`transports` uses the cookie \"at\"", "give each its own"],
            ),
            ConfigError::TransportClash { .. } => (
                ConfigError::Cookie {
                    name: "a b".into(),
                    problem: "the name must be an RFC 9110 token".into(),
                },
                &["`transports`", "\"a b\"", "must be"],
            ),
            ConfigError::Cookie { .. } => (
                ConfigError::Scheme { found: "Bear er".into() },
                &["`transports`", "\"Bear er\"", "such as `Bearer`"],
            ),
            ConfigError::Scheme { .. } => (
                ConfigError::HeaderLocation { name: http::header::COOKIE },
                &["`transports`", "\"cookie\"", "use `Location::"],
            ),
            ConfigError::HeaderLocation { .. } => (
                ConfigError::TrustedOrigin { found: "https://me:hunter2@app.example".into() },
                &["`trusted_origin`", "\"app.example\"", "such as `https://"],
            ),
            ConfigError::TrustedOrigin { .. } => {
                let mut dialect = Dialect::OAUTH2;
                dialect.paths = vec!["token".into()].into();
                (
                    ConfigError::Dialect(dialect.check().unwrap_err()),
                    &["dialect's `paths`", "found \"token\"", "wanted is an absolute path"],
                )
            }
            ConfigError::Dialect(_) => (
                ConfigError::EndpointClash { path: "/token".into(), native: None },
                &["`dialect`", "two dialects at \"/token\"", "another `path`"],
            ),
            ConfigError::EndpointClash { native: None, .. } => (
                ConfigError::EndpointClash {
                    path: "/auth/refresh".into(),
                    native: Some(NativeEndpoint::Refresh),
                },
                &["own endpoint for refresh is at \"/auth/refresh\"", "`native_paths`"],
            ),
            ConfigError::EndpointClash { .. } => {
                (ConfigError::NoTimer, &["`runtime`", "no timer", "`enable_time()`"])
            }
            ConfigError::NoTimer => return None,
        })
    })
}

#[test]
fn every_configuration_error_states_its_remedy() {
    for (error, says) in key_errors() {
        check_error(&error.to_string(), says);
        assert_eq!(format!("{error:?}"), error.to_string());
        check_error(&ConfigError::from(error).to_string(), &["`keys`: "]);
    }
    let errors = config_errors();
    assert_eq!(errors.len(), 16);
    for (error, says) in errors {
        check_error(&error.to_string(), says);
        assert_eq!(format!("{error:?}"), error.to_string());
        // For an error with a setting, the setting is in backticks, so that a reader can search for
        // it.
        assert!(error.to_string().contains('`'), "{error}");
    }
}

fn refused(change: impl FnOnce(EngineBuilder<()>) -> EngineBuilder<()>) -> String {
    let builder = Engine::<()>::builder(Keys::hs256(crate::testing::SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(Reissue::new());
    change(builder).build().unwrap_err().to_string()
}

#[test]
fn every_check_of_the_builder_states_its_remedy() {
    let cookie = |cookie: CookieSpec| {
        let refresh = Location::Header("x-rt".parse().unwrap());
        refused(|b| b.transports([Transport::new(Location::Cookie(cookie), refresh)]))
    };
    let second = Duration::from_secs(1);
    for (problem, says) in [
        (refused(|b| b.issuer("")), ["`issuer` is missing", "such as"]),
        (refused(|b| b.audience(" ")), ["`audience` is missing", "such as"]),
        (refused(|b| b.token_profile(TokenProfile::Rfc9068)), ["`client_id`", "RFC 9068"]),
        (
            refused(|b| b.audience_in_client_id()),
            ["`audience_in_client_id` is for", "leave it out"],
        ),
        (refused(|b| b.access_lifetime(second / 2)), ["`access_lifetime` is 500ms", "1 s to"]),
        (refused(|b| b.leeway(400 * second)), ["`leeway` is 400s", "0 s to 300 s"]),
        (refused(|b| b.token_cache(1_000_001)), ["`token_cache`", "0 to 1000000"]),
        (refused(|b| b.dialect(Dialect::GALILEO)), ["`refresh_with`", "use a refresher"]),
        (
            refused(|b| b.refresh_with(Rotate::new(MemoryStore::new())).dialect(Dialect::OAUTH2)),
            ["`client` is missing", "`.client(id, secret)`"],
        ),
        (
            refused(|b| {
                b.refresh_with(Rotate::new(MemoryStore::new()).reuse_interval(Duration::ZERO))
            }),
            ["`Rotate::reuse_interval` is 0", "1 s to 300 s"],
        ),
        (cookie(CookieSpec::new("a b")), ["\"a b\"", "must be an RFC 9110 token"]),
        (cookie(CookieSpec::new("n".repeat(300))), ["nnn..\"", "300 octets; allowed are 256"]),
        (cookie(CookieSpec::new("at").path("app")), ["path is \"app\"", "must begin with `/`"]),
        (cookie(CookieSpec::new("__Host-at").path("/a")), ["Path=/", "leave out"]),
        (cookie(CookieSpec::new("__Host-at").domain("a.example")), ["no Domain", "leave out"]),
        (cookie(CookieSpec::new("at").domain(".a")), ["domain is \".a\"", "must be a host name"]),
    ] {
        check_error(&problem, &says);
    }
}

#[test]
fn no_secret_is_in_a_key_error() {
    let pem = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----";
    for error in [
        Keys::hs256(SECRET).unwrap_err(),
        Keys::hs256(SECRET.repeat(10)).err().unwrap_or(KeyError::Empty),
        Key::from_pem(Algorithm::RS256, pem.as_bytes()).unwrap_err(),
        Key::from_pem(Algorithm::RS256, SECRET.as_bytes()).unwrap_err(),
        Key::from_der(Algorithm::ES256, SECRET.as_bytes()).unwrap_err(),
    ] {
        check_error(&error.to_string(), &[]);
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
}

#[test]
fn every_check_of_a_dialect_names_the_field_and_the_allowed_form() {
    type Change = fn(&mut Value);
    let changes: [(Change, &[&str]); 12] = [
        (|d| d["paths"] = "a b".into(), &["`paths`", "\"a b\"", "wanted is"]),
        (|d| d["name"] = "".into(), &["`name`", "\"\"", "wanted is a name"]),
        (|d| d["request"]["places"] = Value::Array(Vec::new()), &["places`", "found 0", "1 to 4"]),
        (
            |d| d["request"]["places"][0] = serde_json::json!({"cookie": "a b"}),
            &["`request.places.cookie`", "\"a b\""],
        ),
        (
            |d| d["request"]["places"][0] = serde_json::json!({"header": "a b"}),
            &["`request.places.header`", "\"a b\""],
        ),
        (
            |d| d["serving"]["errors"]["invalid"]["status"] = 200.into(),
            &["`serving.errors.invalid.status`", "\"200\"", "400 to 599"],
        ),
        (
            |d| d["serving"]["errors"]["invalid"]["body"] = "{".into(),
            &["`serving.errors.invalid.body`", "JSON"],
        ),
        (
            |d| d["serving"]["errors"]["client"] = Value::Null,
            &["`serving.errors.client`", "missing", "the reply to"],
        ),
        (
            |d| d["serving"]["errors"]["unsupported"] = Value::Null,
            &["`serving.errors.unsupported`", "missing", "the reply to"],
        ),
        (|d| d["rules"][0]["status"] = 100.into(), &["`rules[0].status`", "100 to", "200 to 599"]),
        (|d| d["request"]["token"] = "access".into(), &["dialect's `"]),
        (|d| d["colour"] = "red".into(), &["unknown field `colour`", "expected"]),
    ];
    for (change, says) in changes {
        let mut dialect = serde_json::to_value(Dialect::OAUTH2).unwrap();
        change(&mut dialect);
        let error = Dialect::from_json(&dialect.to_string()).unwrap_err();
        check_error(&error.to_string(), says);
    }
    for broken in ["", "{", "[]", "{}", "null"] {
        check_error(&Dialect::from_json(broken).unwrap_err().to_string(), &["the dialect's `"]);
    }
}

fn rejections() -> Vec<Says<RejectionKind>> {
    walk((RejectionKind::NoCredentials, &["Sign in first", "no access token"]), |kind| {
        Some(match kind {
            RejectionKind::NoCredentials => {
                (RejectionKind::InvalidToken, &["Sign in again", "over"])
            }
            RejectionKind::InvalidToken => {
                (RejectionKind::NotRecent, &["Sign in again", "more recent"])
            }
            RejectionKind::NotRecent => (RejectionKind::InvalidRequest, &["several", "send one"]),
            RejectionKind::InvalidRequest => {
                (RejectionKind::CrossSite, &["Another site", "send the request from"])
            }
            RejectionKind::CrossSite => {
                (RejectionKind::TooManySessions, &["maximum number of devices", "sign out"])
            }
            RejectionKind::TooManySessions => {
                (RejectionKind::Unavailable, &["can't be", "try again"])
            }
            RejectionKind::Unavailable => (
                RejectionKind::MissingLayer,
                &["no everfresh session", "add `.layer(auth.layer())`"],
            ),
            RejectionKind::MissingLayer => {
                (RejectionKind::InsecureHost, &["`insecure_dev_only()`", "serve https"])
            }
            RejectionKind::InsecureHost => {
                (RejectionKind::Internal, &["could not", "log has the reason"])
            }
            RejectionKind::Internal => return None,
        })
    })
}

/// A problem+json answer (RFC 9457): its status, its title, and a detail to act on.
fn check_problem(response: &http::Response<Vec<u8>>, says: &[&str]) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let status = response.status();
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["title"], status.canonical_reason().unwrap());
    assert_eq!(body["type"], "about:blank");
    check_detail(body["detail"].as_str().unwrap(), says);
    let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
    assert_eq!(retry.is_some(), status == StatusCode::SERVICE_UNAVAILABLE, "{retry:?}");
    let challenged = response.headers().contains_key("www-authenticate");
    let challenges = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST];
    assert_eq!(challenged, challenges.contains(&status), "RFC 6750 section 3");
}

#[test]
fn every_rejection_states_its_remedy() {
    let all = rejections();
    assert_eq!(all.len(), 10);
    for (kind, says) in all {
        let rejection = Rejection::new(kind);
        check_detail(&rejection.to_string(), says);
        check_problem(&rejection.into_response(), says);
    }
}

#[tokio::test]
async fn every_problem_of_an_endpoint_states_its_remedy() {
    let (fixture, _) = Fixture::rotating_with(|b| b.dialect(Dialect::FREDDY));
    let stateless = Fixture::new();
    for (fixture, method, path, body, says) in [
        (
            &fixture,
            "DELETE",
            "/auth/sessions/unknown",
            Some(&b""[..]),
            &["no such session", "GET"][..],
        ),
        (&fixture, "GET", "/auth/refresh", Some(b""), &["other methods", "`Allow`"]),
        (&fixture, "POST", "/v1/auth/refresh", None, &["too large", "64 KiB"]),
        (&stateless, "GET", "/auth/sessions", Some(b""), &["keeps no list", "sign out"]),
    ] {
        let access = fixture.sign_in("alice").await;
        let mut request = request(method, &[("cookie", &format!("{COOKIE_NAME}={access}"))]);
        *request.uri_mut() = path.parse().unwrap();
        let endpoints = fixture.auth.endpoints();
        let served = |one: &&crate::adapter::Endpoint<User>| {
            let fixed = one.path().split('{').next().unwrap();
            path == one.path() || (one.path().contains('{') && path.starts_with(fixed))
        };
        let endpoint = endpoints.iter().find(served).expect(path);
        let crate::adapter::Progress::Pass(session) = fixture.auth.begin(&request) else {
            panic!("it is fresh")
        };
        let call = endpoint.read(&request);
        check_problem(&endpoint.answer(call, body, Ok(&session)).await, says);
    }
}

fn session_errors() -> Vec<Says<SessionErrorKind>> {
    walk((SessionErrorKind::ResponseSent, &["head has been sent", "before the handler"]), |kind| {
        Some(match kind {
            SessionErrorKind::ResponseSent => (SessionErrorKind::Claims, &["claims", "make them"]),
            SessionErrorKind::Claims => {
                (SessionErrorKind::UnknownTransport, &["transport", "`.transports"])
            }
            SessionErrorKind::UnknownTransport => {
                (SessionErrorKind::Audience, &["another service's", "`access_token`"])
            }
            SessionErrorKind::Audience => {
                (SessionErrorKind::NotSignedIn, &["no user", "`sign_in`"])
            }
            SessionErrorKind::NotSignedIn => {
                (SessionErrorKind::CrossSite, &["another site", "`trusted_origin`"])
            }
            SessionErrorKind::CrossSite => {
                (SessionErrorKind::InsecureHost, &["another host", "`insecure_dev_host`"])
            }
            SessionErrorKind::InsecureHost => (SessionErrorKind::Rejected, &["is over", "sign in"]),
            SessionErrorKind::Rejected => {
                (SessionErrorKind::TooManySessions, &["maximum number", "sign out of"])
            }
            SessionErrorKind::TooManySessions => {
                (SessionErrorKind::Unavailable, &["at the moment", "try again in 1 s"])
            }
            SessionErrorKind::Unavailable => {
                (SessionErrorKind::Misconfigured, &["configuration", "the event in the log"])
            }
            SessionErrorKind::Misconfigured => return None,
        })
    })
}

fn failures() -> Vec<Says<Failure>> {
    walk((Failure::Rejected, &["is over", "sign in again"]), |failure| {
        Some(match failure {
            Failure::Rejected => (Failure::SOON, &["unavailable", "try again in 1 s"]),
            Failure::Unavailable { .. } => (Failure::Misconfigured, &["misconfigured", "the log"]),
            Failure::Misconfigured => (Failure::InDoubt, &["the outcome", "a late answer"]),
            Failure::InDoubt => (Failure::Refused, &["refuses the refresh", "the dialect"]),
            Failure::Refused => (Failure::Foreign, &["another session", "sign in"]),
            Failure::Foreign => (Failure::UnreadClaims, &["don't fit", "`revalidate_with`"]),
            Failure::UnreadClaims => {
                (Failure::NoRuntime, &["tokio runtime", "`build()`", "`runtime`"])
            }
            Failure::NoRuntime => (Failure::TooManySessions, &["maximum number", "sign out of"]),
            Failure::TooManySessions => return None,
        })
    })
}

#[test]
fn every_error_to_a_handler_states_its_remedy() {
    let all = session_errors();
    assert_eq!(all.len(), 11);
    for (kind, says) in all {
        check_error(&SessionError::from(kind).to_string(), says);
    }
    let all = failures();
    assert_eq!(all.len(), 9);
    for (failure, says) in all {
        check_error(&failure.to_string(), says);
        check_error(&SessionError::from(failure).to_string(), &[]);
    }
    let wait = Failure::Unavailable { retry_after: Duration::from_millis(1500) };
    check_error(&wait.to_string(), &["try again in 2 s"]);
    check_error(&SessionError::from(wait).to_string(), &["try again in 2 s"]);
    for (problem, says) in [
        (
            ClaimsProblem::NotSerializable("a map's key is no text".into()),
            ["serialized", "no text"],
        ),
        (ClaimsProblem::NotAnObject("an array"), ["an array, not a JSON object", "make them"]),
        (ClaimsProblem::OfAnotherKind, ["`nonce`", "rename that member"]),
        (ClaimsProblem::Unreadable("x".into()), ["can't be deserialized: x", "match each other"]),
        (ClaimsProblem::Registered("sub".into()), ["\"sub\"", "rename that member"]),
    ] {
        check_error(&problem.to_string(), &says);
    }
    for sealed in [UnsealError::UnknownKey, UnsealError::Foreign] {
        let says = match sealed {
            UnsealError::UnknownKey => ["not in the ring", "former key"],
            UnsealError::Foreign => ["not sealed with these keys", "another location"],
        };
        check_error(&sealed.to_string(), &says);
    }
    check_error(
        &StoreError::new("no answer within 3s").to_string(),
        &["the session store failed", "no answer within 3s"],
    );
}
