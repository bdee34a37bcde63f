//! A real identity provider for tests: npm's certified `oidc-provider`, on loopback.
//!
//! Its program is in `tests/idp`. It needs Node.js and npm, which `cargo xtask test` provides.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use everfresh::dialect::ClientSecret;
use everfresh_upstream::{HttpClient, SecureUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::process::{Running, Workplace};

/// The audience of access tokens that are JWTs.
pub const AUDIENCE: &str = "https://api.everfresh.test";

/// The secret of the clients `web` and `web-post`. It contains the characters allowed in a secret
/// (RFC 6749 appendix A.2) that a form or HTTP Basic could garble.
pub const SECRET: &str = "s%3A+/ =&:\"~";

/// [`SECRET`] as a client presents it.
pub fn secret() -> ClientSecret {
    SECRET.into()
}

/// The settings of the provider.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// How refresh tokens rotate.
    pub rotation: Rotation,
    /// The lifetime of an access token, in whole seconds.
    pub access_lifetime: Duration,
    /// The lifetime of a refresh token, in whole seconds.
    pub refresh_lifetime: Duration,
    /// The format of access tokens.
    pub access_tokens: AccessTokens,
    /// The public keys of the client `pkj`. Without keys there is no such client.
    pub pkj_keys: Option<Value>,
}

/// How refresh tokens rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Each use issues a new token. A second use ends the token family.
    Rotated,
    /// Each use returns the same token.
    Repeated,
    /// The token stays valid, and the answer omits it.
    Omitted,
}

/// The format of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokens {
    /// Random text.
    Opaque,
    /// JWTs for [`AUDIENCE`] (RFC 9068), by `RS256`.
    Jwt,
    /// JWTs that name their session (`sid`, `auth_time`, `session_exp`), by `RS256` or `ES256`.
    SessionJwt(&'static str),
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            rotation: Rotation::Rotated,
            access_lifetime: Duration::from_secs(900),
            refresh_lifetime: Duration::from_secs(24 * 60 * 60),
            access_tokens: AccessTokens::Opaque,
            pkj_keys: None,
        }
    }
}

/// The tokens of a sign-in at the provider.
#[derive(Clone, Deserialize)]
pub struct IssuedTokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// The ID token.
    pub id_token: String,
    /// The lifetime of the access token, in seconds.
    pub expires_in: u64,
}

impl std::fmt::Debug for IssuedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedTokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// The requests to the provider since its start.
#[derive(Clone, Debug, Deserialize)]
pub struct Counts {
    /// Calls of the token endpoint by `grant_type`.
    pub token: BTreeMap<String, GrantCounts>,
    /// All calls, by path.
    pub paths: BTreeMap<String, u64>,
}

/// The requests to the token endpoint with one `grant_type`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GrantCounts {
    /// How often.
    pub calls: u64,
    /// Its answers: `ok`, or the `error`.
    pub outcomes: BTreeMap<String, u64>,
    /// The ages of the rotated refresh tokens, in seconds, with their counts.
    pub ages: BTreeMap<u64, u64>,
}

impl Counts {
    /// Calls with `grant_type=refresh_token`.
    pub fn refreshes(&self) -> GrantCounts {
        self.token.get("refresh_token").cloned().unwrap_or_default()
    }

    /// Requests for tokens whose head came, also those whose body did not follow.
    pub fn token_requests(&self) -> u64 {
        self.paths.get("/token").copied().unwrap_or_default()
    }

    /// How often the keys were fetched.
    pub fn key_fetches(&self) -> u64 {
        self.paths.get("/jwks").copied().unwrap_or_default()
    }
}

impl GrantCounts {
    /// How many rotated refresh tokens were at least the given number of seconds old.
    pub fn rotated_after(&self, seconds: u64) -> u64 {
        self.ages.range(seconds..).map(|(_, count)| count).sum()
    }
}

/// A running provider. Its clients: `web` (`client_secret_basic`), `web-post`
/// (`client_secret_post`), `spa` (public), and `pkj` (`private_key_jwt`) if it has keys.
///
/// All clients may redirect to `/callback` at any port of 127.0.0.1. A user can sign in with any
/// name. The provider stops when this handle is dropped or the process ends. A missing requirement
/// causes a panic.
#[derive(Debug)]
pub struct IdentityProvider {
    issuer: String,
    client: HttpClient,
    _server: Running,
    _workplace: Workplace,
}

