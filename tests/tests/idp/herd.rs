//! Each expiry causes one call to the provider, and no client is signed out.

use everfresh_tests::herd::{Cluster, EARLIEST, LIFETIME, SERVERS, expiries};
use everfresh_tests::idp::{
    AUDIENCE, AccessTokens, IdentityProvider, IdentitySettings, SECRET as CLIENT_SECRET,
};
use everfresh_tests::process::Workplace;
use serde_json::json;

/// `checked`: the servers verify the provider's access tokens, which are JWTs.
fn cluster(workplace: &Workplace, idp: &IdentityProvider, checked: bool) -> Cluster {
    let mut settings = vec![
        ("UPSTREAM_URL", format!("{}/token", idp.url())),
        ("UPSTREAM_DIALECT", "oauth2".to_owned()),
        ("UPSTREAM_CLIENT_ID", "web".to_owned()),
        ("UPSTREAM_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
    ];
    if checked {
        settings.push(("UPSTREAM_JWKS", format!("{}/jwks", idp.url())));
        settings.push(("UPSTREAM_ISSUER", idp.url().to_owned()));
        settings.push(("UPSTREAM_AUDIENCE", AUDIENCE.to_owned()));
    }
    Cluster::start(workplace, env!("CARGO_BIN_EXE_serve-axum"), &settings)
}

/// Runs herds until the given number of tokens have expired, and checks the figure.
async fn figure(idp: &IdentityProvider, cluster: &Cluster, wanted: usize) {
    let sign_in = async |sub: &str| {
        let tokens = idp.tokens("web", sub, 1).await.remove(0);
        json!({
            "sub": sub,
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token,
            "expires_in": tokens.expires_in,
        })
    };
    let herds = cluster.run(wanted, sign_in).await;
    let counts = idp.counts().await;
    let refreshes = counts.refreshes();
    let expiries = refreshes.rotated_after(EARLIEST.as_secs());
    herds.check(expiries, refreshes.calls, counts.token_requests());
}

fn provider(access_tokens: AccessTokens) -> IdentityProvider {
    let access_lifetime = LIFETIME;
    let settings =
        IdentitySettings { access_lifetime, access_tokens, ..IdentitySettings::default() };
    IdentityProvider::start(&settings)
}

// Rows: F01, F30.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_one_call_of_the_provider_and_no_session_is_lost() {
    let (idp, workplace) = (provider(AccessTokens::Opaque), Workplace::new().unwrap());
    let cluster = cluster(&workplace, &idp, false);
    figure(&idp, &cluster, expiries()).await;
}

// Rows: S41.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_read_survive_new_keys_at_the_provider() {
    let (idp, workplace) = (provider(AccessTokens::Jwt), Workplace::new().unwrap());
    let cluster = cluster(&workplace, &idp, true);
    assert_eq!(idp.counts().await.key_fetches(), SERVERS as u64, "at start");
    idp.rotate_keys(true).await;
    figure(&idp, &cluster, 16).await;
    let fetches = idp.counts().await.key_fetches();
    assert!((SERVERS as u64 + 1..=SERVERS as u64 * 2).contains(&fetches), "{fetches}");
}
