//! The store fails, or its answers are lost, at every step.

use std::time::Duration;

use crate::fixture::*;
use crate::provider::Act;
use crate::wire::Fault;

fn unpersisted(node: &Node) -> usize {
    node.events().iter().filter(|event| event.starts_with("Unpersisted")).count()
}

// Rows: F19.
#[tokio::test(start_paused = true)]
async fn tokens_that_the_store_does_not_take_are_kept_until_it_does() {
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    let holder = client.clone();
    fixture.provider.next(Act::Hold);
    let (node, mut first) = (fixture.node().clone(), client.clone());
    let first = tokio::spawn(async move { node.get(&mut first).await.status.as_u16() });
    fixture.provider.until_calls(1).await;
    fixture.store.down(true);
    fixture.provider.release();
    assert_eq!(first.await.unwrap(), 503, "nothing is served that is not in the row");
    for _ in 0..5 {
        tokio::time::sleep(secs(1)).await;
        let answer = fixture.get(&mut client).await;
        assert!(answer.status == 503 && answer.left_cookies_alone());
    }
    assert_eq!(unpersisted(fixture.node()), 1);
    fixture.store.down(false);
    tokio::time::sleep(secs(6)).await;
    assert_eq!(fixture.upstream(&holder).await, (1, 0), "it was offered again");
    fixture.until(async || fixture.get(&mut client.clone()).await.status == 200).await;
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

// Rows: F19, S54.
#[tokio::test(start_paused = true)]
async fn a_good_token_goes_on_while_the_store_is_down() {
    let fixture = Fixture::new();
    fixture.tick();
    let client = fixture.adopt("ada").await;
    fixture.pass_until_left(&client, 14);
    fixture.provider.next(Act::Hold);
    let (node, mut first) = (fixture.node().clone(), client.clone());
    let first = tokio::spawn(async move { node.get(&mut first).await.status.as_u16() });
    fixture.provider.until_calls(1).await;
    fixture.store.down(true);
    fixture.provider.release();
    assert_eq!(first.await.unwrap(), 200);
    for _ in 0..5 {
        tokio::time::sleep(secs(1)).await;
        let answer = fixture.get(&mut client.clone()).await;
        assert!(answer.status == 200 && answer.left_cookies_alone());
    }
    fixture.store.down(false);
    tokio::time::sleep(secs(6)).await;
    assert_eq!(fixture.upstream(&client).await, (1, 0));
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_looked_up_and_nothing_is_sent_twice() {
    for (step, fault, calls) in [
        ("claim", Fault::Mute, 1),
        ("publish", Fault::Mute, 1),
        ("publish", Fault::Refused, 1),
        ("claim", Fault::Slow(500), 1),
        ("publish", Fault::Slow(500), 1),
        ("rotate", Fault::Mute, 1),
    ] {
        let case = format!("{step} {fault:?}");
        let fixture = Fixture::new();
        fixture.tick();
        let mut client = fixture.expired("ada").await;
        fixture.store.next(step, fault);
        let mut answer = fixture.get(&mut client).await;
        if answer.status == 503 {
            assert!(answer.left_cookies_alone(), "{case}");
            tokio::time::sleep(secs(2)).await;
            answer = fixture.get(&mut client).await;
        }
        assert_eq!(answer.status, 200, "{case}");
        assert_eq!(fixture.upstream(&client).await, (1, 0), "{case}");
        assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (calls, 0), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_reservation_no_token_is_sent() {
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    fixture.store.next("claim", Fault::Refused);
    let answer = fixture.get(&mut client).await;
    // The node looks for its reservation and finds none. It makes another one, or the next request
    // does.
    assert!(answer.status == 200 || answer.status == 503);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_of_unknown_outcome_is_released_when_the_store_answers() {
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    // The reservation is made, but the answer is lost, and the look-up fails too.
    fixture.store.next("claim", Fault::Mute);
    fixture.store.next("load", Fault::Slow(0));
    fixture.store.next("load", Fault::Refused);
    assert_eq!(fixture.get(&mut client).await.status, 503);
    fixture.until(async || fixture.upstream(&client).await == (0, 0)).await;
    assert_eq!(fixture.provider.calls(), 0);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_release_is_offered_again() {
    for fault in [Fault::Mute, Fault::Refused] {
        let fixture = Fixture::new();
        fixture.tick();
        let mut client = fixture.expired("ada").await;
        fixture.provider.next(Act::Say(503, &[], ""));
        fixture.store.next("release", fault);
        assert_eq!(fixture.get(&mut client).await.status, 503);
        fixture.until(async || fixture.upstream(&client).await == (0, 0)).await;
        assert_eq!(fixture.store.count("release"), 2);
        tokio::time::sleep(secs(61)).await;
        assert_eq!(fixture.get(&mut client).await.status, 200);
        assert_eq!(fixture.provider.reuses(), 0);
    }
}

// Rows: F17.
#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_an_exchange_and_for_the_store() {
    let fixture = Fixture::new();
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    let (node, mut first) = (fixture.node().clone(), client.clone());
    let first = tokio::spawn(async move { node.get(&mut first).await.status.as_u16() });
    fixture.provider.until_calls(1).await;
    let auth = fixture.node().auth.clone();
    let shutdown = tokio::spawn(async move { auth.shutdown().await });
    tokio::time::sleep(secs(2)).await;
    fixture.store.down(true);
    fixture.provider.release();
    tokio::time::sleep(secs(3)).await;
    assert!(!shutdown.is_finished());
    fixture.store.down(false);
    assert_eq!(shutdown.await.unwrap(), 0);
    assert_eq!(fixture.upstream(&client).await, (1, 0), "durable");
    assert_ne!(first.await.unwrap(), 401);
    // Another process over the same store continues from there.
    let node = Node::new(&fixture.clock, |builder| {
        builder.refresh_with(upstream(&fixture.provider).kept_in(fixture.store.clone()))
    });
    assert_eq!(node.get(&mut client).await.status, 200);
    assert_eq!((fixture.provider.calls(), fixture.provider.reuses()), (1, 0));
}

// Rows: F17.
#[tokio::test(start_paused = true)]
async fn shutdown_says_what_is_left() {
    let fixture = Fixture::new();
    fixture.tick();
    let client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hang);
    let (node, mut first) = (fixture.node().clone(), client.clone());
    let first = tokio::spawn(async move { node.get(&mut first).await.status.as_u16() });
    fixture.provider.until_calls(1).await;
    let began = fixture.clock.now();
    assert!(fixture.node().auth.shutdown().await >= 1);
    let took = fixture.clock.now().since(began);
    assert!(took <= Duration::from_secs(61), "{took:?}");
    assert_eq!(first.await.unwrap(), 503);
}

// Rows: L8.
#[tokio::test(start_paused = true)]
async fn tokens_that_the_store_does_not_take_are_offered_for_a_day_and_no_longer() {
    for (hours, kept) in [(22, true), (25, false)] {
        let fixture = Fixture::new();
        let mut client = fixture.expired("ada").await;
        let holder = client.clone();
        fixture.provider.next(Act::Hold);
        let (node, mut first) = (fixture.node().clone(), client.clone());
        let first = tokio::spawn(async move { node.get(&mut first).await.status.as_u16() });
        fixture.provider.until_calls(1).await;
        fixture.store.down(true);
        fixture.provider.release();
        assert_eq!(first.await.unwrap(), 503);
        tokio::time::sleep(secs(hours * 3600)).await;
        let events = fixture.node().events();
        let seen = |name: &str| events.iter().filter(|event| event.starts_with(name)).count();
        assert_eq!((seen("Unpersisted"), seen("TokensLost")), (1, usize::from(!kept)));
        let steps = fixture.store.steps();
        tokio::time::sleep(secs(3600)).await;
        assert_eq!(fixture.store.steps() > steps, kept, "{hours} h: is it still offered?");
        fixture.store.down(false);
        tokio::time::sleep(secs(6)).await;
        assert_eq!(fixture.upstream(&holder).await, (u64::from(kept), u32::from(!kept)));
        fixture.pass(60);
        // The token was sent once and its result is lost. That is no reason to delete cookies.
        let answer = fixture.get(&mut client).await;
        assert_eq!(answer.status, if kept { 200 } else { 401 });
        assert!(kept || answer.left_cookies_alone());
        assert_eq!(fixture.provider.calls(), 1);
    }
}
