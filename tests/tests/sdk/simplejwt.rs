//! A service with Django's Simple JWT, whose used refresh tokens are blacklisted, behind four
//! everfresh servers.

use std::collections::BTreeMap;

use everfresh_tests::herd::{Cluster, EARLIEST, LIFETIME, expiries};
use everfresh_tests::process::Workplace;
use everfresh_upstream::HttpClient;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::vendor::python;

#[derive(Debug, Deserialize)]
struct Counts {
    heads: u64,
    answered: BTreeMap<String, u64>,
    ages: BTreeMap<u64, u64>,
}

/// Posts JSON to the service, and returns its answer.
async fn post<T: DeserializeOwned>(url: &str, body: Value) -> T {
    let http = HttpClient::new().unwrap();
    let answer = http.post(&url.parse().unwrap()).json(&body).send().await.unwrap();
    answer.json().unwrap_or_else(|error| panic!("{url}: {}: {error}", answer.status))
}

// Rows: F01, F30.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_one_call_of_the_service_and_no_session_is_lost() {
    let seconds = LIFETIME.as_secs().to_string();
    let (mut service, _home) = python("simplejwt.py", &[&seconds]);
    let url = service.wait_for("listening on ");
    let workplace = Workplace::new().unwrap();
    // The servers run as another user, who may not read the checkout.
    let dialect = workplace.path().join("django_simplejwt.json");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../dialects/django_simplejwt.json");
    std::fs::copy(file, &dialect).unwrap();
    workplace.share(&dialect).unwrap();
    let settings = [
        ("UPSTREAM_URL", format!("{url}/api/token/refresh/")),
        ("UPSTREAM_DIALECT", dialect.to_str().unwrap().to_owned()),
    ];
    let cluster = Cluster::start(&workplace, env!("CARGO_BIN_EXE_serve-axum"), &settings);
    let sign_in = async |sub: &str| {
        post::<Value>(&format!("{url}/control/user"), json!({"name": sub})).await;
        let credentials = json!({"username": sub, "password": sub});
        let tokens: Value = post(&format!("{url}/api/token/"), credentials).await;
        json!({
            "sub": sub,
            "access_token": tokens["access"],
            "refresh_token": tokens["refresh"],
            "expires_in": LIFETIME.as_secs(),
        })
    };
    let herds = cluster.run(expiries(), sign_in).await;
    let counts: Counts = post(&format!("{url}/control/counts"), json!({})).await;
    assert_eq!(counts.answered.keys().collect::<Vec<_>>(), ["200"], "{counts:?}");
    let replaced = counts.ages.range(EARLIEST.as_secs()..).map(|(_, count)| count).sum();
    herds.check(replaced, counts.answered["200"], counts.heads);
}
