//! Answers that are not a key set, and networks that deliver none: rows S36 to S38 and S40.

use super::*;

/// All kinds of bad answers, with the expected error text.
fn bad_answers(good: &Value) -> Vec<(Does, &'static str)> {
    let answer = |body: String| Does::Answer(body, "max-age=600");
    let json = |body: Value| answer(body.to_string());
    let encryption = json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"});
    let mut many = vec![Value::Null; 65];
    many[0] = good["keys"][0].clone();
    let secret = json!({"kty": "oct", "kid": "s", "k": B64.encode([9; 32])});
    vec![
        (Does::Status(500), "answered 500"),
        (Does::Status(404), "answered 404"),
        (Does::Status(204), "answered 204"),
        (Does::Status(302), "redirects are not followed"),
        (Does::Fail, "could not connect"),
        (Does::Hang, "did not answer within 10s"),
        (answer("<html>".into()), "not the expected JSON"),
        (answer("\u{feff}{\"keys\": []}".into()), "not the expected JSON"),
        (answer(format!("{good} x")), "not the expected JSON"),
        (answer(String::new()), "not the expected JSON"),
        (answer(format!("{{\"keys\": {}", "[".repeat(10_000))), "not the expected JSON"),
        (json(json!({"key": []})), "keys"),
        (json(json!({"keys": {}})), "not the expected JSON"),
        (json(json!({"keys": []})), "no usable key"),
        (json(json!({"keys": [encryption]})), "no usable key"),
        (json(json!({"keys": [null, 7, "x", {}]})), "no usable key"),
        (json(json!({"keys": [good["keys"][0], secret]})), "shared secret"),
        (json(json!({"keys": many})), "65 keys"),
        (answer(format!("{good}{}", " ".repeat(64 * 1024))), "more than 65536 bytes"),
    ]
}

// Rows: S36, S37, S38.
#[tokio::test(start_paused = true)]
async fn a_set_that_cant_be_used_is_an_error_at_start_that_says_why() {
    let signer = Signer::new("a").await;
    for (does, says) in bad_answers(&signer.jwks) {
        let issuer = Issuer::new(&signer.jwks);
        issuer.does(does);
        let problem = issuer.fetch().await.unwrap_err();
        assert!(problem.to_string().starts_with(URL), "{problem}");
        assert!(problem.to_string().contains(says), "{problem} lacks {says:?}");
        assert!(problem.to_string().len() < 500 && problem.url().as_str() == URL);
        assert_eq!(issuer.asked(), 1, "asked once");
    }
    let refused = JwksUrl::new("http://id.example/jwks").unwrap_err().to_string();
    assert!(refused.contains("must be https"), "{refused}");
}

// Rows: S36.
#[tokio::test(start_paused = true)]
async fn the_last_good_set_is_kept_after_any_bad_one() {
    let (signer, coming) = (Signer::new("a").await, Signer::new("b").await);
    for (does, says) in bad_answers(&signer.jwks) {
        let issuer = Issuer::new(&signer.jwks);
        let remote = issuer.fetch().await.unwrap();
        let app = app(&remote);
        issuer.does(does.clone());
        let problem = remote.refresh().await.unwrap_err();
        assert!(problem.to_string().contains(says), "{problem}");
        assert_eq!(remote.last_error(), Some(problem));
        for _ in 0..50 {
            pass(600).await;
            assert_eq!(status(&app, &signer.token).await, 200);
        }
        // A token with another key may be valid, so the answer is not 401.
        let response = ask(&app, &coming.token).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{says}");
        if !matches!(does, Does::Hang) {
            assert_eq!(response.headers()[RETRY_AFTER], "30", "{says}");
            pass(11).await;
            assert_eq!(ask(&app, &coming.token).await.headers()[RETRY_AFTER], "19");
        }
        // The state recovers by itself, at the latest for the first new token after the cooldown.
        pass(30).await;
        issuer.has(&both(&signer.jwks, &coming.jwks));
        assert_eq!(status(&app, &coming.token).await, 200, "{says}");
        assert_eq!(remote.last_error(), None);
    }
}

