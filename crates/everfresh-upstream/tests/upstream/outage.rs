//! The provider is down for a while, and recovers.

use std::time::Duration;

use everfresh_upstream::HttpError;

use crate::fixture::*;
use crate::provider::Act;

/// F72: a minute without the provider, with many sessions and steady requests.
// Rows: F72, S58.
#[tokio::test(start_paused = true)]
async fn calls_stay_within_the_budget_and_the_first_refresh_after_it_succeeds() {
    for down in [
        Act::Fail(HttpError::Connect { cause: "refused".into() }),
        Act::Say(503, &[], ""),
        Act::Say(429, &[("retry-after", "1")], ""),
        // The page of a firewall in front of the provider.
        Act::Say(200, &[], "<html>Are you a human?</html>"),
    ] {
        let fixture = Fixture::new();
        let mut clients = Vec::new();
        for n in 0..200 {
            clients.push(fixture.adopt(&format!("p{n}")).await);
        }
        // The access tokens of a third of them are valid for the whole outage.
        fixture.pass(LIFE + 1);
        let mut fresh = Vec::new();
        for n in 0..100 {
            fresh.push(fixture.adopt(&format!("f{n}")).await);
        }
        fixture.provider.all(down.clone());
        fixture.node().events();
        let step = Duration::from_millis(20);
        for n in 0..3000 {
            let at = n * 7 % clients.len();
            let answer = fixture.get(&mut clients[at]).await;
            assert!(answer.status == 503 && answer.left_cookies_alone(), "{answer:?}");
            assert!(answer.retry_after.is_some());
            let at = n % fresh.len();
            let answer = fixture.get(&mut fresh[at]).await;
            assert!(answer.status == 200 && answer.left_cookies_alone());
            fixture.clock.advance(step);
        }
        // Five calls open the circuit breaker, then one call per second.
        let calls = fixture.provider.calls();
        assert!((50..=66).contains(&calls), "{down:?}: {calls} calls in a minute");
        let events = fixture.node().events();
        let downs = events.iter().filter(|event| *event == "UpstreamDown").count();
        assert_eq!(downs, 1, "said once");

        fixture.provider.all(Act::Good);
        let back = fixture.clock.now();
        let mut at = 0;
        while fixture.get(&mut clients[at]).await.status != 200 {
            at = (at + 1) % clients.len();
            fixture.clock.advance(step);
        }
        let took = fixture.clock.now().since(back);
        assert!(took <= Duration::from_millis(1000), "{down:?}: {took:?}");
        assert!(fixture.node().events().contains(&"UpstreamUp".to_owned()));
        // Every client is served within the longest back-off, and no session was lost.
        fixture.pass(61);
        for client in clients.iter_mut().chain(&mut fresh) {
            assert_eq!(fixture.get(client).await.status, 200);
        }
        assert_eq!(fixture.provider.reuses(), 0);
    }
}

// Rows: F72.
#[tokio::test(start_paused = true)]
async fn the_pauses_of_a_failing_session_grow() {
    let fixture = Fixture::new();
    let mut client = fixture.expired("ada").await;
    fixture.provider.all(Act::Say(500, &[], ""));
    for _ in 0..600 {
        let answer = fixture.get(&mut client).await;
        assert!(answer.status == 503 && answer.left_cookies_alone());
        fixture.clock.advance(Duration::from_millis(500));
    }
    // Five minutes of back-offs of 1, 2, 4, .. 60 s with full jitter. Without back-off there would
    // be 600 calls.
    let calls = fixture.provider.calls();
    assert!((5..=60).contains(&calls), "{calls}");
}

// Rows: S68.
#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_holds_no_more_than_its_share() {
    let fixture = Fixture::set(|upstream| upstream.max_calls(8));
    fixture.tick();
    let mut clients = Vec::new();
    for n in 0..64 {
        clients.push(fixture.adopt(&format!("p{n}")).await);
    }
    fixture.pass(LIFE + 1);
    fixture.provider.all(Act::Hang);
    let racers: Vec<_> = clients
        .iter()
        .map(|client| {
            let (node, mut client) = (fixture.node().clone(), client.clone());
            tokio::spawn(async move { node.get(&mut client).await })
        })
        .collect();
    for racer in racers {
        let answer = racer.await.unwrap();
        assert!(answer.status == 503 && answer.left_cookies_alone());
    }
    assert_eq!(fixture.provider.calls(), 8, "the tokens of the others were not sent");
}

#[tokio::test(start_paused = true)]
async fn answers_to_one_or_two_users_open_no_circuit_breaker() {
    for act in [Act::Say(429, &[("retry-after", "30")], ""), Act::Say(500, &[], "")] {
        let fixture = Fixture::new();
        let (mut ada, mut bob) = (fixture.expired("ada").await, fixture.expired("bob").await);
        let mut others = Vec::new();
        for n in 0..5 {
            others.push(fixture.expired(&format!("p{n}")).await);
        }
        fixture.node().events();
        for n in 0..600 {
            fixture.provider.all(act.clone());
            assert_eq!(fixture.get(&mut ada).await.status, 503);
            assert_eq!(fixture.get(&mut bob).await.status, 503);
            if n % 100 == 99 {
                fixture.provider.all(Act::Good);
                assert_eq!(fixture.get(&mut others[n / 100 % 5]).await.status, 200, "{act:?}");
            }
            fixture.clock.advance(Duration::from_millis(100));
        }
        assert!(!fixture.node().events().contains(&"UpstreamDown".to_owned()), "{act:?}");
        if matches!(act, Act::Say(429, ..)) {
            // Each of the two is asked for as often as `Retry-After` allows.
            assert!(fixture.provider.calls() <= 2 * 3 + 6, "{}", fixture.provider.calls());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_single_users_open_no_circuit_breaker() {
    for error in [r#"{"error":"user_locked"}"#, r#"{"ok":false}"#] {
        let fixture = Fixture::new();
        let mut locked = Vec::new();
        for n in 0..20 {
            locked.push(fixture.expired(&format!("p{n}")).await);
        }
        fixture.provider.all(Act::Say(200, &[], error));
        fixture.node().events();
        for client in &mut locked {
            let answer = fixture.get(client).await;
            assert!(answer.status == 503 && answer.left_cookies_alone(), "{answer:?}");
        }
        assert_eq!(fixture.provider.calls(), 20, "{error}: each user is asked for");
        assert!(!fixture.node().events().contains(&"UpstreamDown".to_owned()));
    }
}
