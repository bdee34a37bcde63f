//! One call per expiry, for any number of requests on any node.

use std::collections::BTreeSet;
use std::time::Duration;

use everfresh::Timestamp;
use http::StatusCode;

use crate::fixture::*;
use crate::provider::Act;

// Rows: F60.
#[tokio::test]
async fn expired_tokens_are_refreshed_upstream_and_ours_leave_with_the_response() {
    let fixture = Fixture::new();
    let mut client = fixture.expired("ada").await;
    let before = client.clone();
    let answer = fixture.get(&mut client).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "ada"));
    assert!(client.access != before.access && client.refresh != before.refresh);
    assert_eq!(fixture.provider.calls(), 1);
    let upstream = fixture.row(&client).await.unwrap().upstream.unwrap();
    assert_eq!((upstream.seq, upstream.tries, upstream.reservation), (1, 0, None));
    assert_eq!(upstream.expires, fixture.clock.now().plus(secs(LIFE)));
    assert!(client.expires() <= upstream.expires);

    let answer = fixture.get(&mut client).await;
    assert!(answer.status == 200 && answer.left_cookies_alone());
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

#[tokio::test]
async fn our_access_token_never_outlives_its_upstream_token() {
    for ours in [60, 300, 3600] {
        let fixture = Fixture::with(1, |u| u, move |builder| builder.access_lifetime(secs(ours)));
        let mut client = fixture.adopt("ada").await;
        for n in 0..400 {
            // Two steps of every kind: within a refresh window, into one, past the expiry.
            fixture.pass([1, 3, 7, 19, 53, 131, 311, 14][n % 8]);
            assert_eq!(fixture.get(&mut client).await.status, 200, "{ours} s, request {n}");
            let row = fixture.row(&client).await.unwrap();
            assert!(client.expires() <= row.upstream.unwrap().expires, "{ours} s, request {n}");
        }
        assert_eq!(fixture.provider.reuses(), 0);
    }
}

// Rows: F01, S55.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_expired_requests_are_one_call() {
    let fixture = Fixture::new();
    let client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    let racers: Vec<_> = (0..1000)
        .map(|_| {
            let (node, mut client) = (fixture.node().clone(), client.clone());
            tokio::spawn(async move { (node.get(&mut client).await, client) })
        })
        .collect();
    fixture.provider.until_calls(1).await;
    fixture.provider.release();
    let mut successors = BTreeSet::new();
    for racer in racers {
        let (answer, client) = racer.await.unwrap();
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "ada"));
        successors.insert(client.refresh);
    }
    assert_eq!(successors.len(), 1, "all of them hold the very same successor");
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn two_generations_of_the_handle_join_one_exchange() {
    let fixture = Fixture::new();
    fixture.provider.answers(|grant| {
        let mut tokens = crate::provider::tokens(grant);
        tokens["expires_in"] = 20.into();
        tokens
    });
    let mut older = fixture.adopt("ada").await;
    fixture.pass(LIFE);
    let mut newer = older.clone();
    assert_eq!(fixture.get(&mut newer).await.status, 200);
    assert_ne!(newer.refresh, older.refresh);
    // Both are still valid, because the reuse interval is 30 s. Their upstream token has expired.
    fixture.pass(21);
    let mut twin = older.clone();
    fixture.provider.next(Act::Hold);
    let (one, other, ()) = tokio::join!(fixture.get(&mut twin), fixture.get(&mut newer), async {
        fixture.provider.until_calls(2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        fixture.provider.release();
    });
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (2, 0));
    fixture.pass(1);
    assert_eq!(fixture.get(&mut older).await.status, 200, "the older one is not stolen");
}

// Rows: F03, S55.
#[tokio::test(start_paused = true)]
async fn of_two_nodes_one_calls_the_server_and_the_other_reads_the_row() {
    let fixture = Fixture::nodes(2);
    fixture.tick();
    let client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    let (mut mine, mut theirs) = (client.clone(), client.clone());
    let (one, other, ()) = tokio::join!(
        fixture.nodes[0].get(&mut mine),
        async {
            fixture.provider.until_calls(1).await;
            fixture.nodes[1].get(&mut theirs).await
        },
        async {
            fixture.until(async || fixture.store.count("load") >= 6).await;
            fixture.provider.release();
        }
    );
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(mine.refresh, theirs.refresh);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
    assert_eq!(fixture.store.count("claim"), 1);
}

