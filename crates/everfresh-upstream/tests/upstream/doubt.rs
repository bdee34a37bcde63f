//! A token was sent, and its fate is unknown.

use std::time::Duration;

use everfresh::store::{Reservation, UpstreamTokenStore as _};
use everfresh_upstream::{HttpError, Replay};

use crate::fixture::*;
use crate::provider::Act;
use crate::wire::Fault;

fn lost() -> HttpError {
    HttpError::Lost { cause: "reset".into() }
}

// Rows: F18.
#[tokio::test(start_paused = true)]
async fn an_answer_after_the_refresh_timeout_serves_the_next_request() {
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    let began = fixture.clock.now();
    let answer = fixture.get(&mut client).await;
    assert!(answer.status == 503 && answer.left_cookies_alone());
    let waited = fixture.clock.now().since(began);
    assert!((2900..=3100).contains(&waited.as_millis()), "{waited:?}");
    tokio::time::sleep(secs(17)).await;
    fixture.provider.release();
    fixture.until(async || fixture.upstream(&client).await == (1, 0)).await;
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

// Rows: F18, S57.
#[tokio::test(start_paused = true)]
async fn an_answer_beyond_the_flight_limit_revives_the_session() {
    let fixture = Fixture::nodes(2);
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    assert_eq!(fixture.get(&mut client).await.status, 503);
    let row = fixture.row(&client).await.unwrap().upstream.unwrap();
    tokio::time::sleep(secs(31)).await;
    for node in &fixture.nodes {
        // The same answer on each node, for every request, at any later time.
        client.navigates = true;
        for _ in 0..3 {
            let answer = node.get(&mut client).await;
            assert!(answer.status == 401 && answer.left_cookies_alone(), "{answer:?}");
            tokio::time::sleep(secs(20)).await;
        }
    }
    let now = fixture.row(&client).await.unwrap().upstream.unwrap();
    assert_eq!(now, row, "the row is as it was");
    assert!(fixture.node().events().iter().any(|event| event.starts_with("InDoubt")));
    fixture.provider.release();
    fixture.until(async || fixture.upstream(&client).await == (1, 0)).await;
    for node in &fixture.nodes {
        assert_eq!(node.get(&mut client).await.status, 200);
    }
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

// Rows: F16.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_stops_no_exchange() {
    let fixture = Fixture::new();
    fixture.tick();
    let client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    let (node, mut hasty) = (fixture.node().clone(), client.clone());
    let request = tokio::spawn(async move { node.get(&mut hasty).await.status });
    fixture.provider.until_calls(1).await;
    request.abort();
    fixture.provider.release();
    fixture.until(async || fixture.upstream(&client).await == (1, 0)).await;
    assert_eq!(fixture.get(&mut client.clone()).await.status, 200);
    assert_eq!(fixture.provider.calls(), 1);
}

// Rows: S57.
#[tokio::test(start_paused = true)]
async fn within_its_grace_a_token_is_sent_once_more() {
    let fixture = Fixture::set(|upstream| upstream.replay(Replay::Within(secs(40))));
    fixture.tick();
    // The provider returns the same successor again, as providers with a grace period do.
    fixture.provider.keeps_tokens();
    let mut client = fixture.expired("ada").await;
    // A node that knows that no answer will come need not wait.
    fixture.provider.next(Act::TakeAndFail(lost()));
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!(fixture.provider.calls(), 2);
    fixture.pass(LIFE + 1);
    // The token is sent at most twice.
    fixture.provider.all(Act::TakeAndFail(lost()));
    let answer = fixture.get(&mut client).await;
    assert!(answer.status == 401 && answer.left_cookies_alone());
    for _ in 0..3 {
        fixture.pass(61);
        assert_eq!(fixture.get(&mut client).await.status, 401);
    }
    assert_eq!(fixture.provider.calls(), 4);
}

// Rows: S57.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_replayed_after_half_of_the_grace() {
    for elsewhere in [false, true] {
        let fixture = Fixture::with(
            2,
            |upstream| upstream.replay(Replay::Within(secs(40))),
            |builder| builder,
        );
        fixture.tick();
        fixture.provider.keeps_tokens();
        let mut client = fixture.expired("ada").await;
        fixture.provider.next(Act::Hang);
        assert_eq!(fixture.get(&mut client).await.status, 503);
        let node = &fixture.nodes[usize::from(elsewhere)];
        tokio::time::sleep(secs(10)).await;
        let answer = node.get(&mut client).await;
        assert_eq!((answer.status.as_u16(), fixture.provider.calls()), (503, 1));
        // After half of the grace period any request replays the token. The first call still waits
        // for its answer.
        tokio::time::sleep(secs(10)).await;
        let mut answer = node.get(&mut client).await;
        if answer.status == 503 {
            tokio::time::sleep(secs(2)).await;
            answer = node.get(&mut client).await;
        }
        assert_eq!((answer.status.as_u16(), fixture.provider.calls()), (200, 2), "{elsewhere}");
    }
}

// Rows: S57.
#[tokio::test(start_paused = true)]
async fn after_the_grace_nothing_is_replayed() {
    let fixture = Fixture::set(|upstream| upstream.replay(Replay::Within(secs(20))));
    let mut client = fixture.expired("ada").await;
    // A node reserved it and crashed.
    let row = fixture.row(&client).await.unwrap();
    let claim = Reservation::new(row.sid, 0, [7; 16]);
    assert!(fixture.store.store.reserve(claim).await.unwrap());
    fixture.pass(19);
    for _ in 0..3 {
        let answer = fixture.get(&mut client).await;
        assert!(answer.status == 401 && answer.left_cookies_alone());
        fixture.pass(61);
    }
    assert_eq!(fixture.provider.calls(), 0);
}

