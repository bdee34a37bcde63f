//! The servers' environment: every variable, what is allowed, and one clear line where it isn't.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use everfresh::{Carrier, Engine, Keys, Resign};
use everfresh_testkit::contract::User;

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PORT`: 0 lets the system choose. Default 3000.
    pub port: u16,
    access_ttl: Duration,
    session_ttl: Duration,
    secret: String,
}

impl Settings {
    /// Reads the process environment; a bad value ends the process with status 2.
    pub fn from_env_or_exit() -> Self {
        let settings = Self::read(|name| std::env::var(name).ok());
        settings.unwrap_or_else(|problem| exit(&problem))
    }

    /// Reads settings from `lookup`. The error is one line that names the variable, what was
    /// found and what is allowed.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let secret = match lookup("SECRET") {
            Some(secret) => secret,
            None => random_secret()?,
        };
        let stores = ["sqlite:", "postgres://", "redis://"];
        match lookup("STORE") {
            Some(store) if stores.iter().any(|kind| store.starts_with(kind)) => {
                return Err(format!("STORE={store:?}: not in this build; allowed is memory"));
            }
            store => one_of("STORE", store, "memory", &["memory"], &[])?,
        };
        one_of("REFRESH", lookup("REFRESH"), "resign", &["resign"], &["rotate", "upstream"])?;
        Ok(Self {
            port: number("PORT", lookup("PORT"), 3000, 0, u16::MAX)?,
            access_ttl: seconds("ACCESS_TTL", lookup("ACCESS_TTL"), 900)?,
            session_ttl: seconds("SESSION_TTL", lookup("SESSION_TTL"), 86_400)?,
            secret,
        })
    }

    /// An engine as the contract has it.
    pub fn engine(&self) -> Result<Engine<User>, String> {
        let keys = Keys::hs256(&self.secret).map_err(|error| format!("SECRET: {error}"))?;
        Engine::builder(keys)
            .issuer("https://everfresh.test")
            .audience("contract")
            .access_lifetime(self.access_ttl)
            .session_lifetime(self.session_ttl)
            .carriers([Carrier::cookies(), Carrier::headers()])
            .insecure_dev_only()
            .refresh_with(Resign::new())
            .build()
            .map_err(|error| error.to_string())
    }
}

/// Prints one line and ends the process with status 2.
pub fn exit(problem: &str) -> ! {
    eprintln!("{problem}");
    std::process::exit(2)
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
        format!("{name}={found:?}: allowed is a whole number from {least} to {most}")
    })
}

fn seconds(name: &str, found: Option<String>, default: u64) -> Result<Duration, String> {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 60 * 60;
    number(name, found, default, 1, TEN_YEARS).map(Duration::from_secs)
}

fn one_of(
    name: &str,
    found: Option<String>,
    default: &str,
    allowed: &[&str],
    coming: &[&str],
) -> Result<String, String> {
    let found = found.unwrap_or_else(|| default.into());
    if coming.contains(&&*found) {
        return Err(format!(
            "{name}={found:?}: not in this build; allowed is {}",
            allowed.join(", ")
        ));
    }
    if !allowed.contains(&&*found) {
        return Err(format!("{name}={found:?}: allowed is {}", allowed.join(", ")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Result<Settings, String> {
        Settings::read(|wanted| match wanted {
            "SECRET" if name != "SECRET" => Some("0123456789abcdef-0123456789abcdef".into()),
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
            ("REFRESH", "rotate", "not in this build; allowed is resign"),
            ("REFRESH", "upstream", "not in this build; allowed is resign"),
            ("REFRESH", "magic", "allowed is resign"),
            ("STORE", "sqlite:x.db", "not in this build; allowed is memory"),
            ("STORE", "disk", "allowed is memory"),
        ] {
            let problem = read(name, value).unwrap_err();
            assert!(problem.starts_with(name), "{problem}");
            assert!(problem.contains(&format!("{value:?}")), "{problem}");
            assert!(problem.contains(says), "{problem}");
            assert_eq!(problem.lines().count(), 1);
        }
    }

    #[test]
    fn a_bad_secret_is_one_line_that_names_secret() {
        for value in ["", "short"] {
            let problem = read("SECRET", value).unwrap().engine().unwrap_err();
            assert!(problem.starts_with("SECRET: "), "{problem}");
            assert_eq!(problem.lines().count(), 1);
        }
    }

    #[test]
    fn defaults_are_good() {
        let settings = Settings::read(|_| None).unwrap();
        assert_eq!(settings.port, 3000);
        settings.engine().unwrap();
    }
}
