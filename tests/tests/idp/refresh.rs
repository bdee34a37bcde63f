//! Refreshes at a real token endpoint, by the client side of [`Dialect::OAUTH2`].

use std::sync::Arc;
use std::time::Duration;

use everfresh::dialect::{
    AccessTokenResponse, ClientAuthentication, Dialect, RefreshOutcome, RequestValues,
};
use everfresh::{Algorithm, Clock, Key, Keys};
use everfresh_tests::idp::{IdentityProvider, IdentitySettings, Rotation, secret};
use everfresh_upstream::{HttpClient, Provider, SecureUrl};
use futures::future::join_all;

/// A client of the provider.
#[derive(Clone)]
struct Client {
    http: HttpClient,
    endpoint: SecureUrl,
    who: ClientAuthentication,
}

impl Client {
    async fn new(idp: &IdentityProvider, who: ClientAuthentication) -> Self {
        let http = HttpClient::new().unwrap();
        let provider = Provider::discover(&http, idp.url()).await.unwrap();
        Self { endpoint: provider.token_endpoint().unwrap().clone(), http, who }
    }

    async fn web(idp: &IdentityProvider) -> Self {
        Self::new(idp, basic("web")).await
    }

    async fn refresh(&self, token: &str) -> RefreshOutcome {
        let now = Clock::system().now();
        let request =
            Dialect::OAUTH2.request(&RequestValues::new(token).client(&self.who), now).unwrap();
        let answer = self.http.post(&self.endpoint).like(request).send().await.unwrap();
        Dialect::OAUTH2.read(answer.status, &answer.headers, &answer.body, now)
    }

    async fn issued(&self, token: &str) -> AccessTokenResponse {
        match self.refresh(token).await {
            RefreshOutcome::Issued(issued) => *issued,
            other => panic!("{other:?} to {:?}", self.who),
        }
    }
}

fn basic(id: &str) -> ClientAuthentication {
    ClientAuthentication::Basic { id: id.into(), secret: secret() }
}

fn successor(issued: &AccessTokenResponse) -> String {
    issued.refresh_token.as_ref().unwrap().expose().to_owned()
}

/// A key of the client, and its public part for the provider.
fn own_key() -> (Arc<Key>, serde_json::Value) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = || Key::from_der(Algorithm::ES256, &pair.serialize_der()).unwrap();
    let key = || key().with_kid("ours").unwrap();
    let set = Keys::new(key()).unwrap().public_jwk_set();
    (Arc::new(key()), serde_json::from_str(&set).unwrap())
}

#[tokio::test]
async fn each_client_authentication_method_is_accepted() {
    let (key, public) = own_key();
    let lifetime = Duration::from_secs(77);
    let settings = IdentitySettings {
        access_lifetime: lifetime,
        pkj_keys: Some(public),
        ..IdentitySettings::default()
    };
    let idp = IdentityProvider::start(&settings);
    let by_key = |audience: String| ClientAuthentication::PrivateKeyJwt {
        id: "pkj".into(),
        key: key.clone(),
        audience,
        x5t: None,
    };
    for (id, who) in [
        ("web", basic("web")),
        ("web-post", ClientAuthentication::Post { id: "web-post".into(), secret: secret() }),
        ("spa", ClientAuthentication::None { id: "spa".into() }),
        ("pkj", by_key(idp.url().into())),
        ("pkj", by_key(format!("{}/token", idp.url()))),
    ] {
        let client = Client::new(&idp, who).await;
        let mut tokens = vec![idp.tokens(id, "alice", 1).await.remove(0).refresh_token];
        for _ in 0..3 {
            let issued = client.issued(tokens.last().unwrap()).await;
            assert_eq!(issued.expires_in, Some(lifetime), "{id}");
            let next = successor(&issued);
            assert!(!tokens.contains(&next), "{id}: another one each time");
            tokens.push(next);
        }
    }
    assert_eq!(idp.counts().await.refreshes().outcomes, [("ok".to_owned(), 15)].into());
}