// Rows: S38, S40.
#[tokio::test(start_paused = true)]
async fn of_a_set_the_usable_keys_count() {
    let signer = Signer::new("a").await;
    let mut keys = signer.jwks["keys"].as_array().unwrap().clone();
    keys.extend([
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"}),
        json!({"kty": "EC", "crv": "P-521", "kid": "521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": B64.encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": B64.encode([1; 31])}),
        json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "no-n", "e": "AQAB"}),
        json!({"kty": ["EC"], "crv": 7}),
        json!(7),
    ]);
    let issuer = Issuer::new(&json!({"keys": keys, "more": {"a": 1}}));
    let remote = issuer.fetch().await.unwrap();
    assert_eq!(published(&remote).len(), 1);
    assert_eq!(status(&app(&remote), &signer.token).await, 200);
    assert!(!remote.keys().can_sign());
}

/// The accepted keys, as they would be published.
fn published(remote: &RemoteKeys) -> Vec<Value> {
    let set: Value = serde_json::from_str(&remote.keys().public_jwk_set()).unwrap();
    set["keys"].as_array().unwrap().clone()
}

/// The keys of an issuer that rotates into such a set are still followed.
// Rows: R5.
#[tokio::test(start_paused = true)]
async fn a_set_whose_keys_share_a_kid_is_taken() {
    let signer = Signer::new("one").await;
    let other = Signer::new("one").await;
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ed = Key::from_der(Algorithm::EdDSA, &ed.serialize_der()).unwrap().with_kid("one").unwrap();
    let ed: Value = serde_json::from_str(&ed.public_jwk().unwrap()).unwrap();
    let (key, another) = (&signer.jwks["keys"][0], &other.jwks["keys"][0]);
    for (keys, count) in [
        (json!([key, key]), 1),
        (json!([ed, key]), 2),
        (json!([key, ed, key, ed]), 2),
        (json!([another, key]), 2),
    ] {
        let issuer = Issuer::new(&Signer::new("former").await.jwks);
        let remote = issuer.fetch().await.unwrap();
        let app = app(&remote);
        issuer.has(&json!({"keys": keys}));
        assert_eq!(status(&app, &signer.token).await, 200, "{keys}");
        assert_eq!(published(&remote).len(), count, "{keys}");
        assert_eq!((remote.last_error(), issuer.asked()), (None, 2));
    }
}

// Rows: R14.
#[tokio::test(start_paused = true)]
async fn rsa_keys_without_alg_are_for_the_algorithm_that_was_configured() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let jwk = |alg| {
        let key = Key::from_der(alg, &pair.serialize_der()).unwrap().with_kid("k").unwrap();
        serde_json::from_str::<Value>(&key.public_jwk().unwrap()).unwrap()
    };
    let mut unnamed = jwk(Algorithm::RS256);
    unnamed.as_object_mut().unwrap().remove("alg");
    let read = async |url: JwksUrl, jwk: &Value| {
        let issuer = Issuer::new(&json!({"keys": [jwk]}));
        let remote = url.fetch(&issuer.client()).await.unwrap();
        remote.refresh().await.unwrap();
        published(&remote)[0]["alg"].as_str().unwrap().to_owned()
    };
    let url = || JwksUrl::new(URL).unwrap();
    let configured = || url().rsa_without_alg(Algorithm::PS256).unwrap();
    assert_eq!(read(url(), &unnamed).await, "RS256");
    assert_eq!(read(configured(), &unnamed).await, "PS256", "also where it is fetched again");
    assert_eq!(read(configured(), &jwk(Algorithm::RS512)).await, "RS512", "what is named counts");
    let ec = Signer::new("e").await.jwks["keys"][0].clone();
    assert_eq!(read(configured(), &ec).await, "ES256", "it is for RSA alone");
    for other in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256] {
        let refused = url().rsa_without_alg(other).unwrap_err();
        assert!(refused.to_string().contains("for RSA keys"), "{refused}");
    }
}

