//! What answers have beside the tokens: lifetimes, by clocks that differ, and token types.

use super::*;

// Rows: F62.
#[tokio::test]
async fn clocks_that_differ_by_an_hour_cost_no_call_and_no_session() {
    for ahead in [-3600_i64, -60, 60, 3600] {
        let fixture = Fixture::set(|upstream| upstream.access_tokens_by(shared()));
        let theirs = move |now: everfresh::Timestamp| match ahead {
            0.. => now.plus(secs(ahead.unsigned_abs())),
            _ => now.minus(secs(ahead.unsigned_abs())),
        };
        let clock = fixture.clock.clone();
        fixture.provider.answers(move |grant| {
            let mut answer = tokens(grant);
            answer["access_token"] = sign(&claims("ada", theirs(clock.now()), LIFE)).into();
            // The answer has no lifetime, so the token's own counts.
            answer.as_object_mut().unwrap().remove("expires_in");
            answer
        });
        let token = sign(&claims("ada", theirs(START), LIFE));
        let mut client = fixture.node().adopt_issued("ada", first(&token, None)).await.unwrap();
        for _ in 0..600 {
            assert_eq!(fixture.get(&mut client).await.status, 200, "{ahead} s");
            fixture.pass(6);
        }
        let calls = fixture.provider.calls();
        assert!((12..=18).contains(&calls), "{ahead} s: {calls} calls in an hour");
        assert_eq!(fixture.provider.reuses(), 0);
    }
}

// Rows: F62.
#[tokio::test]
async fn a_clock_an_hour_off_costs_no_session() {
    for (ahead, behind) in [(3600, 0), (0, 3600)] {
        let fixture = Fixture::new();
        let mut client = fixture.adopt("ada").await;
        let clock = everfresh::ManualClock::starting_at(
            fixture.clock.now().plus(secs(ahead)).minus(secs(behind)),
        );
        let other = Node::new(&clock, |builder| {
            builder.refresh_with(upstream(&fixture.provider).kept_in(fixture.store.clone()))
        });
        let before = fixture.provider.calls();
        for _ in 0..60 {
            // Both hold the same handle. The store decides which upstream tokens back them.
            assert_eq!(fixture.get(&mut client).await.status, 200);
            assert_eq!(other.get(&mut client).await.status, 200);
            fixture.pass(10);
            clock.advance(secs(10));
        }
        let calls = fixture.provider.calls() - before;
        assert!((1..=4).contains(&calls), "{ahead} {behind}: {calls} calls in ten minutes");
        assert_eq!(fixture.provider.reuses(), 0);
    }
}

// Rows: F63.
#[tokio::test]
async fn no_value_of_expires_in_causes_a_call_at_every_request() {
    for odd in [
        Value::Null,
        json!("300"),
        json!(" 300 "),
        json!(0),
        json!(-1),
        json!("soon"),
        json!(1e308),
        json!([300]),
        json!(299.5),
        json!(true),
    ] {
        let fixture = Fixture::new();
        let said = odd.clone();
        fixture.provider.answers(move |grant| {
            let mut answer = tokens(grant);
            answer["expires_in"] = said.clone();
            answer
        });
        let mut client = fixture.expired("ada").await;
        for _ in 0..100 {
            assert_eq!(fixture.get(&mut client).await.status, 200, "{odd}");
            fixture.pass(2);
        }
        assert_eq!(fixture.provider.calls(), 1, "{odd}");
        let expires = fixture.row(&client).await.unwrap().upstream.unwrap().expires;
        assert!(expires > fixture.clock.now(), "{odd}");
    }
}

// Rows: F67.
#[tokio::test]
async fn tokens_that_are_expired_on_arrival_are_a_failure_and_no_loop() {
    let fixture = Fixture::set(|upstream| upstream.access_tokens_by(shared()));
    let token = sign(&claims("ada", START, LIFE));
    let mut client = fixture.node().adopt_issued("ada", first(&token, None)).await.unwrap();
    fixture.pass(LIFE + 1);
    let clock = fixture.clock.clone();
    fixture.provider.answers(move |grant| {
        let mut answer = tokens(grant);
        // Without `iat`, only the expiry limits the lifetime.
        let mut claims = claims("ada", clock.now(), 0);
        claims.as_object_mut().unwrap().remove("iat");
        answer["access_token"] = sign(&claims).into();
        answer
    });
    // 60 s with ten requests per second: back-offs of up to 1, 2, 4, .. seconds.
    let mut calls_of_the_first = 0;
    for n in 0..600 {
        let answer = fixture.get(&mut client).await;
        assert!(
            answer.status == 503 && answer.left_cookies_alone(),
            "{n}: {answer:?} {:?} {:?}",
            fixture.node().events(),
            fixture.provider.got().len()
        );
        if n == 0 {
            calls_of_the_first = fixture.provider.calls();
        }
        fixture.clock.advance(Duration::from_millis(100));
    }
    assert_eq!(calls_of_the_first, 1);
    assert!(fixture.provider.calls() < 100, "{}", fixture.provider.calls());
    assert_eq!(fixture.provider.reuses(), 0, "each of them was kept for its refresh token");
    // The session works again when the provider recovers.
    let clock = fixture.clock.clone();
    fixture.provider.answers(move |grant| {
        let mut answer = tokens(grant);
        answer["access_token"] = sign(&claims("ada", clock.now(), LIFE)).into();
        answer
    });
    fixture.pass(61);
    assert_eq!(fixture.get(&mut client).await.status, 200);
}

