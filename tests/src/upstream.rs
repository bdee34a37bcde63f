//! `REFRESH=upstream`: the settings of the server whose tokens back the sessions.

use std::time::Duration;

use everfresh::TrustedIssuer;
use everfresh::dialect::{ClientAuthentication, ClientSecret, Dialect};
use everfresh_upstream::{HttpClient, JwksUrl, Replay, SecureUrl, Upstream};

/// The settings from the environment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UpstreamSettings {
    url: SecureUrl,
    dialect: Dialect,
    client: Option<(String, Option<ClientSecret>)>,
    replay: Replay,
    limit: Option<Duration>,
    revocation: Option<SecureUrl>,
    jwks: Option<Jwks>,
}

/// The address of its keys, and the required claims of its tokens.
#[derive(Clone, Debug, PartialEq)]
struct Jwks {
    url: SecureUrl,
    issuer: String,
    audience: String,
}

impl UpstreamSettings {
    /// Reads the variables that begin with `UPSTREAM_`.
    pub(crate) fn read(lookup: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let address = |name: &str| match lookup(name) {
            None => Ok(None),
            Some(found) => match found.parse::<SecureUrl>() {
                Ok(url) => Ok(Some(url)),
                Err(error) => Err(format!("{name}: {error}")),
            },
        };
        let missing = |name: &str, why: &str| format!("{name}: not set; give {why}");
        let dialect = match lookup("UPSTREAM_DIALECT") {
            None => Dialect::OAUTH2,
            Some(found) => dialect(&found)?,
        };
        let url = address("UPSTREAM_URL")?;
        let url = url.ok_or_else(|| {
            missing("UPSTREAM_URL", "the address to refresh at, such as https://id.example")
        })?;
        let client_id = lookup("UPSTREAM_CLIENT_ID");
        let jwks = match address("UPSTREAM_JWKS")? {
            None => None,
            Some(url) => {
                let why = "what `iss` must be in tokens that UPSTREAM_JWKS checks";
                let issuer = lookup("UPSTREAM_ISSUER");
                let issuer = issuer.ok_or_else(|| missing("UPSTREAM_ISSUER", why))?;
                let why = "what `aud` must be in tokens that UPSTREAM_JWKS checks";
                let audience = lookup("UPSTREAM_AUDIENCE").or_else(|| client_id.clone());
                let audience = audience.ok_or_else(|| missing("UPSTREAM_AUDIENCE", why))?;
                Some(Jwks { url, issuer, audience })
            }
        };
        let client =
            client_id.map(|id| (id, lookup("UPSTREAM_CLIENT_SECRET").map(ClientSecret::from)));
        let revocation = address("UPSTREAM_REVOCATION")?;
        if (dialect.request.client.is_some() || revocation.is_some()) && client.is_none() {
            return Err(missing(
                "UPSTREAM_CLIENT_ID",
                "the name that the other server knows us by",
            ));
        }
        Ok(Self {
            url,
            dialect,
            client,
            replay: replay(lookup("UPSTREAM_REPLAY").as_deref())?,
            limit: limit(lookup("UPSTREAM_LIMIT"))?,
            revocation,
            jwks,
        })
    }

    /// The refresher, after it has fetched the keys.
    pub(crate) async fn open(&self) -> Result<Upstream, String> {
        let http = HttpClient::new().map_err(|error| format!("UPSTREAM_URL: {error}"))?;
        // An address without a path is a server that has the dialect at its default path.
        let bare = self.url.as_str().matches('/').count() <= 2 || self.url.as_str().ends_with('/');
        let mut upstream = match bare {
            true => Upstream::new(&http, self.dialect.clone(), &self.url)
                .map_err(|error| format!("UPSTREAM_URL: {error}"))?,
            false => Upstream::at(&http, self.dialect.clone(), self.url.clone()),
        };
        upstream = match self.client.clone() {
            None => upstream,
            Some((id, None)) => upstream.client(ClientAuthentication::None { id }),
            Some((id, Some(secret))) => upstream.client(ClientAuthentication::Basic { id, secret }),
        };
        if let Some(limit) = self.limit {
            upstream = upstream.limit(limit);
        }
        if let Some(url) = &self.revocation {
            upstream = upstream.revoke_at(url.clone());
        }
        if let Some(Jwks { url, issuer, audience }) = &self.jwks {
            let fetched = JwksUrl::from(url.clone()).fetch(&http).await;
            let keys = fetched.map_err(|error| format!("UPSTREAM_JWKS: {error}"))?.keys();
            upstream = upstream.access_tokens_by(TrustedIssuer::new(keys, issuer, audience));
        }
        Ok(upstream.replay(self.replay))
    }
}