// Rows: F03, S55.
#[tokio::test(start_paused = true)]
async fn four_nodes_and_sixty_four_clients_at_once() {
    let fixture = Fixture::nodes(4);
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    for expiry in 1..=20 {
        let racers: Vec<_> = (0..64)
            .map(|n| {
                let (node, mut client) = (fixture.nodes[n % 4].clone(), client.clone());
                tokio::spawn(async move { (node.get(&mut client).await, client) })
            })
            .collect();
        for racer in racers {
            let (answer, after) = racer.await.unwrap();
            assert_eq!(answer.status, 200);
            client = after;
        }
        assert_eq!(fixture.provider.calls(), expiry);
        fixture.pass(LIFE + 1);
    }
    assert_eq!(fixture.provider.reuses(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_the_advisory_window_the_request_goes_on_and_the_next_one_has_the_tokens() {
    let fixture = Fixture::new();
    let mut client = fixture.adopt("ada").await;
    let before = client.clone();
    fixture.pass_until_left(&client, 40);
    fixture.provider.next(Act::Hold);
    let answer = fixture.get(&mut client).await;
    assert!(answer.status == 200 && answer.left_cookies_alone());
    fixture.provider.until_calls(1).await;
    fixture.provider.release();
    fixture.until(async || fixture.upstream(&before).await == (1, 0)).await;
    // The new token is in the response of a slow handler, or in the next one.
    let slow = |session: everfresh::Session<User>| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(session.claims()?.name.clone())
    };
    assert_eq!(fixture.node().send(&mut client, slow).await.status, 200);
    assert!(client.expires() > before.expires().plus(secs(200)));
    assert_eq!(fixture.provider.calls(), 1);
}

// Rows: F110.
#[tokio::test]
async fn a_strangers_refresh_token_causes_no_call() {
    let fixture = Fixture::new();
    let client = fixture.expired("ada").await;
    let (before, tampered) = (fixture.store.steps(), client.refresh.replace(['a', 'b', 'c'], "d"));
    let own = format!("rt.ada.0.{}", crate::provider::SECRET_PART);
    for refresh in ["x", "", &own, &tampered, &client.access] {
        for access in ["", "x", &client.access] {
            let mut stranger =
                Client { access: access.into(), refresh: refresh.into(), navigates: true };
            let answer = fixture.get(&mut stranger).await;
            assert_eq!(answer.status, 401, "{refresh} {access}");
            assert!(answer.left_cookies_alone());
        }
    }
    assert_eq!((fixture.provider.calls(), fixture.store.steps()), (0, before));
}

#[tokio::test]
async fn sessions_offer_their_upstream_token_for_calls() {
    let fixture = Fixture::new();
    let mut client = fixture.adopt("ada").await;
    let upstream_access_token = |session: everfresh::Session<User>| async move {
        Ok(session.upstream_access_token().await?.expose().to_owned())
    };
    let answer = fixture.node().send(&mut client, upstream_access_token).await;
    assert!(answer.body.starts_with("at.ada.0."), "{}", answer.body);
    // Renewed in time, even while our own access token is valid.
    fixture.pass_until_left(&client, 5);
    let answer = fixture.node().send(&mut client, upstream_access_token).await;
    assert!(answer.body.starts_with("at.ada.1."), "{}", answer.body);
    assert_eq!(fixture.provider.calls(), 1);
    // While the provider is down, a valid token is returned, and an expired one is not.
    fixture.provider.all(Act::Say(500, &[], ""));
    fixture.pass_until_left(&client, 5);
    let answer = fixture.node().send(&mut client, upstream_access_token).await;
    assert!(answer.body.starts_with("at.ada.1."), "{}", answer.body);
    fixture.pass(120);
    let answer = fixture.node().send(&mut client, upstream_access_token).await;
    assert_eq!(answer.status, 401, "the session is over by then: {}", answer.body);
    let answer = fixture.node().send(&mut Client::default(), upstream_access_token).await;
    assert_eq!(answer.status, 401);
}

// Rows: F72, S68.
#[tokio::test(start_paused = true)]
async fn concurrent_calls_are_limited_and_the_others_wait() {
    let fixture = Fixture::set(|upstream| upstream.max_calls(3));
    fixture.tick();
    let mut clients = Vec::new();
    for n in 0..12 {
        clients.push(fixture.adopt(&format!("p{n}")).await);
    }
    fixture.pass(LIFE + 1);
    fixture.provider.all(Act::Hold);
    let (provider, node) = (fixture.provider.clone(), fixture.node().clone());
    let racers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let node = node.clone();
            tokio::spawn(async move { node.get(&mut client).await.status })
        })
        .collect();
    let mut most = 0;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(provider.calls());
        assert!(provider.calls() % 3 == 0, "three at once: {}", provider.calls());
        provider.release();
    }
    for racer in racers {
        assert_eq!(racer.await.unwrap(), 200);
    }
    assert_eq!((most, provider.calls(), provider.reuses()), (12, 12, 0));
}

#[tokio::test]
async fn issued_tokens_last_until_their_windows_and_no_longer() {
    // Lifetimes from 5 s to a day. Over a day there is one call per lifetime, plus the effect of
    // the windows.
    for life in [5_u64, 60, 300, 3600, 86_400] {
        let fixture = Fixture::with(1, |u| u, move |b| b.access_lifetime(secs(life.min(86_400))));
        fixture.provider.answers(move |grant| {
            let mut tokens = crate::provider::tokens(grant);
            tokens["expires_in"] = life.into();
            tokens
        });
        let mut client = fixture.adopt("ada").await;
        fixture.pass(LIFE + 1);
        let (began, steps) = (fixture.clock.now(), 2000);
        let day = (86_400).min(life * 200);
        for _ in 0..steps {
            assert_eq!(fixture.get(&mut client).await.status, 200, "{life} s");
            let made: Timestamp = fixture.clock.now();
            fixture.clock.advance(Duration::from_millis(day * 1000 / steps));
            assert!(fixture.clock.now() > made);
        }
        let passed = fixture.clock.now().since(began).as_secs();
        let (least, calls) = (passed / life, fixture.provider.calls() as u64);
        // No sooner than at half of the lifetime, or at a quarter (at most 300 s) plus jitter
        // before the expiry.
        let window = (life / 2).min((life / 4).clamp(5, 300) + life / 20 + 1);
        let most = passed / (life - window).max(1) + 2;
        assert!((least..=most).contains(&calls), "{life} s: {calls} calls, {least} to {most}");
        assert_eq!(fixture.provider.reuses(), 0);
    }
}
