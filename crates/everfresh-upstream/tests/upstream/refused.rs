//! Sessions that the provider refuses to refresh: by answers that the dialect does not know, too
//! early, beside an attempt that still runs, and after another node has new tokens.

use everfresh::dialect::Dialect;
use everfresh_upstream::{Replay, Upstream};

use crate::fixture::*;
use crate::provider::{Act, Provider, SECRET_PART};
use crate::secrets::Log;

const UNKNOWN: &str = r#"{"error":"invalid_request","error_description":"no such token: {}"}"#;

#[tokio::test(start_paused = true)]
async fn a_session_refused_in_an_unknown_way_for_ten_minutes_is_told_of_and_answered_401() {
    let fixture = Fixture::new();
    let mut refused = fixture.expired("ada").await;
    let mut other = fixture.expired("bob").await;
    fixture.provider.all(Act::Say(400, &[], UNKNOWN));
    fixture.node().events();
    let mut statuses = Vec::new();
    for _ in 0..13 * 60 {
        let answer = fixture.get(&mut refused).await;
        assert!(answer.left_cookies_alone());
        statuses.push(answer.status.as_u16());
        fixture.pass(1);
    }
    let first = statuses.iter().position(|status| *status == 401).unwrap();
    // The pauses between two attempts are a minute at the most.
    assert!((600..=661).contains(&first), "after {first} s");
    assert!(statuses[..first].iter().all(|status| *status == 503), "{statuses:?}");
    assert!(statuses[first..].iter().all(|status| *status == 401), "{statuses:?}");
    let told: Vec<String> = fixture.node().events();
    let told: Vec<_> = told.iter().filter(|event| event.starts_with("RefreshRefused")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("400") && told[0].contains("no such token"), "{told:?}");
    assert!(!told[0].contains(SECRET_PART), "{told:?}");
    // Another session has ten minutes of its own.
    assert_eq!(fixture.get(&mut other).await.status, 503);
    // The provider is asked once a minute, and the session goes on when it no longer refuses.
    let calls = fixture.provider.calls();
    for _ in 0..120 {
        fixture.get(&mut refused).await;
        fixture.pass(1);
    }
    assert!((1..=3).contains(&(fixture.provider.calls() - calls)));
    fixture.provider.all(Act::Good);
    fixture.pass(61);
    assert_eq!(fixture.get(&mut refused).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_different_kinds_and_of_good_tokens_sign_no_user_out() {
    let fixture = Fixture::new();
    let mut client = fixture.expired("ada").await;
    for n in 0..60 {
        let status = [400, 403, 404][n % 3];
        fixture.provider.all(Act::Say(status, &[], UNKNOWN));
        assert_eq!(fixture.get(&mut client).await.status, 503, "the answer changes");
        fixture.pass(61);
    }
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_misconfiguration_is_logged_once_until_a_refresh_succeeds() {
    let (log, _guard) = Log::begin(tracing::Level::ERROR);
    let fixture = Fixture::new();
    for round in 1..=2 {
        fixture.provider.all(Act::Say(401, &[], r#"{"error":"invalid_client"}"#));
        for n in 0..5 {
            let mut client = fixture.expired(&format!("{round}-{n}")).await;
            assert_eq!(fixture.get(&mut client).await.status, 503);
        }
        let text = log.text();
        assert_eq!(text.matches("refuses the refresh request").count(), round, "{text}");
        assert_eq!(text.matches("invalid_client").count(), round, "{text}");
        fixture.provider.all(Act::Good);
        let mut client = fixture.expired(&format!("good-{round}")).await;
        assert_eq!(fixture.get(&mut client).await.status, 200);
    }
}

fn early(provider: &Provider) -> Upstream {
    let file = r#"{
        "name": "late", "request": {
            "places": [{"body": "refresh_token"}], "body": "form", "earliest_before_expiry": 10
        },
        "response": {
            "access_token": "access_token", "refresh_token": "refresh_token",
            "expires_in": "expires_in"
        },
        "rules": [{"status": "4xx", "outcome": "rejected"}]
    }"#;
    let dialect = Dialect::from_json(file).unwrap();
    Upstream::at(&provider.client(), dialect, url("https://id.example/token"))
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_presented_before_the_dialect_allows_it() {
    let provider = Provider::new();
    let upstream = early(&provider);
    let fixture = Fixture::over(provider, 1, move || upstream.clone(), |builder| builder);
    let mut client = fixture.adopt("ada").await;
    for left in (11..LIFE).rev().step_by(3) {
        fixture.pass_until_left(&client, left);
        assert_eq!(fixture.get(&mut client).await.status, 200);
        assert_eq!(fixture.provider.calls(), 0, "{left} s before it expires");
    }
    fixture.pass_until_left(&client, 2);
    assert_eq!(fixture.get(&mut client).await.status, 200);
    assert_eq!(fixture.provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_beside_a_running_attempt_proves_nothing() {
    const BUSY: &str = r#"{"error":"invalid_grant","error_description":"already processed"}"#;
    let set = || Fixture::set(|upstream| upstream.replay(Replay::Always).limit(secs(2)));
    for answers_late in [true, false] {
        let fixture = set();
        fixture.tick();
        fixture.provider.keeps_tokens();
        let mut client = fixture.expired("ada").await;
        fixture.provider.next(if answers_late { Act::Hold } else { Act::Hang });
        fixture.provider.all(Act::Say(400, &[], BUSY));
        assert_eq!(fixture.get(&mut client).await.status, 503);
        assert!(fixture.provider.calls() > 1, "it was sent again");
        assert!(fixture.row(&client).await.is_some(), "and the session goes on");
        if answers_late {
            fixture.provider.release();
            fixture.pass(61);
            assert_eq!(fixture.get(&mut client).await.status, 200, "by the first answer");
            continue;
        }
        // Once the first attempt can't be answered any more, a rejection counts.
        tokio::time::sleep(secs(6 * 60)).await;
        fixture.pass(61);
        assert_eq!(fixture.get(&mut client).await.status, 401);
        assert!(fixture.row(&client).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_of_tokens_that_another_node_has_replaced_ends_nothing() {
    let provider = Provider::new();
    let http = provider.client();
    // A rejected access token is not good, so its rejection is not checked again.
    let upstream = move || {
        let server = url("https://id.example/");
        let upstream = Upstream::new(&http, Dialect::VIJIL, &server).unwrap();
        upstream.replay(Replay::Always).limit(secs(2))
    };
    let fixture = Fixture::over(provider, 2, upstream, |builder| builder);
    fixture.tick();
    let mut client = fixture.expired("ada").await;
    fixture.provider.next(Act::HoldAndSay(401, r#"{"detail":"Invalid token"}"#));
    let (node, mut first) = (fixture.nodes[0].clone(), client.clone());
    let late = tokio::spawn(async move { node.get(&mut first).await });
    fixture.provider.until_calls(1).await;
    tokio::time::sleep(secs(3)).await;
    assert_eq!(fixture.nodes[1].get(&mut client).await.status, 200, "by a second attempt");
    fixture.provider.release();
    assert_ne!(late.await.unwrap().status, 401);
    tokio::time::sleep(secs(1)).await;
    assert!(fixture.row(&client).await.is_some());
    assert_eq!(fixture.nodes[1].get(&mut client).await.status, 200);
}
