//! The servers' environment variables with their allowed values. A bad value produces a one-line
//! error.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use everfresh::store::UpstreamTokenStore;
use everfresh::{Engine, Keys, Reissue, Rotate, Transport};
use everfresh_testkit::contract::{User, with_dialects};

use crate::store::{Store, UseStore};
use crate::upstream::UpstreamSettings;

const DAY: u64 = 24 * 60 * 60;

/// The settings from the environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PORT`: 0 lets the system choose. Default 3000.
    pub port: u16,
    access_ttl: Duration,
    session_ttl: Duration,
    reuse_interval: Duration,
    secret: String,
    refresh: Refresh,
}

#[derive(Clone, Debug, PartialEq)]
enum Refresh {
    Reissue,
    Rotate(Store),
    Upstream(Store, Box<UpstreamSettings>),
}

impl Settings {
    /// Reads the process environment; a bad value ends the process with status 2.
    pub fn from_env_or_exit() -> Self {
        let settings = Self::read(|name| std::env::var(name).ok());
        settings.unwrap_or_else(|problem| exit(&problem))
    }

    /// Reads settings from `lookup`. The error is one line with the variable, its value and the
    /// allowed values.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let secret = match lookup("SECRET") {
            Some(secret) => secret,
            None => random_secret()?,
        };
        let store = lookup("STORE").map_or(Ok(Store::Memory), |found| Store::read(&found))?;
        let refresh = match lookup("REFRESH").as_deref() {
            None | Some("rotate") => Refresh::Rotate(store),
            Some("reissue") if store == Store::Memory => Refresh::Reissue,
            Some("reissue") => {
                return Err(format!(
                    "STORE={store:?}: `REFRESH=reissue` keeps nothing; leave one of the two out"
                ));
            }
            Some("upstream") => {
                Refresh::Upstream(store, Box::new(UpstreamSettings::read(&lookup)?))
            }
            Some(found) => {
                let found = shortened(found);
                return Err(format!("REFRESH={found:?}: allowed is rotate, reissue, upstream"));
            }
        };
        Ok(Self {
            port: number("PORT", lookup("PORT"), 3000, 0, u16::MAX)?,
            access_ttl: seconds("ACCESS_TTL", lookup("ACCESS_TTL"), 900, DAY)?,
            session_ttl: seconds("SESSION_TTL", lookup("SESSION_TTL"), 86_400, 3650 * DAY)?,
            reuse_interval: seconds("REUSE_INTERVAL", lookup("REUSE_INTERVAL"), 30, 300)?,
            secret,
            refresh,
        })
    }

    /// The engine that the contract specifies.
    pub async fn engine(&self) -> Result<Engine<User>, String> {
        let keys = Keys::hs256(&self.secret).map_err(|error| format!("SECRET: {error}"))?;
        let builder = Engine::builder(keys)
            .issuer("https://everfresh.test")
            .audience("contract")
            .access_lifetime(self.access_ttl)
            .session_lifetime(self.session_ttl)
            .transports([Transport::cookies(), Transport::headers()])
            .insecure_dev_only();
        let builder = match &self.refresh {
            Refresh::Reissue => builder.refresh_with(Reissue::new()),
            Refresh::Rotate(store) => {
                let rotate = store.open(Kept(None)).await?;
                with_dialects(builder.refresh_with(rotate.reuse_interval(self.reuse_interval)))
            }
            Refresh::Upstream(store, upstream) => {
                let rotate = store.open(Kept(Some(upstream.open().await?))).await?;
                with_dialects(builder.refresh_with(rotate.reuse_interval(self.reuse_interval)))
            }
        };
        builder.build().map_err(|error| error.to_string())
    }
}

/// A rotation over a store, of the server's own tokens or of handles for another server's.
struct Kept(Option<everfresh_upstream::Upstream>);

impl UseStore for Kept {
    type Output = Rotate;

    fn use_store(self, store: impl UpstreamTokenStore + Clone) -> Rotate {
        match self.0 {
            None => Rotate::new(store),
            Some(upstream) => upstream.kept_in(store),
        }
    }
}

/// Prints one line and ends the process with status 2.
pub fn exit(problem: &str) -> ! {
    eprintln!("{problem}");
    std::process::exit(2)
}

/// The value for an error message, shortened.
fn shortened(found: &str) -> String {
    const SHOWN: usize = 60;
    let start: String = found.chars().take(SHOWN).collect();
    if start.len() < found.len() { format!("{start}..") } else { start }
}