// Rows: S37.
#[tokio::test]
async fn over_real_sockets_a_set_is_fetched_without_cookies_and_redirects() {
    let signer = Signer::new("a").await;
    let elsewhere = Server::new(|_| Response::new(full("{}"))).await;
    let (jwks, there) = (signer.jwks.to_string(), elsewhere.url("/jwks").to_string());
    let (server, client) = real(move |request| {
        assert!(!request.headers().contains_key(COOKIE));
        match request.uri().path() {
            "/jwks" => Response::builder().header("set-cookie", "a=b").body(full(jwks.clone())),
            "/large" => Response::builder().body(full(vec![b' '; 64 * 1024 + 1])),
            _ => Response::builder().status(302).header(LOCATION, &there).body(full("")),
        }
        .unwrap()
    })
    .await;
    let url = |path| JwksUrl::from(server.url(path));
    let remote = url("/jwks").fetch(&client).await.unwrap();
    remote.refresh().await.unwrap();
    assert_eq!(status(&app(&remote), &signer.token).await, 200);
    let problem = url("/moved").fetch(&client).await.unwrap_err().to_string();
    assert!(problem.contains("answered 302"), "{problem}");
    let problem = url("/large").fetch(&client).await.unwrap_err();
    let too_large = |http: &HttpError| matches!(http, HttpError::TooLarge { .. });
    assert!(matches!(problem.problem(), FetchProblem::Http(http) if too_large(http)), "{problem}");
    let problem = url("/jwks").fetch(&HttpClient::new().unwrap()).await.unwrap_err().to_string();
    assert!(problem.contains("no secure connection"), "{problem}");
    assert_eq!((server.requests(), elsewhere.connections()), (4, 0));
}

// Rows: S36.
#[tokio::test]
async fn a_network_that_fails_leaves_the_set_as_it_was() {
    let signer = Signer::new("a").await;
    let jwks = signer.jwks.to_string();
    let server = Server::new(move |_| Response::new(full(jwks.clone()))).await;
    let proxy = FaultProxy::start(server.address).await;
    let url = JwksUrl::new(&format!("http://{}/jwks", proxy.address())).unwrap();
    let remote = url.fetch(&HttpClient::new().unwrap()).await.unwrap();
    let app = app(&remote);
    let faults = [
        Fault::CutBefore,
        Fault::CutMidway,
        Fault::ResetAfter,
        Fault::Garble,
        Fault::unavailable(5),
    ];
    for fault in faults {
        let before = proxy.counts().requests;
        proxy.next(fault.clone());
        remote.refresh().await.unwrap_err();
        assert_eq!(proxy.counts().requests, before + 1, "{fault:?}: asked once");
        assert_eq!(status(&app, &signer.token).await, 200, "{fault:?}");
    }
    remote.refresh().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fetches_are_counted_by_outcome() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let signer = Signer::new("a").await;
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let issuer = Issuer::new(&signer.jwks);
    let remote = issuer.fetch().await.unwrap();
    issuer.does(Does::Status(500));
    remote.refresh().await.unwrap_err();
    issuer.has(&signer.jwks);
    remote.refresh().await.unwrap();
    issuer.does(Does::Fail);
    issuer.fetch().await.unwrap_err();

    let metric = everfresh::metrics::METRICS.iter().find(|metric| metric.name == FETCHES).unwrap();
    let counted: std::collections::BTreeMap<_, _> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            assert_eq!(key.key().name(), FETCHES);
            let labels: Vec<_> = key.key().labels().collect();
            let [label] = labels[..] else { panic!("{labels:?}") };
            let (name, values) = metric.labels[0];
            assert!(label.key() == name && values.contains(&label.value()), "{label:?}");
            let DebugValue::Counter(count) = value else { panic!("{value:?}") };
            (label.value().to_owned(), count)
        })
        .collect();
    assert_eq!(counted["fetched"], 2);
    assert_eq!(counted["failed"], 2);
    assert_eq!(counted.len(), metric.labels[0].1.len());
}