impl IdentityProvider {
    /// Starts a provider. Installs its packages first if necessary.
    pub fn start(settings: &IdentitySettings) -> Self {
        install();
        let workplace = Workplace::new().expect("a folder");
        let program = workplace.folder(&source()).expect("a copy of the provider");
        let mut command = workplace.command("node");
        command.arg(program.join("server.mjs")).env("PORT", "0");
        let seconds = |time: Duration| time.as_secs().to_string();
        command.env("ACCESS_TTL", seconds(settings.access_lifetime));
        command.env("REFRESH_TTL", seconds(settings.refresh_lifetime));
        let rotate = match settings.rotation {
            Rotation::Rotated => "1",
            Rotation::Repeated => "0",
            Rotation::Omitted => "omit",
        };
        command.env("ROTATE", rotate);
        let (format, alg, session) = match settings.access_tokens {
            AccessTokens::Opaque => ("opaque", "RS256", "0"),
            AccessTokens::Jwt => ("jwt", "RS256", "0"),
            AccessTokens::SessionJwt(alg) => ("jwt", alg, "1"),
        };
        command.env("ACCESS_FORMAT", format).env("ACCESS_ALG", alg).env("SESSION_CLAIMS", session);
        if let Some(keys) = &settings.pkj_keys {
            command.env("PKJ_JWKS", serde_json::to_string(keys).expect("keys as JSON"));
        }
        let mut server = Running::start(command).expect("node");
        let issuer = server.wait_for("listening on ");
        let client = HttpClient::new().expect("an HTTP client");
        Self { issuer, client, _server: server, _workplace: workplace }
    }

    /// Its issuer, which is the address that it listens on.
    pub fn url(&self) -> &str {
        &self.issuer
    }

    /// The tokens of `n` new sign-ins of `sub` at a client, without a browser.
    pub async fn tokens(&self, client: &str, sub: &str, n: usize) -> Vec<IssuedTokens> {
        self.post("tokens", &json!({"client": client, "sub": sub, "n": n})).await
    }

    /// The requests that it received so far.
    pub async fn counts(&self) -> Counts {
        read(self.client.get(&self.control("counts"))).await
    }

    /// Ends every sign-in of `sub`.
    pub async fn revoke(&self, sub: &str) {
        self.post::<Value>("revoke", &json!({"sub": sub})).await;
    }

    /// Signs with new keys from now on. `keep`: the former keys stay published.
    pub async fn rotate_keys(&self, keep: bool) {
        self.post::<Value>("rotate-keys", &json!({"keep": keep})).await;
    }

    async fn post<T: DeserializeOwned>(&self, what: &str, body: &Value) -> T {
        read(self.client.post(&self.control(what)).json(body)).await
    }

    fn control(&self, what: &str) -> SecureUrl {
        format!("{}/control/{what}", self.issuer).parse().expect("a loopback address")
    }
}

async fn read<T: DeserializeOwned>(call: everfresh_upstream::Call<'_>) -> T {
    let answer = call.at_most(64 * 1024 * 1024).limit(Duration::from_secs(60)).send().await;
    let answer = answer.expect("an answer of the provider");
    let body = || String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status.is_success(), "{}: {}", answer.status, body());
    answer.json().expect("what the provider's control answers")
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("idp")
}

/// Runs `npm ci` in `tests/idp`, unless the installed packages are as new as the lock file.
/// Processes that run tests take turns.
fn install() {
    let lock_file = source().join("package-lock.json");
    let lock = File::open(&lock_file).expect("tests/idp/package-lock.json");
    lock.lock().expect("a lock on tests/idp/package-lock.json");
    let changed = |path: &Path| -> io::Result<_> { path.metadata()?.modified() };
    let installed = changed(&source().join("node_modules/.package-lock.json"));
    if installed.is_ok_and(|at| changed(&lock_file).is_ok_and(|of| of <= at)) {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(source());
    let run = npm.output().expect("npm; install with: apt-get install nodejs npm");
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "npm ci in tests/idp: {stderr}");
}
