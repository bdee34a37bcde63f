//! The process with a vendor's clients and the fake of the vendor's server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use everfresh_tests::process::{Running, Workplace};
use everfresh_upstream::{HttpClient, SecureUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The environment variable with the path of a Python that has the packages of
/// `tests/sdk/requirements.txt`.
const PYTHON: &str = "EVERFRESH_SDK_PYTHON";

/// A running `tests/sdk/server.py`.
pub(crate) struct Vendor {
    url: String,
    http: HttpClient,
    _process: Running,
    _home: Workplace,
}

/// An exception of a vendor's client.
#[derive(Debug, Deserialize)]
pub(crate) struct Exception {
    /// The class.
    pub(crate) r#type: String,
    pub(crate) message: String,
    pub(crate) status: Option<u16>,
}

/// The tokens of a sign-in at the fake server.
#[derive(Deserialize)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// Starts a script of `tests/sdk` in an empty home.
pub(crate) fn python(script: &str, arguments: &[&str]) -> (Running, Workplace) {
    let python = std::env::var_os(PYTHON)
        .unwrap_or_else(|| panic!("{PYTHON} is not set; `cargo xtask test` sets it"));
    let home = Workplace::new().unwrap();
    // As the user of the tests: another user may have no access to this Python.
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(script)).args(arguments);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // The clients read tokens, addresses and proxies from the environment.
    command.env_clear().env("HOME", home.path()).current_dir(home.path());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    (Running::start(command).unwrap(), home)
}

impl Vendor {
    /// Starts the clients and the server of a vendor, in an empty home.
    pub(crate) fn start(name: &str) -> Self {
        let (mut process, home) = python("server.py", &[name]);
        let url = process.wait_for("listening on ");
        Self { url, http: HttpClient::new().unwrap(), _process: process, _home: home }
    }

    /// The address of the fake server.
    pub(crate) fn url(&self) -> SecureUrl {
        self.url.parse().unwrap()
    }

    /// Runs a command of the process.
    pub(crate) async fn run(&self, command: &str, arguments: Value) -> Result<Value, Exception> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Answer {
            Ok(Value),
            Error(Exception),
        }
        let url = format!("{}/control/{command}", self.url).parse().unwrap();
        let call = self.http.post(&url).json(&arguments).limit(Duration::from_secs(60));
        match call.send().await.unwrap().json().unwrap() {
            Answer::Ok(value) => Ok(value),
            Answer::Error(exception) => Err(exception),
        }
    }

    /// The result of a command that succeeds.
    pub(crate) async fn get<T: DeserializeOwned>(&self, command: &str, arguments: Value) -> T {
        let result = self.run(command, arguments).await;
        let result = result.unwrap_or_else(|exception| panic!("{command}: {exception:?}"));
        serde_json::from_value(result).unwrap()
    }

    /// Signs a user in at the fake server.
    pub(crate) async fn issue(&self) -> Issued {
        self.get("issue", json!({})).await
    }

    /// Ends every sign-in at the fake server.
    pub(crate) async fn revoke(&self) {
        self.get::<Value>("revoke", json!({})).await;
    }

    /// How the fake server answers refreshes from now on.
    pub(crate) async fn mode(&self, mode: &str) {
        self.get::<Value>("mode", json!({"mode": mode})).await;
    }

    /// The statuses of the refreshes at the fake server since the last call.
    pub(crate) async fn seen(&self) -> Vec<u16> {
        self.get("seen", json!({})).await
    }
}
