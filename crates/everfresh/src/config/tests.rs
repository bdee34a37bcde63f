//! F120: every contradiction is an error of `build()` that names the setting and the remedy.

use super::*;
use crate::dialect::Dialect;
use crate::error::ConfigError;
use crate::refresher::{
    Closing, Context, FlightKey, Presented, RefreshRequest, SignInRequest, Tokens,
};
use crate::testing::SECRET;
use crate::{Algorithm, CookieSpec, Engine, Failure, Key, Location, Reissue, SameSite, Timestamp};

fn builder() -> EngineBuilder<()> {
    Engine::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(Reissue::new())
}

fn problem(change: impl FnOnce(EngineBuilder<()>) -> EngineBuilder<()>) -> String {
    change(builder()).build().expect_err("must be refused").to_string()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Another issuer mints the tokens.
struct Elsewhere;

impl Refresher for Elsewhere {
    fn mints(&self) -> bool {
        false
    }

    fn identify(&self, _: Presented<'_>, _: Timestamp) -> Option<FlightKey> {
        None
    }

    async fn refresh(&self, _: Context, _: RefreshRequest) -> Result<Tokens, Failure> {
        Err(Failure::Misconfigured)
    }

    async fn sign_in(&self, _: Context, _: SignInRequest) -> Result<Tokens, Failure> {
        Err(Failure::Misconfigured)
    }

    async fn sign_out(&self, _: Context, _: Closing) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

fn pair(access: &str, refresh: &str) -> Transport {
    let cookie = |name: &str| Location::Cookie(CookieSpec::new(name));
    Transport::new(cookie(access), cookie(refresh))
}

#[test]
fn the_defaults_are_good() {
    builder().build().unwrap();
    builder().insecure_dev_only().build().unwrap();
    let all = [Transport::cookies(), Transport::headers()];
    builder().transports(all).build().unwrap();
    builder().transports([Transport::cookies(), Transport::bearer_with_cookie()]).build().unwrap();
    builder().transports([Transport::strict_cookies()]).build().unwrap();
}

#[test]
fn each_problem_names_its_setting_and_the_allowed_values() {
    let own_header = |name: &str| Location::Header(name.parse().unwrap());
    let none = CookieSpec::new("__Host-at").same_site(SameSite::None);
    let none = Transport::new(Location::Cookie(none), own_header("x-rt"));
    for (found, words) in [
        (problem(|b| b.issuer("")), ["`issuer` is missing", "https://app.example"]),
        (problem(|b| b.issuer("  ")), ["`issuer` is missing", "such as"]),
        (problem(|b| b.audience("")), ["`audience` is missing", "`app`"]),
        (
            problem(|b| b.token_profile(TokenProfile::Rfc9068)),
            ["`client_id` is missing", "RFC 9068"],
        ),
        (problem(|b| b.access_lifetime(secs(0))), ["`access_lifetime` is 0", "1 s to 86400 s"]),
        (
            problem(|b| b.access_lifetime(Duration::from_millis(999))),
            ["`access_lifetime` is 999ms", "1 s to"],
        ),
        (problem(|b| b.access_lifetime(secs(90_000))), ["`access_lifetime`", "86400 s"]),
        (problem(|b| b.session_lifetime(secs(0))), ["`session_lifetime` is 0", "1 s to"]),
        (problem(|b| b.session_lifetime(Duration::MAX)), ["`session_lifetime`", "315360000 s"]),
        (problem(|b| b.leeway(secs(301))), ["`leeway` is 301s", "0 s to 300 s"]),
        (problem(|b| b.leeway(secs(u64::MAX))), ["`leeway`", "300 s"]),
        (problem(|b| b.transports([])), ["`transports` holds 0", "1 to 4"]),
        (
            problem(|b| b.transports(vec![Transport::cookies(); 5])),
            ["`transports` holds 5", "1 to 4"],
        ),
        (problem(|b| b.transports([pair("at", "at")])), ["the cookie \"at\"", "give each its own"]),
        (
            problem(|b| b.transports([Transport::cookies(), Transport::strict_cookies()])),
            ["the cookie \"__Host-access_token\"", "its own"],
        ),
        (
            problem(|b| b.transports([Transport::new(Location::bearer(), Location::bearer())])),
            ["`Authorization: Bearer`", "its own"],
        ),
        (
            problem(|b| b.transports([Transport::headers(), Transport::headers()])),
            ["`transports` uses", "its own"],
        ),
        (problem(|b| b.transports([pair("a b", "rt")])), ["the cookie \"a b\"", "token"]),
        (problem(|b| b.transports([none.clone()]).insecure_dev_only()), ["SameSite=None", "Lax"]),
        (
            problem(|b| {
                let scheme = Location::Authorization("Bear er".into());
                b.transports([Transport::new(scheme, own_header("x-rt"))])
            }),
            ["\"Bear er\"", "such as `Bearer`"],
        ),
        (
            problem(|b| b.transports([Transport::new(own_header("cookie"), own_header("x-rt"))])),
            ["\"cookie\"", "Location::Cookie"],
        ),
        (problem(|b| b.trusted_origin("app.example")), ["`trusted_origin`", "as browsers do"]),
    ] {
        for word in words {
            assert!(found.contains(word), "{found:?} lacks {word:?}");
        }
    }
    let missing = Engine::<()>::builder(Keys::hs256(SECRET).unwrap()).issuer("i").audience("a");
    let missing = missing.build().unwrap_err().to_string();
    assert!(missing.contains("`refresh_with` is missing") && missing.contains("Reissue::new()"));
}

// Rows: M14.
#[test]
fn clients_have_an_id_of_their_own_and_a_strong_secret() {
    let secret = |text: &str| Some(text.to_owned());
    let good = "0123456789abcdef";
    for (found, words) in [
        (problem(|b| b.client("", secret(good))), ["`client` has the id \"\"", "give each client"]),
        (problem(|b| b.client(" ", None)), ["`client` has the id \" \"", "such as"]),
        (
            problem(|b| b.client("backend", secret(""))),
            ["`client` \"backend\" has a secret of 0 bytes", "openssl rand -hex 32"],
        ),
        (
            problem(|b| b.client("backend", secret(&good[1..]))),
            ["a secret of 15 bytes", "at least 16 random bytes"],
        ),
        (
            problem(|b| b.client("backend", secret(good)).client("backend", None)),
            ["`client` \"backend\" is there twice", "once"],
        ),
        (
            problem(|b| b.client("backend", secret(good)).client("backend", secret(good))),
            ["is there twice", "once"],
        ),
    ] {
        for word in words {
            assert!(found.contains(word), "{found:?} lacks {word:?}");
        }
        assert!(!found.contains(&good[1..]), "{found}");
    }
    builder().client("backend", secret(good)).client("page", None).build().unwrap();
}

// Rows: L10.
#[test]
fn a_host_is_named_for_the_insecure_mode_alone() {
    let found = problem(|b| b.insecure_dev_host("dev.example"));
    assert!(found.contains("`insecure_dev_host` is set without `insecure_dev_only`"), "{found}");
    let found = problem(|b| b.insecure_dev_only().insecure_dev_host("dev.example:80"));
    assert!(found.contains("`insecure_dev_host` is \"dev.example:80\""), "{found}");
    builder().insecure_dev_only().insecure_dev_host("dev.example").build().unwrap();
}

// Rows: N5.
#[test]
fn everfreshs_own_endpoints_make_room_for_a_dialect() {
    let at = |path: &'static str| {
        let mut dialect = Dialect::VIJIL;
        dialect.paths = vec![path.into()].into();
        dialect
    };
    let paths = |b: EngineBuilder<()>| {
        let auth = b.build().unwrap();
        auth.endpoints().iter().map(|one| one.path().to_owned()).collect::<Vec<_>>()
    };
    let found = problem(|b| b.dialect(at("/auth/refresh")));
    assert!(
        found.contains("everfresh's own endpoint for refresh is at")
            && found.contains("`native_paths`")
    );
    let found = problem(|b| b.dialect(at("/auth/sessions/now")));
    assert!(found.contains("own endpoint for ending a session"), "{found}");
    let found = problem(|b| b.dialect(at("/token")).dialect(at("/token")));
    assert!(found.contains("two dialects at"), "{found}");

    let moved =
        builder().native_paths(NativePaths::under("/session/")).dialect(at("/auth/refresh"));
    assert_eq!(
        paths(moved),
        [
            "/session/refresh",
            "/session/sessions",
            "/session/sessions/{sid}",
            "/session/logout-all",
            "/.well-known/jwks.json",
            "/auth/refresh",
        ]
    );
    let mut some = NativePaths::default();
    (some.refresh, some.sessions, some.jwks) = (None, None, Some("/keys".into()));
    let some = builder().native_paths(some).dialect(at("/auth/refresh"));
    assert_eq!(paths(some), ["/auth/logout-all", "/keys", "/auth/refresh"]);
    assert!(paths(builder().native_paths(NativePaths::none())).is_empty());

    for (path, says) in [
        ("auth/refresh", "begin it with a slash"),
        ("/auth/refresh/", "a slash at its end"),
        ("/auth/{x}", "parameters"),
        ("/a?b", "query"),
        ("", "begin it"),
        ("/auth/sessions", "the list of sessions"),
        ("/auth/sessions/now", "ending a session"),
    ] {
        let paths = NativePaths { logout_all: Some(path.into()), ..NativePaths::default() };
        let found = problem(|b| b.native_paths(paths));
        assert!(found.starts_with("`native_paths` has") && found.contains(says), "{found}");
    }
}

// Rows: N6.
#[test]
fn lifetimes_are_whole_seconds() {
    let uneven = Duration::from_millis(1500);
    for found in [problem(|b| b.access_lifetime(uneven)), problem(|b| b.session_lifetime(uneven))] {
        assert!(found.contains("_lifetime` is 1.5s; ") && found.contains("whole"), "{found}");
    }
    builder().access_lifetime(secs(1)).session_lifetime(secs(1)).leeway(uneven).build().unwrap();
}

// Rows: N9.
#[test]
fn main_prints_an_errors_sentence() {
    fn main(secret: &str) -> Result<(), Box<dyn std::error::Error>> {
        Engine::<()>::builder(Keys::hs256(secret)?).build()?;
        Ok(())
    }
    let printed = |secret| format!("Error: {:?}", main(secret).unwrap_err());
    let short = "Error: the HS256 secret has 5 bytes, HS256 needs at least 32 (RFC 7518 section \
                 3.2); make one with `openssl rand -hex 32`";
    assert_eq!(printed("short"), short);
    assert!(printed(SECRET).starts_with("Error: `issuer` is missing; name the issuer"));
}

#[test]
fn keys_that_only_verify_cant_mint() {
    let key = Key::hmac(Algorithm::HS256, SECRET.as_bytes()).unwrap();
    let builder = Engine::<()>::builder(Keys::verifying([key]).unwrap())
        .issuer("i")
        .audience("a")
        .refresh_with(Reissue::new());
    assert_eq!(builder.build().unwrap_err(), ConfigError::NoSigningKey);
}

#[test]
fn keys_that_only_verify_are_enough_where_nothing_is_minted() {
    let key = Key::hmac(Algorithm::HS256, SECRET.as_bytes()).unwrap();
    let builder = Engine::<()>::builder(Keys::verifying([key]).unwrap())
        .issuer("i")
        .audience("a")
        .refresh_with(Elsewhere);
    builder.build().unwrap();
}

#[test]
fn a_key_error_becomes_a_config_error_by_itself() {
    fn configure() -> Result<Engine<()>, ConfigError> {
        Engine::builder(Keys::hs256("short")?).build()
    }
    let problem = configure().unwrap_err().to_string();
    assert!(problem.starts_with("`keys`: the HS256 secret has 5 bytes"), "{problem}");
}

#[test]
fn a_runtime_without_a_timer_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = builder().runtime(runtime.handle().clone()).build().unwrap_err();
    assert_eq!(refused, ConfigError::NoTimer);
}

#[test]
fn nothing_that_is_debugged_shows_a_secret() {
    let shown = format!("{:?} {:?}", builder(), builder().build().unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
}
