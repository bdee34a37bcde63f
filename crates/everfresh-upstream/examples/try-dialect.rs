//! Tries a dialect's file against a live endpoint: prints what is sent, what comes back, and what the
//! answer means. Tokens and secrets are masked.
//!
//! ```sh
//! REFRESH_TOKEN=.. CLIENT_ID=app CLIENT_SECRET=.. \
//!     cargo run -p everfresh-upstream --example try-dialect -- acme.json https://id.example/token
//! ```
//!
//! `ACCESS_TOKEN` is for dialects that present the access token. `CLIENT_AUTH` is `basic` (the
//! default), `raw_basic`, `post` or, without a secret, `none`. `SETTING_api_key=..` gives the setting
//! `api_key`.
//!
//! The request spends a refresh token that can be used once: the new one is printed only if
//! `SHOW_TOKENS=1`.

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::error::Error;

use everfresh::Clock;
use everfresh::dialect::{ClientAuthentication, Dialect, RefreshOutcome, RequestValues, TokenKind};
use everfresh_upstream::{HttpClient, SecureUrl};
use zeroize::Zeroizing;

/// What is printed in place of a value that must not be seen.
const MASK: &str = "***";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: try-dialect FILE URL; see the top of this example's source".into());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let dialect = Dialect::from_json(&text)?;
    let url: SecureUrl = url.parse()?;

    let (refresh_token, access_token) = (secret("REFRESH_TOKEN")?, secret("ACCESS_TOKEN")?);
    let (name, token) = match dialect.request.token {
        TokenKind::Refresh => ("REFRESH_TOKEN", &refresh_token),
        TokenKind::Access { .. } => ("ACCESS_TOKEN", &access_token),
    };
    let token = token.as_ref().ok_or_else(|| format!("{name} is missing: the token to present"))?;
    let client = client()?;
    let settings = settings(&dialect)?;
    let mut values = RequestValues::new(token).settings(&settings);
    values.client = client.as_ref();
    values.access_token = access_token.as_ref().map(|token| token.as_str());

    let now = Clock::system().now();
    let request = dialect.request(&values, now)?;
    println!("{} {}", request.method(), url.as_str());
    if let Some(query) = request.uri().query() {
        println!("with the parameters {}", names(query.as_bytes()));
    }
    for (name, value) in request.headers() {
        let hidden = value.is_sensitive() && name != "content-type" && name != "accept";
        let shown = if hidden { MASK } else { value.to_str().unwrap_or(MASK) };
        println!("{name}: {shown}");
    }
    println!("\n{}\n", body(&dialect, request.body()));

    let answer = HttpClient::new()?.post(&url).like(request).send().await?;
    println!("{}", answer.status);
    for name in ["content-type", "retry-after"] {
        if let Some(value) = answer.headers.get(name) {
            println!("{name}: {}", value.to_str().unwrap_or(MASK));
        }
    }
    let names = json_members(&answer.body).unwrap_or_else(|| "no JSON object".into());
    println!("{} bytes: {names}\n", answer.body.len());
    match dialect.read(answer.status, &answer.headers, &answer.body, now) {
        RefreshOutcome::Issued(issued) => {
            let show = env::var("SHOW_TOKENS").is_ok_and(|show| show == "1");
            let shown = |token: &str| if show { token.to_owned() } else { MASK.to_owned() };
            println!("issued: access token {}", shown(issued.access_token.expose()));
            match &issued.refresh_token {
                Some(token) => println!("  refresh token {}", shown(token.expose())),
                None => println!("  no new refresh token: the old one stays"),
            }
            println!("  ID token: {}", if issued.id_token.is_some() { MASK } else { "none" });
            match issued.expires_in {
                Some(life) => println!("  expires in {} s", life.as_secs()),
                None => println!("  the answer does not say when the access token expires"),
            }
            println!("  kept: {:?}", issued.members.keys().collect::<Vec<_>>());
        }
        RefreshOutcome::InDoubt if answer.status.is_success() => {
            println!("in doubt: a success without an access token at {}", dialect.wanted());
        }
        other => println!("{other:?}"),
    }
    Ok(())
}

/// A secret from the environment, if it is set.
fn secret(name: &str) -> Result<Option<Zeroizing<String>>, Box<dyn Error>> {
    match env::var(name) {
        Ok(value) => Ok(Some(Zeroizing::new(value))),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}

fn client() -> Result<Option<ClientAuthentication>, Box<dyn Error>> {
    let Ok(id) = env::var("CLIENT_ID") else { return Ok(None) };
    let how = env::var("CLIENT_AUTH").unwrap_or_else(|_| "basic".into());
    let Some(secret) = secret("CLIENT_SECRET")? else {
        return Ok(Some(ClientAuthentication::None { id }));
    };
    let secret = secret.as_str().into();
    Ok(Some(match &*how {
        "basic" => ClientAuthentication::Basic { id, secret },
        "raw_basic" => ClientAuthentication::RawBasic { id, secret },
        "post" => ClientAuthentication::Post { id, secret },
        other => return Err(format!("CLIENT_AUTH={other}: basic, raw_basic or post").into()),
    }))
}

fn settings(dialect: &Dialect) -> Result<BTreeMap<String, Zeroizing<String>>, Box<dyn Error>> {
    let mut settings = BTreeMap::new();
    for name in dialect.settings() {
        let variable = format!("SETTING_{name}");
        let missing = || format!("{variable} is missing: the dialect sends the setting `{name}`");
        settings.insert(name.to_owned(), secret(&variable)?.ok_or_else(missing)?);
    }
    Ok(settings)
}

/// The format of a request's body, and the names of its members.
fn body(dialect: &Dialect, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(no body)".into();
    }
    let names = json_members(bytes).unwrap_or_else(|| format!("members {}", names(bytes)));
    format!("{:?}: {names}", dialect.request.body)
}

/// The names of a form's or a query's parameters, without their values.
fn names(form: &[u8]) -> String {
    let names = form_urlencoded::parse(form).map(|(name, _)| name.into_owned());
    names.collect::<Vec<_>>().join(", ")
}

/// The names of the members of a JSON object, without their values.
fn json_members(bytes: &[u8]) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let names: Vec<&str> = object.keys().map(String::as_str).collect();
    Some(format!("members {}", names.join(", ")))
}