// Rows: S62.
#[tokio::test]
async fn a_token_type_and_unknown_members_are_ignored() {
    for (member, value, status) in [
        ("token_type", json!("BEARER"), 200),
        ("token_type", json!("bearer"), 200),
        // Servers answer `BearerToken`, `JWT` and null; the tokens are the session's all the same.
        ("token_type", json!("BearerToken"), 200),
        ("token_type", json!("mac"), 200),
        ("token_type", json!(7), 200),
        ("token_type", json!(null), 200),
        ("anything", json!({"deep": [1, {"deeper": null}]}), 200),
        ("access_token", json!(""), 401),
        ("access_token", json!(["x"]), 401),
        ("refresh_token", json!(""), 200),
    ] {
        let fixture = Fixture::new();
        let said = value.clone();
        fixture.provider.answers(move |grant| {
            let mut answer = tokens(grant);
            answer[member] = said.clone();
            answer
        });
        let mut client = fixture.expired("ada").await;
        assert_eq!(fixture.get(&mut client).await.status, status, "{member}: {value}");
    }
    let fixture = Fixture::new();
    let mut client = fixture.expired("ada").await;
    let with_bom = "\u{feff}{\"access_token\":\"at.ada.1.x\",\"expires_in\":300}";
    fixture.provider.next(Act::Say(200, &[], with_bom));
    assert_eq!(fixture.get(&mut client).await.status, 200);
}

// Rows: F63.
#[tokio::test]
async fn an_unverified_jwt_still_limits_its_lifetime() {
    for (said, expected) in [(json!(null), 120), (json!(60), 60), (json!(300), 120)] {
        let fixture = Fixture::new();
        let clock = fixture.clock.clone();
        fixture.provider.answers(move |grant| {
            let mut answer = tokens(grant);
            answer["expires_in"] = said.clone();
            answer["access_token"] = sign(&claims("ada", clock.now(), 120)).into();
            answer
        });
        let mut client = fixture.expired("ada").await;
        assert_eq!(fixture.get(&mut client).await.status, 200);
        let expires = fixture.row(&client).await.unwrap().upstream.unwrap().expires;
        assert_eq!(expires.since(fixture.clock.now()), secs(expected));
    }
}

// Rows: L8.
#[tokio::test]
async fn no_access_token_is_taken_to_live_for_longer_than_a_year() {
    let year = secs(365 * 24 * 60 * 60);
    let endless = |now: everfresh::Timestamp| {
        let mut claims = claims("ada", now, LIFE);
        // The year 5138.
        claims["exp"] = json!(100_000_000_000_u64);
        sign(&claims)
    };
    for read in [false, true] {
        let fixture = Fixture::set(|upstream| match read {
            true => upstream.access_tokens_by(shared()),
            false => upstream,
        });
        // At a sign-in, where the answer or the token states the lifetime.
        let said = AccessTokenResponse::new(AccessToken::new(sign(&claims("ada", START, LIFE))));
        let said = said.with_expires_in(Duration::MAX);
        for issued in [said, AccessTokenResponse::new(AccessToken::new(endless(START)))] {
            let refresh = RefreshToken::new(Grant { family: "ada".into(), n: 0 }.refresh());
            let issued = issued.with_refresh_token(refresh);
            let client = fixture.node().adopt_issued("ada", issued).await.unwrap();
            let expires = fixture.row(&client).await.unwrap().upstream.unwrap().expires;
            assert!(expires <= fixture.clock.now().plus(year), "{read}: {expires:?}");
        }
        // And at a refresh.
        let token = sign(&claims("ada", START, LIFE));
        let mut client = fixture.node().adopt_issued("ada", first(&token, None)).await.unwrap();
        fixture.pass(LIFE + 1);
        let clock = fixture.clock.clone();
        fixture.provider.answers(move |grant| {
            let mut answer = tokens(grant);
            answer.as_object_mut().unwrap().remove("expires_in");
            answer["access_token"] = endless(clock.now()).into();
            answer
        });
        assert_eq!(fixture.get(&mut client).await.status, 200);
        let expires = fixture.row(&client).await.unwrap().upstream.unwrap().expires;
        assert_eq!(expires, fixture.clock.now().plus(year), "{read}");
    }
}