#[tokio::test]
async fn an_unauthenticated_client_is_misconfigured_and_loses_nothing() {
    let (_, public) = own_key();
    let (stranger, _) = own_key();
    let settings = IdentitySettings { pkj_keys: Some(public), ..IdentitySettings::default() };
    let idp = IdentityProvider::start(&settings);
    let token = idp.tokens("web", "alice", 1).await.remove(0).refresh_token;
    let (pkj, audience) = ("pkj".to_owned(), idp.url().to_owned());
    for who in [
        ClientAuthentication::Basic { id: "web".into(), secret: "s".into() },
        ClientAuthentication::Basic { id: "unknown".into(), secret: secret() },
        ClientAuthentication::Post { id: "web-post".into(), secret: "s".into() },
        ClientAuthentication::None { id: "web".into() },
        ClientAuthentication::PrivateKeyJwt { id: pkj, key: stranger, audience, x5t: None },
    ] {
        let client = Client::new(&idp, who).await;
        assert_eq!(client.refresh(&token).await, RefreshOutcome::Misconfigured, "{:?}", client.who);
    }
    // For another client's token the server answers as for an ended session.
    let other = Client::new(&idp, ClientAuthentication::None { id: "spa".into() }).await;
    assert_eq!(other.refresh(&token).await, RefreshOutcome::Rejected);
    Client::web(&idp).await.issued(&token).await;
}

#[tokio::test]
async fn a_token_that_does_not_rotate_stays() {
    for (rotation, repeated) in [(Rotation::Repeated, true), (Rotation::Omitted, false)] {
        let settings = IdentitySettings { rotation, ..IdentitySettings::default() };
        let idp = IdentityProvider::start(&settings);
        let client = Client::web(&idp).await;
        let token = idp.tokens("web", "alice", 1).await.remove(0).refresh_token;
        for _ in 0..3 {
            let issued = client.issued(&token).await;
            let said = issued.refresh_token.as_ref().map(|token| token.expose());
            assert_eq!(said, repeated.then_some(&*token));
        }
    }
}

#[tokio::test]
async fn a_session_that_ended_at_the_provider_is_rejected() {
    let settings = IdentitySettings {
        refresh_lifetime: Duration::from_secs(1),
        ..IdentitySettings::default()
    };
    let idp = IdentityProvider::start(&settings);
    let client = Client::web(&idp).await;
    let mut tokens = idp.tokens("web", "alice", 2).await;
    idp.revoke("alice").await;
    assert_eq!(client.refresh(&tokens.remove(0).refresh_token).await, RefreshOutcome::Rejected);
    assert_eq!(client.refresh("never-issued").await, RefreshOutcome::Rejected);
    let short = idp.tokens("web", "bob", 1).await.remove(0).refresh_token;
    // The provider's clock counts whole seconds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.refresh(&short).await, RefreshOutcome::Rejected);
}

#[tokio::test]
async fn a_token_that_was_used_ends_its_family() {
    let idp = IdentityProvider::start(&IdentitySettings::default());
    let client = Client::web(&idp).await;
    let (first, bystander) = {
        let mut both = idp.tokens("web", "alice", 2).await;
        (both.remove(0).refresh_token, both.remove(0).refresh_token)
    };
    let second = successor(&client.issued(&first).await);
    assert_eq!(client.refresh(&first).await, RefreshOutcome::Rejected);
    assert_eq!(client.refresh(&second).await, RefreshOutcome::Rejected);
    client.issued(&bystander).await;
}

/// The baseline for comparison: every task that finds its token expired refreshes it.
// Rows: F01.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ignores_rotation_loses_every_session() {
    const SESSIONS: usize = 10;
    const TASKS: usize = 64;
    let idp = IdentityProvider::start(&IdentitySettings::default());
    let client = Client::web(&idp).await;
    let (mut lost, mut probes) = (0, 0);
    for tokens in idp.tokens("web", "alice", SESSIONS).await {
        let tasks = (0..TASKS).map(|_| {
            let (client, token) = (client.clone(), tokens.refresh_token.clone());
            tokio::spawn(async move { client.refresh(&token).await })
        });
        let mut successors = Vec::new();
        for answer in join_all(tasks).await {
            match answer.unwrap() {
                RefreshOutcome::Issued(issued) => successors.push(successor(&issued)),
                other => assert_eq!(other, RefreshOutcome::Rejected),
            }
        }
        let mut alive = 0;
        for token in &successors {
            probes += 1;
            alive += usize::from(matches!(client.refresh(token).await, RefreshOutcome::Issued(_)));
        }
        lost += usize::from(alive == 0);
    }
    let calls = idp.counts().await.refreshes().calls - probes;
    eprintln!(
        "a naive client, {TASKS} tasks at each of {SESSIONS} expiries: {:.3} calls per expiry, \
         {lost} of {SESSIONS} sessions lost",
        calls as f64 / SESSIONS as f64,
    );
    assert_eq!(lost, SESSIONS);
}
