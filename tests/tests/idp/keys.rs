//! The provider's metadata and keys, and access tokens signed with them.

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::refresher::{
    Closing, Context, FlightKey, Presented, RefreshRequest, Refresher, SignInRequest, Tokens,
};
use everfresh::{Engine, Failure, Session, Timestamp, Transport};
use everfresh_tests::idp::{AUDIENCE, AccessTokens, IdentityProvider, IdentitySettings};
use everfresh_upstream::{HttpClient, Provider, RemoteKeys};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _};

fn start(alg: &'static str) -> IdentityProvider {
    let access_tokens = AccessTokens::SessionJwt(alg);
    IdentityProvider::start(&IdentitySettings { access_tokens, ..IdentitySettings::default() })
}

/// A refresher that only verifies.
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

/// An app that accepts the provider's tokens and returns the user.
#[derive(Clone)]
struct App(BoxCloneSyncService<Request<()>, Response<Vec<u8>>, Infallible>);

impl App {
    async fn of(idp: &IdentityProvider) -> Self {
        Self::with(idp, &fetch(idp).await, AUDIENCE)
    }

    fn with(idp: &IdentityProvider, remote: &RemoteKeys, audience: &str) -> Self {
        let auth = Engine::<Value>::builder(remote.keys())
            .issuer(idp.url())
            .audience(audience)
            .transports([Transport::headers()])
            .refresh_with(Elsewhere)
            .build()
            .unwrap();
        let who = tower::service_fn(|request: Request<()>| async move {
            let session = request.extensions().get::<Session<Value>>().unwrap();
            Ok(Response::new(session.subject().unwrap_or_default().into()))
        });
        let service = ServiceBuilder::new().layer(auth.layer()).layer(auth.require()).service(who);
        Self(BoxCloneSyncService::new(service))
    }

    async fn ask(&self, token: &str) -> (u16, String) {
        let mut request = Request::new(());
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
        let answer = self.0.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body()).unwrap())
    }

    async fn status(&self, token: &str) -> u16 {
        self.ask(token).await.0
    }
}

async fn discover(idp: &IdentityProvider) -> Provider {
    Provider::discover(&HttpClient::new().unwrap(), idp.url()).await.unwrap()
}

async fn fetch(idp: &IdentityProvider) -> RemoteKeys {
    let jwks = discover(idp).await.jwks().unwrap();
    jwks.fetch(&HttpClient::new().unwrap()).await.unwrap()
}

async fn access_token(idp: &IdentityProvider, sub: &str) -> String {
    idp.tokens("web", sub, 1).await.remove(0).access_token
}

#[tokio::test]
async fn the_providers_metadata_name_its_endpoints() {
    let idp = start("RS256");
    let provider = discover(&idp).await;
    assert_eq!(provider.issuer(), idp.url());
    let at = |path: &str| format!("{}{path}", idp.url());
    assert_eq!(provider.token_endpoint().unwrap().as_str(), at("/token"));
    assert_eq!(provider.revocation_endpoint().unwrap().as_str(), at("/token/revocation"));
    for method in ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] {
        let methods = provider.token_auth_methods();
        assert!(methods.iter().any(|found| found == method), "{method} in {methods:?}");
    }
}

#[tokio::test]
async fn access_tokens_by_its_keys_count() {
    for alg in ["RS256", "ES256"] {
        let idp = start(alg);
        let remote = fetch(&idp).await;
        let app = App::with(&idp, &remote, AUDIENCE);
        let token = access_token(&idp, "alice").await;
        assert_eq!(app.ask(&token).await, (200, "alice".into()), "{alg}");
        let id_token = idp.tokens("web", "alice", 1).await.remove(0).id_token;
        assert_eq!(app.status(&id_token).await, 401, "an ID token is no access token");
        let other = App::with(&idp, &remote, "https://other.example");
        assert_eq!(other.status(&token).await, 401, "it is for another audience");
        let (body, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = B64.decode(signature).unwrap();
        bytes[7] ^= 1;
        let changed = format!("{body}.{}", B64.encode(bytes));
        assert_eq!(app.status(&changed).await, 401);
    }
}

// Rows: S41.
#[tokio::test]
async fn a_token_by_a_new_key_counts_after_one_fetch() {
    for keep in [true, false] {
        let idp = start("ES256");
        let app = App::of(&idp).await;
        let former = access_token(&idp, "alice").await;
        assert_eq!(app.status(&former).await, 200);
        idp.rotate_keys(keep).await;
        let token = access_token(&idp, "bob").await;
        for _ in 0..100 {
            assert_eq!(app.ask(&token).await, (200, "bob".into()));
        }
        assert_eq!(idp.counts().await.key_fetches(), 2, "at start, and for the new key");
        let expected = if keep { 200 } else { 401 };
        assert_eq!(app.status(&former).await, expected, "published: {keep}");
    }
}

/// The figure: 10,000 tokens with a random `kid` cause one fetch per cooldown.
// Rows: F111, S35.
#[tokio::test]
async fn ten_thousand_random_kids_are_one_fetch() {
    const TOKENS: usize = 10_000;
    const COOLDOWN: u64 = 30;
    let idp = start("ES256");
    let app = App::of(&idp).await;
    let good = access_token(&idp, "alice").await;
    let before = idp.counts().await.key_fetches();
    let began = Instant::now();
    for n in 0..TOKENS {
        assert_eq!(app.status(&random_kid()).await, 401);
        if n % 1000 == 0 {
            assert_eq!(app.status(&good).await, 200, "a good token notices nothing");
        }
    }
    let elapsed = began.elapsed();
    let fetches = idp.counts().await.key_fetches() - before;
    eprintln!("{TOKENS} tokens with random `kid` in {elapsed:.1?}: {fetches} fetches of the keys");
    assert!((1..=1 + elapsed.as_secs() / COOLDOWN).contains(&fetches));
}

/// A token that needs no key to make.
fn random_kid() -> String {
    let mut kid = [0; 16];
    getrandom::fill(&mut kid).unwrap();
    let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": B64.encode(kid)});
    format!("{}.{}.{}", B64.encode(header.to_string()), B64.encode("{}"), B64.encode([7; 64]))
}