fn random_secret() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("SECRET: none set, none made: {error}"))?;
    eprintln!(
        "warning: SECRET is not set; a random one is used, and sessions end with the process"
    );
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn number<N: FromStr + PartialOrd + Display + Copy>(
    name: &str,
    found: Option<String>,
    default: N,
    least: N,
    most: N,
) -> Result<N, String> {
    let Some(found) = found else { return Ok(default) };
    let number = found.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| {
        let found = shortened(&found);
        format!("{name}={found:?}: allowed is a whole number from {least} to {most}")
    })
}

/// The engine's limits, checked here so that the error names the variable instead of the engine's
/// setting.
fn seconds(name: &str, found: Option<String>, default: u64, most: u64) -> Result<Duration, String> {
    number(name, found, default, 1, most).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use everfresh_error_texts::check_error;

    use super::*;

    fn read(name: &'static str, value: &'static str) -> Result<Settings, String> {
        Settings::read(|wanted| match wanted {
            "SECRET" if name != "SECRET" => Some("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA".into()),
            _ => (wanted == name).then(|| value.into()),
        })
    }

    #[test]
    fn bad_values_name_the_variable_what_was_found_and_what_is_allowed() {
        for (name, value, says) in [
            ("PORT", "http", "a whole number from 0 to 65535"),
            ("PORT", "70000", "a whole number from 0 to 65535"),
            ("ACCESS_TTL", "0", "a whole number from 1 to"),
            ("ACCESS_TTL", "-5", "a whole number from 1 to"),
            ("SESSION_TTL", "1.5", "a whole number from 1 to"),
            ("ACCESS_TTL", "90000", "a whole number from 1 to 86400"),
            ("SESSION_TTL", "400000000", "a whole number from 1 to 315360000"),
            ("REUSE_INTERVAL", "0", "a whole number from 1 to 300"),
            ("REUSE_INTERVAL", "301", "a whole number from 1 to 300"),
            ("REUSE_INTERVAL", "", "a whole number from 1 to 300"),
            ("REFRESH", "magic", "allowed is rotate, reissue, upstream"),
            (
                "STORE",
                "redis:localhost",
                "allowed is memory, sqlite:PATH, redis://HOST or postgres",
            ),
            ("STORE", "disk", "allowed is memory, sqlite:PATH, redis://HOST or postgres"),
            ("STORE", "sqlite:", "allowed is memory, sqlite:PATH, redis://HOST or postgres"),
        ] {
            let problem = read(name, value).unwrap_err();
            assert!(problem.starts_with(&format!("{name}=")), "{problem}");
            check_error(&problem, &[&format!("{value:?}"), says]);
        }
        let long = Settings::read(|name| (name == "REFRESH").then(|| "x".repeat(9000)));
        check_error(&long.unwrap_err(), &["REFRESH=\"xxx", "allowed is rotate"]);
        let both = Settings::read(|name| match name {
            "STORE" => Some("redis://:hunter2@127.0.0.1".into()),
            "REFRESH" => Some("reissue".into()),
            _ => None,
        });
        check_error(&both.unwrap_err(), &["STORE=redis://..", "keeps nothing", "leave one"]);
    }

    #[tokio::test]
    async fn every_decision_allowed_here_is_allowed_by_the_engine() {
        for (name, values) in [
            ("ACCESS_TTL", ["1", "86400"]),
            ("SESSION_TTL", ["1", "315360000"]),
            ("REUSE_INTERVAL", ["1", "300"]),
        ] {
            for value in values {
                read(name, value).unwrap().engine().await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_bad_secret_is_one_line_that_names_secret() {
        for value in ["", "short"] {
            let problem = read("SECRET", value).unwrap().engine().await.unwrap_err();
            assert!(problem.starts_with("SECRET: "), "{problem}");
            check_error(&problem, &["openssl rand"]);
        }
    }

    #[tokio::test]
    async fn a_store_that_cant_be_opened_is_one_line_that_names_store() {
        for store in [
            "sqlite:/no/such/folder/sessions.db",
            "redis://:hunter2@127.0.0.1:1",
            "postgres://u:hunter2@127.0.0.1:1/d",
        ] {
            let problem = read("STORE", store).unwrap().engine().await.unwrap_err();
            assert!(problem.starts_with("STORE="), "{problem}");
            check_error(&problem, &["the session store failed: can't ", "; "]);
        }
    }

    #[tokio::test]
    async fn defaults_are_good() {
        let settings = Settings::read(|_| None).unwrap();
        assert_eq!(settings.port, 3000);
        assert_eq!(settings.refresh, Refresh::Rotate(Store::Memory));
        settings.engine().await.unwrap();
    }
}