// Rows: S57.
#[tokio::test(start_paused = true)]
async fn a_dead_nodes_reservation_is_waited_for_and_then_in_doubt() {
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    let row = fixture.row(&client).await.unwrap();
    let claim = Reservation::new(row.sid, 0, [7; 16]);
    assert!(fixture.store.store.reserve(claim).await.unwrap());
    let began = fixture.clock.now();
    let mut statuses = Vec::new();
    while fixture.clock.now() < began.plus(secs(40)) {
        let answer = fixture.get(&mut client).await;
        assert!(answer.left_cookies_alone());
        statuses.push(answer.status.as_u16());
        tokio::time::sleep(secs(1)).await;
    }
    let doubtful = statuses.iter().position(|status| *status == 401).unwrap();
    assert!(statuses[..doubtful].iter().all(|status| *status == 503), "{statuses:?}");
    assert!(statuses[doubtful..].iter().all(|status| *status == 401), "{statuses:?}");
    assert_eq!(fixture.provider.calls(), 0);
}

// Rows: S57.
#[tokio::test(start_paused = true)]
async fn tokens_that_do_not_rotate_are_sent_as_often_as_needed() {
    let fixture = Fixture::set(|upstream| upstream.replay(Replay::Always).limit(secs(5)));
    fixture.tick();
    fixture.provider.keeps_tokens();
    let mut client = fixture.expired("ada").await;
    fixture.provider.next(Act::TakeAndFail(lost()));
    assert_eq!(fixture.get(&mut client).await.status, 200, "at once");
    assert_eq!(fixture.provider.calls(), 2);
    fixture.pass(LIFE + 1);
    // For any number of lost answers.
    for _ in 0..3 {
        fixture.provider.next(Act::Hang);
    }
    assert_eq!(fixture.get(&mut client).await.status, 503);
    tokio::time::sleep(secs(13)).await;
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!(fixture.provider.calls(), 6);
}

// Rows: S57.
#[tokio::test(start_paused = true)]
async fn a_node_stopped_after_its_reservation_does_not_send() {
    // The store is slow to answer the reservation. The process might as well have been stopped.
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    fixture.store.next("claim", Fault::Slow(1500));
    assert_eq!(fixture.get(&mut client).await.status, 200, "by another claim");
    assert_eq!((fixture.provider.calls(), fixture.store.count("claim")), (1, 2));
    assert_eq!(fixture.store.count("release"), 1);
}

// Rows: F73.
#[tokio::test(start_paused = true)]
async fn a_request_with_a_good_token_does_not_wait_for_a_provider_that_hangs() {
    let fixture = Fixture::nodes(2);
    fixture.tick();
    let client = fixture.adopt("ada").await;
    fixture.provider.all(Act::Hang);
    fixture.pass_until_left(&client, 40);
    let mut slowest = [Duration::ZERO; 2];
    let mut requests = 0;
    while fixture.clock.now() < client.expires().minus(Duration::from_millis(500)) {
        for (node, slowest) in fixture.nodes.iter().zip(&mut slowest) {
            let began = fixture.clock.now();
            let answer = node.get(&mut client.clone()).await;
            assert!(answer.status == 200 && answer.left_cookies_alone());
            *slowest = fixture.clock.now().since(began).max(*slowest);
            requests += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(requests > 600, "{requests}");
    assert!(slowest.iter().all(|slowest| slowest.as_millis() < 50), "{slowest:?}");
    assert_eq!(fixture.provider.calls(), 1);
}

// Rows: F73.
#[tokio::test(start_paused = true)]
async fn a_token_first_seen_shortly_before_its_expiry_waits_half_of_the_refresh_timeout() {
    let fixture = Fixture::new();
    fixture.tick();
    let client = fixture.adopt("ada").await;
    fixture.provider.all(Act::Hang);
    fixture.pass_until_left(&client, 10);
    for most in [1600, 50, 50] {
        let began = fixture.clock.now();
        let answer = fixture.get(&mut client.clone()).await;
        assert!(answer.status == 200 && answer.left_cookies_alone());
        let waited = fixture.clock.now().since(began).as_millis();
        assert!(waited <= most, "{waited} ms");
    }
}

// Rows: F73.
#[tokio::test(start_paused = true)]
async fn good_tokens_in_the_row_are_enough_while_the_provider_hangs() {
    // Our access tokens live for a minute, the provider's for five.
    let fixture = Fixture::with(1, |upstream| upstream, |b| b.access_lifetime(secs(60)));
    fixture.tick();
    let mut client = fixture.adopt("ada").await;
    fixture.pass(240);
    let row = fixture.row(&client).await.unwrap().upstream.unwrap();
    fixture.provider.all(Act::Hold);
    let began = fixture.clock.now();
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert!(fixture.clock.now().since(began) < secs(2));
    assert!(client.expires() <= row.expires);
    // The next request gets a later result.
    fixture.provider.release();
    fixture.until(async || fixture.upstream(&client).await == (1, 0)).await;
    fixture.pass(61);
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

// Rows: F73.
#[tokio::test(start_paused = true)]
async fn a_request_with_a_valid_token_gets_its_answer_soon() {
    // On another node than the one that refreshes, shortly before the expiry.
    let fixture = Fixture::nodes(2);
    fixture.tick();
    let mut client = fixture.adopt("ada").await;
    fixture.pass_until_left(&client, 4);
    fixture.provider.next(Act::Hold);
    assert_eq!(fixture.nodes[0].get(&mut client.clone()).await.status, 200);
    assert_eq!(fixture.nodes[1].get(&mut client).await.status, 200);
    fixture.provider.release();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(fixture.nodes[1].get(&mut client).await.status, 200, "its token was over");
    assert_eq!(fixture.provider.calls(), 1);
}