/// A constant by its name, or a file.
fn dialect(found: &str) -> Result<Dialect, String> {
    if let Some(known) = Dialect::ALL.into_iter().find(|dialect| *dialect.name == *found) {
        return Ok(known.clone());
    }
    let names: Vec<_> = Dialect::ALL.iter().map(|dialect| &*dialect.name).collect();
    let named = |problem: String| format!("UPSTREAM_DIALECT={found:?}: {problem}");
    if !found.ends_with(".json") {
        return Err(named(format!("allowed is {} or a .json file", names.join(", "))));
    }
    let text = std::fs::read_to_string(found)
        .map_err(|error| named(format!("{error}; allowed is a file that can be read")))?;
    Dialect::from_json(&text).map_err(|error| named(error.to_string()))
}

fn replay(found: Option<&str>) -> Result<Replay, String> {
    match found {
        None | Some("never") => Ok(Replay::Never),
        Some("always") => Ok(Replay::Always),
        Some(seconds) => match seconds.parse() {
            Ok(seconds @ 4..=86_400) => Ok(Replay::Within(Duration::from_secs(seconds))),
            _ => Err(format!(
                "UPSTREAM_REPLAY={seconds:?}: allowed is never, always, or a number of seconds \
                 from 4 to 86400"
            )),
        },
    }
}

fn limit(found: Option<String>) -> Result<Option<Duration>, String> {
    let Some(found) = found else { return Ok(None) };
    match found.parse() {
        Ok(seconds @ 1..=300) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(format!("UPSTREAM_LIMIT={found:?}: allowed is a number of seconds from 1 to 300")),
    }
}

#[cfg(test)]
mod tests {
    use everfresh_error_texts::check_error;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<UpstreamSettings, String> {
        UpstreamSettings::read(&|wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_bad_variable_is_one_line_that_names_it_and_what_is_allowed() {
        const URL: (&str, &str) = ("UPSTREAM_URL", "https://id.example/token");
        const ID: (&str, &str) = ("UPSTREAM_CLIENT_ID", "app");
        for (variables, name, says) in [
            (&[ID][..], "UPSTREAM_URL", "not set"),
            (&[ID, ("UPSTREAM_URL", "http://id.example/")], "UPSTREAM_URL", "must be https"),
            (&[URL], "UPSTREAM_CLIENT_ID", "not set"),
            (&[URL, ID, ("UPSTREAM_DIALECT", "saml")], "UPSTREAM_DIALECT", "allowed is vijil, "),
            (&[URL, ID, ("UPSTREAM_DIALECT", "/no/such.json")], "UPSTREAM_DIALECT", "No such file"),
            (&[URL, ID, ("UPSTREAM_REPLAY", "often")], "UPSTREAM_REPLAY", "never, always"),
            (&[URL, ID, ("UPSTREAM_REPLAY", "3")], "UPSTREAM_REPLAY", "from 4 to 86400"),
            (&[URL, ID, ("UPSTREAM_LIMIT", "0")], "UPSTREAM_LIMIT", "from 1 to 300"),
            (
                &[URL, ID, ("UPSTREAM_JWKS", "https://id.example/jwks")],
                "UPSTREAM_ISSUER",
                "not set",
            ),
        ] {
            let problem = read(variables).unwrap_err();
            assert!(problem.starts_with(name), "{problem}");
            check_error(&problem, &[says]);
        }
        read(&[URL, ID]).unwrap();
        let url = ("UPSTREAM_URL", "http://127.0.0.1:9");
        read(&[url, ("UPSTREAM_DIALECT", "galileo")]).unwrap();
    }
}
