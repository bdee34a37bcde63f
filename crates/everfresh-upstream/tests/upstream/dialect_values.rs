//! What a dialect sends beside the token: settings, kept members, a lifetime; and how it signs out.

use everfresh::dialect::{AccessTokenResponse, Dialect};
use everfresh::refresher::RefreshToken;
use everfresh::{AccessToken, ConfigError, Engine, Keys, MemoryStore};
use everfresh_upstream::Upstream;
use serde_json::json;

use crate::fixture::*;
use crate::provider::{Grant, Provider, SECRET_PART};

/// A dialect that sends an API key, a kept member and a lifetime.
fn dialect() -> Dialect {
    let file = json!({
        "name": "acme",
        "request": {
            "places": [{"body": "refresh_token"}],
            "query": [{"name": "tenant", "value": {"setting": "tenant"}}],
            "headers": [{"name": "x-api-key", "value": {"setting": "api_key"}},
                        {"name": "x-device", "value": {"kept": "device.id"}}],
            "lifetime": {"member": "ttl", "min": 60, "max": 600},
        },
        "response": {
            "access_token": "access_token",
            "refresh_token": "refresh_token",
            "expires_in": "expires_in",
            "keep": "device.id",
        },
        "rules": [],
        "sign_out": {
            "body": "form",
            "places": [{"body": "refresh_token"}],
            "members": [{"name": "key", "value": {"setting": "api_key"}}],
        },
    });
    Dialect::from_json(&file.to_string()).unwrap()
}

fn upstream(provider: &Provider) -> Upstream {
    Upstream::at(&provider.client(), dialect(), url("https://id.example/token?v=2"))
        .revoke_at(url("https://id.example/revoke"))
}

#[tokio::test(start_paused = true)]
async fn settings_kept_members_and_a_lifetime_are_sent() {
    let provider = Provider::new();
    provider.answers(|grant| {
        let device = format!("d-{}", grant.n);
        json!({"access_token": grant.access(), "refresh_token": grant.refresh(),
               "expires_in": 300, "device": {"id": device}})
    });
    let complete = {
        let provider = provider.clone();
        move || {
            let upstream = upstream(&provider).setting("tenant", "a&b").setting("api_key", "k-1");
            upstream.ask_for(secs(7200))
        }
    };
    let fixture = Fixture::over(provider, 1, complete, |builder| builder);
    let mut client = fixture.expired("ada").await;
    for device in [None, Some("d-1"), Some("d-2")] {
        assert_eq!(fixture.get(&mut client).await.status, 200);
        let got = fixture.provider.got().pop().unwrap();
        assert_eq!(got.query.as_deref(), Some("v=2&tenant=a%26b"));
        assert_eq!(got.headers["x-api-key"], "k-1");
        let sent = got.headers.get("x-device").map(|field| field.to_str().unwrap());
        assert_eq!(sent, device, "what the last answer had");
        let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!((&body["ttl"], &body["refresh_token"]), (&json!(600), &json!(got.token)));
        fixture.pass(LIFE + 1);
    }
}

/// Salesforce names the server of an account in `instance_url`, and moves accounts.
#[tokio::test(start_paused = true)]
async fn handlers_read_kept_members_of_the_last_response_that_had_them() {
    let file = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dialects/salesforce.json"),
    );
    let dialect = Dialect::from_json(&file.unwrap()).unwrap();
    let provider = Provider::new();
    provider.answers(|grant| {
        let mut answer = json!({
            "access_token": grant.access(), "refresh_token": grant.refresh(), "scope": "api",
        });
        if grant.n == 2 {
            answer["instance_url"] = json!("https://two.example");
        }
        answer
    });
    let complete = {
        let provider = provider.clone();
        move || {
            let at = url("https://id.example/token");
            Upstream::at(&provider.client(), dialect.clone(), at).client(public_client())
        }
    };
    let fixture = Fixture::over(provider, 1, complete, |builder| builder);
    let grant = Grant { family: "ada".into(), n: 0 };
    let mut issued = AccessTokenResponse::new(AccessToken::new(grant.access()))
        .with_refresh_token(RefreshToken::new(grant.refresh()))
        .with_expires_in(secs(LIFE));
    issued.members.insert("instance_url".into(), "https://one.example".into());
    let mut client = fixture.node().adopt_issued("ada", issued).await.unwrap();
    let read = |session: everfresh::Session<User>| async move {
        let token = session.upstream_access_token().await?;
        assert_eq!(token.kept("scope"), None, "the dialect does not keep it");
        assert!(!format!("{token:?}").contains("example"), "{token:?}");
        Ok(format!("{} {}", token.expose(), token.kept("instance_url").unwrap_or("none")))
    };
    for (n, server) in (0..).zip(["one", "one", "two", "two"]) {
        let access = Grant { family: "ada".into(), n }.access();
        let answer = fixture.node().send(&mut client, read).await;
        assert_eq!(answer.body, format!("{access} https://{server}.example"));
        fixture.pass(LIFE + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dialect_signs_out_in_its_own_way() {
    let provider = Provider::new();
    let complete = {
        let provider = provider.clone();
        move || upstream(&provider).setting("tenant", "t").setting("api_key", "k-1")
    };
    let fixture = Fixture::over(provider, 1, complete, |builder| builder);
    let mut client = fixture.adopt("ada").await;
    let sign_out = |session: everfresh::Session<User>| async move {
        session.sign_out().await?;
        Ok(String::new())
    };
    assert_eq!(fixture.node().send(&mut client, sign_out).await.status, 200);
    fixture.until(async || fixture.provider.revoked().len() == 1).await;
    let got = fixture.provider.revoked().pop().unwrap();
    assert_eq!(got.body, format!("key=k-1&refresh_token=rt.ada.0.{SECRET_PART}"));
}

#[tokio::test]
async fn a_setting_that_is_not_given_is_an_error_at_build() {
    let build = |change: fn(Upstream) -> Upstream| {
        let upstream = change(upstream(&Provider::new()));
        let builder = Engine::<User>::builder(Keys::hs256(SECRET).unwrap());
        let builder = builder.issuer("https://app.example").audience("app");
        let built = builder.refresh_with(upstream.kept_in(MemoryStore::new())).build();
        built.map(drop).map_err(|error: ConfigError| error.to_string())
    };
    build(|all| all.setting("tenant", "t").setting("api_key", "k")).unwrap();
    let problem = build(|some| some.setting("tenant", "t")).unwrap_err();
    assert!(problem.contains("`Upstream::setting` lacks \"api_key\""), "{problem}");
    let oauth2 = Upstream::oauth2(&Provider::new().client(), url("https://id.example/token"));
    let asks = oauth2.client(public_client()).ask_for(secs(60));
    let builder = Engine::<User>::builder(Keys::hs256(SECRET).unwrap());
    let builder = builder.issuer("https://app.example").audience("app");
    let built = builder.refresh_with(asks.kept_in(MemoryStore::new())).build();
    let problem = built.map(drop).unwrap_err().to_string();
    assert!(problem.contains("`Upstream::ask_for`") && problem.contains("oauth2"), "{problem}");
}
